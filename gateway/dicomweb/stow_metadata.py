"""STOW-RS of metadata with bulk data apart (PS3.18 10.5.1.4): a DICOM file is made of what belongs together.

The file is derived, so the request itself is kept too, byte for byte. Metadata that is broken concerns no other; a part
that nothing refers to is told in the Other Failures Sequence.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from gateway.case.access import Origin, Partner
from gateway.dicomweb import media_types
from gateway.dicomweb.bulk_parts import BulkParts
from gateway.dicomweb.media_types import MediaType
from gateway.dicomweb.store_response import Failed, StoreOutcome
from gateway.errors import BodyBroken, GatewayError, InvalidContent, NotDicom, StoreUnavailable, TooLarge
from gateway.multipart import Part, read_parts
from gateway.store.objects import Spool
from gateway.workflow.receive import receive_instance
from gateway.workflow.receive_request import keep_request
from mappings.dicom_file_meta import encode_file_meta
from mappings.dicom_json import parse_json, text_of
from mappings.dicom_to_header import is_uid
from mappings.json_to_dicom import encode_dataset
from mappings.native_xml import from_xml

if TYPE_CHECKING:
    from gateway.services import Services

MAX_METADATA_BYTES = 64 * 1024 * 1024
TYPES = frozenset({media_types.DICOM_JSON, media_types.DICOM_XML})
_DOCUMENTS = TYPES | {"application/json", "application/xml", "text/xml"}
log = structlog.get_logger(__name__)


def store_metadata(
    services: "Services",
    partner: Partner,
    sent: MediaType,
    content_type: str,
    chunks: Iterator[bytes],
    origin: Origin,
    study_instance_uid: str | None,
) -> StoreOutcome:
    """Store an instance for each data set of the metadata. Nothing is raised for the body: see StoreOutcome."""
    outcome = StoreOutcome()
    with services.objects.spool() as request, services.objects.spool() as bulk_data:
        bulk = BulkParts(bulk_data)
        arriving = _Arriving(bulk, outcome)
        try:
            read_parts(
                _noting(chunks, request), sent.parameter("boundary"), services.objects.spool, arriving.take
            )
        except (BodyBroken, StoreUnavailable, TooLarge) as error:
            outcome.broken_by = error
        _Storing(services, partner, origin, study_instance_uid, outcome, bulk).store_all(arriving.documents)
        _tell_unused(outcome, bulk)
        try:
            keep_request(services, partner, request, origin, content_type, _first_error(outcome))
        except StoreUnavailable as error:
            outcome.broken_by = error
    return outcome


def _noting(chunks: Iterator[bytes], request: Spool) -> Iterator[bytes]:
    for chunk in chunks:
        request.write(chunk)
        yield chunk


def _tell_unused(outcome: StoreOutcome, bulk: BulkParts) -> None:
    """Not where the metadata was not understood: then it is not known what belongs to what."""
    if not any(not failed.sop_instance_uid for failed in outcome.failed):
        unused = (f"Part {number} is bulk data to which no metadata refers." for number in bulk.unused())
        outcome.other.extend(InvalidContent(words) for words in unused)


def _first_error(outcome: StoreOutcome) -> GatewayError | None:
    errors = [failed.error for failed in outcome.failed] + outcome.other
    return outcome.broken_by or (errors[0] if errors else None)


@dataclass
class _Arriving:
    """Takes the parts: metadata into memory, bulk data as they lie on disk."""

    bulk: BulkParts
    outcome: StoreOutcome
    documents: list[tuple[int, MediaType, bytes]] = field(default_factory=list)
    _size_bytes: int = 0

    def take(self, part: Part) -> None:
        if part.fault:
            self.outcome.failed.append(Failed(part.number, "", "", BodyBroken(part.fault)))
            return
        sent = media_types.parse(part.content_type)
        if sent.essence not in _DOCUMENTS:
            self.bulk.keep(part)
            return
        self._size_bytes += part.spool.size_bytes
        if self._size_bytes > MAX_METADATA_BYTES:
            raise TooLarge(f"The metadata of one request have more than {MAX_METADATA_BYTES} bytes.")
        with part.spool.reader() as file:
            self.documents.append((part.number, sent, file.read()))


@dataclass
class _Storing:
    services: "Services"
    partner: Partner
    origin: Origin
    study_instance_uid: str | None
    outcome: StoreOutcome
    bulk: BulkParts

    def store_all(self, documents: list[tuple[int, MediaType, bytes]]) -> None:
        if not documents and self.outcome.broken_by is None:
            self.outcome.broken_by = BodyBroken("No part of the body is metadata.")
        for part, sent, content in documents:
            try:
                data_sets = _read(sent, content)
            except NotDicom as error:
                self.outcome.failed.append(Failed(part, "", "", error))
                continue
            for number, data_set in enumerate(data_sets, start=1):
                self._store(part, number if len(data_sets) > 1 else 0, data_set)

    def _store(self, part: int, number: int, data_set: Any) -> None:
        sop_class_uid, sop_instance_uid = (_uid(data_set, tag) for tag in ("00080016", "00080018"))
        try:
            with self.services.objects.spool() as file:
                for chunk in _encode(self.bulk, data_set):
                    file.write(chunk)
                self.outcome.stored.append(
                    receive_instance(self.services, self.partner, file, self.origin, self.study_instance_uid)
                )
        except GatewayError as error:
            self.outcome.failed.append(Failed(part, sop_class_uid, sop_instance_uid, error, number))
        except Exception:
            ours, reference = internal_error()
            log.exception("stow-rs metadata failed", reference=reference)
            self.outcome.failed.append(Failed(part, sop_class_uid, sop_instance_uid, ours, number))


def internal_error() -> tuple[GatewayError, str]:
    """What the sender is told of our own fault, and the reference under which the log must have it."""
    reference = str(uuid.uuid4())
    return GatewayError(f"Internal error; please give us reference {reference}."), reference


def _read(sent: MediaType, content: bytes) -> list[Any]:
    data_sets = parse_json(content) if sent.essence.endswith("json") else [from_xml(content)]
    if not data_sets:
        raise NotDicom("The metadata has no data set.")
    return data_sets


def _encode(bulk: BulkParts, data_set: Any) -> Iterator[bytes]:
    """The DICOM file. Raises NotDicom, UnsupportedMediaType."""
    if not isinstance(data_set, dict):
        raise NotDicom("A data set is not a JSON object (PS3.18 F.2.2).")
    assembly = bulk.assemble(data_set)
    uids = text_of(data_set, "00080016"), text_of(data_set, "00080018")
    yield encode_file_meta(*uids, assembly.transfer_syntax_uid)
    yield from encode_dataset(assembly.data_set, assembly.bulk_of)


def _uid(data_set: Any, tag: str) -> str:
    found = text_of(data_set, tag)
    return found if is_uid(found) else ""
