"""WADO-URI (PS3.18 9): one object by query parameters."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.support.dicom_files import encode, make_dataset
from tests.support.dicomweb import Pacs, audit_rows, with_own_uid
from tests.support.dimse import TEST_FILES
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

PNG = "image/png"


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


@pytest.fixture
def image(pacs: Pacs) -> Dataset:
    """20 rows of 40 columns; the lower half is white."""
    ds = make_dataset(Rows=20, Columns=40, PixelData=bytes(400) + b"\xff" * 400)
    assert pacs.store(encode(ds)).status_code == 200
    return ds


def named(ds: Dataset, **more: str) -> dict[str, str]:
    uids = {
        "studyUID": ds.StudyInstanceUID,
        "seriesUID": ds.SeriesInstanceUID,
        "objectUID": ds.SOPInstanceUID,
    }
    return {"requestType": "WADO"} | uids | more


def opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


def test_an_image_is_a_jpeg_unless_something_else_is_wanted(pacs, image):
    answer = pacs.get("/wado", **named(image))
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert opened(answer.content).size == (40, 20)
    assert (
        pacs.get("/wado", **named(image, contentType="image/webp,image/png")).headers["Content-Type"] == PNG
    )
    assert pacs.get("/wado", **named(image, contentType="text/html")).status_code == 406


def test_without_a_content_type_the_accept_header_counts(pacs, image):
    assert pacs.get("/wado", PNG, **named(image)).headers["Content-Type"] == PNG
    file = pacs.get("/wado", "application/dicom", **named(image))
    assert file.headers["Content-Type"].startswith("application/dicom")
    browser = "text/html,application/xhtml+xml,image/webp,*/*;q=0.8"
    assert pacs.get("/wado", browser, **named(image)).headers["Content-Type"] == "image/jpeg"
    assert pacs.get("/wado", "text/html", **named(image)).status_code == 406
    chosen = pacs.get("/wado", "text/html", **named(image, contentType=PNG))
    assert chosen.headers["Content-Type"] == PNG


def test_a_parameter_that_is_not_known_is_passed_over_with_a_warning(pacs, image):
    answer = pacs.get("/wado", **named(image, foo="bar"))
    assert answer.headers["Warning"].endswith('"foo is not a parameter of this resource and is passed over."')
    assert "Warning" not in pacs.get("/wado", **named(image, rows="5", charset="UTF-8")).headers


@pytest.mark.parametrize("left", [0.1, 0.3, 0.55, 0.7, 0.9])
def test_a_region_up_to_the_edge_is_inside_however_it_is_rounded(pacs, image, left):
    assert pacs.get("/wado", **named(image, region=f"{left},{left},1,1")).status_code == 200


def test_the_file_is_given_as_stored_or_in_the_transfer_syntax_that_is_asked_for(pacs):
    content = with_own_uid((TEST_FILES / "MR_small_RLE.dcm").read_bytes())
    pacs.store(content)
    ds = dcmread(BytesIO(content))
    plain = dcmread(BytesIO(pacs.get("/wado", **named(ds, contentType="application/dicom")).content))
    assert plain.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert np.array_equal(plain.pixel_array, ds.pixel_array)
    for syntax in ("*", "1.2.840.10008.1.2.5"):
        same = named(ds, contentType="application/dicom", transferSyntax=syntax)
        assert pacs.get("/wado", **same).content == content
    encoded = named(ds, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.4.90")
    given = dcmread(BytesIO(pacs.get("/wado", **encoded).content))
    assert given.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
    refused = named(ds, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.4.50")
    assert pacs.get("/wado", **refused).status_code == 406


def test_size_and_region(pacs, image):
    sizes = {
        ("rows", "10"): (20, 10),
        ("columns", "10"): (10, 5),
        ("region", "0,0,0.5,1"): (20, 20),
    }
    for (name, told), size in sizes.items():
        answer = pacs.get("/wado", **named(image, contentType=PNG, **{name: told}))
        assert opened(answer.content).size == size, name
    lower = pacs.get("/wado", **named(image, contentType=PNG, region="0,0.5,1,1", rows="5", columns="90"))
    assert opened(lower.content).size == (20, 5)
    assert min(opened(lower.content).tobytes()) > 200  # the edge is smoothed with what lies beyond it


def test_window_and_frame(pacs):
    values = np.arange(0, 1600, 100, dtype="<u2").tobytes()
    ds = make_dataset(
        BitsAllocated=16, BitsStored=12, HighBit=11, NumberOfFrames=2, PixelData=values + bytes(32)
    )
    pacs.store(encode(ds))
    shown = named(ds, contentType=PNG, windowCenter="1000", windowWidth="401")
    assert list(opened(pacs.get("/wado", **shown).content).tobytes())[8:13] == [0, 64, 128, 192, 255]
    second = opened(pacs.get("/wado", **shown, frameNumber="2").content)
    assert set(second.tobytes()) == {0}
    assert pacs.get("/wado", **shown, frameNumber="3").status_code == 404


def test_quality(pacs):
    content = with_own_uid((TEST_FILES / "CT_small.dcm").read_bytes())
    pacs.store(content)
    ds = dcmread(BytesIO(content))
    sizes = [len(pacs.get("/wado", **named(ds, imageQuality=quality)).content) for quality in ("10", "95")]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"requestType": told} for told in ("", "wado", "STOW")),
        *({name: ""} for name in ("studyUID", "seriesUID", "objectUID")),
        *({"rows": told} for told in ("0", "-1", "x", "1.5", "999999")),
        *({"frameNumber": told} for told in ("0", "x", "99999999999")),
        *({"region": told} for told in ("1,0,0,1", "0,0,2,1", "0,0,1", "a,b,c,d", "nan,0,1,1")),
        *({"windowCenter": told} for told in ("1", "x")),
        {"windowCenter": "1", "windowWidth": "0"},
        *({"imageQuality": told} for told in ("0", "101", "x")),
        {"contentType": "application/dicom", "rows": "5"},
        {"transferSyntax": "1.2.840.10008.1.2.1"},
    ],
    ids=str,
)
def test_a_wrong_parameter_is_refused_in_words(pacs, image, wrong):
    answer = pacs.get("/wado", **(named(image) | wrong))
    assert answer.status_code == 400
    assert len(answer.json()["detail"]) > 15


@pytest.mark.parametrize("name", ["anonymize", "presentationUID"])
def test_what_would_change_the_meaning_of_the_answer_is_not_offered(pacs, image, name):
    answer = pacs.get("/wado", **named(image, **{name: "yes"}))
    assert answer.status_code == 501
    assert name in answer.json()["detail"]


def test_an_annotation_is_not_drawn_and_that_is_said(pacs, image):
    answer = pacs.get("/wado", **named(image, annotation="patient"))
    assert answer.status_code == 200
    assert "annotation is not drawn" in answer.headers["Warning"]


def test_it_is_scoped_and_on_the_audit_trail(gateway, pacs, other_partner, image):
    before = len(audit_rows(gateway, "wado-uri"))
    assert pacs.get("/wado", **named(image)).status_code == 200
    assert Pacs(gateway, other_partner).get("/wado", **named(image)).status_code == 404
    rows = audit_rows(gateway, "wado-uri")[before:]
    assert [(actor, action) for actor, action, *_ in rows] == [("partner:hospital-a", "read")]
