"""WADO-RS (PS3.18 10.4): what was stored comes back byte for byte, to its sender only."""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import requests
from pydicom import dcmread
from pydicom.data import get_charset_files
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from mappings.dicom_to_header import read_header
from tests.support.dicom_files import JPEG_XL, encode, make_dataset, make_file, make_undecodable
from tests.support.dicomweb import (
    Pacs,
    audit_rows,
    instance_path,
    parts_of,
    parts_with_headers,
    series_path,
    with_own_uid,
)
from tests.support.dimse import TEST_FILES
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

MULTIPART_DICOM = 'multipart/related; type="application/dicom"'
REAL_FILES = {
    "cornerstone-wado-testimages": [
        "CTImage.dcm_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm",
        "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm",
        "CTImage.dcm_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
        "CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm",
        "CTImage.dcm_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm",
        "CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm",
        "CTImage.dcm_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm",
        "CTImage.dcm_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm",
        "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
        "CTImage.dcm_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm",
    ],
    "pydicom-data": ["MR2_J2KI.dcm", "emri_small_RLE.dcm", "liver_expb.dcm"],
    "highdicom-testfiles": ["sm_image.dcm", "dx_image.dcm"],
}
PYDICOM_FILES = [
    "CT_small.dcm",
    "rtdose_1frame.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "JPGExtended.dcm",
    "JPEG2000.dcm",
    "examples_ybr_color.dcm",
]
CHANGED_BY_DECODING = {
    0x00280004,
    0x00280006,
    0x7FE00010,
}  # photometric interpretation, planar configuration, pixels
CHARSETS = ["chrArab.dcm", "chrH31.dcm", "chrH32.dcm", "chrI2.dcm", "chrX1.dcm", "chrX2.dcm", "chrGreek.dcm"]


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
    third = make_dataset(StudyInstanceUID=first.StudyInstanceUID, SeriesNumber=2, Modality="SR")
    datasets = [first, second, third]
    assert pacs.store(*map(encode, datasets)).status_code == 200
    return datasets


def real_files(shared_data: Path | None) -> list[Path]:
    """pydicom's own, and those of others where they are."""
    found = [TEST_FILES / name for name in PYDICOM_FILES]
    if shared_data is not None:
        found += [
            shared_data / "dicom" / folder / name for folder, names in REAL_FILES.items() for name in names
        ]
    return found


def test_real_files_of_every_transfer_syntax_come_back_unaltered(pacs, shared_data):
    paths = real_files(shared_data)
    assert len(paths) == len(PYDICOM_FILES) + (15 if shared_data else 0)
    for path in paths:
        content = with_own_uid(path.read_bytes())
        assert pacs.store(content).status_code in (200, 202), path.name
        header = read_header(BytesIO(content), "")
        address = (
            f"/studies/{header.study_instance_uid}/series/{header.series_instance_uid}"
            f"/instances/{header.sop_instance_uid}"
        )
        answer = pacs.get(address, "application/dicom; transfer-syntax=*")
        assert answer.headers["Content-Type"].endswith(f"transfer-syntax={header.transfer_syntax_uid}")
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(content).digest(), path.name


@pytest.mark.parametrize("name", CHARSETS)
def test_files_of_odd_character_sets_come_back_unaltered(pacs, name):
    content = with_own_uid(Path(get_charset_files(name)[0]).read_bytes())
    assert pacs.store(content).status_code == 200
    ds = dcmread(BytesIO(content))
    assert pacs.get(instance_path(ds), "application/dicom").content == content


def test_a_study_is_given_whole_in_order(pacs, study):
    answer = pacs.get(f"/studies/{study[0].StudyInstanceUID}", MULTIPART_DICOM)
    assert answer.status_code == 200
    parts = parts_of(answer)
    assert [content for _, content in parts] == [encode(ds) for ds in study]
    assert {kind for kind, _ in parts} == {"application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_a_series_and_an_instance_are_given_alone(pacs, study):
    series = parts_of(pacs.get(series_path(study[0]), MULTIPART_DICOM))
    assert [content for _, content in series] == [encode(ds) for ds in study[:2]]
    instance = parts_of(pacs.get(instance_path(study[1]), MULTIPART_DICOM))
    assert [content for _, content in instance] == [encode(study[1])]


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "multipart/*",
        "multipart/related",
        "multipart/related; type=application/dicom; transfer-syntax=*",
        "multipart/related; transfer-syntax=1.2.840.10008.1.2.1; type=application/dicom",
        'text/html;q=0.9, multipart/related; type="application/dicom";q=0.1',
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50, */*;q=0.1',
    ],
)
def test_the_accept_header_is_read_tolerantly(pacs, study, accept):
    answer = pacs.get(instance_path(study[0]), accept)
    assert answer.status_code == 200
    assert [content for _, content in parts_of(answer)] == [encode(study[0])]


def test_the_accept_parameter_stands_for_the_header(pacs, study):
    answer = pacs.get(instance_path(study[0]), "text/html", accept="application/dicom")
    assert answer.content == encode(study[0])


@pytest.mark.parametrize(
    "accept",
    [
        "image/jpeg",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2",
        'multipart/related; type="application/octet-stream"',
    ],
)
def test_what_is_not_written_is_refused_in_words(pacs, study, accept):
    answer = pacs.get(instance_path(study[0]), accept)
    assert answer.status_code == 406
    assert "with transfer-syntax=* as they are stored" in answer.json()["detail"]
    assert answer.json()["reference"]


COMPRESSED = ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"]
OTHER_NATIVE = ["MR_small_implicit.dcm", "MR_small_bigendian.dcm"]


@pytest.mark.parametrize("name", [*COMPRESSED, *OTHER_NATIVE, "image_dfl.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_without_a_transfer_syntax_it_is_explicit_little_endian(pacs, name):
    content = with_own_uid((TEST_FILES / name).read_bytes())
    assert pacs.store(content).status_code in (200, 202)
    sent = dcmread(BytesIO(content))
    answer = pacs.get(instance_path(sent), "application/dicom")
    assert answer.headers["Content-Type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    given = dcmread(BytesIO(answer.content))
    assert given.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert np.array_equal(given.pixel_array, sent.pixel_array)
    before, after = ({one.tag: one for one in ds if one.tag.element} for ds in (sent, given))
    assert set(before) == set(after)
    kept = [tag for tag in after if tag not in CHANGED_BY_DECODING]
    assert [tag for tag in kept if str(before[tag].value) != str(after[tag].value)] == []
    assert len(pacs.get(instance_path(sent), "application/dicom; transfer-syntax=*").content) == len(content)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_16bit.dcm", "emri_small.dcm"])
def test_it_is_encoded_without_loss_when_asked_for(pacs, shared_data, name, syntax):
    path = TEST_FILES / name
    if not path.exists():
        if shared_data is None:
            pytest.skip("the file is among those of shared/data")
        path = shared_data / "dicom" / "pydicom-data" / name
    content = with_own_uid(path.read_bytes())
    pacs.store(content)
    sent = dcmread(BytesIO(content))
    answer = pacs.get(instance_path(sent), f"application/dicom; transfer-syntax={syntax}")
    assert answer.status_code == 200, answer.text
    given = dcmread(BytesIO(answer.content))
    assert given.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(given.pixel_array, sent.pixel_array)


def test_what_no_decoder_reads_is_given_as_stored_among_others_and_refused_alone(pacs):
    broken = make_undecodable()
    ds = dcmread(BytesIO(broken))
    other = make_file(StudyInstanceUID=ds.StudyInstanceUID)
    assert pacs.store(broken, other).status_code in (200, 202)
    alone = pacs.get(instance_path(ds), "application/dicom")
    assert alone.status_code == 406
    assert "transfer-syntax=*" in alone.json()["detail"]
    together = parts_of(pacs.get(f"/studies/{ds.StudyInstanceUID}", MULTIPART_DICOM))
    kinds = {content: kind for kind, content in together}
    assert kinds[broken] == f"application/dicom; transfer-syntax={JPEG_XL}"
    assert kinds[other] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"


def test_parts_tell_where_each_instance_is(pacs, study):
    answer = pacs.get(f"/studies/{study[0].StudyInstanceUID}", MULTIPART_DICOM)
    found = [headers["Content-Location"] for headers, _ in parts_with_headers(answer)]
    assert found == [f"{pacs.url}{instance_path(ds)}" for ds in study]
    alone = pacs.get(instance_path(study[0]), "application/dicom")
    assert alone.headers["Content-Location"] == found[0]


def test_any_application_type_is_a_file_or_an_archive_of_several(pacs, study):
    alone = pacs.get(instance_path(study[0]), "application/*")
    assert alone.headers["Content-Type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert alone.content == encode(study[0])
    several = pacs.get(series_path(study[0]), "application/*")
    assert several.headers["Content-Type"] == "application/zip"


@pytest.mark.parametrize("accept", ["application/zip", "application/zip; transfer-syntax=*"])
def test_a_study_is_given_as_an_archive(pacs, study, accept):
    answer = pacs.get(f"/studies/{study[0].StudyInstanceUID}", accept)
    assert answer.headers["Content-Type"] == "application/zip"
    with ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {f"{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm": encode(ds) for ds in study}


def test_what_a_peer_has_is_not_sent_again(pacs, study):
    for path in ("", "/metadata", "/rendered", "/frames/1", "/thumbnail", "/bulkdata/7FE00010"):
        address = instance_path(study[0]) + path
        first = pacs.get(address)
        assert first.status_code == 200, first.text
        again = pacs.get(address, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert again.headers["Cache-Control"] == "private, no-cache"


def test_a_study_that_has_grown_is_sent_again(pacs, study):
    address = f"/studies/{study[0].StudyInstanceUID}"
    etag = pacs.get(address).headers["ETag"]
    pacs.store(make_file(StudyInstanceUID=study[0].StudyInstanceUID))
    answer = pacs.get(address, headers={"If-None-Match": etag})
    assert answer.status_code == 200
    assert len(parts_of(answer)) == 4


def test_another_hospital_is_not_told_that_it_has_something(gateway, pacs, other_partner, study):
    etag = pacs.get(instance_path(study[0])).headers["ETag"]
    other = Pacs(gateway, other_partner)
    assert other.get(instance_path(study[0]), headers={"If-None-Match": etag}).status_code == 404


def test_several_instances_are_never_one_part(pacs, study):
    answer = pacs.get(series_path(study[0]), "application/dicom")
    assert answer.status_code == 406


def test_dicomweb_client_retrieves(pacs, study):
    client = pacs.client()
    found = client.retrieve_study(study[0].StudyInstanceUID)
    assert [ds.SOPInstanceUID for ds in found] == [ds.SOPInstanceUID for ds in study]
    one = client.retrieve_instance(
        study[0].StudyInstanceUID, study[0].SeriesInstanceUID, study[0].SOPInstanceUID
    )
    assert one.PatientName == "Testkind^Mira"
    metadata = client.retrieve_study_metadata(study[0].StudyInstanceUID)
    assert len(metadata) == 3


@pytest.mark.parametrize("path", ["", "/metadata", "/rendered", "/thumbnail", "/pixeldata"])
def test_another_hospitals_imaging_is_not_there(gateway, pacs, other_partner, study, path):
    other = Pacs(gateway, other_partner)
    study_path = f"/studies/{study[0].StudyInstanceUID}"
    for address in (study_path, series_path(study[0]), instance_path(study[0])):
        assert pacs.get(address + path).status_code == 200
        answer = other.get(address + path)
        assert answer.status_code == 404
        assert answer.json()["error"] == "NotFound"


def test_what_is_not_there_is_404_and_what_is_not_offered_501(pacs, study):
    assert pacs.get("/studies/1.2.3.4").status_code == 404
    assert pacs.get("/workitems").status_code == 501
    assert pacs.get("/").status_code == 501


def test_nobody_without_a_valid_token_retrieves(pacs, study):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = requests.get(f"{pacs.url}{instance_path(study[0])}", headers=headers, timeout=20)
        assert answer.status_code == 401
    scoped = pacs.partner.headers("system/ImagingStudy.cs")
    assert requests.get(f"{pacs.url}{instance_path(study[0])}", headers=scoped, timeout=20).status_code == 403


def test_what_is_read_and_searched_is_on_the_audit_trail_by_own_ids_only(gateway, pacs, study):
    before = audit_rows(gateway)
    pacs.get(f"/studies/{study[0].StudyInstanceUID}", MULTIPART_DICOM)
    pacs.get(f"{instance_path(study[0])}/metadata")
    pacs.get("/studies", PatientName="Testkind*", PatientID="MRN-1")
    rows = audit_rows(gateway)[len(before) :]
    assert [(actor, action, channel) for actor, action, _, channel, _ in rows] == [
        ("partner:hospital-a", "read", "wado-rs"),
        ("partner:hospital-a", "read", "wado-rs"),
        ("partner:hospital-a", "search", "qido-rs"),
    ]
    assert [subject.split(":")[0] for _, _, subject, _, _ in rows] == ["study", "instance", "imaging"]
    assert json.loads(rows[0][4]) == {"what": "instances", "instances": 3}
    assert "Testkind" not in str(rows)
    assert "MRN-1" not in str(rows)
