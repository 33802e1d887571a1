"""The data set of a stored instance, as it goes on an association (PS3.7 6.3.1): without preamble and group 0002."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from gateway.errors import NotSupported
from mappings.dicom_structure import find_dataset

if TYPE_CHECKING:
    from gateway.services import Services
    from gateway.store.tables import InstanceRow


@contextmanager
def opened(services: "Services", row: "InstanceRow", transfer_syntax_uid: str) -> Iterator[BinaryIO]:
    """At its first byte: as stored, or transcoded where another transfer syntax is wanted.

    Raises NotFound, StoreUnavailable, NotDicom, and NotSupported for what cannot be transcoded.
    """
    if transfer_syntax_uid != row.transfer_syntax_uid:
        raise NotSupported("The instance is stored in another transfer syntax.")
    with services.objects.open(row.object_key) as file:
        _, offset = find_dataset(file)
        file.seek(offset)
        yield file
