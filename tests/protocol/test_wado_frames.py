"""WADO-RS frames and pixel data (PS3.18 10.4, 8.7.3): as stored, decoded, and encoded anew without loss."""

from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, generate_uid

from tests.support.dicom_files import JPEG_XL, JPEG_XL_FRAME, encode, make_dataset, make_undecodable
from tests.support.dicomweb import (
    Pacs,
    instance_path,
    parts_of,
    parts_with_headers,
    series_path,
    with_own_uid,
)
from tests.support.dimse import TEST_FILES
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

OCTETS = "application/octet-stream"
EXPLICIT = "1.2.840.10008.1.2.1"
JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"


def related(kind: str, syntax: str = "") -> str:
    return f'multipart/related; type="{kind}"' + (f"; transfer-syntax={syntax}" if syntax else "")


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


def stored(pacs: Pacs, name: str) -> Dataset:
    content = with_own_uid((TEST_FILES / name).read_bytes())
    assert pacs.store(content).status_code in (200, 202)
    return dcmread(BytesIO(content))


@pytest.fixture
def movie(pacs: Pacs) -> Dataset:
    """Three native frames of 4 x 4 pixels, each of one value."""
    ds = make_dataset(NumberOfFrames=3, PixelData=b"\1" * 16 + b"\2" * 16 + b"\3" * 16)
    assert pacs.store(encode(ds)).status_code == 200
    return ds


def test_frames_come_in_the_order_that_is_asked_for(pacs, movie):
    parts = parts_with_headers(pacs.get(f"{instance_path(movie)}/frames/3,1", related(OCTETS)))
    assert [content for _, content in parts] == [b"\3" * 16, b"\1" * 16]
    assert {headers["Content-Type"] for headers, _ in parts} == {f"{OCTETS}; transfer-syntax={EXPLICIT}"}
    url = f"{pacs.url}{instance_path(movie)}"
    assert [headers["Content-Location"] for headers, _ in parts] == [f"{url}/frames/3", f"{url}/frames/1"]


def test_one_frame_alone_may_be_the_whole_body(pacs, movie):
    answer = pacs.get(f"{instance_path(movie)}/frames/2", OCTETS)
    assert (answer.content, answer.headers["Content-Length"]) == (b"\2" * 16, "16")
    assert pacs.get(f"{instance_path(movie)}/frames/1,2", OCTETS).status_code == 406


@pytest.mark.parametrize("frames", ["0", "1,0", "x", "1,,2", "-1", "1-3", "99999999999", ","])
def test_what_is_no_list_of_frames_is_refused_in_words(pacs, movie, frames):
    answer = pacs.get(f"{instance_path(movie)}/frames/{frames}", related(OCTETS))
    assert answer.status_code == 400
    assert "Frames are numbers from 1 on" in answer.json()["detail"]


def test_a_frame_past_the_last_is_not_found(pacs, movie):
    answer = pacs.get(f"{instance_path(movie)}/frames/2,4", related(OCTETS))
    assert answer.status_code == 404
    assert answer.json()["detail"] == "The instance has 3 frames, and no frame 4."


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("MR_small_RLE.dcm", "image/dicom-rle"),
        ("MR_small_jpeg_ls_lossless.dcm", "image/jls"),
        ("MR_small_jp2klossless.dcm", "image/jp2"),
        ("JPEG2000.dcm", "image/jp2"),
        ("SC_rgb_jpeg_dcmtk.dcm", "image/jpeg"),
        ("JPGExtended.dcm", "image/jpeg"),
        ("SC_rgb_rle_2frame.dcm", "image/dicom-rle"),
    ],
)
def test_compressed_frames_are_given_as_they_are_stored(pacs, name, media_type):
    ds = stored(pacs, name)
    count = int(ds.get("NumberOfFrames", 1))
    kept = list(generate_frames(ds.PixelData, number_of_frames=count))
    address = f"{instance_path(ds)}/frames/{','.join(str(frame + 1) for frame in range(count))}"
    syntax = ds.file_meta.TransferSyntaxUID
    for accept, told in (
        (related("*/*", "*"), media_type),
        (related(media_type), media_type),
        (related(media_type, syntax), media_type),
        (related(OCTETS, "*"), OCTETS),
        (related(OCTETS, syntax), OCTETS),
    ):
        parts = parts_of(pacs.get(address, accept))
        assert [content for _, content in parts] == kept, accept
        assert {kind for kind, _ in parts} == {f"{told}; transfer-syntax={syntax}"}


@pytest.mark.parametrize(
    "name",
    [
        *("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "rtdose.dcm"),
        *("MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm"),
        *("SC_rgb_rle_2frame.dcm", "examples_palette.dcm", "SC_rgb_small_odd_big_endian.dcm"),
    ],
)
def test_without_a_transfer_syntax_frames_are_decoded(pacs, name):
    ds = stored(pacs, name)
    count = int(ds.get("NumberOfFrames", 1))
    pixels = ds.pixel_array if count > 1 else ds.pixel_array[np.newaxis]
    for accept in (related(OCTETS), related(OCTETS, EXPLICIT), "*/*", ""):
        [(kind, content)] = parts_of(pacs.get(f"{instance_path(ds)}/frames/{count}", accept))
        assert kind == f"{OCTETS}; transfer-syntax={EXPLICIT}"
        found = np.frombuffer(content, pixels.dtype.newbyteorder("<"))
        assert np.array_equal(found.reshape(pixels.shape[1:]), pixels[count - 1])


@pytest.mark.parametrize(
    ("accept", "syntax"),
    [
        (related("image/jls"), "1.2.840.10008.1.2.4.80"),
        (related("image/jp2"), "1.2.840.10008.1.2.4.90"),
        (related("image/x-dicom-rle"), "1.2.840.10008.1.2.5"),
        (related(OCTETS, "1.2.840.10008.1.2.4.90"), "1.2.840.10008.1.2.4.90"),
    ],
)
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm"])
def test_frames_are_encoded_without_loss_when_asked_for(pacs, name, accept, syntax):
    ds = stored(pacs, name)
    [(kind, content)] = parts_of(pacs.get(f"{instance_path(ds)}/frames/1", accept))
    assert kind.endswith(f"; transfer-syntax={syntax}")
    pixels, _ = get_decoder(UID(syntax)).as_array(
        encapsulate([content]),
        rows=ds.Rows,
        columns=ds.Columns,
        samples_per_pixel=1,
        bits_allocated=ds.BitsAllocated,
        bits_stored=ds.BitsStored,
        pixel_representation=ds.PixelRepresentation,
        photometric_interpretation=ds.PhotometricInterpretation,
        number_of_frames=1,
        pixel_keyword="PixelData",
    )
    assert np.array_equal(pixels, ds.pixel_array)


@pytest.mark.parametrize(
    "accept",
    [
        related("image/jpeg"),
        related("image/jphc"),
        related("image/jp2", "1.2.840.10008.1.2.4.80"),
        "text/html",
    ],
)
def test_an_encoding_that_is_not_written_is_refused(pacs, accept):
    ds = stored(pacs, "CT_small.dcm")
    answer = pacs.get(f"{instance_path(ds)}/frames/1", accept)
    assert answer.status_code == 406
    assert "with transfer-syntax=* as they are stored" in answer.json()["detail"]


def test_what_no_decoder_reads_is_given_as_it_is_to_who_takes_anything(pacs):
    content = make_undecodable()
    pacs.store(content)
    address = f"{instance_path(dcmread(BytesIO(content)))}/frames/1"
    [(kind, found)] = parts_of(pacs.get(address))
    assert kind == f"image/jxl; transfer-syntax={JPEG_XL}"
    assert found == JPEG_XL_FRAME
    refused = pacs.get(address, related(OCTETS))
    assert refused.status_code == 406
    assert "cannot be decoded" in refused.json()["detail"]


def test_frames_of_one_bit_a_pixel_begin_at_a_byte(pacs):
    bits = (np.arange(3 * 25) % 3 == 0).astype(np.uint8)
    ds = make_dataset(Rows=5, Columns=5, NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0)
    ds.PixelData = np.packbits(bits, bitorder="little").tobytes()
    assert pacs.store(encode(ds)).status_code in (200, 202)
    parts = parts_of(pacs.get(f"{instance_path(ds)}/frames/1,2,3", related(OCTETS)))
    for frame, (_, content) in enumerate(parts):
        found = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[:25]
        assert np.array_equal(found, bits[25 * frame : 25 * frame + 25])


def test_pixel_data_of_one_bit_a_pixel_is_whole(pacs):
    bits = (np.arange(3 * 25) % 3 == 0).astype(np.uint8)
    ds = make_dataset(Rows=5, Columns=5, NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0)
    ds.PixelData = np.packbits(bits, bitorder="little").tobytes()
    pacs.store(encode(ds))
    assert pacs.get(f"{instance_path(ds)}/pixeldata", OCTETS).content == ds.PixelData


def test_pixel_data_of_big_endian_is_turned(pacs):
    ds = stored(pacs, "MR_small_bigendian.dcm")
    assert (
        pacs.get(f"{instance_path(ds)}/pixeldata", OCTETS).content == ds.pixel_array.astype("<i2").tobytes()
    )


def test_a_part_of_native_pixel_data_is_given(pacs, movie):
    answer = pacs.get(f"{instance_path(movie)}/bulkdata/7FE00010", OCTETS, {"Range": "bytes=14-17"})
    assert (answer.status_code, answer.content) == (206, b"\1\1\2\2")


def test_pixels_that_are_not_all_there_are_told(pacs):
    ds = make_dataset(NumberOfFrames=3, PixelData=b"\1" * 20)
    assert pacs.store(encode(ds)).status_code in (200, 202)
    assert parts_of(pacs.get(f"{instance_path(ds)}/frames/1"))[0][1] == b"\1" * 16
    answer = pacs.get(f"{instance_path(ds)}/frames/2")
    assert answer.status_code == 406
    assert "frame 2 is not whole" in answer.json()["detail"]


def test_what_is_no_image_has_no_frames(pacs):
    ds = make_dataset(Modality="SR", PixelData=None, Rows=None, Columns=None)
    pacs.store(encode(ds))
    assert pacs.get(f"{instance_path(ds)}/frames/1").status_code == 406
    assert pacs.get(f"{instance_path(ds)}/pixeldata").status_code == 404


def test_pixel_data_is_one_part_uncompressed_and_a_part_for_each_frame_compressed(pacs):
    ds = stored(pacs, "SC_rgb_rle_2frame.dcm")
    address = f"{instance_path(ds)}/pixeldata"
    [(kind, content)] = parts_of(pacs.get(address, related(OCTETS)))
    assert (kind, content) == (f"{OCTETS}; transfer-syntax={EXPLICIT}", ds.pixel_array.tobytes())
    assert pacs.get(address, OCTETS).content == ds.pixel_array.tobytes()
    kept = parts_of(pacs.get(address, related("*/*", "*")))
    assert [content for _, content in kept] == list(generate_frames(ds.PixelData, number_of_frames=2))
    assert pacs.get(f"{instance_path(ds)}/bulkdata/7FE00010", OCTETS).content == ds.pixel_array.tobytes()


def test_pixel_data_of_a_series_has_every_image(pacs, movie):
    other = make_dataset(
        StudyInstanceUID=movie.StudyInstanceUID, SeriesInstanceUID=movie.SeriesInstanceUID, InstanceNumber=2
    )
    pacs.store(encode(other))
    for address in (series_path(movie), f"/studies/{movie.StudyInstanceUID}"):
        parts = parts_with_headers(pacs.get(f"{address}/pixeldata", related(OCTETS)))
        assert [content for _, content in parts] == [movie.PixelData, other.PixelData]
        assert parts[1][0]["Content-Location"].endswith(f"/instances/{other.SOPInstanceUID}/pixeldata")


def test_dicomweb_client_retrieves_frames(pacs, movie):
    uids = (movie.StudyInstanceUID, movie.SeriesInstanceUID, movie.SOPInstanceUID)
    assert pacs.client().retrieve_instance_frames(*uids, frame_numbers=[1, 3]) == [b"\1" * 16, b"\3" * 16]
    ds = stored(pacs, "JPEG2000.dcm")
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    wanted = (("image/jp2", ds.file_meta.TransferSyntaxUID),)
    [found] = pacs.client().retrieve_instance_frames(*uids, frame_numbers=[1], media_types=wanted)
    assert found == next(generate_frames(ds.PixelData, number_of_frames=1))


@pytest.mark.parametrize("name", ["HTJ2KLossless_08_RGB.dcm", "HTJ2K_08_RGB.dcm"])
def test_high_throughput_jpeg_2000_is_decoded(pacs, shared_data, name):
    if shared_data is None:
        pytest.skip("the files are among those of shared/data")
    ds = dcmread(shared_data / "dicom" / "pydicom-data" / name)
    syntax = ds.file_meta.TransferSyntaxUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = (
        generate_uid(),
        generate_uid(),
        generate_uid(),
    )
    assert pacs.store(encode(ds, syntax)).status_code in (200, 202)
    [(_, found)] = parts_of(pacs.get(f"{instance_path(ds)}/frames/1", related(OCTETS)))
    assert found == ds.pixel_array.tobytes()
    [(kind, kept)] = parts_of(pacs.get(f"{instance_path(ds)}/frames/1", related("image/jphc", "*")))
    assert kind == f"image/jphc; transfer-syntax={syntax}"
    assert kept == next(generate_frames(ds.PixelData, number_of_frames=1))


@pytest.mark.parametrize(
    ("name", "native"),
    [
        ("liver_rle.dcm", "liver.dcm"),
        ("liver_deflate.dcm", "liver.dcm"),
        ("liver_nonbyte_aligned_rle.dcm", "liver_nonbyte_aligned.dcm"),
        ("liver_nonbyte_aligned_deflate.dcm", "liver_nonbyte_aligned.dcm"),
        ("liver_nonbyte_aligned_j2k.dcm", "liver_nonbyte_aligned.dcm"),
    ],
)
def test_segmentations_of_one_bit_are_decoded(pacs, shared_data, name, native):
    if shared_data is None:
        pytest.skip("the files are among those of shared/data")
    folder = shared_data / "dicom" / "pydicom-data"
    content = with_own_uid((folder / name).read_bytes())
    assert pacs.store(content).status_code in (200, 202)
    found = pacs.get(f"{instance_path(dcmread(BytesIO(content)))}/pixeldata", OCTETS).content
    bits = np.unpackbits(np.frombuffer(found, np.uint8), bitorder="little")
    expected = dcmread(folder / native).pixel_array.ravel()
    assert np.array_equal(bits[: expected.size], expected)


@pytest.fixture
def mixed(pacs: Pacs) -> list[Dataset]:
    """A study of three series: a native image, one that nothing decodes, and one in JPEG-LS."""
    first = make_dataset(Rows=64, Columns=64, PixelData=bytes(range(256)) * 16)
    same = {"StudyInstanceUID": first.StudyInstanceUID}
    pacs.store(encode(first))
    undecodable = make_undecodable(SeriesNumber=2, **same)
    third = make_dataset(Rows=64, Columns=64, PixelData=bytes(range(256)) * 16, SeriesNumber=3)
    pacs.store(encode(third))
    jpeg_ls = dcmread(
        BytesIO(pacs.get(instance_path(third), f"application/dicom; transfer-syntax={JPEG_LS}").content)
    )
    jpeg_ls.StudyInstanceUID = first.StudyInstanceUID
    jpeg_ls.SeriesInstanceUID, jpeg_ls.SOPInstanceUID = generate_uid(), generate_uid()
    assert pacs.store(undecodable, encode(jpeg_ls, JPEG_LS)).status_code in (200, 202)
    return [first, dcmread(BytesIO(undecodable)), jpeg_ls]


def test_pixel_data_that_nothing_decodes_is_given_as_stored_among_others_and_that_is_said(pacs, mixed):
    answer = pacs.get(f"/studies/{mixed[0].StudyInstanceUID}/pixeldata", related(OCTETS))
    assert answer.status_code == 200
    kinds = [headers["Content-Type"] for headers, _ in parts_with_headers(answer)]
    assert kinds == [f"{OCTETS}; transfer-syntax={syntax}" for syntax in (EXPLICIT, JPEG_XL, EXPLICIT)]
    assert f"{mixed[1].SOPInstanceUID} is given as it is stored" in answer.headers["Warning"]
    assert parts_with_headers(answer)[1][1] == JPEG_XL_FRAME
    alone = pacs.get(f"{series_path(mixed[1])}/pixeldata", related(OCTETS))
    assert (alone.status_code, "cannot be decoded" in alone.json()["detail"]) == (406, True)


def test_pixel_data_that_cannot_be_had_as_wanted_are_named_in_the_head_of_a_partial_answer(pacs, mixed):
    answer = pacs.get(f"/studies/{mixed[0].StudyInstanceUID}/pixeldata", related("image/jls"))
    assert answer.status_code == 206
    found = [headers["Content-Location"] for headers, _ in parts_with_headers(answer)]
    assert found == [f"{pacs.url}{instance_path(ds)}/frames/1" for ds in (mixed[0], mixed[2])]
    assert f"Instance {mixed[1].SOPInstanceUID} is not among the parts." in answer.headers["Warning"]
    assert pacs.get(f"{series_path(mixed[1])}/pixeldata", related("image/jls")).status_code == 406


def test_a_frame_that_is_damaged_behind_others_is_told_before_the_answer_begins(pacs):
    good = make_dataset(Rows=64, Columns=64, PixelData=bytes(range(256)) * 16, InstanceNumber=1)
    pacs.store(encode(good))
    frame = pacs.get(f"{instance_path(good)}/frames/1", "image/jls").content
    broken = make_dataset(Rows=64, Columns=64, NumberOfFrames=2, InstanceNumber=2)
    broken.StudyInstanceUID, broken.SeriesInstanceUID = good.StudyInstanceUID, good.SeriesInstanceUID
    broken.PixelData = encapsulate([frame, frame[:30] + b"\xff\xd9"])
    broken["PixelData"].is_undefined_length = True
    assert pacs.store(encode(broken, JPEG_LS)).status_code in (200, 202)
    answer = pacs.get(f"{series_path(good)}/pixeldata", related("image/dicom-rle"))
    assert answer.status_code == 206
    assert len(parts_with_headers(answer)) == 1
    assert broken.SOPInstanceUID in answer.headers["Warning"]


@pytest.mark.parametrize(
    ("accept", "told"),
    [
        ("image/*", f"image/jls; transfer-syntax={JPEG_LS}"),
        (related("image/*"), f"image/jls; transfer-syntax={JPEG_LS}"),
        (f"image/*; transfer-syntax={JPEG_2000}", f"image/jp2; transfer-syntax={JPEG_2000}"),
        ("application/*", f"{OCTETS}; transfer-syntax={EXPLICIT}"),
        ("application/*; transfer-syntax=*", f"{OCTETS}; transfer-syntax={JPEG_LS}"),
    ],
)
@pytest.mark.parametrize("resource", ["frames/1", "pixeldata"])
def test_a_range_of_media_types_is_answered_with_one_of_them(pacs, mixed, resource, accept, told):
    answer = pacs.get(f"{instance_path(mixed[2])}/{resource}", accept)
    is_multipart = accept.startswith("multipart")
    kind = parts_of(answer)[0][0] if is_multipart else answer.headers["Content-Type"]
    assert (answer.status_code, kind) == (200, told)


def test_any_image_of_native_frames_is_one_without_loss(pacs, mixed):
    answer = pacs.get(f"{instance_path(mixed[0])}/frames/1", "image/*")
    assert answer.headers["Content-Type"] == "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"
    assert pacs.get(f"{instance_path(mixed[0])}/frames/1", "video/*").status_code == 406
