"""Fetches imaging from a partner's DICOMweb service (PS3.18 10.4 Retrieve, 10.6 Search), as user agent.

dicomweb-client searches and names the resources. The instances themselves go from the connection to the spool byte for
byte: its own retrieval would hold each in memory and give it out only as pydicom reads it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from email.message import Message
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import requests
import urllib3
from dicomweb_client import DICOMwebClient
from dicomweb_client.uri import URI

from gateway.case.fetching import InstanceAddress, is_uid
from gateway.errors import (
    BodyBroken,
    GatewayError,
    NotFound,
    PeerRefused,
    PeerUnreachable,
    TooLarge,
)
from gateway.multipart import Part, read_parts
from gateway.senders.bounded_session import BoundedSession, Bounds
from gateway.senders.transport import may_change, require_private

if TYPE_CHECKING:
    from gateway.workflow.fetch_from import Receiver

PEER = "archive"
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""As they are stored there: no transfer syntax is asked for that would have them transcoded (PS3.18 8.7.3.5.2)."""
PAGE = 1000
MAX_INSTANCES = 100_000
MAX_LIST_BYTES = 64 * 1024 * 1024
MAX_FAILURES_IN_A_ROW = 3
_CHUNK_BYTES = 256 * 1024
_SERIES, _INSTANCE = "0020000E", "00080018"

Authorization = Callable[[str], str]
"""Gives the Authorization header, or '' for none: another one than the refused one that it is told, where it can."""


class DicomWebSource:
    """One registered DICOMweb endpoint; a context manager.

    Errors of the archive are PeerUnreachable (may succeed later), PeerRefused (a person must look) and NotFound.
    """

    channel = "wado-rs"

    def __init__(self, base_url: str, authorization: Authorization, bounds: Bounds) -> None:
        require_private(PEER, base_url)
        self.address = base_url
        self._base = base_url.rstrip("/")
        self._authorization, self._used = authorization, ""
        self._session = BoundedSession(bounds, self._authorize)
        self._lists = BoundedSession(replace(bounds, max_bytes=MAX_LIST_BYTES), self._authorize)
        self._client = DICOMwebClient(self._base, session=self._lists, permissive_uid=True)
        self._client.set_http_retry_params(retry=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._lists.close()

    def instances(self, study_instance_uid: str) -> list[InstanceAddress]:
        """What the archive has of a study: by search, else by the study's metadata where it offers no search.

        Raises NotFound when it has nothing of it.
        """
        with suppress(NotFound, PeerRefused):
            if found := self._searched(study_instance_uid):
                return found
        metadata = self._asked(partial(self._client.retrieve_study_metadata, study_instance_uid))
        if found := _addresses(metadata):
            return found
        raise NotFound("The archive has nothing of the study.")

    def _searched(self, study_instance_uid: str) -> list[InstanceAddress]:
        """Page by page, until one has nothing new: a server may cap a page, and may pass over ``offset``."""
        found: dict[InstanceAddress, None] = {}
        search = partial(self._client.search_for_instances, study_instance_uid, fields=[_SERIES], limit=PAGE)
        offset = 0
        while len(found) < MAX_INSTANCES:
            page = self._asked(partial(search, offset=offset))
            new = dict.fromkeys(address for address in _addresses(page) if address not in found)
            if not new:
                break
            found |= new
            offset += len(page)
        return list(found)

    def retrieve(
        self, study_instance_uid: str, wanted: Sequence[InstanceAddress], receiver: Receiver
    ) -> None:
        """Each instance by a request of its own, so that after a break nothing comes twice.

        What goes wrong with one is told to the receiver and stops no other; three failures of the archive in a row are
        raised.
        """
        failures = 0
        for address in wanted:
            if not receiver.goes_on():
                return
            try:
                self._retrieve(study_instance_uid, address, receiver)
                failures = 0
            except (NotFound, TooLarge) as error:
                receiver.refuse(address, error)
            except (PeerUnreachable, PeerRefused) as error:
                receiver.refuse(address, error)
                failures += 1
                if failures == MAX_FAILURES_IN_A_ROW:
                    raise

    def _retrieve(self, study_instance_uid: str, address: InstanceAddress, receiver: Receiver) -> None:
        named = (study_instance_uid, address.series_instance_uid, address.sop_instance_uid)
        url = str(URI(self._base, *named, permissive=True))
        with _told(), self._asked(partial(self._open, url)) as answer:
            media_type = _media_type(answer)
            chunks = iter(partial(answer.raw.read, _CHUNK_BYTES), b"")
            if media_type.get_content_type() == "application/dicom":
                _require_end(answer)
                _take_single(chunks, address, receiver)
                return
            boundary = str(media_type.get_param("boundary", ""))
            read_parts(chunks, boundary, receiver.open_spool, partial(_take_first, address, receiver))

    def _open(self, url: str) -> requests.Response:
        answer = self._session.get(url, headers={"Accept": ACCEPT}, stream=True)
        answer.raise_for_status()
        return answer

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """Once more with another token after a 401."""
        with _told():
            self._used = self._authorization("")
            try:
                return ask()
            except requests.HTTPError as error:
                if _status(error) != HTTPStatus.UNAUTHORIZED or not self._used:
                    raise
                self._used = self._authorization(self._used)
                return ask()

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._used:
            request.headers["Authorization"] = self._used
        return request


def basic_authorization(login: str) -> Authorization:
    """HTTP Basic (RFC 7617) of ``name:password``."""
    header = f"Basic {base64.b64encode(login.encode()).decode()}"
    return lambda _refused: header


def bearer_authorization(token: Callable[[str], str]) -> Authorization:
    """A bearer token (RFC 6750), another one than the refused."""
    return lambda refused: f"Bearer {token(refused.removeprefix('Bearer '))}"


def no_authorization(_refused: str) -> str:
    return ""


@contextmanager
def _told() -> Iterator[None]:
    """What the libraries raise, as errors by their cause; never in the peer's words, which may quote the record."""
    try:
        yield
    except requests.HTTPError as error:
        raise _of_status(_status(error)) from error
    except (requests.JSONDecodeError, RecursionError) as error:
        raise PeerRefused(f"The {PEER} answered with something that is no DICOM JSON.") from error
    except BodyBroken as error:
        raise PeerUnreachable(f"The {PEER}'s answer breaks off before its end.") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise PeerUnreachable(f"The {PEER} could not be reached ({type(error).__name__}).") from error


def _status(error: requests.HTTPError) -> int:
    return error.response.status_code if error.response is not None else 0


def _of_status(status: int) -> GatewayError:
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotFound(f"The {PEER} answered {status}.")
    if may_change(status) and status != HTTPStatus.NOT_IMPLEMENTED:
        return PeerUnreachable(f"The {PEER} answered {status}.")
    return PeerRefused(f"The {PEER} refused with {status}.")


def _media_type(answer: requests.Response) -> Message:
    """Content-Type; raises PeerRefused where it is none that instances come in, such as a page to sign in."""
    told = Message()
    told["Content-Type"] = answer.headers.get("Content-Type", "")
    if told.get_content_type() not in ("multipart/related", "application/dicom"):
        raise PeerRefused(f"The {PEER} answered {answer.status_code} with something that is no DICOM.")
    return told


def _require_end(answer: requests.Response) -> None:
    """Of a body that ends with its connection nobody knows whether it came whole (RFC 9112 8); a multipart tells."""
    if not {"Content-Length", "Transfer-Encoding"} & {name.title() for name in answer.headers}:
        raise PeerRefused(f"The {PEER}'s answer does not say where it ends.")


def _take_single(chunks: Iterator[bytes], address: InstanceAddress, receiver: Receiver) -> None:
    with receiver.open_spool() as spool:
        for chunk in chunks:
            spool.write(chunk)
        receiver.take(address, spool)


def _take_first(address: InstanceAddress, receiver: Receiver, part: Part) -> None:
    """One instance was asked for; what else a peer adds is passed over."""
    if part.number == 1 and part.fault:
        raise BodyBroken(part.fault)
    if part.number == 1:
        receiver.take(address, part.spool)


def _addresses(found: Any) -> list[InstanceAddress]:
    """Of DICOM JSON objects; what has not both UIDs cannot be asked for."""
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    addresses = (InstanceAddress(_uid(item, _SERIES), _uid(item, _INSTANCE)) for item in items)
    return [a for a in addresses if is_uid(a.series_instance_uid) and is_uid(a.sop_instance_uid)]


def _uid(item: dict[str, Any], tag: str) -> str:
    """The single value of a UI attribute (PS3.18 F.2.2), '' where there is none."""
    element = item.get(tag)
    value = element.get("Value") if isinstance(element, dict) else None
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else ""
