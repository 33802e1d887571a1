"""Which partner calls on a DICOM association."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.auth.accounts import demo_partner
from gateway.case.access import Partner
from gateway.errors import UnknownSender
from gateway.store import partners

if TYPE_CHECKING:
    from gateway.services import Services


def authenticate_ae(services: Services, calling_ae_title: str) -> Partner:
    """The partner that the calling AE title is registered for; leading and trailing spaces mean nothing (PS3.5 6.2).

    With ``dev`` any other title is partner demo. Raises UnknownSender, also for a partner that is disabled.
    """
    with services.database.reading() as session:
        known = calling_ae_title.isprintable()  # PostgreSQL takes no NUL
        registration = partners.by_calling_ae(session, calling_ae_title) if known else None
    if registration is not None and registration.disabled:
        raise UnknownSender("The calling AE title belongs to a partner that is disabled.")
    if services.config.dev:
        return registration.partner if registration else demo_partner(services)
    if registration is None:
        raise UnknownSender("The calling AE title is not registered for any partner.")
    return registration.partner
