"""WADO-RS metadata and bulk data (PS3.18 10.4, F): the whole data set, and every address in it leads to its value."""

import base64
import json
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from dicomweb_client.uri import URI
from pydicom import dcmread
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from mappings.native_xml import from_xml
from tests.support.dicom_files import encode, make_dataset, real_files
from tests.support.dicomweb import (
    Pacs,
    instance_path,
    parts_of,
    parts_with_headers,
    series_path,
    value,
    values,
    with_own_uid,
)
from tests.support.dimse import Archive
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

OCTETS = "application/octet-stream"
PARTS = f'multipart/related; type="{OCTETS}"'


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


@pytest.fixture
def study(pacs: Pacs) -> list[Dataset]:
    """A stored study of two series, three instances."""
    first = make_dataset(SeriesNumber=1, InstanceNumber=1)
    second = make_dataset(
        StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=first.SeriesInstanceUID, InstanceNumber=2
    )
    third = make_dataset(StudyInstanceUID=first.StudyInstanceUID, SeriesNumber=2)
    datasets = [first, second, third]
    assert pacs.store(*map(encode, datasets)).status_code == 200
    return datasets


def test_metadata_is_the_whole_data_set_with_addresses_for_bulk_data(pacs, study):
    address = instance_path(study[0])
    answer = pacs.get(f"{address}/metadata", "application/dicom+json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/dicom+json"
    (found,) = answer.json()
    assert value(found, "00080018") == study[0].SOPInstanceUID
    assert value(found, "00280010") == 4
    assert found["7FE00010"]["BulkDataURI"] == f"{pacs.url}{address}/bulkdata/7FE00010"
    uri = URI.from_string(found["7FE00010"]["BulkDataURI"].removesuffix("/bulkdata/7FE00010"))
    assert uri.sop_instance_uid == study[0].SOPInstanceUID


def test_metadata_is_given_of_study_and_series(pacs, study):
    whole = pacs.get(f"/studies/{study[0].StudyInstanceUID}/metadata").json()
    assert values(whole, "00080018") == [ds.SOPInstanceUID for ds in study]
    assert len(pacs.get(f"{series_path(study[0])}/metadata").json()) == 2


def test_metadata_names_have_every_script_in_utf8(pacs):
    content = with_own_uid(Path(get_charset_files("chrH31.dcm")[0]).read_bytes())
    pacs.store(content)
    (found,) = pacs.get(f"{instance_path(dcmread(BytesIO(content)))}/metadata").json()
    assert value(found, "00100010") == {
        "Alphabetic": "Yamada^Tarou",
        "Ideographic": "山田^太郎",
        "Phonetic": "やまだ^たろう",
    }
    assert value(found, "00080005") == "ISO_IR 192"


def test_metadata_as_xml_says_what_json_says(pacs, study):
    address = f"/studies/{study[0].StudyInstanceUID}/metadata"
    parts = parts_of(pacs.get(address, 'multipart/related; type="application/dicom+xml"'))
    assert {kind for kind, _ in parts} == {"application/dicom+xml"}
    assert [from_xml(document) for _, document in parts] == pacs.get(address).json()


def test_xml_keeps_how_numbers_are_written(pacs):
    ds = make_dataset(ImageComments="  lead\r\n")
    ds.ImagePositionPatient = ["1E2", "1.50", "-0.0"]
    ds.AcquisitionNumber = "+7"
    ds.WindowCenter = ["40", "", "1.10"]
    file = encode(ds)
    assert b"1E2\\1.50\\-0.0" in file
    pacs.store(file)
    answer = pacs.get(f"{instance_path(ds)}/metadata", KINDS[1])
    ((_, document),) = parts_of(answer)
    for text in ("1E2", "1.50", "-0.0", "+7", "40", "1.10"):
        assert f">{text}</Value>".encode() in document
    (told,) = pacs.get(f"{instance_path(ds)}/metadata", KINDS[0]).json()
    assert told["00200032"]["Value"] == [100, 1.5, 0]
    assert told["00281050"]["Value"] == [40, None, 1.1]
    assert told["00204000"]["Value"] == ["  lead\r\n"]


def test_metadata_of_another_kind_is_refused(pacs, study):
    assert pacs.get(f"{instance_path(study[0])}/metadata", "text/html").status_code == 406


def sequences(depth: int, *, is_defined: bool) -> bytes:
    """Content Sequences in one another, with Code Value in the last."""
    content = struct.pack("<HH2sH", 0x0008, 0x0100, b"SH", 4) + b"LEAF"
    for _ in range(depth):
        item_length = len(content) if is_defined else 0xFFFFFFFF
        item = struct.pack("<HHI", 0xFFFE, 0xE000, item_length) + content
        item += b"" if is_defined else struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        length = len(item) if is_defined else 0xFFFFFFFF
        content = struct.pack("<HH2s2xI", 0x0040, 0xA730, b"SQ", length) + item
        content += b"" if is_defined else struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return content


KINDS = ["application/dicom+json", 'multipart/related; type="application/dicom+xml"']


def documents(answer: requests.Response) -> list[dict[str, Any]]:
    if answer.headers["Content-Type"] == KINDS[0]:
        return answer.json()
    return [from_xml(document) for _, document in parts_of(answer)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_defined", [False, True])
def test_what_is_nested_too_deep_is_told_and_the_rest_is_given(pacs, kind, is_defined):
    ds = make_dataset()
    file = encode(ds)
    pixels = file.index(b"\xe0\x7f\x10\x00")
    pacs.store(file[:pixels] + sequences(70, is_defined=is_defined) + file[pixels:])
    for path in (instance_path(ds), series_path(ds), f"/studies/{ds.StudyInstanceUID}"):
        answer = pacs.get(f"{path}/metadata", kind)
        assert answer.status_code == 200
        (found,) = documents(answer)
        assert "BulkDataURI" in found["7FE00010"]
        assert found["0040A730"]["vr"] == "SQ"
        assert "LEAF" not in str(found)
        assert answer.headers["Warning"].startswith(f'299 second-opinion-gateway "{ds.SOPInstanceUID}: ')
        assert "(0040,A730) has sequences nested deeper than 64." in answer.headers["Warning"]
    frame = pacs.get(f"{instance_path(ds)}/frames/1", PARTS)
    assert [content for _, content in parts_of(frame)] == [ds.PixelData]


@pytest.mark.parametrize("is_defined", [False, True])
def test_sequences_nested_as_deep_as_metadata_show_are_whole(pacs, is_defined):
    ds = make_dataset()
    file = encode(ds)
    pixels = file.index(b"\xe0\x7f\x10\x00")
    assert pacs.store(file[:pixels] + sequences(64, is_defined=is_defined) + file[pixels:]).status_code == 200
    answer = pacs.get(f"{instance_path(ds)}/metadata")
    assert "LEAF" in answer.text
    assert "Warning" not in answer.headers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MR_truncated.dcm", "Stored damaged. The file ends early: element (7FE0,0010)"),
        (
            "rtplan_truncated.dcm",
            "What stands behind (300A,0070) cannot be read. Element (300A,00B0) ends after",
        ),
    ],
)
def test_metadata_of_a_file_that_ends_early_tell_so(pacs, kind, name, words):
    content = with_own_uid(Path(get_testdata_file(name)).read_bytes())
    ds = dcmread(BytesIO(content))
    pacs.store(content)
    answer = pacs.get(f"{instance_path(ds)}/metadata", kind)
    assert answer.status_code == 200
    assert words in answer.headers["Warning"]
    assert value(documents(answer)[0], "00080018") == ds.SOPInstanceUID


def test_each_damaged_instance_of_a_study_is_told_once(pacs, study):
    cut = make_dataset(StudyInstanceUID=study[0].StudyInstanceUID)
    pacs.store(encode(cut)[:-5])
    answer = pacs.get(f"/studies/{cut.StudyInstanceUID}/metadata")
    assert len(answer.json()) == 4
    assert answer.headers["Warning"].count("299 ") == 1
    assert cut.SOPInstanceUID in answer.headers["Warning"]


def test_an_instance_of_which_only_its_uids_can_be_given_makes_the_answer_partial(gateway, pacs, study):
    """Its file was whole when it came, and is not any more."""
    row = Archive(gateway).instance(study[1].SOPInstanceUID).row
    file = gateway.data_dir / "objects" / row.object_key
    file.chmod(0o600)
    file.write_bytes(bytes(200))
    answer = pacs.get(f"/studies/{study[0].StudyInstanceUID}/metadata")
    assert answer.status_code == 206
    assert values(answer.json(), "00080018") == [ds.SOPInstanceUID for ds in study]
    assert f"{study[1].SOPInstanceUID}: Its metadata are not whole." in answer.headers["Warning"]
    assert "00100020" not in answer.json()[1]


def with_bulk_data() -> Dataset:
    """Values of many bytes at the top, in private elements and inside items."""
    ds = make_dataset()
    ds.add_new(0x00091001, "OB", bytes(range(256)) * 10)
    ds.add_new(0x00090010, "LO", "MAKER")
    waveform, deeper = Dataset(), Dataset()
    waveform.add_new(0x54001010, "OW", bytes(range(256)) * 8)
    deeper.add_new(0x54001010, "OW", b"\1\2" * 1000)
    deeper.add_new(0x00420011, "OB", b"%PDF-1" + bytes(2000))
    waveform.add_new(0x00400555, "SQ", Sequence([Dataset(), deeper]))
    ds.add_new(0x54000100, "SQ", Sequence([waveform]))
    return ds


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_every_address_in_metadata_leads_to_its_value(pacs, syntax):
    ds = with_bulk_data()
    assert pacs.store(encode(ds, syntax) if syntax else encode(ds)).status_code == 200
    (found,) = pacs.get(f"{instance_path(ds)}/metadata").json()
    waveform = ds[0x54000100].value[0]
    deeper = waveform[0x00400555].value[1]
    expected = {
        "7FE00010": ds.PixelData,
        "54000100/1/54001010": waveform[0x54001010].value,
        "54000100/1/00400555/2/54001010": deeper[0x54001010].value,
        "54000100/1/00400555/2/00420011": deeper[0x00420011].value,
        "00091001": ds[0x00091001].value,
    }
    addresses = sorted(addresses_in(found))
    assert [address.split("/bulkdata/")[1] for address in addresses] == sorted(expected)
    for address in addresses:
        answer = pacs.get(address.removeprefix(pacs.url), OCTETS)
        assert answer.headers["Content-Type"].startswith(OCTETS)
        assert answer.content == expected[address.split("/bulkdata/")[1]]
        [(kind, content)] = parts_of(pacs.get(address.removeprefix(pacs.url), PARTS))
        assert (kind.split(";")[0], content) == (OCTETS, answer.content)


def addresses_in(found: object) -> list[str]:
    """Every BulkDataURI, at any depth."""
    if isinstance(found, list):
        return [address for one in found for address in addresses_in(one)]
    if not isinstance(found, dict):
        return []
    own = [found["BulkDataURI"]] if isinstance(found.get("BulkDataURI"), str) else []
    return own + [address for one in found.values() for address in addresses_in(one)]


def test_words_of_big_endian_are_given_in_little_endian(pacs):
    ds = make_dataset()
    ds.add_new(0x50003000, "OW", b"\1\2" * 1000)
    content = encode(ds, ExplicitVRBigEndian)
    assert pacs.store(content).status_code == 200
    assert b"\1\2" * 1000 in content
    answer = pacs.get(f"{instance_path(ds)}/bulkdata/50003000", OCTETS)
    assert answer.content == b"\2\1" * 1000


def test_all_bulk_data_comes_in_parts_that_tell_their_addresses(pacs):
    ds = with_bulk_data()
    pacs.store(encode(ds))
    (found,) = pacs.get(f"{instance_path(ds)}/metadata").json()
    parts = parts_with_headers(pacs.get(f"{instance_path(ds)}/bulkdata", PARTS))
    told = {headers["Content-Location"]: content for headers, content in parts}
    wanted = {address for address in addresses_in(found) if not address.endswith("/7FE00010")}
    assert set(told) == wanted
    assert all(
        pacs.get(address.removeprefix(pacs.url), OCTETS).content == told[address] for address in wanted
    )


def test_a_part_of_a_value_is_given(pacs):
    ds = with_bulk_data()
    pacs.store(encode(ds))
    address = f"{instance_path(ds)}/bulkdata/00091001"
    answer = pacs.get(address, OCTETS, {"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, bytes(range(10, 20)))
    assert answer.headers["Content-Range"] == "bytes 10-19/2560"
    last = pacs.get(address, OCTETS, {"Range": "bytes=2550-"})
    assert (last.status_code, last.content) == (206, bytes(range(246, 256)))
    end = pacs.get(address, OCTETS, {"Range": "bytes=-5"})
    assert (end.status_code, end.content) == (206, bytes(range(251, 256)))
    assert end.headers["Content-Range"] == "bytes 2555-2559/2560"
    assert pacs.get(address, OCTETS, {"Range": "bytes=-9999"}).headers["Content-Range"] == "bytes 0-2559/2560"
    for whole in ("lines=1-2", "bytes=5-1", "bytes=-", "bytes=0-1,4-5"):
        assert pacs.get(address, OCTETS, {"Range": whole}).status_code == 200
    changed = {"Range": "bytes=0-1", "If-Range": pacs.get(address, OCTETS).headers["ETag"]}
    assert pacs.get(address, OCTETS, changed).status_code == 200


@pytest.mark.parametrize("wanted", ["bytes=2560-", "bytes=9000-9001", "bytes=-0"])
def test_a_part_that_is_not_there_is_refused_with_the_size(pacs, wanted):
    ds = with_bulk_data()
    pacs.store(encode(ds))
    answer = pacs.get(f"{instance_path(ds)}/bulkdata/00091001", OCTETS, {"Range": wanted})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */2560")


@pytest.mark.parametrize(("wanted", "part"), [("bytes=1-4", slice(1, 5)), ("bytes=-3", slice(1997, 2000))])
def test_a_part_of_big_endian_words_is_cut_from_turned_ones(pacs, wanted, part):
    ds = make_dataset()
    words = bytes(range(200)) * 10
    ds.add_new(0x50003000, "OW", words)
    pacs.store(encode(ds, ExplicitVRBigEndian))
    address = f"{instance_path(ds)}/bulkdata/50003000"
    whole = pacs.get(address, OCTETS).content
    assert whole[:4] == b"\1\0\3\2"
    answer = pacs.get(address, OCTETS, {"Range": wanted})
    assert (answer.status_code, answer.content) == (206, whole[part])


@pytest.mark.parametrize(
    "path", ["00091002", "54000100", "54000100/9/54001010", "x", "7FE0/1", "00100010/1/00100010"]
)
def test_an_address_that_leads_nowhere_is_not_found(pacs, path):
    ds = with_bulk_data()
    pacs.store(encode(ds))
    assert pacs.get(f"{instance_path(ds)}/bulkdata/{path}").status_code == 404


def test_dicomweb_client_retrieves_metadata_and_its_bulk_data(pacs):
    ds = with_bulk_data()
    pacs.store(encode(ds))
    client = pacs.client()
    metadata = client.retrieve_instance_metadata(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    assert metadata["00080018"]["Value"] == [ds.SOPInstanceUID]
    [value] = client.retrieve_bulkdata(metadata["00091001"]["BulkDataURI"])
    assert value == ds[0x00091001].value
    [pixels] = client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])
    assert pixels == ds.PixelData


def test_metadata_of_every_real_file_is_json_without_inline_pixels(pacs):
    """Whatever the door takes: none is a 500, and what is short stands in the metadata itself."""
    taken = 0
    for path in real_files():
        content = path.read_bytes()
        answer = pacs.store(content)
        stored = answer.json().get("00081199", {}).get("Value", [])
        for item in stored:
            address = value(item, "00081190").removeprefix(pacs.url)
            metadata = pacs.get(f"{address}/metadata")
            assert metadata.status_code == 200, path.name
            (found,) = json.loads(metadata.content.decode("utf-8"))
            assert "InlineBinary" not in found.get("7FE00010", {})
            short = [one["InlineBinary"] for one in found.values() if "InlineBinary" in one]
            assert all(len(base64.b64decode(one)) <= 1024 for one in short)
            taken += 1
    assert taken > 60
