"""A PACS that speaks DICOMweb to a running gateway, byte by byte where a client library would be too polite."""

import secrets
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from io import BytesIO
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from mappings.dicom_to_header import read_header
from tests.support.dicom_files import multipart, related
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

FAILED, STORED = "00081198", "00081199"
TIMEOUT_SECONDS = 60


def with_own_uid(content: bytes) -> bytes:
    """The file under a SOP Instance UID that nobody used, not one other byte changed before it is deflated."""
    header = read_header(BytesIO(content), "")
    uid = header.sop_instance_uid
    own = uid[:-6] + str(secrets.randbelow(900_000) + 100_000)
    if header.transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return content.replace(uid.encode(), own.encode())
    meta, data_set = content[: header.dataset_offset], content[header.dataset_offset :]
    inflated = zlib.decompress(data_set, -zlib.MAX_WBITS).replace(uid.encode(), own.encode())
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return meta.replace(uid.encode(), own.encode()) + deflater.compress(inflated) + deflater.flush()


class Pacs:
    def __init__(self, gateway: GatewayProcess, partner: Partner) -> None:
        self.url = gateway.dicomweb_url
        self.partner = partner

    def post(
        self,
        body: bytes | Iterator[bytes],
        content_type: str = related(),
        path: str = "/studies",
        **headers: str,
    ) -> requests.Response:
        """POST the body as it is."""
        sent = self.partner.headers() | {"Content-Type": content_type} | headers
        return requests.post(f"{self.url}{path}", data=body, headers=sent, timeout=TIMEOUT_SECONDS)

    def store(self, *files: bytes, study: str = "") -> requests.Response:
        return self.post(multipart(files), path=f"/studies/{study}" if study else "/studies")

    def get(
        self, path: str, wanted: str = "", headers: dict[str, str] | None = None, **parameters: Any
    ) -> requests.Response:
        headers = self.partner.headers() | ({"Accept": wanted} if wanted else {}) | (headers or {})
        return requests.get(f"{self.url}{path}", params=parameters, headers=headers, timeout=TIMEOUT_SECONDS)

    def client(self) -> DICOMwebClient:
        """The library that most Python users have."""
        return DICOMwebClient(self.url, headers=self.partner.headers())


def parts_of(answer: requests.Response) -> list[tuple[str, bytes]]:
    """Content-Type and bytes of each part, found by the boundary alone."""
    assert answer.status_code == 200, answer.text
    return [(headers["Content-Type"], content) for headers, content in parts_with_headers(answer)]


def parts_with_headers(answer: requests.Response) -> list[tuple[dict[str, str], bytes]]:
    boundary = answer.headers["Content-Type"].split("boundary=")[1].encode()
    pieces = answer.content.split(b"\r\n--" + boundary)
    assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
    found = [piece.removeprefix(b"\r\n").split(b"\r\n\r\n", 1) for piece in pieces[1:-1]]
    return [
        (dict(line.split(": ", 1) for line in head.decode().splitlines()), content) for head, content in found
    ]


def items(answer: requests.Response, sequence: str) -> list[dict[str, Any]]:
    """The items of a sequence of the answer."""
    found: list[dict[str, Any]] = answer.json().get(sequence, {}).get("Value", [])
    return found


def value(item: dict[str, Any], tag: str) -> Any:
    """The first value of an attribute, or None."""
    return item[tag].get("Value", [None])[0]


def values(found: Iterable[dict[str, Any]], tag: str) -> list[Any]:
    return [value(one, tag) for one in found]


def instance_path(ds: Dataset) -> str:
    return f"{series_path(ds)}/instances/{ds.SOPInstanceUID}"


def series_path(ds: Dataset) -> str:
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"


def audit_rows(gateway: GatewayProcess, *channels: str) -> list[tuple[str, str, str, str, str]]:
    """What the DICOMweb door wrote, oldest first; by default of WADO-RS and QIDO-RS."""
    wanted = channels or ("wado-rs", "qido-rs")
    marks = ", ".join("?" for _ in wanted)
    query = (
        f"SELECT actor, action, subject, channel, detail FROM audit WHERE channel IN ({marks}) ORDER BY id"
    )
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite")) as database:
        return database.execute(query, wanted).fetchall()
