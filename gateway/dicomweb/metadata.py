"""Retrieve Metadata (PS3.18 10.4, F): whole data sets; pixel data and large binary values by their address.

What metadata cannot show of a stored instance is told in Warning headers, so all of them are written before the answer
begins.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import BinaryIO, cast

from gateway.dicomweb import media_types
from gateway.dicomweb.media_types import DICOM_JSON, DICOM_XML
from gateway.dicomweb.payload import Part, Payload, multipart, read_all
from gateway.dicomweb.qido_rs import instance_url
from gateway.dicomweb.stored import opened
from gateway.dicomweb.warning import warning_headers
from gateway.errors import NotAcceptable
from gateway.store.objects import ObjectStore
from gateway.store.tables import InstanceRow
from mappings.dicom_metadata import MAX_HEADER_BYTES, MetadataWriter, Written
from mappings.native_xml import to_xml

_HELD_BYTES = 8 * 1024 * 1024  # the rest is in a temporary file


@dataclass
class _Told:
    """What is told beside the metadata. ``is_partial``: of an instance there is nothing but its UIDs."""

    words: list[str] = field(default_factory=list)
    is_partial: bool = False


def metadata(objects: ObjectStore, rows: Sequence[InstanceRow], base_url: str, accept: str) -> Payload:
    """As DICOM JSON, or each instance as a document of the Native DICOM Model. Raises NotAcceptable."""
    told = _Told()
    is_xml = media_types.json_or_xml(accept) == DICOM_XML
    texts = _texts(MetadataWriter(is_spelt=is_xml), objects, rows, base_url, told)
    if is_xml:
        written = multipart(_as_xml(texts), DICOM_XML)
        return _complete(written.content_type, written.chunks, told)
    return _complete(DICOM_JSON, _as_json(texts), told)


def _complete(content_type: str, chunks: Iterator[bytes], told: _Told) -> Payload:
    """206 where not every instance has a representation (PS3.18 Table 10.4.3-1)."""
    file = tempfile.SpooledTemporaryFile(_HELD_BYTES)  # noqa: SIM115 - closed when it has been read
    for chunk in chunks:
        file.write(chunk)
    size = file.tell()
    file.seek(0)
    warnings = ", ".join(value for _, value in warning_headers(told.words))
    status = HTTPStatus.PARTIAL_CONTENT if told.is_partial else HTTPStatus.OK
    headers = {"Warning": warnings} if warnings else {}
    return Payload(content_type, size, read_all(cast(BinaryIO, file)), headers, status)


def _as_json(texts: Iterator[str]) -> Iterator[bytes]:
    before = b"["
    for text in texts:
        yield before
        yield text.encode()
        before = b","
    yield b"]"


def _as_xml(texts: Iterator[str]) -> Iterator[Part]:
    for text in texts:
        document = to_xml(json.loads(text))
        yield Part(DICOM_XML, len(document), partial(iter, [document]))


def _texts(
    writer: MetadataWriter, objects: ObjectStore, rows: Sequence[InstanceRow], base_url: str, told: _Told
) -> Iterator[str]:
    for row in rows:
        written = _of_instance(writer, objects, row, base_url, told)
        why = [f"Stored damaged. {row.fault}"] if row.fault else []
        if written.left_out:
            why.append(f"Its metadata are not whole. {' '.join(dict.fromkeys(written.left_out))}")
        if why:
            told.words.append(f"{row.sop_instance_uid}: {' '.join(why)}")
        yield written.text


def _of_instance(
    writer: MetadataWriter, objects: ObjectStore, row: InstanceRow, base_url: str, told: _Told
) -> Written:
    bulk = f"{instance_url(base_url, row)}/bulkdata"
    try:
        with opened(objects, row, MAX_HEADER_BYTES) as layout:
            return writer.write(layout, lambda path: f"{bulk}/{path}")
    except NotAcceptable as error:  # it was readable when it came: identify it, at least
        told.is_partial = True
        uids = {"00080016": row.sop_class_uid, "00080018": row.sop_instance_uid}
        text = json.dumps({tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()})
        return Written(text, [str(error)])
