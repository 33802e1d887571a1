"""STOW-RS: Store transaction of the Studies service (PS3.18 10.5). Each instance is stored, or fails, alone."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from gateway.case.access import Origin, Partner
from gateway.dicomweb import media_types
from gateway.dicomweb.store_response import Failed, StoreOutcome
from gateway.dicomweb.stow_metadata import TYPES, internal_error, store_metadata
from gateway.errors import (
    BodyBroken,
    GatewayError,
    StoreUnavailable,
    TooLarge,
    UnsupportedMediaType,
)
from gateway.multipart import Part, read_parts
from gateway.workflow.receive import Arrival, keep_refused, receive_instances
from mappings.dicom_to_header import read_identity

if TYPE_CHECKING:
    from gateway.services import Services

CHANNEL = "stow-rs"
BATCH_PARTS = 32
BATCH_BYTES = 32 * 1024 * 1024
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
    is_single = sent.essence == media_types.DICOM
    if not is_single:
        _require_dicom_parts(sent)
    broken_by: GatewayError | None = None
    with _Storing(services, partner, origin, study_instance_uid) as storing:
        try:
            if is_single:
                storing.take_single(chunks)
            else:
                read_parts(chunks, sent.parameter("boundary"), services.objects.spool, storing.take)
        except (BodyBroken, StoreUnavailable, TooLarge) as error:
            broken_by = error
    storing.outcome.broken_by = broken_by
    return storing.outcome


def _require_dicom_parts(sent: media_types.MediaType) -> None:
    is_multipart = sent.essence == media_types.MULTIPART_RELATED
    if not is_multipart or sent.parameter("type").lower() not in ("", media_types.DICOM):
        raise UnsupportedMediaType(
            f"DICOM is taken as {media_types.DICOM}, or as multipart/related with a type of {media_types.DICOM}, "
            f"{media_types.DICOM_JSON} or {media_types.DICOM_XML}."
        )


class _Storing:
    """Stores parts in batches, each while the next one arrives; a context manager, at whose end all are stored."""

    def __init__(
        self, services: "Services", partner: Partner, origin: Origin, study_instance_uid: str | None
    ) -> None:
        self.outcome = StoreOutcome()
        self._services, self._partner, self._origin = services, partner, origin
        self._study_instance_uid = study_instance_uid
        self._arrived: list[Part] = []
        self._thread = ThreadPoolExecutor(1, "stow-rs")
        self._storing: Future[None] | None = None

    def __enter__(self) -> "_Storing":
        return self

    def __exit__(self, *_: object) -> None:
        with self._thread:
            self._hand_over()

    def take_single(self, chunks: Iterator[bytes]) -> None:
        with self._services.objects.spool() as spool:
            for chunk in chunks:
                spool.write(chunk)
            self._store_each([Part(1, media_types.DICOM, spool)])

    def take(self, part: Part) -> None:
        if part.fault:
            self._refuse(part)
            return
        part.is_retained = True
        self._arrived.append(part)
        arrived_bytes = sum(one.spool.size_bytes for one in self._arrived)
        if len(self._arrived) >= BATCH_PARTS or arrived_bytes >= BATCH_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        """No more than one batch waits behind the one that arrives."""
        if self._storing is not None:
            self._storing.result()
        batch, self._arrived = self._arrived, []
        self._storing = self._thread.submit(self._store_batch, batch)

    def _store_batch(self, parts: list[Part]) -> None:
        with ExitStack() as spools:
            for part in parts:
                spools.push(part.spool)
            self._store_each(parts)

    def _store_each(self, parts: list[Part]) -> None:
        """Whatever is wrong with one part concerns no other."""
        arrivals = [Arrival(part.spool, self._study_instance_uid) for part in parts]
        try:
            outcomes = receive_instances(self._services, self._partner, arrivals, self._origin)
        except Exception as error:
            if len(parts) == 1:
                self._fail_by_us(parts[0], error)
            else:
                log.warning("stow-rs batch failed", exc_info=error)
                for part in parts:
                    self._store_each([part])
            return
        for part, outcome in zip(parts, outcomes, strict=True):
            if isinstance(outcome, GatewayError):
                self._fail(part, outcome)
            else:
                self.outcome.stored.append(outcome)

    def _refuse(self, part: Part) -> None:
        """A part that is broken in its own headers is kept as it stands in the body. Raises StoreUnavailable."""
        error = BodyBroken(part.fault)
        keep_refused(self._services, self._partner, part.spool, self._origin, media_types.OCTET_STREAM, error)
        self.outcome.failed.append(Failed(part.number, "", "", error))

    def _fail_by_us(self, part: Part, error: Exception) -> None:
        """Our own fault must not lose what was sent; that it cannot be kept either concerns no other part."""
        ours, reference = internal_error()
        log.error("stow-rs instance failed", reference=reference, exc_info=error)
        self._fail(part, ours)
        try:
            keep_refused(self._services, self._partner, part.spool, self._origin, media_types.DICOM, error)
        except Exception:
            log.exception("stow-rs instance not kept")

    def _fail(self, part: Part, error: GatewayError) -> None:
        with part.spool.reader() as file:
            uids = read_identity(file)
        self.outcome.failed.append(Failed(part.number, *uids, error))
