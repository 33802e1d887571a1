"""DICOM files for tests: made in memory, and multipart bodies as PACS send them."""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom.data
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

BOUNDARY = "test-boundary-8d1f"


def real_files() -> list[Path]:
    """Every file that pydicom ships: many encodings, many faults. (Its get_testdata_files would download more.)"""
    return sorted(path for path in (Path(pydicom.data.__file__).parent / "test_files").rglob("*.dcm"))


def make_dataset(**attributes: Any) -> Dataset:
    """A small CT image of a synthetic child, with new UIDs; ``attributes`` set or, as None, remove."""
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    ds.PatientName = "Testkind^Mira"
    ds.PatientID = "MRN-1"
    ds.PatientBirthDate = "20190503"
    ds.PatientSex = "F"
    ds.StudyDate, ds.StudyTime = "20261101", "101530"
    ds.AccessionNumber = "ACC-1"
    ds.StudyDescription = "CT Thorax"
    ds.Modality = "CT"
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.Rows = ds.Columns = 4
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 7, 0, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = bytes(range(16))
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def encode(ds: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """The Part 10 file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3")
    meta.TransferSyntaxUID = transfer_syntax_uid
    ds.file_meta = meta
    file = BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def make_file(**attributes: Any) -> bytes:
    return encode(make_dataset(**attributes))


JPEG_XL = "1.2.840.10008.1.2.4.110"
JPEG_XL_FRAME = bytes.fromhex("ff0a7f00900806010000") * 2


def make_undecodable(**attributes: Any) -> bytes:
    """A JPEG XL image, for which there is no decoder here."""
    ds = make_dataset(PixelData=encapsulate([JPEG_XL_FRAME]), **attributes)
    ds["PixelData"].is_undefined_length = True
    return encode(ds, JPEG_XL)


def multipart(files: Iterable[bytes], headers: str = "Content-Type: application/dicom") -> bytes:
    """A multipart/related body of BOUNDARY."""
    parts = [f"--{BOUNDARY}\r\n{headers}\r\n\r\n".encode() + file + b"\r\n" for file in files]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def related(part_type: str = "application/dicom", boundary: str = BOUNDARY) -> str:
    """The Content-Type of such a body."""
    return f'multipart/related; type="{part_type}"; boundary={boundary}'
