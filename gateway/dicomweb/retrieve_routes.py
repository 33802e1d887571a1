"""The resources that are retrieved: WADO-RS and WADO-URI (PS3.18 10.4, 9)."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from gateway.case.access import Partner
from gateway.dicomweb import bulkdata, door, pixels, rendered, wado_rs, wado_uri
from gateway.dicomweb.metadata import metadata
from gateway.dicomweb.payload import Payload
from gateway.dicomweb.qido_rs import instance_url
from gateway.dicomweb.rendering_query import read_look
from gateway.dicomweb.warning import warning_headers
from gateway.store import studies
from gateway.store.tables import InstanceRow
from gateway.workflow import disclosure
from mappings.pixel_frames import NATIVE_LITTLE

if TYPE_CHECKING:
    from gateway.services import Services

RS, URI = "wado-rs", "wado-uri"
_STUDY = "/studies/<study>"
_SERIES = f"{_STUDY}/series/<series>"
_INSTANCE = f"{_SERIES}/instances/<instance>"
_FRAMES = f"{_INSTANCE}/frames/<frames>"
_SEVERAL_PATIENTS = (
    "This answer is of instances of more than one patient; the metadata of each tell whose it is."
)
_MADE_AS = "2"
"""Changes with a release that renders or writes something otherwise: what peers hold of it is old then."""


def add_retrieve(blueprint: Blueprint, services: "Services") -> None:
    """Every resource of the Retrieve transaction, at every level that has it."""
    resources = _Resources(services)
    for level in (_STUDY, _SERIES, _INSTANCE):
        blueprint.get(level, endpoint=f"retrieve{_depth(level)}")(resources.instances)
        for name in ("metadata", "rendered", "thumbnail", "bulkdata", "pixeldata"):
            view = getattr(resources, name)
            blueprint.get(f"{level}/{name}", endpoint=f"{name}{_depth(level)}")(view)
    blueprint.get(f"{_INSTANCE}/bulkdata/<path:value>", endpoint="bulk-value")(resources.bulk_value)
    blueprint.get(_FRAMES, endpoint="frames")(resources.frames)
    for name in ("rendered", "thumbnail"):
        blueprint.get(f"{_FRAMES}/{name}", endpoint=f"{name}-frames")(getattr(resources, name))
    blueprint.get("/wado", endpoint="wado-uri")(resources.wado_uri)


def _depth(level: str) -> str:
    return {_STUDY: "-study", _SERIES: "-series", _INSTANCE: "-instance"}[level]


class _Resources:
    """The views; what they answer is the partner's own, and on the audit trail before it is given."""

    def __init__(self, services: "Services") -> None:
        self._services = services

    def instances(self, **uids: str) -> Response:
        read = self._read("instances", RS, **uids)
        url = door.base_url(self._services)
        return read.answer(lambda: wado_rs.retrieve(self._services, read.rows, door.accept(), url))

    def metadata(self, **uids: str) -> Response:
        read = self._read("metadata", RS, **uids)
        url = door.base_url(self._services)
        return read.answer(lambda: metadata(self._services.objects, read.rows, url, door.accept()))

    def bulkdata(self, **uids: str) -> Response:
        read = self._read("bulkdata", RS, **uids)
        url = door.base_url(self._services)
        return read.answer(lambda: bulkdata.all_bulk_values(self._services, read.rows, door.accept(), url))

    def bulk_value(self, value: str, **uids: str) -> Response:
        is_conditional = "If-Range" in request.headers  # which a weak ETag never fulfils (RFC 9110 13.1.5)
        asked = "" if is_conditional else request.headers.get("Range", "")
        read = self._read("bulkdata", RS, **uids)
        is_ranged = bool(asked) and read.rows[0].transfer_syntax_uid in NATIVE_LITTLE
        if bulkdata.is_pixel_data(value) and not is_ranged:
            return self.pixeldata(**uids)
        return read.answer(
            lambda: bulkdata.bulk_value(self._services, read.rows[0], value, door.accept(), asked)
        )

    def pixeldata(self, **uids: str) -> Response:
        read = self._read("pixeldata", RS, **uids)
        url = door.base_url(self._services)
        return read.answer(lambda: pixels.pixel_data(self._services, read.rows, door.accept(), url))

    def frames(self, frames: str, **uids: str) -> Response:
        read = self._read("frames", RS, **uids)
        row, wanted = read.rows[0], pixels.read_frame_list(frames)
        url = instance_url(door.base_url(self._services), row)
        return read.answer(lambda: pixels.frames(self._services, row, wanted, door.accept(), url))

    def rendered(self, frames: str = "", **uids: str) -> Response:
        return self._shown(rendered.rendered, "rendered", frames, uids)

    def thumbnail(self, frames: str = "", **uids: str) -> Response:
        return self._shown(rendered.thumbnail, "thumbnail", frames, uids)

    def wado_uri(self) -> Response:
        partner = door.partner_of(self._services, "r")
        asked = wado_uri.read_query(request.args, request.headers.get("Accept", ""))
        url = door.base_url(self._services)
        read = self._read_of(partner, "object", URI, asked.study, asked.series, asked.instance)
        record = read.record
        answer = read.answer(
            lambda: wado_uri.retrieve(self._services, read.rows[0], asked, record, url), is_recorded=True
        )
        answer.headers.extend(warning_headers(asked.look.warnings))
        return answer

    def _shown(self, show: Callable[..., Payload], what: str, frames: str, uids: dict[str, str]) -> Response:
        read = self._read(what, RS, **uids)
        look = read_look(request.args)
        wanted = pixels.read_frame_list(frames) if frames else []
        url = door.base_url(self._services)
        answer = read.answer(
            lambda: show(self._services, read.rows, wanted, door.accept(), look, read.record, url),
            is_recorded=True,
        )
        answer.headers.extend(warning_headers(look.warnings))
        return answer

    def _read(
        self, what: str, channel: str, study: str, series: str | None = None, instance: str | None = None
    ) -> "_Read":
        return self._read_of(door.partner_of(self._services, "r"), what, channel, study, series, instance)

    def _read_of(
        self, partner: Partner, what: str, channel: str, study: str, series: str | None, instance: str | None
    ) -> "_Read":
        with self._services.database.reading() as session:
            rows = studies.instances(session, partner, study, series, instance)
        return _Read(self._services, partner, rows, what, channel)


class _Read:
    """One request of a partner for what is stored."""

    def __init__(
        self, services: "Services", partner: Partner, rows: Sequence[InstanceRow], what: str, channel: str
    ) -> None:
        self._services, self._partner, self.rows = services, partner, rows
        self._what, self._channel = what, channel

    def record(self) -> None:
        """On the audit trail."""
        rows = self.rows
        subject = f"study:{rows[0].series.study.id}" if len(rows) > 1 else f"instance:{rows[0].id}"
        origin = door.origin(self._channel)
        detail = {"what": self._what, "instances": len(rows)}
        disclosure.record(self._services, self._partner, disclosure.READ, subject, origin, **detail)

    def answer(self, make: Callable[[], Payload], *, is_recorded: bool = False) -> Response:
        """What ``make`` makes, or 304 where the peer has it. ``is_recorded``: ``make`` puts it on the audit trail."""
        etag = self._etag()
        if request.if_none_match.contains_weak(etag):
            self.record()
            answer = Response(status=304)
            del answer.headers["Content-Type"]
        else:
            payload = make()
            if not is_recorded:
                self.record()
            chunks = door.while_permitted(self._services, self._partner, "r", payload.chunks)
            answer = Response(chunks, payload.status, payload.headers, content_type=payload.content_type)
            answer.headers.extend(warning_headers(payload.warnings))
            if payload.size_bytes is not None:
                answer.content_length = payload.size_bytes
        if len({row.patient_number for row in self.rows}) > 1:
            answer.headers.extend(warning_headers([_SEVERAL_PATIENTS]))
        answer.set_etag(etag, weak=True)
        answer.headers["Cache-Control"] = "private, no-cache"  # may be kept, and is asked for again
        answer.headers["Vary"] = "Accept, Authorization"
        return answer

    def _etag(self) -> str:
        """Changes with the stored bytes, the address and what is accepted: the rest of an answer follows from them."""
        digest = hashlib.sha256(_MADE_AS.encode())
        for told in (request.full_path, door.accept(), *(row.sha256 for row in self.rows)):
            digest.update(f"{told}\n".encode())
        return digest.hexdigest()[:32]
