"""500 CT slices of 512 x 512 x 16 bit, made from a seeded generator; they can be given new identities at will."""

import random
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

COUNT = 500
SIZE = 512
FOLDERS = 4
"""The files lie in so many folders, an equal share in each: what as many associations send."""
_PIXEL_BYTES = SIZE * SIZE * 2


def new_uid() -> str:
    """Of 44 characters, always: one takes the place of another without moving a byte (PS3.5 B.2)."""
    return f"2.25.{random.randrange(10**38, 2**128)}"


class Slices:
    """The slices of one study in one series, on disk in ``folder``."""

    def __init__(self, folder: Path, count: int = COUNT) -> None:
        self.study_instance_uid = self.series_instance_uid = ""
        self.sop_instance_uids: list[str] = []
        self.headers: list[bytes] = []
        """Of each slice, everything before its pixels."""
        self.folders = [folder / str(number) for number in range(FOLDERS)]
        self.files = [self.folders[index * FOLDERS // count] / f"{index:04}.dcm" for index in range(count)]
        self._templates = [_header(index) for index in range(count)]
        self.renew()
        self._write()

    @property
    def size_bytes(self) -> int:
        return sum(len(header) + _PIXEL_BYTES for header in self.headers)

    def renew(self) -> None:
        """Another study, as if it had never been sent; the files are those of before until ``save``."""
        self.study_instance_uid, self.series_instance_uid = new_uid(), new_uid()
        self.sop_instance_uids = [new_uid() for _ in self.files]
        self.headers = [
            template.replace(_STUDY, self.study_instance_uid.encode())
            .replace(_SERIES, self.series_instance_uid.encode())
            .replace(_INSTANCE, uid.encode())
            for template, uid in zip(self._templates, self.sop_instance_uids, strict=True)
        ]

    def save(self) -> None:
        """Into the files, whose pixels stay."""
        for file, header in zip(self.files, self.headers, strict=True):
            with file.open("r+b") as opened:
                opened.write(header)

    def _write(self) -> None:
        generator = np.random.default_rng(20261015)
        for folder in self.folders:
            folder.mkdir()
        for index, (file, header) in enumerate(zip(self.files, self.headers, strict=True)):
            file.write_bytes(header + _pixels(generator, index / len(self.files)))


_STUDY, _SERIES, _INSTANCE = (f"2.25.{digit * 39}".encode() for digit in "123")


def _pixels(generator: np.random.Generator, depth: float) -> bytes:
    """A body in air with the noise of a low-dose examination, in Hounsfield units; ``depth`` is 0 to 1 along it."""
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    body = x**2 / (0.5 + 0.2 * depth) + y**2 / (0.3 + 0.1 * depth) < 1
    organ = (x - 0.2) ** 2 + (y + 0.3 * depth) ** 2 < 0.08
    attenuation = np.where(body, np.where(organ, 90, 40), -1000)
    noise = generator.normal(0, 18, (SIZE, SIZE))
    return np.clip(attenuation + noise, -1024, 3071).astype("<i2").tobytes()


def _header(index: int) -> bytes:
    """With the attributes that scanners write, in every slice alike but for its place."""
    ds = Dataset()
    ds.update(_about_the_examination())
    ds.SOPInstanceUID, ds.InstanceNumber = _INSTANCE.decode(), index + 1
    ds.ImagePositionPatient, ds.SliceLocation = [-180.0, -180.0, -0.7 * index], -0.7 * index
    ds.Rows = ds.Columns = SIZE
    ds.PixelSpacing, ds.SliceThickness = [0.703125, 0.703125], 0.7
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.WindowCenter, ds.WindowWidth = 40, 400
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "HU"
    ds.PixelData = bytes(_PIXEL_BYTES)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()[:-_PIXEL_BYTES]


def _about_the_examination() -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    ds.SOPClassUID, ds.Modality = CTImageStorage, "CT"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _STUDY.decode(), _SERIES.decode()
    ds.FrameOfReferenceUID = "2.25.7"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20261015"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101530.250000"
    ds.AccessionNumber, ds.StudyID, ds.SeriesNumber = "BENCH-1", "1", 2
    ds.StudyDescription, ds.SeriesDescription = "CT Abdomen", "Abdomen 0.7 portal venous"
    ds.PatientName, ds.PatientID = "Measured^Child", "BENCH"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge, ds.PatientWeight = "20180309", "F", "008Y", 26.5
    ds.ReferringPhysicianName, ds.InstitutionName = "Referring^Doctor", "Hospital"
    ds.Manufacturer, ds.ManufacturerModelName, ds.StationName = "Maker", "Scanner", "CT1"
    ds.SoftwareVersions, ds.DeviceSerialNumber, ds.ProtocolName = "1.2", "73", "AbdPediatric"
    ds.BodyPartExamined, ds.PatientPosition, ds.ContrastBolusAgent = "ABDOMEN", "HFS", "Contrast"
    ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime, ds.Exposure = 80, 120, 500, 60
    ds.ConvolutionKernel, ds.FilterType, ds.GantryDetectorTilt = "I30f", "0", 0
    ds.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "169070004", "SCT", "CT of abdomen"
    ds.ProcedureCodeSequence = [code]
    private = ds.private_block(0x0029, "BENCH HEADER", create=True)
    private.add_new(0x10, "OB", bytes(range(256)) * 4)
    return ds
