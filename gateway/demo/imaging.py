"""The imaging of the sample case, made at run time: a CT of the abdomen with a liver tumour, and its ultrasound.

Phantoms and no patient. Whom they are of and every UID come from the sample bundle, so that the images are the
ones that its ImagingStudy resources announce.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from gateway.demo import ct_phantom, us_phantom
from gateway.demo.ct_phantom import SIZE, SLICE_MM, SPACING_MM, TOP_MM
from gateway.demo.us_phantom import View, annotated

Resource = dict[str, Any]

IMPLEMENTATION_CLASS_UID = "2.25.86041217539170426291541867339518215313"
_CINE_FRAMES = 8


@dataclass(frozen=True)
class Announced:
    """One ImagingStudy of the bundle with its Patient, as the modality's worklist would have given them."""

    study: Resource
    patient: Resource

    @property
    def series(self) -> Resource:
        found: Resource = self.study["series"][0]
        return found

    @property
    def instance_uids(self) -> list[str]:
        return [instance["uid"] for instance in self.series["instance"]]

    @property
    def started(self) -> datetime:
        return datetime.fromisoformat(self.study["started"])


def announced(bundle: Resource, modality: str) -> Announced:
    """The first ImagingStudy of that modality whose instances the bundle lists."""
    resources = [entry["resource"] for entry in bundle["entry"]]
    studies = [r for r in resources if r["resourceType"] == "ImagingStudy" and "instance" in r["series"][0]]
    patient = next(r for r in resources if r["resourceType"] == "Patient")
    return Announced(next(s for s in studies if s["modality"][0]["code"] == modality), patient)


def _instance(of: Announced, sop_class_uid: str, number: int) -> Dataset:
    """Patient, study and series of one instance; PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.12.1."""
    ds = Dataset()
    ds.file_meta = _file_meta(sop_class_uid, of.instance_uids[number - 1])
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class_uid
    ds.SOPInstanceUID = of.instance_uids[number - 1]
    ds.StudyInstanceUID = of.study["identifier"][0]["value"].removeprefix("urn:oid:")
    ds.SeriesInstanceUID = of.series["uid"]
    ds.SeriesNumber, ds.InstanceNumber = of.series["number"], number
    ds.Modality = of.series["modality"]["code"]
    ds.StudyDescription, ds.SeriesDescription = of.study["description"], of.series["description"]
    ds.StudyID = "1"
    ds.Manufacturer = "Second-opinion gateway, synthetic phantom"
    ds.InstitutionName = "Mihon Children's Hospital"
    ds.ReferringPhysicianName = "SAKUMA^REIKO=佐久間^玲子"
    _set_times(ds, of.started)
    _set_patient(ds, of.patient, of.started)
    _set_accession(ds, of.study["identifier"][1])
    return ds


def _file_meta(sop_class_uid: str, sop_instance_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    return meta


def _set_times(ds: Dataset, started: datetime) -> None:
    date, time = started.strftime("%Y%m%d"), started.strftime("%H%M%S")
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = time
    ds.TimezoneOffsetFromUTC = started.strftime("%z")


def _set_patient(ds: Dataset, patient: Resource, started: datetime) -> None:
    names = patient["name"]
    groups = [f"{name['family']}^{' '.join(name['given'])}" for name in names]
    ds.PatientName = "=".join([groups[0].upper(), *groups[1:]])
    ds.PatientID = patient["identifier"][0]["value"]
    ds.IssuerOfPatientID = "MIHON"
    ds.IssuerOfPatientIDQualifiersSequence = Sequence([_issuer(patient["identifier"][0]["system"])])
    ds.PatientBirthDate = patient["birthDate"].replace("-", "")
    ds.PatientSex = {"male": "M", "female": "F"}[patient["gender"]]
    ds.PatientAge = (
        f"{(started.date() - datetime.fromisoformat(patient['birthDate']).date()).days // 30:03d}M"
    )


def _set_accession(ds: Dataset, identifier: Resource) -> None:
    ds.AccessionNumber = identifier["value"]
    ds.IssuerOfAccessionNumberSequence = Sequence([_issuer(identifier["system"])])


def _issuer(system: str) -> Dataset:
    """PS3.3 10.14: the issuer whom FHIR names ``urn:oid:…``."""
    item = Dataset()
    item.UniversalEntityID = system.removeprefix("urn:oid:")
    item.UniversalEntityIDType = "ISO"
    return item


def ct_series(bundle: Resource) -> list[Dataset]:
    """The announced CT: axial slices of 5 mm from the diaphragm to the lower poles of the kidneys."""
    of = announced(bundle, "CT")
    volume = ct_phantom.abdomen(len(of.instance_uids))
    return [_ct_slice(of, index, volume[index]) for index in range(len(volume))]


def _ct_slice(of: Announced, index: int, hounsfield: ct_phantom.Floats) -> Dataset:
    """CT Image Storage; PS3.3 A.3. Positions fall, as the table moves feet first through the slices."""
    ds = _instance(of, "1.2.840.10008.5.1.4.1.1.2", index + 1)
    corner = round(-(SIZE - 1) * SPACING_MM / 2, 2)
    z = TOP_MM - SLICE_MM * index
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.BodyPartExamined = "ABDOMEN"
    ds.PatientPosition = "HFS"
    ds.FrameOfReferenceUID = f"2.25.{uuid5(NAMESPACE_OID, ds.StudyInstanceUID).int}"
    ds.PositionReferenceIndicator = ""
    ds.ImagePositionPatient = [corner, corner, z]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SliceLocation = z
    ds.SliceThickness, ds.PixelSpacing = SLICE_MM, [SPACING_MM, SPACING_MM]
    ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime = 80, 60, 500
    ds.ConvolutionKernel = "B30f"
    ds.ContrastBolusAgent = "Iohexol 300"
    ds.ContrastBolusRoute = "IV"
    ds.AcquisitionNumber = 1
    ds.WindowCenter, ds.WindowWidth = 60, 350
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    _set_pixels(ds, np.clip(np.rint(hounsfield) + 1024, 0, 4095).astype("<u2"), "MONOCHROME2", 16, 12)
    return ds


def _set_pixels(ds: Dataset, pixels: NDArray[Any], photometric: str, allocated: int, stored: int) -> None:
    ds.SamplesPerPixel = 3 if photometric == "RGB" else 1
    if photometric == "RGB":
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    ds.Rows, ds.Columns = pixels.shape[-3:-1] if photometric == "RGB" else pixels.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, stored, stored - 1
    ds.PixelRepresentation = 0
    ds.PixelData = pixels.tobytes()


def ultrasound(bundle: Resource) -> list[Dataset]:
    """The announced ultrasound: two views in grey, one in colour Doppler, and a clip of some frames."""
    of = announced(bundle, "US")
    views = [View("RT LOBE LIVER LONG", 0), View("RT LOBE LIVER TRANS", 1), View("MAIN PORTAL VEIN", 2)]
    stills = [_us_still(of, number, view) for number, view in enumerate(views, 1)]
    return [*stills, _us_clip(of, len(views) + 1)]


def _us_still(of: Announced, number: int, view: View) -> Dataset:
    """Ultrasound Image Storage; PS3.3 A.6."""
    ds = _instance(of, "1.2.840.10008.5.1.4.1.1.6.1", number)
    _describe_us(ds, ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0011" if view.is_doppler else "0001"])
    _set_pixels(ds, annotated(view), "RGB", 8, 8)
    return ds


def _us_clip(of: Announced, number: int) -> Dataset:
    """Ultrasound Multi-frame Image Storage; PS3.3 A.7: breathing moves the liver past the transducer."""
    ds = _instance(of, "1.2.840.10008.5.1.4.1.1.3.1", number)
    _describe_us(ds, ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"])
    ds.NumberOfFrames = _CINE_FRAMES
    ds.FrameTime = 66.7
    ds.FrameIncrementPointer = 0x00181063
    shifts = [7 * float(np.sin(2 * np.pi * frame / _CINE_FRAMES)) for frame in range(_CINE_FRAMES)]
    frames = [annotated(View("RT LOBE LIVER LONG", 0, shift)) for shift in shifts]
    _set_pixels(ds, np.stack(frames), "RGB", 8, 8)
    return ds


def _describe_us(ds: Dataset, image_type: list[str]) -> None:
    ds.ImageType = image_type
    ds.BodyPartExamined = "LIVER"
    ds.BurnedInAnnotation = "NO"  # labels of the view, nothing of the child
    ds.LossyImageCompression = "00"
    ds.TransducerType = "CURVED LINEAR"
    ds.SequenceOfUltrasoundRegions = Sequence([_region()])


def _region() -> Dataset:
    """US Region Calibration, PS3.3 C.8.5.5: the sector is 2D tissue, in cm."""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 40
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = us_phantom.WIDTH - 1, us_phantom.HEIGHT - 1
    region.ReferencePixelX0, region.ReferencePixelY0 = us_phantom.WIDTH // 2, 0
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = us_phantom.CM_PER_PIXEL
    return region
