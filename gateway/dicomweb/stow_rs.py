"""STOW-RS: Store transaction of the Studies service (PS3.18 10.5). Each instance is stored, or fails, alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway.case.access import Origin, Partner
from gateway.dicomweb import media_types
from gateway.dicomweb.store_response import Failed, StoreOutcome
from gateway.dicomweb.stow_metadata import TYPES, internal_error, store_metadata
from gateway.errors import (
    BodyBroken,
    GatewayError,
    NotFound,
    StoreUnavailable,
    TooLarge,
    UnsupportedMediaType,
)
from gateway.multipart import Part, read_parts
from gateway.store.objects import ObjectStore, Spool, object_key
from gateway.workflow.receive import keep_refused, receive_instance
from mappings.dicom_to_header import read_identity

if TYPE_CHECKING:
    from gateway.services import Services

CHANNEL = "stow-rs"
log = structlog.get_logger(__name__)


def store(
    services: "Services",
    partner: Partner,
    content_type: str,
    chunks: Iterator[bytes],
    origin: Origin,
    study_instance_uid: str | None = None,
) -> StoreOutcome:
    """Store every instance of a body, DICOM files or metadata; of ``study_instance_uid`` only, where it is given.

    Raises UnsupportedMediaType before anything is read. A body that cannot be read to its end is told in the outcome,
    with what was stored of it.
    """
    sent = media_types.parse(content_type)
    if sent.essence == media_types.MULTIPART_RELATED and sent.parameter("type").lower() in TYPES:
        return store_metadata(services, partner, sent, content_type, chunks, origin, study_instance_uid)
    storing = _Storing(services, partner, origin, study_instance_uid)
    try:
        if sent.essence == media_types.DICOM:
            storing.take_single(chunks)
        else:
            _require_dicom_parts(sent)
            read_parts(chunks, sent.parameter("boundary"), storing.open_spool, storing.take)
    except (BodyBroken, StoreUnavailable, TooLarge) as error:
        storing.outcome.broken_by = error
    return storing.outcome


def _require_dicom_parts(sent: media_types.MediaType) -> None:
    is_multipart = sent.essence == media_types.MULTIPART_RELATED
    if not is_multipart or sent.parameter("type").lower() not in ("", media_types.DICOM):
        raise UnsupportedMediaType(
            f"DICOM is taken as {media_types.DICOM}, or as multipart/related with a type of {media_types.DICOM}, "
            f"{media_types.DICOM_JSON} or {media_types.DICOM_XML}."
        )


@dataclass
class _Storing:
    services: "Services"
    partner: Partner
    origin: Origin
    study_instance_uid: str | None
    outcome: StoreOutcome = field(default_factory=StoreOutcome)

    def open_spool(self) -> Spool:
        return self.services.objects.spool()

    def take_single(self, chunks: Iterator[bytes]) -> None:
        with self.open_spool() as spool:
            for chunk in chunks:
                spool.write(chunk)
            self.take(Part(1, media_types.DICOM, spool))

    def take(self, part: Part) -> None:
        """Store one part; whatever is wrong with it concerns no other."""
        try:
            receipt = receive_instance(
                self.services, self.partner, part.spool, self.origin, self.study_instance_uid
            )
            self.outcome.stored.append(receipt)
        except GatewayError as error:
            self._fail(part, error)
        except Exception as error:
            ours, reference = internal_error()
            log.exception("stow-rs instance failed", reference=reference)
            self._fail(part, ours)
            self._keep(part, error)

    def _keep(self, part: Part, error: Exception) -> None:
        """Our own fault must not lose what was sent; that it cannot be kept either concerns no other part."""
        try:
            keep_refused(self.services, self.partner, part.spool, self.origin, media_types.DICOM, error)
        except Exception:
            log.exception("stow-rs instance not kept")

    def _fail(self, part: Part, error: GatewayError) -> None:
        self.outcome.failed.append(Failed(part.number, *_identity(self.services.objects, part.spool), error))


def _identity(objects: ObjectStore, spool: Spool) -> tuple[str, str]:
    """The UIDs of what was refused: from the spool, or from where its bytes were kept."""
    for open_refused in (spool.reader, partial(objects.open, object_key(spool.sha256))):
        try:
            with open_refused() as file:
                return read_identity(file)
        except (NotFound, StoreUnavailable):
            continue
    return "", ""
