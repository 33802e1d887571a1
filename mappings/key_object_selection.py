"""DICOM Key Object Selection documents that are manifests (PS3.3 A.35.4, C.17.6.2; IHE RAD XDS-I.b, MADO).

Others, which mark images of interest or reject them, do not say what should be had, and are passed over.
"""

from collections.abc import Iterator
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import dcmread

from gateway.case.model import ExpectedSeries, ExpectedStudy, ImagingPlace, Source
from gateway.errors import NotDicom
from mappings.dicom_structure import walk_file
from mappings.dicom_values import PYDICOM_ERRORS, items, text, texts

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
MAX_BYTES = 32 * 1024 * 1024
_MANIFESTS = frozenset({("113030", "DCM"), ("113031", "DCM")})
"""Document titles (CID 7010): Manifest, Signed Manifest. MADO's title is told by its meaning."""
_MANIFEST_WORD = "manifest"


def studies_in_manifest(file: BinaryIO, source: Source) -> tuple[ExpectedStudy, ...]:
    """The studies that a manifest references, with every instance; () for what is no manifest.

    Raises NotDicom when the file cannot be read.
    """
    if file.seek(0, 2) > MAX_BYTES:
        raise NotDicom("The manifest is larger than a manifest can be.")
    if fault := walk_file(file, frozenset()).fault:  # also where it is nested deeper than pydicom can follow
        raise NotDicom(fault)
    file.seek(0)
    try:
        ds = dcmread(file, force=True)
        return tuple(_studies(ds, source)) if _is_manifest(ds) else ()
    except PYDICOM_ERRORS as error:
        raise NotDicom("The data set of the manifest cannot be read.") from error


def _is_manifest(ds: Dataset) -> bool:
    """Concept Name Code Sequence (0040,A043) of the root is the Document Title (TID 2010)."""
    if text(ds, "SOPClassUID") != KEY_OBJECT_SELECTION:
        return False
    titles = items(ds, "ConceptNameCodeSequence")
    codes = {(text(t, "CodeValue"), text(t, "CodingSchemeDesignator")) for t in titles}
    return bool(codes & _MANIFESTS) or any(_MANIFEST_WORD in text(t, "CodeMeaning").lower() for t in titles)


def _studies(ds: Dataset, source: Source) -> Iterator[ExpectedStudy]:
    """Current Requested Procedure Evidence Sequence (0040,A375), the Hierarchical SOP Instance Reference Macro."""
    for item in items(ds, "CurrentRequestedProcedureEvidenceSequence"):
        referenced = items(item, "ReferencedSeriesSequence")
        series = tuple(_series(one) for one in referenced)
        yield ExpectedStudy(
            study_instance_uid=text(item, "StudyInstanceUID"),
            accession=None,
            description="",
            series_count=len(series),
            instance_count=sum(s.instances or 0 for s in series),
            series=series,
            source=source,
            places=tuple(dict.fromkeys(place for one in (item, *referenced) for place in _places(one))),
        )


def _series(item: Dataset) -> ExpectedSeries:
    uids = tuple(
        dict.fromkeys(text(r, "ReferencedSOPInstanceUID") for r in items(item, "ReferencedSOPSequence"))
    )
    return ExpectedSeries(text(item, "SeriesInstanceUID"), text(item, "Modality"), len(uids), uids)


def _places(item: Dataset) -> Iterator[ImagingPlace]:
    """Retrieve URL (0008,1190), Retrieve Location UID (0040,E011), Retrieve AE Title (0008,0054; 1-n)."""
    if url := text(item, "RetrieveURL"):
        yield ImagingPlace(url=url)
    if location_uid := text(item, "RetrieveLocationUID"):
        yield ImagingPlace(location_uid=location_uid)
    for ae_title in texts(item, "RetrieveAETitle"):
        if ae_title:
            yield ImagingPlace(ae_title=ae_title)
