"""WADO-RS rendered and thumbnail (PS3.18 10.4, 8.3.5): grey levels are those of dcmtk."""

import subprocess
from html import unescape
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EncapsulatedPDFStorage, EnhancedSRStorage

from tests.support.dicom_files import encode, make_dataset, make_undecodable
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

PNG, JPEG, GIF = "image/png", "image/jpeg", "image/gif"
RAMP = bytes(range(0, 256, 16))


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


def put(pacs: Pacs, ds: Dataset) -> str:
    """Store; returns the address."""
    assert pacs.store(encode(ds)).status_code in (200, 202)
    return instance_path(ds)


def image(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


def levels(pacs: Pacs, address: str, **parameters: str) -> list[int]:
    """The grey levels, row by row, without loss."""
    answer = pacs.get(address, PNG, **parameters)
    assert answer.status_code == 200, answer.text
    found = image(answer.content)
    assert found.mode == "L"
    return list(found.tobytes())


def ct(**attributes: object) -> Dataset:
    """4 x 4 stored values 0, 100, ... 1500, which are -1000 to 500 HU."""
    values = np.arange(0, 1600, 100, dtype="<u2")
    shown = {
        "RescaleSlope": 1,
        "RescaleIntercept": -1000,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
    }
    return make_dataset(**(shown | {"PixelData": values.tobytes()} | attributes))


def dcmtk_levels(content: bytes, folder: Path, *options: str) -> np.ndarray:
    """What dcm2pnm makes of the file: 8 bit grey levels."""
    source, target = folder / "source.dcm", folder / "target.pgm"
    source.write_bytes(content)
    subprocess.run(["dcm2pnm", "+op", *options, source, target], check=True, capture_output=True, timeout=60)
    return np.asarray(Image.open(target).convert("L")).astype(int)


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("CT_small.dcm", ("+Ww", "40", "400"), {"window": "40,400,linear"}),
        ("CT_small.dcm", ("+Ww", "-200", "1500", "+Ww", "-200", "1500"), {"window": "-200,1500"}),
        ("MR_small.dcm", ("+Wi", "1"), {}),
        ("MR_small_RLE.dcm", ("+Ww", "600", "800"), {"window": "600,800,linear"}),
        ("MR_small_bigendian.dcm", ("+Wi", "1"), {}),
    ],
)
def test_grey_levels_are_those_of_dcmtk(pacs, tmp_path, name, options, parameters):
    content = with_own_uid((TEST_FILES / name).read_bytes())
    pacs.store(content)
    ds = dcmread(BytesIO(content))
    found = np.array(levels(pacs, f"{instance_path(ds)}/rendered", **parameters)).reshape(ds.Rows, ds.Columns)
    expected = dcmtk_levels((TEST_FILES / name.replace("_RLE", "")).read_bytes(), tmp_path, *options)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("name", "options"),
    [("vlut_04.dcm", ("+Wl", "1")), ("mlut_18.dcm", ()), ("RG3_J2KR.dcm", ()), ("RG1_J2KI.dcm", ())],
)
def test_tables_and_inverse_images_are_those_of_dcmtk(pacs, shared_data, tmp_path, name, options):
    if shared_data is None:
        pytest.skip("the files are among those of shared/data")
    content = with_own_uid((shared_data / "dicom" / "pydicom-data" / name).read_bytes())
    pacs.store(content)
    ds = dcmread(BytesIO(content))
    address = instance_path(ds)
    plain = pacs.get(address, "application/dicom").content
    if not options:
        told = ds.get("WindowCenter")
        options = ("+Wi", "1") if told is not None else ("+Wm",)
    found = np.array(levels(pacs, f"{address}/rendered")).reshape(ds.Rows, ds.Columns)
    assert np.abs(found - dcmtk_levels(plain, tmp_path, *options)).max() <= 1


def test_a_window_is_in_hounsfield_units(pacs):
    address = f"{put(pacs, ct())}/rendered"
    found = levels(pacs, address, window="0,401,linear")
    assert found[0] == 0
    assert found[8:13] == [0, 64, 128, 192, 255]  # -200, -100, 0, 100, 200 HU
    assert found[15] == 255


def test_the_window_of_the_image_is_used_and_another_takes_its_place(pacs):
    address = f"{put(pacs, ct(WindowCenter=[0, 500], WindowWidth=[401, 100]))}/rendered"
    assert levels(pacs, address) == levels(pacs, address, window="0,401,linear")
    assert levels(pacs, address) != levels(pacs, address, window="500,100,linear")


def test_without_a_window_the_frame_is_shown_from_its_lowest_to_its_highest_value(pacs):
    found = levels(pacs, f"{put(pacs, ct())}/rendered")
    assert (found[0], found[15]) == (0, 255)
    assert found == sorted(found)


def test_padding_does_not_widen_what_is_shown(pacs):
    values = np.full(16, 1000, dtype="<u2")
    values[0], values[1], values[2] = 60000, 1100, 900
    address = put(pacs, ct(PixelData=values.tobytes(), BitsStored=16, HighBit=15, PixelPaddingValue=60000))
    assert levels(pacs, f"{address}/rendered")[1:4] == [255, 0, 128]


def test_other_functions_of_a_window(pacs):
    address = f"{put(pacs, ct())}/rendered"
    assert levels(pacs, address, window="0,400,linear-exact")[8:13] == [0, 64, 128, 191, 255]
    assert levels(pacs, address, window="0,400,sigmoid")[10] == 128
    assert 0 < levels(pacs, address, window="0,400,sigmoid")[8] < 64


def test_the_lowest_value_of_monochrome1_is_white(pacs):
    plain = levels(pacs, f"{put(pacs, make_dataset(PixelData=RAMP))}/rendered")
    assert plain == list(RAMP)
    inverse = make_dataset(PixelData=RAMP, PhotometricInterpretation="MONOCHROME1")
    assert levels(pacs, f"{put(pacs, inverse)}/rendered") == [255 - level for level in RAMP]
    shaped = make_dataset(PixelData=RAMP, PresentationLUTShape="INVERSE")
    assert levels(pacs, f"{put(pacs, shaped)}/rendered") == [255 - level for level in RAMP]


def test_a_table_of_the_image_is_looked_up(pacs):
    item = Dataset()
    item.add_new(0x00283002, "US", [4, 100, 8])
    item.add_new(0x00283006, "US", [10, 20, 30, 40])
    values = np.array([0, 100, 101, 102, 103, 104, 4000, 0] * 2, dtype="<u2")
    ds = ct(PixelData=values.tobytes(), RescaleIntercept=0, VOILUTSequence=Sequence([item]))
    assert levels(pacs, f"{put(pacs, ds)}/rendered")[:8] == [10, 10, 20, 30, 40, 40, 40, 10]


def test_signed_values_and_their_rescale(pacs):
    values = np.arange(-800, 800, 100, dtype="<i2")
    ds = ct(PixelData=values.tobytes(), PixelRepresentation=1, BitsStored=16, HighBit=15, RescaleIntercept=0)
    assert levels(pacs, f"{put(pacs, ds)}/rendered", window="0,401")[6:11] == [0, 64, 128, 192, 255]


def test_each_frame_has_the_window_of_its_functional_groups(pacs):
    def group(center: int) -> Dataset:
        voi, item = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 401
        item.FrameVOILUTSequence = Sequence([voi])
        return item

    rescale, shared = Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1000, "HU"
    shared.PixelValueTransformationSequence = Sequence([rescale])
    ds = ct(NumberOfFrames=2)
    del ds.RescaleSlope, ds.RescaleIntercept
    ds.PixelData = ds.PixelData * 2
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence([group(0), group(-700)])
    address = put(pacs, ds)
    assert levels(pacs, f"{address}/frames/1/rendered")[8:13] == [0, 64, 128, 192, 255]
    assert levels(pacs, f"{address}/frames/2/rendered")[1:6] == [0, 64, 128, 192, 255]


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
def test_colours_are_right(pacs, name):
    """The pattern has bars of red, green, blue, black and white."""
    content = with_own_uid((TEST_FILES / name).read_bytes())
    pacs.store(content)
    found = image(pacs.get(f"{instance_path(dcmread(BytesIO(content)))}/rendered", PNG).content)
    bars = {5: (255, 0, 0), 25: (0, 255, 0), 45: (0, 0, 255), 65: (0, 0, 0), 95: (255, 255, 255)}
    for row, colour in bars.items():
        assert np.abs(np.subtract(found.getpixel((50, row)), colour)).max() <= 5, row


def test_a_palette_is_applied(pacs):
    ds = make_dataset(PixelData=bytes([0, 1, 2, 3] * 4), PhotometricInterpretation="PALETTE COLOR")
    for colour, entries in (("Red", (0, 255, 0, 0)), ("Green", (0, 0, 255, 0)), ("Blue", (0, 0, 0, 255))):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [4, 0, 16])
        words = np.array(entries, dtype="<u2") << 8
        setattr(ds, f"{colour}PaletteColorLookupTableData", words.tobytes())
    found = image(pacs.get(f"{put(pacs, ds)}/rendered", PNG).content)
    assert [found.getpixel((at, 0)) for at in range(4)] == [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_the_image_is_a_jpeg_unless_something_else_is_wanted(pacs):
    address = f"{put(pacs, ct())}/rendered"
    for accept, kind in (("", "JPEG"), ("*/*", "JPEG"), ("image/*", "JPEG"), (PNG, "PNG"), (GIF, "GIF")):
        answer = pacs.get(address, accept)
        assert image(answer.content).format == kind
        assert answer.headers["Content-Type"] == f"image/{kind.lower()}"
    assert pacs.get(address, "image/webp,image/png;q=0.5").headers["Content-Type"] == PNG
    assert pacs.get(address, "text/html").status_code == 406


def test_quality_makes_a_jpeg_smaller(pacs):
    content = with_own_uid((TEST_FILES / "CT_small.dcm").read_bytes())
    pacs.store(content)
    address = f"{instance_path(dcmread(BytesIO(content)))}/rendered"
    sizes = [len(pacs.get(address, JPEG, quality=str(quality)).content) for quality in (10, 50, 100)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_a_viewport_fits_the_image_and_shows_a_region_of_it(pacs):
    ds = make_dataset(Rows=20, Columns=40, PixelData=bytes(400) + b"\xff" * 400)
    address = f"{put(pacs, ds)}/rendered"
    sizes = {"20,20": (20, 10), "400,100": (200, 100), "40,20,0,0,20,20": (20, 20), "8,8,,,4,4": (8, 8)}
    for viewport, size in sizes.items():
        assert image(pacs.get(address, PNG, viewport=viewport).content).size == size, viewport
    lower = image(pacs.get(address, PNG, viewport="10,10,0,10,10,10").content)
    assert set(lower.tobytes()) == {255}
    mirrored = levels(pacs, f"{put(pacs, make_dataset(PixelData=RAMP))}/rendered", viewport="4,4,0,0,-4,4")
    assert mirrored[:4] == list(RAMP[3::-1])


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        *(
            ("viewport", told)
            for told in ("abc", "0,0", "10", "10,10,10", "10,-1", "99999,1", "1,1,0,0,0,0", "1e2,5")
        ),
        *(
            ("window", told)
            for told in ("abc", "40", "40,0", "nan,400", "40,inf", "40,400,cubic", "1,2,3,4", "40,0.5")
        ),
        *(("quality", told) for told in ("0", "101", "high", "-1", "1.5", "")),
    ],
)
def test_a_parameter_that_is_none_is_refused_in_words(pacs, parameter, told):
    answer = pacs.get(f"{put(pacs, ct())}/rendered", JPEG, **{parameter: told})
    assert answer.status_code == 400
    assert parameter in answer.json()["detail"]


def test_a_region_outside_the_image_is_refused_in_words(pacs):
    answer = pacs.get(f"{put(pacs, ct())}/rendered", JPEG, viewport="4,4,2,2,4,4")
    assert answer.status_code == 400
    assert "4 columns and 4 rows" in answer.json()["detail"]


def test_what_is_not_drawn_is_said(pacs):
    answer = pacs.get(f"{put(pacs, ct())}/rendered", JPEG, annotation="patient", iccprofile="srgb")
    assert answer.status_code == 200
    assert "annotation is not drawn" in answer.headers["Warning"]
    assert "iccprofile is not heeded" in answer.headers["Warning"]


def test_a_parameter_that_is_not_known_is_passed_over_with_a_warning(pacs):
    address = put(pacs, ct())
    for resource in ("rendered", "thumbnail", "frames/1/rendered"):
        answer = pacs.get(f"{address}/{resource}", JPEG, foo="bar", quality="50")
        assert answer.status_code == 200
        assert answer.headers["Warning"].endswith(
            '"foo is not a parameter of this resource and is passed over."'
        )
    assert "Warning" not in pacs.get(f"{address}/rendered", accept=JPEG, quality="50").headers


def test_an_image_that_cannot_be_rendered_among_others_is_named_in_the_head_of_a_partial_answer(pacs):
    first, last = ct(), ct(InstanceNumber=3)
    same = {"StudyInstanceUID": first.StudyInstanceUID, "SeriesInstanceUID": first.SeriesInstanceUID}
    last.StudyInstanceUID, last.SeriesInstanceUID = same.values()
    undecodable = make_undecodable(InstanceNumber=2, **same)
    assert pacs.store(encode(first), undecodable, encode(last)).status_code in (200, 202)
    answer = pacs.get(f"/studies/{first.StudyInstanceUID}/rendered", f'multipart/related; type="{PNG}"')
    assert answer.status_code == 206
    found = [headers["Content-Location"] for headers, _ in parts_with_headers(answer)]
    assert found == [f"{pacs.url}{instance_path(ds)}/rendered" for ds in (first, last)]
    missing = dcmread(BytesIO(undecodable)).SOPInstanceUID
    assert f"Instance {missing} is not among the parts." in answer.headers["Warning"]
    outside = pacs.get(
        f"{series_path(first)}/rendered", f'multipart/related; type="{PNG}"', viewport="9,9,8,8,4,4"
    )
    assert outside.status_code == 400


def test_parts_tell_where_each_image_is(pacs, movie):
    address = instance_path(movie)
    parts = parts_with_headers(pacs.get(f"{address}/frames/3,1/rendered", f'multipart/related; type="{PNG}"'))
    found = [headers["Content-Location"].removeprefix(pacs.url) for headers, _ in parts]
    assert found == [f"{address}/frames/3/rendered", f"{address}/frames/1/rendered"]
    assert [pacs.get(one, PNG).content for one in found] == [content for _, content in parts]


@pytest.fixture
def movie(pacs: Pacs) -> Dataset:
    ds = make_dataset(NumberOfFrames=3, PixelData=b"\x10" * 16 + b"\x20" * 16 + b"\x30" * 16)
    put(pacs, ds)
    return ds


def test_frames_are_rendered(pacs, movie):
    address = instance_path(movie)
    assert set(levels(pacs, f"{address}/rendered")) == {0x10}
    assert set(levels(pacs, f"{address}/frames/3/rendered")) == {0x30}
    several = parts_of(pacs.get(f"{address}/frames/1,3/rendered", f'multipart/related; type="{PNG}"'))
    assert [set(image(content).tobytes()) for _, content in several] == [{0x10}, {0x30}]
    every = parts_of(pacs.get(f"{address}/rendered", f'multipart/related; type="{PNG}"'))
    assert len(every) == 3
    moving = image(pacs.get(f"{address}/rendered", GIF).content)
    assert moving.n_frames == 3
    assert pacs.get(f"{address}/frames/1,3/rendered", JPEG).status_code == 406
    assert pacs.get(f"{address}/frames/4/rendered", JPEG).status_code == 404
    assert pacs.get(f"{address}/frames/0/rendered", JPEG).status_code == 400


def test_the_representative_frame_stands_for_the_instance(pacs):
    ds = make_dataset(NumberOfFrames=2, PixelData=b"\x10" * 16 + b"\x20" * 16, RepresentativeFrameNumber=2)
    assert set(levels(pacs, f"{put(pacs, ds)}/rendered")) == {0x20}


def test_a_study_is_rendered_by_its_middle_image_or_in_parts(pacs):
    first = make_dataset(PixelData=b"\x10" * 16)
    uids = {"StudyInstanceUID": first.StudyInstanceUID, "SeriesInstanceUID": first.SeriesInstanceUID}
    for number, level in ((2, b"\x20"), (3, b"\x30")):
        put(pacs, make_dataset(InstanceNumber=number, PixelData=level * 16, **uids))
    put(pacs, first)
    put(pacs, report(SeriesNumber=0, StudyInstanceUID=first.StudyInstanceUID))
    for address in (series_path(first), f"/studies/{first.StudyInstanceUID}"):
        assert set(levels(pacs, f"{address}/rendered")) == {0x20}
        assert set(image(pacs.get(f"{address}/thumbnail", PNG).content).tobytes()) == {0x20}
        parts = parts_of(pacs.get(f"{address}/rendered", f'multipart/related; type="{PNG}"'))
        assert [set(image(content).tobytes()) for _, content in parts] == [{0x10}, {0x20}, {0x30}]


def test_thumbnails_are_small_at_every_level(pacs):
    content = with_own_uid((TEST_FILES / "JPEG2000.dcm").read_bytes())
    pacs.store(content)
    ds = dcmread(BytesIO(content))
    address = instance_path(ds)
    for path in (address, f"{address}/frames/1", series_path(ds), f"/studies/{ds.StudyInstanceUID}"):
        answer = pacs.get(f"{path}/thumbnail")
        assert answer.headers["Content-Type"] == JPEG
        assert max(image(answer.content).size) == 128
    assert max(image(pacs.get(f"{address}/thumbnail", PNG, viewport="32,32").content).size) == 32


def test_a_pdf_is_given_as_it_was_encapsulated(pacs):
    document = b"%PDF-1.7 a report of odd length%%EOF"
    ds = make_dataset(
        SOPClassUID=EncapsulatedPDFStorage, Modality="DOC", PixelData=None, Rows=None, Columns=None
    )
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument, ds.EncapsulatedDocumentLength = document + b"\0", len(document)
    address = put(pacs, ds)
    answer = pacs.get(f"{address}/rendered", "application/pdf")
    assert (answer.headers["Content-Type"], answer.content) == ("application/pdf", document)
    assert pacs.get(f"{address}/rendered", JPEG).status_code == 406
    assert pacs.get(f"{address}/thumbnail").status_code == 406


def report(**attributes: object) -> Dataset:
    def concept(meaning: str) -> Sequence:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99TEST", meaning
        return Sequence([item])

    def content(kind: str, meaning: str) -> Dataset:
        item = Dataset()
        item.ValueType, item.RelationshipType, item.ConceptNameCodeSequence = (
            kind,
            "CONTAINS",
            concept(meaning),
        )
        return item

    text, number, person = content("TEXT", "Befund"), content("NUM", "Länge"), content("PNAME", "Arzt")
    text.TextValue = "Größe <script>alert(1)</script> & 山田\nzweite Zeile"
    value = Dataset()
    value.NumericValue, value.MeasurementUnitsCodeSequence = "12.5", concept("millimeter")
    number.MeasuredValueSequence = Sequence([value])
    person.PersonName = "Yamada^Tarou=山田^太郎"
    section = content("CONTAINER", "Abschnitt")
    section.ContentSequence = Sequence([number, person])
    ds = make_dataset(SOPClassUID=EnhancedSRStorage, Modality="SR", PixelData=None, Rows=None, Columns=None)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ValueType, ds.ConceptNameCodeSequence = "CONTAINER", concept("Bericht")
    ds.CompletionFlag = "PARTIAL"
    ds.ContentSequence = Sequence([text, section])
    for keyword, one in attributes.items():
        setattr(ds, keyword, one)
    return ds


def test_a_report_is_a_page_in_which_nothing_is_markup(pacs):
    address = put(pacs, report())
    answer = pacs.get(f"{address}/rendered", "text/html")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    page = answer.content.decode()
    assert "<script" not in page
    for words in ("Bericht", "Befund", "<script>alert(1)</script> & 山田\nzweite Zeile", "12.5 millimeter"):
        assert words in unescape(page)
    for words in ("Yamada Tarou / 山田 太郎", "Testkind Mira", "PARTIAL", "Abschnitt"):
        assert words in unescape(page)
    assert page.index("Befund") < page.index("Abschnitt") < page.index("Länge")


def test_what_cannot_be_decoded_is_refused_in_words(pacs):
    content = make_undecodable()
    pacs.store(content)
    answer = pacs.get(f"{instance_path(dcmread(BytesIO(content)))}/rendered", JPEG)
    assert answer.status_code == 406
    assert "cannot be decoded" in answer.json()["detail"]


def test_dicomweb_client_retrieves_rendered_frames(pacs, movie):
    uids = (movie.StudyInstanceUID, movie.SeriesInstanceUID, movie.SOPInstanceUID)
    found = pacs.client().retrieve_instance_frames_rendered(*uids, frame_numbers=[2], media_types=(PNG,))
    assert set(image(found).tobytes()) == {0x20}
    whole = pacs.client().retrieve_instance_rendered(*uids, media_types=(JPEG,))
    assert image(whole).size == (4, 4)


def test_it_is_on_the_audit_trail_before_it_is_given(gateway, pacs, movie):
    before = len(audit_rows(gateway))
    pacs.get(f"{instance_path(movie)}/rendered", JPEG)
    pacs.get(f"{instance_path(movie)}/frames/1/rendered", f'multipart/related; type="{PNG}"')
    rows = audit_rows(gateway)[before:]
    assert [(action, channel) for _, action, _, channel, _ in rows] == [("read", "wado-rs")] * 2
    assert all('"rendered"' in detail for *_, detail in rows)
