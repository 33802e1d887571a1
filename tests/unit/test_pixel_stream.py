"""What a compressed image says of itself is what the header of a real DICOM file says of it."""

import random
from io import BytesIO

import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames

from gateway.errors import NotDicom
from mappings.pixel_stream import read_stream
from tests.support.dicom_files import real_files

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about odd values

RLE = "1.2.840.10008.1.2.5"
DAMAGED = {
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "SC_rgb_jpeg.dcm",
}  # its size; its pixels are not encapsulated


def compressed() -> list[tuple[str, str, dict, bytes]]:
    found = []
    for path in real_files():
        ds = dcmread(path, force=True)
        syntax = ds.file_meta.get("TransferSyntaxUID") if hasattr(ds, "file_meta") else None
        if (
            syntax is None
            or "PixelData" not in ds
            or not syntax.is_encapsulated
            or syntax == RLE
            or path.name in DAMAGED
        ):
            continue
        frame = next(generate_frames(ds.PixelData, number_of_frames=ds.get("NumberOfFrames", 1)))
        found.append((path.name, syntax, ds, frame))
    return found


def jpeg(mode: str, **options: object) -> bytes:
    image = Image.new("RGB" if mode == "YCbCr" else mode, (8, 8))
    file = BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def without_jfif(picture: bytes) -> bytes:
    assert picture[2:4] == b"\xff\xe0"
    return picture[:2] + picture[4 + int.from_bytes(picture[4:6], "big") :]


def test_the_transfer_syntax_and_the_size_of_real_images_are_read():
    images = compressed()
    assert {syntax[-2:] for _, syntax, _, _ in images} >= {"50", "51", "70", "80", "81", "90", "91"}
    for name, syntax, ds, frame in images:
        found = read_stream(BytesIO(b"before" + frame), 6, 6 + len(frame))
        assert syntax in found.transfer_syntaxes, name
        assert (found.rows, found.columns, found.samples) == (ds.Rows, ds.Columns, ds.SamplesPerPixel), name
        assert found.bits <= ds.BitsAllocated, name


@pytest.mark.parametrize(
    ("picture", "photometric", "colours"),
    [
        (jpeg("YCbCr"), "YBR_FULL_422", "YBR"),
        (jpeg("YCbCr", subsampling=0), "YBR_FULL", "YBR"),
        (jpeg("RGB", keep_rgb=True), "RGB", "RGB"),
        (without_jfif(jpeg("YCbCr")), "YBR_FULL_422", ""),
        (jpeg("L"), "MONOCHROME2", ""),
    ],
)
def test_whether_a_jpeg_image_says_of_what_colours_it_is(picture, photometric, colours):
    found = read_stream(BytesIO(picture), 0, len(picture))
    assert (found.photometric, found.colours) == (photometric, colours)


def test_damaged_images_raise_nothing_but_not_dicom():
    chance = random.Random(1)
    for _, _, _, frame in compressed():
        for _ in range(30):
            damaged = bytearray(frame[: chance.randrange(4, 3000)])
            for _ in range(chance.choice((0, 1, 10))):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            try:
                read_stream(BytesIO(damaged), 0, len(damaged))
            except NotDicom:
                continue


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"\xff\xd8", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"]
)
def test_what_is_no_compressed_image_is_refused(content):
    with pytest.raises(NotDicom):
        read_stream(BytesIO(content), 0, len(content))
