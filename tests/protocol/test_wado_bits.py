"""Every bit of every pixel cell comes back (PS3.5 8.1.1), and what is shown are the values in them: judged by dcmtk."""

import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array

from tests.support.dicom_files import encode, make_dataset
from tests.support.dicomweb import Pacs, instance_path, with_own_uid
from tests.support.dimse import TEST_FILES
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

RLE, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
JPEG_LOSSLESS, EXPLICIT = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1"
ENCODERS = {RLE: ["dcmcrle"], JPEG_LS: ["dcmcjpls"], JPEG_LOSSLESS: ["dcmcjpeg", "+e1"]}
DECODERS = {RLE: "dcmdrle", JPEG_LS: "dcmdjpls", JPEG_LOSSLESS: "dcmdjpeg"}
OCTETS = "application/octet-stream"
SIDE = 64
RAMP = (np.arange(SIDE * SIDE) % 4096).astype("<u2").reshape(SIDE, SIDE)


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


def image(cells: np.ndarray, stored: int, high: int, is_signed: bool = False, **more: object) -> Dataset:
    frames = cells.shape[0] if cells.ndim == 3 else 1
    kind = {
        "Rows": cells.shape[-2],
        "Columns": cells.shape[-1],
        "BitsAllocated": 8 * cells.dtype.itemsize,
        "BitsStored": stored,
        "HighBit": high,
        "PixelRepresentation": int(is_signed),
        "PixelData": cells.tobytes(),
    }
    return make_dataset(**kind, **({"NumberOfFrames": frames} if frames > 1 else {}), **more)


def noise(low: int, high: int, *, kind: str = "<u2", shape: tuple[int, ...] = (SIDE, SIDE)) -> np.ndarray:
    return np.random.default_rng(7).integers(low, high, shape).astype(kind)


CELLS = {
    "high bit 15": lambda: image(RAMP << 4, 12, 15),
    "high bit 15, something below": lambda: image((RAMP << 4) | 5, 12, 15),
    "an overlay in bit 15": lambda: with_overlay(RAMP | ((RAMP & 1) << 15)),
    "signed, sign not extended": lambda: image(noise(-2048, 2048, kind="<i2") & 0xFFF, 12, 11, True),
    "signed": lambda: image(noise(-2048, 2048, kind="<i2"), 12, 11, True),
    "signed, every bit": lambda: image(noise(-32768, 32768, kind="<i2"), 16, 15, True),
    "more than its bits": lambda: image(RAMP | 0x0400, 10, 9),
    "a byte in two": lambda: image(noise(0, 256), 8, 7),
    "a byte, of which five are stored": lambda: image(noise(0, 256, kind="u1"), 5, 4),
    "frames, one with an overlay": lambda: image(np.stack([RAMP, RAMP | 0x8000]), 12, 11),
}


def with_overlay(cells: np.ndarray) -> Dataset:
    """A plane embedded in bit 15 of the cells, as older images have it (retired, PS3.3 C.9.2)."""
    ds = image(cells, 12, 11)
    for tag, vr, told in (
        (0x60000010, "US", SIDE),
        (0x60000011, "US", SIDE),
        (0x60000040, "CS", "G"),
        (0x60000050, "SS", [1, 1]),
        (0x60000100, "US", 16),
        (0x60000102, "US", 15),
    ):
        ds.add_new(tag, vr, told)
    return ds


def dcmtk(program: list[str], content: bytes, folder: Path) -> Dataset:
    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(content)
    done = subprocess.run([*program, source, target], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return dcmread(target)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("syntax", [RLE, JPEG_LS])
def test_dcmtk_decodes_every_bit_of_what_was_encoded(pacs, tmp_path, name, syntax):
    ds = CELLS[name]()
    pacs.store(encode(ds))
    answer = pacs.get(instance_path(ds), f"application/dicom; transfer-syntax={syntax}")
    assert answer.status_code == 200, answer.text
    decoded = dcmtk([DECODERS[syntax]], answer.content, tmp_path)
    assert decoded.PixelData == ds.PixelData
    for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        assert decoded[keyword].value == ds[keyword].value, keyword


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("syntax", [RLE, JPEG_LS, JPEG_2000])
def test_what_was_encoded_here_is_decoded_here_to_every_bit(pacs, name, syntax):
    ds = CELLS[name]()
    pacs.store(encode(ds))
    encoded = dcmread(
        BytesIO(pacs.get(instance_path(ds), f"application/dicom; transfer-syntax={syntax}").content)
    )
    encoded.SOPInstanceUID = f"{ds.SOPInstanceUID[:-3]}.1"
    assert pacs.store(encode(encoded, syntax)).status_code in (200, 202)
    decoded = dcmread(BytesIO(pacs.get(instance_path(encoded), "application/dicom").content))
    assert decoded.PixelData == ds.PixelData
    assert (decoded.BitsStored, decoded.HighBit) == (ds.BitsStored, ds.HighBit)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("syntax", ENCODERS)
def test_what_dcmtk_encoded_is_decoded_as_dcmtk_does(pacs, tmp_path, name, syntax):
    encoded = dcmtk(ENCODERS[syntax], encode(CELLS[name]()), tmp_path)
    expected = dcmtk([DECODERS[syntax]], (tmp_path / "target.dcm").read_bytes(), tmp_path)
    pacs.store(encode(encoded, syntax))
    address = instance_path(encoded)
    decoded = dcmread(BytesIO(pacs.get(address, "application/dicom").content))
    assert (decoded.BitsStored, decoded.HighBit) == (expected.BitsStored, expected.HighBit)
    size = expected.Rows * expected.Columns * expected.BitsAllocated // 8
    found = pacs.get(f"{address}/frames/1", OCTETS).content
    assert found == decoded.PixelData[:size]
    if name == "signed, sign not extended" or (name == "signed" and syntax != RLE):
        kind = f"<i{expected.BitsAllocated // 8}"
        values = [np.frombuffer(one.PixelData, kind) & 0xFFF for one in (decoded, expected)]
        assert np.array_equal(*values)
    else:
        assert decoded.PixelData == expected.PixelData


@pytest.mark.parametrize("name", [name for name in CELLS if "frames" not in name])
def test_grey_levels_are_of_the_value_in_the_cell_as_dcmtk_shows_it(pacs, tmp_path, name):
    ds = CELLS[name]()
    pacs.store(encode(ds))
    (tmp_path / "source.dcm").write_bytes(encode(ds))
    window = {"signed, every bit": (0, 60000)}.get(name, (1000, 3000))
    options = ["+Ww", *map(str, window), "-O"]  # without the overlay, which is not drawn here
    files = [tmp_path / "source.dcm", tmp_path / "target.pgm"]
    subprocess.run(["dcmj2pnm", "+op", *options, *files], check=True, capture_output=True, timeout=60)
    expected = np.asarray(Image.open(tmp_path / "target.pgm").convert("L")).astype(int)
    told = f"{window[0]},{window[1]}"
    answer = pacs.get(f"{instance_path(ds)}/rendered", "image/png", window=told)
    found = np.asarray(Image.open(BytesIO(answer.content))).astype(int)
    assert np.abs(found - expected).max() <= 1


def test_where_the_value_stands_in_the_cell_makes_no_difference_to_the_image(pacs):
    shown = []
    for ds in (image(RAMP, 12, 11), image(RAMP << 4, 12, 15), image(RAMP | 0xA000, 12, 11)):
        pacs.store(encode(ds))
        for syntax in ("", RLE, JPEG_LS, JPEG_2000):
            if syntax:
                stored = pacs.get(instance_path(ds), f"application/dicom; transfer-syntax={syntax}").content
                ds = dcmread(BytesIO(stored))
                ds.SOPInstanceUID = f"{ds.SOPInstanceUID[:-2]}.{syntax[-1]}"
                pacs.store(encode(ds, syntax))
            shown.append(pacs.get(f"{instance_path(ds)}/rendered", "image/png").content)
    assert len(set(shown)) == 1


TWELVE = (
    "JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51",
    "JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53",
    "JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55",
)


@pytest.mark.parametrize("name", TWELVE)
def test_real_jpegs_of_twelve_bits_are_decoded_and_rendered_as_dcmtk_does(pacs, shared_data, tmp_path, name):
    if shared_data is None:
        pytest.skip("the files are among those of shared/data")
    content = with_own_uid(
        (shared_data / "dicom" / "cornerstone-wado-testimages" / f"CTImage.dcm_{name}.dcm").read_bytes()
    )
    pacs.store(content)
    expected = dcmtk(["dcmdjpeg"], content, tmp_path)
    address = instance_path(expected)
    decoded = dcmread(BytesIO(pacs.get(address, "application/dicom").content))
    assert decoded.PixelData == expected.PixelData
    assert decoded.PhotometricInterpretation == expected.PhotometricInterpretation == "MONOCHROME2"
    assert pacs.get(f"{address}/frames/1", OCTETS).content == expected.PixelData
    assert pacs.get(f"{address}/thumbnail").status_code == 200
    found = Image.open(BytesIO(pacs.get(f"{address}/rendered", "image/png", window="40,400").content))
    pixels = ["dcmj2pnm", "+op", "+Ww", "40", "400", tmp_path / "target.dcm", tmp_path / "image.pgm"]
    subprocess.run(pixels, check=True, capture_output=True, timeout=60)
    shown = np.asarray(Image.open(tmp_path / "image.pgm").convert("L")).astype(int)
    assert np.abs(np.asarray(found).astype(int) - shown).max() <= 1


@pytest.mark.parametrize("option", ["+ee", "+es", "+ep"])
@pytest.mark.parametrize("is_signed", [False, True])
def test_every_process_of_twelve_bits_is_decoded_as_dcmtk_does(pacs, tmp_path, option, is_signed):
    low = -2048 if is_signed else 0
    source = image(noise(low, low + 4096, kind="<i2", shape=(37, 51)), 12, 11, is_signed)
    encoded = dcmtk(["dcmcjpeg", option], encode(source), tmp_path)
    kept = (tmp_path / "target.dcm").read_bytes()
    expected = dcmtk(["dcmdjpeg"], kept, tmp_path)
    pacs.store(kept)
    decoded = dcmread(BytesIO(pacs.get(instance_path(encoded), "application/dicom").content))
    assert decoded.PixelData == expected.PixelData
    assert decoded.PixelRepresentation == expected.PixelRepresentation


@pytest.mark.parametrize(("left", "words"), [(0.5, "ends early"), (1.0, "of another size")])
def test_a_jpeg_of_twelve_bits_that_is_cut_off_or_of_another_size_is_refused(pacs, tmp_path, left, words):
    encoded = dcmtk(["dcmcjpeg", "+ee"], encode(image(RAMP, 12, 11)), tmp_path)
    frame = next(generate_frames(encoded.PixelData, number_of_frames=1))
    encoded.PixelData = encapsulate([frame[: int(len(frame) * left)]])
    encoded.Rows = SIDE if left < 1 else SIDE + 8
    assert pacs.store(encode(encoded, encoded.file_meta.TransferSyntaxUID)).status_code in (200, 202)
    answer = pacs.get(f"{instance_path(encoded)}/rendered", "image/png")
    assert (answer.status_code, words in answer.json()["detail"]) == (406, True)


def test_a_value_a_little_above_its_bits_in_lossy_jpeg_is_no_dark_pixel(pacs, tmp_path):
    """1023 of 10 bits, which came out of the cosine transform as 1024 or more, stays white."""
    cells = np.where(noise(0, 2), 1023, 900).astype("<u2")
    cells[0, 0], cells[0, 1] = 0, 4095  # dcmcjpeg spreads what there is over all bits
    encoded = dcmtk(["dcmcjpeg", "+ee"], encode(image(cells, 12, 11)), tmp_path)
    encoded.BitsStored, encoded.HighBit = 10, 9
    pacs.store(encode(encoded, encoded.file_meta.TransferSyntaxUID))
    decoded = dcmread(BytesIO(pacs.get(instance_path(encoded), "application/dicom").content))
    assert np.frombuffer(decoded.PixelData, "<u2").max() > 1023
    answer = pacs.get(f"{instance_path(encoded)}/rendered", "image/png", window="900,100")
    assert np.asarray(Image.open(BytesIO(answer.content)))[16:].min() > 50


@pytest.mark.parametrize(("syntax", "decoder"), [(RLE, "dcmdrle"), (JPEG_LS, "dcmdjpls"), (JPEG_2000, "")])
@pytest.mark.parametrize("name", ["SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle.dcm"])
def test_subsampled_colour_is_encoded_with_every_sample_and_says_so(pacs, tmp_path, name, syntax, decoder):
    content = with_own_uid((TEST_FILES / name).read_bytes())
    pacs.store(content)
    ds = dcmread(BytesIO(content))
    kept = pacs.get(instance_path(ds), f"application/dicom; transfer-syntax={syntax}").content
    encoded = dcmread(BytesIO(kept))
    expected = "YBR_FULL" if "422" in name else "RGB"
    assert (encoded.PhotometricInterpretation, encoded.SamplesPerPixel) == (expected, 3)
    if decoder:
        decoded = dcmtk([decoder], kept, tmp_path)
        assert decoded.PhotometricInterpretation == expected
        pixels = pixel_array(decoded, raw=True)
    else:
        pixels = pixel_array(encoded, raw=True)
    assert np.array_equal(pixels, pixel_array(ds, raw=True))


def test_full_ybr_of_lossless_compression_stays_as_it_is(pacs):
    """Turned into RGB it would be rounded."""
    samples = noise(0, 256, kind="u1", shape=(SIDE, SIDE, 3))
    ds = make_dataset(
        Rows=SIDE, Columns=SIDE, SamplesPerPixel=3, PlanarConfiguration=0, PixelData=samples.tobytes()
    )
    ds.PhotometricInterpretation = "YBR_FULL"
    for syntax in (RLE, JPEG_LS, JPEG_2000):
        pacs.store(encode(ds))
        kept = pacs.get(instance_path(ds), f"application/dicom; transfer-syntax={syntax}")
        assert kept.status_code == 200, kept.text
        again = dcmread(BytesIO(kept.content))
        again.SOPInstanceUID = f"{ds.SOPInstanceUID[:-3]}.{syntax[-1]}"
        pacs.store(encode(again, syntax))
        decoded = dcmread(BytesIO(pacs.get(instance_path(again), "application/dicom").content))
        assert (decoded.PhotometricInterpretation, decoded.PixelData) == ("YBR_FULL", samples.tobytes())
