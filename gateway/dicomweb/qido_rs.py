"""QIDO-RS: Search transaction of the Studies service (PS3.18 10.6)."""

import json
import secrets
from collections.abc import Iterable, Iterator

from gateway.dicomweb import addresses
from gateway.dicomweb.media_types import DICOM_JSON, DICOM_XML, MULTIPART_RELATED
from gateway.store.imaging_search import InstanceFound, SeriesFound, StudyFound
from gateway.store.tables import InstanceRow
from gateway.workflow.imaging_find import Found
from gateway.workflow.imaging_matches import Json, element
from mappings.native_xml import to_xml

_CHUNK_BYTES = 64 * 1024


def answer(
    matches: Iterable[tuple[Found, Json]], media_type: str, base_url: str
) -> tuple[str, Iterator[bytes]]:
    """Content type and body of an answer that has matches.

    ``media_type`` is DICOM_JSON, one array, or DICOM_XML, a part for each match. ``base_url`` is where DICOMweb stands.
    """
    placed = (_placed(found, attributes, base_url) for found, attributes in matches)
    if media_type == DICOM_JSON:
        return DICOM_JSON, _in_chunks(_json(placed))
    boundary = secrets.token_hex(24)  # cannot occur in the parts: 192 random bits
    content_type = f'{MULTIPART_RELATED}; type="{DICOM_XML}"; boundary={boundary}'
    return content_type, _in_chunks(_xml(placed, boundary))


def warnings(found: Iterable[Found]) -> list[str]:
    """One for each study that holds instances of several patients (ADR 31)."""
    return [
        f"Study {study.study_instance_uid} holds instances of more than one patient; each is told with its own in a "
        "search of instances, and in its metadata."
        for study in map(_study_of, found)
        if study is not None and study.patient_count > 1
    ]


def _study_of(found: Found) -> StudyFound | None:
    match found:
        case StudyFound():
            return found
        case SeriesFound():
            return found.study
        case InstanceFound():
            return found.series.study
    return None


def _placed(found: Found, attributes: Json, base_url: str) -> Json:
    """With the Retrieve URL; ascending by tag (F.2.2)."""
    return dict(sorted((attributes | {"00081190": element("UR", _url(found, base_url))}).items()))


def _url(found: Found, base_url: str) -> str:
    match found:
        case StudyFound():
            return addresses.study_url(base_url, found.study_instance_uid)
        case SeriesFound():
            study = found.study.study_instance_uid
            return addresses.series_url(base_url, study, found.series_instance_uid)
        case InstanceFound():
            series = found.series
            study = series.study.study_instance_uid
            return addresses.instance_url(base_url, study, series.series_instance_uid, found.sop_instance_uid)
    return ""


def _json(matches: Iterable[Json]) -> Iterator[bytes]:
    separator = b"["
    for match in matches:
        yield separator + json.dumps(match, allow_nan=False).encode()
        separator = b","
    yield b"]"


def _xml(matches: Iterable[Json], boundary: str) -> Iterator[bytes]:
    head = f"\r\n--{boundary}\r\nContent-Type: {DICOM_XML}\r\n\r\n".encode()
    for match in matches:
        yield head + to_xml(match)
    yield f"\r\n--{boundary}--\r\n".encode()


def _in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What is sent at once is worth a packet."""
    chunk = bytearray()
    for piece in pieces:
        chunk += piece
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def instance_url(base_url: str, row: InstanceRow) -> str:
    series = row.series
    study = series.study.study_instance_uid
    return addresses.instance_url(base_url, study, series.series_instance_uid, row.sop_instance_uid)
