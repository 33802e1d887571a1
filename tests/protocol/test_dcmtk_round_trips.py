"""dcmtk both ways: its encoders make a file, storescu or dcmsend sends it, and it has it back by movescu or getscu."""

import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.support.dimse import TEST_FILES, Archive, dcmtk, new_instance
from tests.support.gateway_process import GatewayProcess
from tests.support.retrieving import StoreScp, storescp

CT, RGB = TEST_FILES / "CT_small.dcm", TEST_FILES / "examples_rgb_color.dcm"
TRAILING_PADDING = 0xFFFCFFFC
PIXELS = (0x7FE00010,)


@dataclass(frozen=True)
class Encoding:
    """``tool`` makes it, and storescu proposes it by ``option``."""

    transfer_syntax_uid: str
    tool: tuple[str, ...]
    option: str
    source: Path = CT


ENCODINGS = {
    "implicit-little": Encoding(ImplicitVRLittleEndian, ("dcmconv", "+ti"), "-xi"),
    "explicit-little": Encoding(ExplicitVRLittleEndian, ("dcmconv", "+te"), "-xe"),
    "explicit-big": Encoding(ExplicitVRBigEndian, ("dcmconv", "+tb"), "-xb"),
    "deflated": Encoding(DeflatedExplicitVRLittleEndian, ("dcmconv", "+td"), "-xd"),
    "rle": Encoding(RLELossless, ("dcmcrle",), "-xr"),
    "jpeg-lossless": Encoding(JPEGLosslessSV1, ("dcmcjpeg", "+e1"), "-xs"),
    "jpeg-baseline": Encoding(JPEGBaseline8Bit, ("dcmcjpeg", "+eb"), "-xy", RGB),
    "jpeg-extended": Encoding(JPEGExtended12Bit, ("dcmcjpeg", "+ee"), "-xx"),
    "jpeg-ls": Encoding(JPEGLSLossless, ("dcmcjpls", "+el"), "-xt"),
    "jpeg-ls-near": Encoding(JPEGLSNearLossless, ("dcmcjpls", "+en"), "-xu", RGB),
}
LOSSLESS = [name for name in ENCODINGS if name not in ("jpeg-baseline", "jpeg-extended", "jpeg-ls-near")]
WITHOUT_OPTION = Encoding(JPEGLossless, ("dcmcjpeg", "+el"), "")
"""Process 14 with other predictors, which only dcmsend proposes."""


@pytest.fixture(scope="module")
def destination(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    """dcmtk's storescp, which takes every transfer syntax; registered for hospital A as ROUND_TRIP."""
    with storescp(tmp_path_factory.mktemp("moved"), "+xa") as receiver:
        address = f"127.0.0.1:{receiver.port}"
        gateway.command("partner", "set-ae", "hospital-a", "ROUND_TRIP", "--address", address)
        yield receiver


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_dcmtk_encodes_comes_back_to_it_as_it_was(
    gateway: GatewayProcess, destination: StoreScp, tmp_path: Path, name: str
) -> None:
    encoding = ENCODINGS[name]
    made = _made(tmp_path, encoding)

    assert _succeeded(dcmtk("storescu", gateway, encoding.option, made)) == 1
    moved = dcmtk("movescu", gateway, "-S", options=["-aem", "ROUND_TRIP", *_keys(made)])

    assert moved.returncode == 0, moved.stdout
    kept = Archive(gateway).instance(_uid(made))
    assert kept.row.transfer_syntax_uid == encoding.transfer_syntax_uid
    assert _attributes(dcmread(BytesIO(kept.file_bytes))) == _attributes(dcmread(made))
    assert destination.received() == {_uid(made): kept.dataset_bytes}


@pytest.mark.parametrize("name", LOSSLESS)
def test_getscu_gets_the_pixels_of_every_lossless_encoding(
    gateway: GatewayProcess, tmp_path: Path, name: str
) -> None:
    """It proposes several transfer syntaxes in one context, of which only an uncompressed one fits all images."""
    encoding = ENCODINGS[name]
    made = _made(tmp_path, encoding)
    assert _succeeded(dcmtk("storescu", gateway, encoding.option, made)) == 1
    (received := tmp_path / "received").mkdir()

    done = dcmtk("getscu", gateway, "-S", options=["-od", received, *_keys(made)])

    assert done.returncode == 0, done.stdout
    (got,) = received.iterdir()
    assert _attributes(dcmread(got), PIXELS) == _attributes(dcmread(made), PIXELS)
    assert _has_the_pixels_of(dcmread(got), dcmread(made))


def test_dcmsend_sends_every_encoding_at_once(gateway: GatewayProcess, tmp_path: Path) -> None:
    files = []
    for number, encoding in enumerate([*ENCODINGS.values(), WITHOUT_OPTION]):
        (folder := tmp_path / str(number)).mkdir()
        files.append(_made(folder, encoding))

    done = dcmtk("dcmsend", gateway, "--decompress-never", *files)

    assert done.returncode == 0, done.stdout
    for file in files:
        kept, sent = dcmread(BytesIO(Archive(gateway).instance(_uid(file)).file_bytes)), dcmread(file)
        assert _attributes(kept, PIXELS) == _attributes(sent, PIXELS)
        if sent.file_meta.TransferSyntaxUID.is_encapsulated:
            assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
            assert kept.PixelData == sent.PixelData
        else:  # dcmsend may write what is not compressed in another order of bytes
            assert _has_the_pixels_of(kept, sent)


def test_one_association_carries_many_sop_classes(gateway: GatewayProcess, tmp_path: Path) -> None:
    names = ("CT_small", "MR_small", "rtdose", "rtplan", "reportsi", "waveform_ecg", "examples_rgb_color")
    files = [new_instance(tmp_path / f"{name}.dcm", TEST_FILES / f"{name}.dcm") for name in names]

    done = dcmtk("storescu", gateway, *files)

    assert _succeeded(done) == len(files)
    assert done.stdout.count("Requesting Association") == 1
    assert len({dcmread(file).SOPClassUID for file in files}) == len(files)
    for file in files:
        kept = dcmread(BytesIO(Archive(gateway).instance(_uid(file)).file_bytes))
        assert _attributes(kept) == _attributes(dcmread(file))


@pytest.mark.parametrize(
    "options", [("--combine",), ("--required",), ("--combine", "--required")], ids=" ".join
)
@pytest.mark.parametrize("name", ["explicit-little", "jpeg-lossless", "jpeg-ls", "rle"])
def test_several_transfer_syntaxes_may_be_proposed_in_one_context(
    gateway: GatewayProcess, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    encoding = ENCODINGS[name]
    made = _made(tmp_path, encoding)

    assert _succeeded(dcmtk("storescu", gateway, encoding.option, *options, made)) == 1

    kept = dcmread(BytesIO(Archive(gateway).instance(_uid(made)).file_bytes))
    assert kept.file_meta.TransferSyntaxUID == encoding.transfer_syntax_uid
    assert _attributes(kept) == _attributes(dcmread(made))


def _made(folder: Path, encoding: Encoding) -> Path:
    """A new instance, as dcmtk encodes it."""
    source = new_instance(folder / "source.dcm", encoding.source)
    made = folder / "made.dcm"
    subprocess.run([*encoding.tool, source, made], check=True, timeout=60)
    assert dcmread(made).file_meta.TransferSyntaxUID == encoding.transfer_syntax_uid
    return made


def _succeeded(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout
    return done.stdout.count("Received Store Response (Success)")


def _keys(file: Path) -> list[str]:
    """The options of movescu and getscu that ask for this instance."""
    ds = dcmread(file, stop_before_pixels=True)
    keys = [f"{key}={ds[key].value}" for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    return [option for key in ("QueryRetrieveLevel=IMAGE", *keys) for option in ("-k", key)]


def _has_the_pixels_of(one: Dataset, other: Dataset) -> bool:
    """Whatever the order of the bytes."""
    return bool((one.pixel_array == other.pixel_array).all())


def _uid(file: Path) -> str:
    return str(dcmread(file, stop_before_pixels=True).SOPInstanceUID)


def _attributes(ds: Dataset, without: Collection[int] = ()) -> dict[int, DataElement]:
    """All but what dcmtk leaves out when it sends."""
    return {element.tag: element for element in ds if element.tag not in (TRAILING_PADDING, *without)}
