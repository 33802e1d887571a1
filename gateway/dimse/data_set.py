"""The data set of a stored instance, as it goes on an association (PS3.7 6.3.1): without preamble and group 0002."""

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from gateway.workflow import images
from mappings.dicom_structure import EXPLICIT_LITTLE, IMPLICIT_LITTLE, find_dataset
from mappings.dicom_to_implicit import to_implicit

if TYPE_CHECKING:
    from gateway.services import Services
    from gateway.store.tables import InstanceRow


def syntax_for(row: "InstanceRow", accepted: Collection[str]) -> str | None:
    """Of the transfer syntaxes that a peer takes the stored one, else one into which everything can be made."""
    wanted = (row.transfer_syntax_uid, EXPLICIT_LITTLE, IMPLICIT_LITTLE)
    return next((syntax for syntax in wanted if syntax in accepted), None)


@contextmanager
def opened(services: "Services", row: "InstanceRow", transfer_syntax_uid: str) -> Iterator[BinaryIO]:
    """At its first byte: as stored, or in Explicit or Implicit VR Little Endian where that is another one.

    Decoding runs in a process with limits. Raises NotFound, StoreUnavailable, NotDicom, NotAcceptable for what cannot
    be made.
    """
    with _explicit_or_stored(services, row, transfer_syntax_uid) as file:
        _, offset = find_dataset(file)
        file.seek(offset)
        if transfer_syntax_uid != IMPLICIT_LITTLE or row.transfer_syntax_uid == IMPLICIT_LITTLE:
            yield file
            return
        with tempfile.TemporaryFile(dir=services.config.data_dir) as implicit:
            to_implicit(file, implicit)
            implicit.seek(0)
            yield implicit


def _explicit_or_stored(services: "Services", row: "InstanceRow", transfer_syntax_uid: str) -> BinaryIO:
    """The Part 10 file as stored where no more than VRs is to be left out of it."""
    if transfer_syntax_uid == row.transfer_syntax_uid or row.transfer_syntax_uid == EXPLICIT_LITTLE:
        return services.objects.open(row.object_key)
    return images.transcoded(services, row, EXPLICIT_LITTLE)[0]
