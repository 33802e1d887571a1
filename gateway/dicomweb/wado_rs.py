"""WADO-RS: Retrieve Study, Series and Instance (PS3.18 10.4): the stored bytes, or another transfer syntax of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway.dicomweb import media_types
from gateway.dicomweb.archive import ZIP, zipped
from gateway.dicomweb.encodings import ANY_APPLICATION, STORED, Encoding, instance_encodings
from gateway.dicomweb.media_types import DICOM, MediaType
from gateway.dicomweb.payload import Part, Payload, multipart, read_all, single
from gateway.dicomweb.qido_rs import instance_url
from gateway.errors import NotAcceptable
from gateway.store.tables import InstanceRow
from gateway.workflow import images
from mappings.dicom_structure import EXPLICIT_LITTLE
from mappings.pixel_syntaxes import ENCODED

if TYPE_CHECKING:
    from gateway.services import Services

log = structlog.get_logger(__name__)


def retrieve(services: "Services", rows: Sequence[InstanceRow], accept: str, base_url: str) -> Payload:
    """The instances in the most wanted encoding that can be had.

    Several instances are several parts, or files of a ZIP archive. Raises NotAcceptable when there is no such
    encoding, or an instance that is wanted alone cannot be transcoded; among several such a one is given as stored,
    and says so.
    """
    stored = frozenset(row.transfer_syntax_uid for row in rows)
    refusal = NotAcceptable(_refusal(stored))
    for wanted in media_types.accepted(accept):
        for encoding in _encodings(wanted, stored):
            if encoding.media_type == DICOM and not encoding.is_multipart and len(rows) > 1:
                continue
            try:
                return _Instances(services, base_url).payload(rows, encoding)
            except NotAcceptable as error:
                refusal = NotAcceptable(str(error))
    raise refusal


def _encodings(wanted: MediaType, stored: frozenset[str]) -> Iterator[Encoding]:
    if wanted.essence != ZIP:
        yield from instance_encodings([wanted], stored)
    if wanted.essence in (ZIP, ANY_APPLICATION):
        as_dicom = MediaType(DICOM, wanted.parameters)
        yield from (
            Encoding(ZIP, one.transfer_syntax, False) for one in instance_encodings([as_dicom], stored)
        )
    if (
        wanted.essence == "*/*" and "transfer-syntax" not in wanted.parameters
    ):  # rather as it is than not at all
        yield Encoding(DICOM, STORED, is_multipart=True)


def _refusal(stored: frozenset[str]) -> str:
    written = ", ".join([EXPLICIT_LITTLE, *ENCODED])
    return (
        f'Instances are given as multipart/related; type="{DICOM}", as {ZIP}, and one alone also as {DICOM}: with '
        f"transfer-syntax=* as they are stored ({', '.join(sorted(stored))}), or with one of {written}."
    )


def _is_stored_so(row: InstanceRow, syntax: str) -> bool:
    return syntax in (STORED, row.transfer_syntax_uid)


@dataclass(frozen=True, slots=True)
class _Instances:
    """Instances as parts, each with its address; ``base_url`` is where DICOMweb stands."""

    services: "Services"
    base_url: str

    def payload(self, rows: Sequence[InstanceRow], encoding: Encoding) -> Payload:
        syntax = encoding.transfer_syntax
        if encoding.media_type == ZIP:
            return zipped(self._files(rows, syntax))
        if not encoding.is_multipart:
            return single(self._part(rows[0], syntax))
        if all(_is_stored_so(row, syntax) for row in rows):
            return multipart([self._stored(row) for row in rows], DICOM)
        if len(rows) == 1:
            return multipart([self._part(rows[0], syntax)], DICOM)
        return multipart((self._part_or_stored(row, syntax) for row in rows), DICOM)

    def _files(
        self, rows: Sequence[InstanceRow], syntax: str
    ) -> Iterator[tuple[str, int | None, Iterator[bytes]]]:
        """Name, size and content of each file of an archive; the names are UIDs, which tell nothing of a patient."""
        get = self._part if len(rows) == 1 else self._part_or_stored
        for row in rows:
            part = get(row, syntax)
            yield f"{row.series.series_instance_uid}/{row.sop_instance_uid}.dcm", part.size_bytes, part.open()

    def _part(self, row: InstanceRow, syntax: str) -> Part:
        if _is_stored_so(row, syntax):
            return self._stored(row)
        file, size = images.transcoded(self.services, row, syntax)
        named = f"{DICOM}; transfer-syntax={syntax}"
        return Part(named, size, partial(read_all, file), instance_url(self.base_url, row))

    def _part_or_stored(self, row: InstanceRow, syntax: str) -> Part:
        """An answer of several parts has begun, and can be no error any more."""
        try:
            return self._part(row, syntax)
        except NotAcceptable as error:
            log.info("instance-given-as-stored", instance=row.id, cause=type(error).__name__)
            return self._stored(row)

    def _stored(self, row: InstanceRow) -> Part:
        def read() -> Iterator[bytes]:
            return read_all(self.services.objects.open(row.object_key))

        named = f"{DICOM}; transfer-syntax={row.transfer_syntax_uid}"
        return Part(named, row.size_bytes, read, instance_url(self.base_url, row))
