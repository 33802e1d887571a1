"""Retrieve Metadata (PS3.18 10.4, F): whole data sets; pixel data and large binary values by their address."""

import json
from collections.abc import Iterator, Sequence
from functools import partial

from gateway.dicomweb import media_types
from gateway.dicomweb.media_types import DICOM_JSON, DICOM_XML
from gateway.dicomweb.payload import CHUNK_BYTES, Part, Payload, multipart, primed
from gateway.dicomweb.qido_rs import instance_url
from gateway.dicomweb.stored import opened
from gateway.errors import NotAcceptable
from gateway.store.objects import ObjectStore
from gateway.store.tables import InstanceRow
from mappings.dicom_metadata import MAX_HEADER_BYTES, MetadataWriter
from mappings.native_xml import to_xml


def metadata(objects: ObjectStore, rows: Sequence[InstanceRow], base_url: str, accept: str) -> Payload:
    """As DICOM JSON, or each instance as a document of the Native DICOM Model. Raises NotAcceptable."""
    if media_types.json_or_xml(accept) == DICOM_XML:
        return multipart(_xml(objects, rows, base_url), DICOM_XML)
    return Payload(DICOM_JSON, None, primed(_in_chunks(_json(objects, rows, base_url))))


def _json(objects: ObjectStore, rows: Sequence[InstanceRow], base_url: str) -> Iterator[str]:
    writer = MetadataWriter()
    for index, row in enumerate(rows):
        yield "," if index else "["
        yield _of_instance(writer, objects, row, base_url)
    yield "]"


def _xml(objects: ObjectStore, rows: Sequence[InstanceRow], base_url: str) -> Iterator[Part]:
    writer = MetadataWriter()
    for row in rows:
        document = to_xml(json.loads(_of_instance(writer, objects, row, base_url)))
        yield Part(DICOM_XML, len(document), partial(iter, [document]))


def _in_chunks(texts: Iterator[str]) -> Iterator[bytes]:
    waiting: list[str] = []
    size = 0
    for text in texts:
        waiting.append(text)
        size += len(text)
        if size >= CHUNK_BYTES:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    yield "".join(waiting).encode()


def _of_instance(writer: MetadataWriter, objects: ObjectStore, row: InstanceRow, base_url: str) -> str:
    bulk = f"{instance_url(base_url, row)}/bulkdata"
    try:
        with opened(objects, row, MAX_HEADER_BYTES) as layout:
            return writer.write(layout, lambda path: f"{bulk}/{path}")
    except NotAcceptable:  # it was readable when it came: identify it, at least
        uids = {"00080016": row.sop_class_uid, "00080018": row.sop_instance_uid}
        return json.dumps({tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()})
