"""STOW-RS of metadata and bulk data in parts of their own (PS3.18 10.5.1.4): the file that is made is the one meant."""

import base64
import json
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import pytest
import requests
from pydicom import dcmread
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from mappings.native_xml import to_xml
from tests.support.dicom_files import BOUNDARY, encode, make_dataset, related
from tests.support.dicomweb import FAILED, STORED, Pacs, instance_path, items, value, values
from tests.support.dimse import Archive
from tests.support.gateway_process import GatewayProcess
from tests.support.metadata import to_json
from tests.support.partner import Partner

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about odd values

OTHERS = "0008119A"
JSON, XML = "application/dicom+json", "application/dicom+xml"
PIXELS = "7FE00010"


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


def part(content: bytes, content_type: str, location: str = "") -> bytes:
    place = f"Content-Location: {location}\r\n" if location else ""
    head = f"--{BOUNDARY}\r\nContent-Type: {content_type}\r\n{place}\r\n"
    return head.encode() + content + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def metadata_of(ds: Dataset, location: str = "bulk/1") -> dict[str, Any]:
    """Everything but the pixels, which are elsewhere."""
    found = to_json(ds, lambda path: f"{location}/{path}")
    if PIXELS in found:
        found[PIXELS] = {"vr": found[PIXELS]["vr"], "BulkDataURI": location}
    return found


def as_json(*data_sets: dict[str, Any]) -> bytes:
    return part(json.dumps(data_sets).encode(), JSON)


def send(pacs: Pacs, *parts: bytes, kind: str = JSON, **headers: str) -> requests.Response:
    return pacs.post(body(*parts), related(kind), **headers)


def stored(pacs: Pacs, ds: Dataset) -> Dataset:
    """What is given back of an instance."""
    answer = pacs.get(instance_path(ds), "application/dicom; transfer-syntax=*")
    assert answer.status_code == 200, answer.text
    return dcmread(BytesIO(answer.content))


def with_own_uids(ds: Dataset) -> Dataset:
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = (generate_uid() for _ in range(3))
    return ds


def real(name: str) -> Dataset:
    return with_own_uids(dcmread(get_testdata_file(name)))


def one_frame(ds: Dataset) -> bytes:
    return next(generate_frames(ds.PixelData, number_of_frames=1))


@pytest.mark.parametrize("kind", [JSON, XML])
def test_an_instance_is_made_of_metadata_and_its_pixels(pacs, kind):
    made = make_dataset(
        SliceThickness="1.50", PatientComments="läßt\r\ngrüßen", SpecificCharacterSet="ISO_IR 100"
    )
    ds = dcmread(BytesIO(encode(made)))
    document = as_json(metadata_of(ds)) if kind == JSON else part(to_xml(metadata_of(ds)), XML)
    answer = send(pacs, document, part(ds.PixelData, "application/octet-stream", "bulk/1"), kind=kind)
    assert answer.status_code == 200, answer.text
    assert values(items(answer, STORED), "00081155") == [ds.SOPInstanceUID]
    found = stored(pacs, ds)
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert comparable(to_json(found)) == comparable(to_json(ds))
    assert (found.SliceThickness.original_string, found.PixelData) == ("1.5", ds.PixelData)


@pytest.mark.parametrize("kind", [JSON, XML])
@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "test-SR.dcm", "reportsi.dcm"]
)
def test_real_data_sets_come_back_with_every_value(pacs, name, kind):
    ds = real(name)
    document = as_json(metadata_of(ds)) if kind == JSON else part(to_xml(metadata_of(ds)), XML)
    pixels = [part(ds.PixelData, "application/octet-stream", "bulk/1")] if "PixelData" in ds else []
    bulk = [
        part(bytes(element.value), "application/octet-stream", f"bulk/1/{element.tag:08X}")
        for element in ds
        if element.tag != 0x7FE00010 and isinstance(element.value, bytes) and len(element.value) > 1024
    ]
    answer = send(pacs, document, *pixels, *bulk, kind=kind)
    assert answer.status_code == 200, answer.text
    told, expected = (comparable(to_json(found)) for found in (stored(pacs, ds), ds))
    assert told == expected
    if pixels:
        assert stored(pacs, ds).PixelData == ds.PixelData


def comparable(found: dict[str, Any]) -> dict[str, Any]:
    return {tag: element for tag, element in found.items() if tag != "00080005"}


@pytest.mark.parametrize("name", ["chrH31.dcm", "chrI2.dcm", "chrX2.dcm"])
def test_names_in_every_script_are_stored_in_utf8(pacs, name):
    ds = make_dataset()
    metadata = metadata_of(ds)
    metadata["00100010"] = to_json(dcmread(get_charset_files(name)[0]))["00100010"]
    answer = send(pacs, as_json(metadata), part(ds.PixelData, "application/octet-stream", "bulk/1"))
    assert answer.status_code == 200
    assert to_json(stored(pacs, ds))["00100010"] == metadata["00100010"]


@pytest.mark.parametrize(
    ("name", "content_type", "syntax"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", "image/jpeg", "1.2.840.10008.1.2.4.50"),
        ("SC_rgb_jpeg_gdcm.dcm", "image/jpeg", "1.2.840.10008.1.2.4.70"),
        ("JPEG-lossy.dcm", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.51"),
        ("MR_small_jpeg_ls_lossless.dcm", "image/jls", "1.2.840.10008.1.2.4.80"),
        ("JPEG2000.dcm", "image/jp2", "1.2.840.10008.1.2.4.91"),
        ("MR_small_jp2klossless.dcm", "image/jp2", "1.2.840.10008.1.2.4.90"),
        (
            "MR_small_jp2klossless.dcm",
            "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.91",
            "1.2.840.10008.1.2.4.91",
        ),
        ("MR_small_RLE.dcm", "image/dicom-rle", "1.2.840.10008.1.2.5"),
    ],
)
def test_compressed_pixels_are_encapsulated_in_the_transfer_syntax_that_they_are_of(
    pacs, name, content_type, syntax
):
    ds = real(name)
    frame = one_frame(ds)
    answer = send(pacs, as_json(metadata_of(ds)), part(frame, content_type, "bulk/1"))
    assert answer.status_code == 200, answer.text
    found = stored(pacs, ds)
    assert found.file_meta.TransferSyntaxUID == syntax
    assert one_frame(found).rstrip(b"\0") == frame.rstrip(b"\0")
    assert found["PixelData"].VR == "OB"


@pytest.mark.parametrize("as_frames", [True, False])
def test_frames_of_a_multi_frame_image_are_parts_in_their_order(pacs, as_frames):
    ds = real("examples_ybr_color.dcm")
    frames = list(generate_frames(ds.PixelData, number_of_frames=ds.NumberOfFrames))
    assert len(frames) == 30
    parts = [
        part(frame, "image/jpeg", f"bulk/1/frames/{number}" if as_frames else "bulk/1")
        for number, frame in enumerate(frames, start=1)
    ]
    answer = send(pacs, as_json(metadata_of(ds)), *(reversed(parts) if as_frames else parts))
    assert answer.status_code == 200, answer.text
    found = stored(pacs, ds)
    given = generate_frames(found.PixelData, number_of_frames=30)
    assert [frame.rstrip(b"\0") for frame in given] == [frame.rstrip(b"\0") for frame in frames]
    assert found.pixel_array.shape == ds.pixel_array.shape


@pytest.mark.parametrize("as_frames", [True, False])
def test_uncompressed_frames_may_be_parts_too(pacs, as_frames):
    frames = [bytes([number]) * 15 for number in (1, 2, 3)]
    ds = make_dataset(Rows=3, Columns=5, BitsAllocated=8, BitsStored=8, HighBit=7, NumberOfFrames=3)
    parts = [
        part(frame, "application/octet-stream", f"bulk/1/frames/{number}" if as_frames else "bulk/1")
        for number, frame in enumerate(frames, start=1)
    ]
    answer = send(pacs, as_json(metadata_of(ds)), *(reversed(parts) if as_frames else parts))
    assert answer.status_code == 200, answer.text
    assert stored(pacs, ds).PixelData == b"".join(frames) + b"\0"
    given = pacs.get(f"{instance_path(ds)}/frames/2", "application/octet-stream")
    assert frames[1] in given.content
    words = failure(send(pacs, as_json(metadata_of(ds)), *parts[:2]))[1]
    assert "There are 2 frames, and NumberOfFrames (0028,0008) says otherwise" in words


def test_a_jp2_file_is_stored_without_its_boxes(pacs):
    ds = real("MR_small_jp2klossless.dcm")
    stream = one_frame(ds)
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
    jp2 = boxes + (len(stream) + 8).to_bytes(4, "big") + b"jp2c" + stream
    answer = send(pacs, as_json(metadata_of(ds)), part(jp2, "image/jp2", "bulk/1"))
    assert answer.status_code == 200, answer.text
    assert one_frame(stored(pacs, ds)) == stream


def test_what_describes_the_pixels_may_be_left_out_and_is_read_from_the_image(pacs):
    ds = real("SC_rgb_jpeg_dcmtk.dcm")
    metadata = metadata_of(ds)
    described = {tag: metadata.pop(tag) for tag in list(metadata) if tag[:4] == "0028" and tag < "00280104"}
    assert {"00280010", "00280011", "00280100"} <= described.keys()
    assert send(pacs, as_json(metadata), part(one_frame(ds), "image/jpeg", "bulk/1")).status_code == 200
    found = stored(pacs, ds)
    assert (found.Rows, found.Columns, found.SamplesPerPixel) == (ds.Rows, ds.Columns, ds.SamplesPerPixel)
    assert (found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation) == (8, 8, 7, 0)
    assert found.pixel_array.shape == (ds.Rows, ds.Columns, 3)


def test_a_document_is_taken_in_its_own_media_type(pacs):
    ds = make_dataset(PixelData=None, Rows=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", Modality="DOC")
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    metadata = metadata_of(ds) | {"00420011": {"vr": "OB", "BulkDataURI": "https://pacs.example/doc"}}
    answer = send(
        pacs, as_json(metadata), part(b"%PDF-1.7 odd", "application/pdf", "https://pacs.example/doc")
    )
    assert answer.status_code == 200, answer.text
    assert stored(pacs, ds).EncapsulatedDocument == b"%PDF-1.7 odd"


def test_binary_values_may_be_inline_and_pixels_nested(pacs):
    ds = make_dataset()
    metadata = metadata_of(ds)
    metadata[PIXELS] = {"vr": "OB", "InlineBinary": base64.b64encode(ds.PixelData).decode()}
    icon = {"7FE00010": {"vr": "OW", "BulkDataURI": "icon"}}
    metadata["00880200"] = {"vr": "SQ", "Value": [icon]}
    answer = send(pacs, as_json(metadata), part(b"icon", "application/octet-stream", "icon"))
    assert answer.status_code == 200, answer.text
    found = stored(pacs, ds)
    assert (found.PixelData, found.IconImageSequence[0].PixelData) == (ds.PixelData, b"icon")


def test_several_data_sets_and_a_broken_one_are_stored_and_told_one_by_one(pacs):
    study = generate_uid()
    good, bad, last = (make_dataset(StudyInstanceUID=study) for _ in range(3))
    broken = metadata_of(bad, "bulk/2") | {"00280010": {"vr": "US", "Value": ["many"]}}
    pixels = [
        part(ds.PixelData, "application/octet-stream", f"bulk/{n}")
        for n, ds in enumerate((good, bad, last), 1)
    ]
    answer = send(pacs, as_json(metadata_of(good, "bulk/1"), broken, metadata_of(last, "bulk/3")), *pixels)
    assert answer.status_code == 202
    assert values(items(answer, STORED), "00081155") == [good.SOPInstanceUID, last.SOPInstanceUID]
    (failed,) = items(answer, FAILED)
    assert (value(failed, "00081155"), value(failed, "00081197")) == (bad.SOPInstanceUID, 0xC000)
    assert value(failed, "0040A160").startswith("Part 1, data set 2: A value of (0028,0010)")
    assert pacs.get(instance_path(bad)).status_code == 404


def test_each_xml_part_is_an_instance(pacs):
    datasets = [make_dataset() for _ in range(2)]
    documents = [part(to_xml(metadata_of(ds, f"b{n}")), XML) for n, ds in enumerate(datasets)]
    pixels = [part(ds.PixelData, "application/octet-stream", f"b{n}") for n, ds in enumerate(datasets)]
    answer = send(pacs, *documents, *pixels, kind=XML)
    assert values(items(answer, STORED), "00081155") == [ds.SOPInstanceUID for ds in datasets]


def failure(answer: requests.Response) -> tuple[int, str]:
    assert answer.status_code == 409, answer.text
    (failed,) = items(answer, FAILED)
    return value(failed, "00081197"), value(failed, "0040A160")


@pytest.mark.parametrize(
    ("changed", "parts", "words"),
    [
        ({}, [], "of which there is no part with that Content-Location"),
        ({"00080018": {"vr": "UI"}}, None, "has no SOPInstanceUID"),
        (
            {"00100020": {"vr": "LO", "Value": [5]}},
            None,
            "A value of (0010,0020) is not what its vr LO can hold",
        ),
        ({"00100020": {"vr": "XX", "Value": ["a"]}}, None, "(0010,0020) has no vr, or one that PS3.5"),
        ({"PatientID": {"vr": "LO"}}, None, "not named by eight hexadecimal digits"),
        ({"00100020": {"vr": "LO", "Value": ["a\\b"]}}, None, "A value of (0010,0020)"),
        ({"00282000": {"vr": "OB", "InlineBinary": "%%%"}}, None, "is not base64"),
        ({"00280008": {"vr": "IS", "Value": [2]}}, ["image/jpeg"], "neither JPEG"),
        ({}, ["image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"], "neither JPEG"),
        ({"00280010": {"vr": "US", "Value": [999]}}, None, "(7FE0,0010) needs"),
        ({"00091001": {"vr": "OD", "InlineBinary": "YWJj"}}, None, "no whole values of its vr OD"),
        ({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "A=B"}]}}, None, "A value of (0010,0010)"),
    ],
)
def test_metadata_that_cannot_be_written_as_it_says_is_refused_in_words(pacs, changed, parts, words):
    ds = make_dataset()
    bulk = (
        [part(ds.PixelData, kind, "bulk/1") for kind in parts or ["application/octet-stream"]]
        if parts != []
        else []
    )
    answer = send(pacs, as_json(metadata_of(ds) | changed), *bulk)
    assert answer.status_code == 409
    told = items(answer, FAILED) + items(answer, OTHERS)
    assert words in value(told[0], "0040A160")
    assert pacs.get(f"/studies/{ds.StudyInstanceUID}/metadata").status_code == 404


def test_pixels_that_contradict_the_metadata_are_refused(pacs):
    ds = real("SC_rgb_jpeg_dcmtk.dcm")
    frame, metadata = one_frame(ds), metadata_of(ds)
    rows = metadata | {"00280010": {"vr": "US", "Value": [ds.Rows + 1]}}
    assert failure(send(pacs, as_json(rows), part(frame, "image/jpeg", "bulk/1")))[1].endswith(
        "(0028,0010) of the metadata differs from the compressed image."
    )
    lossless = "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.70"
    assert (
        "not of the transfer syntax that is named"
        in failure(send(pacs, as_json(metadata), part(frame, lossless, "bulk/1")))[1]
    )
    for tag, told, words in [
        ("00280004", {"vr": "CS", "Value": ["RGB"]}, "differs from the compressed image, which is YBR_FULL"),
        ("00280004", {"vr": "CS", "Value": ["MONOCHROME2"]}, "differs from the compressed image"),
        ("00280100", {"vr": "US", "Value": [4]}, "has no room for the 8 bits"),
    ]:
        changed = as_json(metadata | {tag: told})
        assert words in failure(send(pacs, changed, part(frame, "image/jpeg", "bulk/1")))[1]
    two = [part(frame, "image/jpeg", "bulk/1")] * 2
    assert "There are 2 frames" in failure(send(pacs, as_json(metadata), *two))[1]


def test_pixels_in_a_media_type_that_is_not_taken_are_refused_by_their_own_reason(pacs):
    ds = make_dataset()
    code, words = failure(send(pacs, as_json(metadata_of(ds)), part(b"GIF89a", "image/gif", "bulk/1")))
    assert (code, words) == (0xC122, "Part 1: Pixel data are not taken as image/gif.")


def test_an_instance_of_another_study_than_the_addressed_is_refused(pacs):
    ds = make_dataset()
    parts = as_json(metadata_of(ds)), part(ds.PixelData, "application/octet-stream", "bulk/1")
    answer = pacs.post(body(*parts), related(JSON), path=f"/studies/{generate_uid()}")
    assert failure(answer)[0] == 0xA900


def test_bulk_data_that_nothing_refers_to_is_told_beside_what_is_stored(pacs):
    ds = make_dataset()
    stray = part(b"x", "application/octet-stream", "elsewhere")
    answer = send(
        pacs, as_json(metadata_of(ds)), part(ds.PixelData, "application/octet-stream", "bulk/1"), stray
    )
    assert answer.status_code == 202
    assert len(items(answer, STORED)) == 1
    assert values(items(answer, OTHERS), "0040A160") == ["Part 3 is bulk data to which no metadata refers."]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([part(b"{", JSON)], "not JSON"),
        ([part(b"[]", JSON)], "has no data set"),
        ([part(b"[" * 100_000, JSON)], "nested too deep"),
        ([part(b'{"00100020": {}, "00100020": {}}', JSON)], "says something twice"),
        ([part(b"<a/>", XML)], "NativeDicomModel must be"),
        ([part(b"<!DOCTYPE a><a/>", XML)], "document type"),
        ([part(b"[3]", JSON)], "not a JSON object"),
    ],
)
def test_metadata_that_cannot_be_read_is_told(pacs, parts, words):
    answer = send(pacs, *parts)
    assert answer.status_code == 409
    assert words in values(items(answer, OTHERS), "0040A160")[0]
    assert FAILED not in answer.json()


def test_a_body_without_metadata_is_a_bad_request(pacs):
    answer = send(pacs, part(b"x", "application/octet-stream", "bulk/1"))
    assert answer.status_code == 400
    assert "No part of the body is metadata." in values(items(answer, OTHERS), "0040A160")


def test_what_is_complete_of_a_body_without_its_end_is_stored_and_reported(pacs):
    first, second = make_dataset(), make_dataset()
    whole = body(
        as_json(metadata_of(first, "b1"), metadata_of(second, "b2")),
        part(first.PixelData, "application/octet-stream", "b1"),
        part(second.PixelData, "application/octet-stream", "b2"),
    )
    answer = pacs.post(whole[:-60], related(JSON))
    assert answer.status_code == 400
    assert values(items(answer, STORED), "00081155") == [first.SOPInstanceUID]
    assert values(items(answer, FAILED), "00081155") == [second.SOPInstanceUID]


def test_the_request_is_kept_as_it_came_beside_the_file_that_was_made(gateway, pacs):
    ds = make_dataset()
    sent = body(as_json(metadata_of(ds)), part(ds.PixelData, "application/octet-stream", "bulk/1"))
    for _ in range(2):  # the same again is the same instance
        answer = pacs.post(sent, related(JSON))
        assert answer.status_code == 200
        assert values(items(answer, STORED), "00081155") == [ds.SOPInstanceUID]
    archive = Archive(gateway)
    assert len(archive.instances(ds.SOPInstanceUID)) == 1
    kept = [archive.object(row.object_key) for row in archive.receipts(related(JSON))]
    assert sent in kept
    refused = as_json(metadata_of(ds) | {"00100020": {"vr": "nix"}})
    pacs.post(body(refused), related(JSON))
    assert body(refused) in [
        archive.object(row.object_key) for row in archive.receipts(related(JSON), "refused")
    ]
    assert archive.incoming() == []


def test_metadata_of_another_hospital_is_its_own(gateway, pacs, other_partner):
    ds = make_dataset()
    sent = body(as_json(metadata_of(ds)), part(ds.PixelData, "application/octet-stream", "bulk/1"))
    assert Pacs(gateway, other_partner).post(sent, related(JSON)).status_code == 200
    assert pacs.get(instance_path(ds)).status_code == 404


def chunked(content: bytes) -> Iterable[bytes]:
    return (content[start : start + 500] for start in range(0, len(content), 500))


def test_a_chunked_body_with_odd_headers_is_taken(pacs):
    ds = make_dataset()
    pixels = base64.encodebytes(ds.PixelData)
    odd = f"--{BOUNDARY}\r\ncontent-LOCATION: bulk/1\r\nCONTENT-transfer-encoding: BASE64\r\n\r\n".encode()
    sent = body(as_json(metadata_of(ds)), odd + pixels + b"\r\n")
    content_type = f'Multipart/Related; BOUNDARY="{BOUNDARY}"; Type="Application/DICOM+JSON"'
    assert pacs.post(chunked(sent), content_type).status_code == 200
    assert stored(pacs, ds).PixelData == ds.PixelData
