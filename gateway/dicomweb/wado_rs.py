"""WADO-RS: Retrieve transaction of the Studies service (PS3.18 10.4): the stored bytes, and metadata made from them."""

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from gateway.dicomweb import media_types
from gateway.dicomweb.media_types import DICOM, MULTIPART_RELATED, MediaType
from gateway.dicomweb.qido_rs import instance_url
from gateway.errors import NotAcceptable, NotDicom
from gateway.store.objects import ObjectStore
from gateway.store.tables import InstanceRow
from mappings.dicom_to_json import read_json

_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Payload:
    """A body to stream; ``size_bytes`` is None where it is not known before it is made."""

    content_type: str
    size_bytes: int | None
    chunks: Iterator[bytes]


def retrieve(objects: ObjectStore, rows: Sequence[InstanceRow], accept: str) -> Payload:
    """The instances byte for byte as they were stored.

    One instance is also given as a single part, to who asks for application/dicom. Raises NotAcceptable when what is
    wanted would need another encoding than the stored one.
    """
    for wanted in media_types.accepted(accept):
        if _transfer_syntax_fits(wanted, rows):
            if wanted.essence == DICOM and len(rows) == 1:
                return _single(objects, rows[0])
            if wanted.covers(MULTIPART_RELATED) and wanted.parameter("type").lower() in ("", "*/*", DICOM):
                return _multipart(objects, rows)
    raise NotAcceptable(_refusal(rows))


def _transfer_syntax_fits(wanted: MediaType, rows: Sequence[InstanceRow]) -> bool:
    """Without the parameter, what is stored is taken to fit (8.7.3.5.2 would have it transcoded)."""
    syntax = wanted.parameter("transfer-syntax")
    return syntax in ("", "*") or all(row.transfer_syntax_uid == syntax for row in rows)


def _refusal(rows: Sequence[InstanceRow]) -> str:
    stored = ", ".join(sorted({row.transfer_syntax_uid for row in rows}))
    return (
        f'Instances are given as multipart/related; type="{DICOM}", and one alone also as {DICOM}, in the transfer '
        f"syntax in which they were stored ({stored}): ask for transfer-syntax=* or for that one."
    )


def _instance_type(row: InstanceRow) -> str:
    return f"{DICOM}; transfer-syntax={row.transfer_syntax_uid}"


def _single(objects: ObjectStore, row: InstanceRow) -> Payload:
    return Payload(_instance_type(row), row.size_bytes, _read(objects.open(row.object_key)))


def _multipart(objects: ObjectStore, rows: Sequence[InstanceRow]) -> Payload:
    boundary = secrets.token_hex(24)  # cannot occur in the files: 192 random bits
    heads = [_part_head(boundary, row) for row in rows]
    tail = f"\r\n--{boundary}--\r\n".encode()
    size = sum(len(head) + row.size_bytes for head, row in zip(heads, rows, strict=True)) + len(tail)
    first = objects.open(rows[0].object_key)  # what is not there is an error before the answer has begun
    content_type = f'{MULTIPART_RELATED}; type="{DICOM}"; boundary={boundary}'
    return Payload(content_type, size, _parts(objects, rows, heads, tail, first))


def _part_head(boundary: str, row: InstanceRow) -> bytes:
    return f"\r\n--{boundary}\r\nContent-Type: {_instance_type(row)}\r\n\r\n".encode()


def _parts(
    objects: ObjectStore, rows: Sequence[InstanceRow], heads: list[bytes], tail: bytes, first: BinaryIO
) -> Iterator[bytes]:
    for index, row in enumerate(rows):
        yield heads[index]
        yield from _read(first if index == 0 else objects.open(row.object_key))
    yield tail


def _read(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def metadata(objects: ObjectStore, rows: Sequence[InstanceRow], base_url: str) -> Payload:
    """Every instance's whole data set as DICOM JSON; pixel data and large binary values by their address (F.2.6)."""
    return Payload(media_types.DICOM_JSON, None, _metadata(objects, rows, base_url))


def _metadata(objects: ObjectStore, rows: Sequence[InstanceRow], base_url: str) -> Iterator[bytes]:
    for index, row in enumerate(rows):
        yield b"," if index else b"["
        yield _instance_metadata(objects, row, base_url)
    yield b"]"


def _instance_metadata(objects: ObjectStore, row: InstanceRow, base_url: str) -> bytes:
    bulk = f"{instance_url(base_url, row)}/bulkdata"
    with objects.open(row.object_key) as file:
        try:
            found = read_json(file, lambda path: f"{bulk}/{path}")
        except NotDicom:  # it was readable when it came: identify it, at least
            found = {
                "00080016": {"vr": "UI", "Value": [row.sop_class_uid]},
                "00080018": {"vr": "UI", "Value": [row.sop_instance_uid]},
            }
    return json.dumps(found, allow_nan=False).encode()
