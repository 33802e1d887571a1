"""An operator who shuts a partner out while it is being served."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.config import Config
from gateway.dimse import admission
from gateway.store import partners
from gateway.store.database import Database
from tests.support.dimse import Listener


def disable(gateway: Listener, partner_id: str = "hospital-a") -> None:
    _set_disabled(gateway, partner_id, True)


@contextmanager
def looking_at_every_message(gateway: Listener, partner_id: str = "hospital-a") -> Iterator[None]:
    """Instead of every tenth of a second; the partner is as before in the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "RECOGNISED_SECONDS", -1.0)
        try:
            yield
        finally:
            _set_disabled(gateway, partner_id, False)


def _set_disabled(gateway: Listener, partner_id: str, is_disabled: bool) -> None:
    with Database(Config(data_dir=gateway.data_dir).sqlalchemy_url).transaction() as session:
        partners.set_disabled(session, partner_id, is_disabled)
