"""DICOM Part 10 file -> InstanceHeader: what the gateway knows of an instance without opening its pixels."""

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.valuerep import PersonName

from gateway.case.imaging import InstanceHeader
from gateway.case.model import Demographics, Identifier, Name
from gateway.errors import NotDicom
from mappings.dicom_attributes import header_tags, stored_keywords
from mappings.dicom_character_sets import text_fault
from mappings.dicom_pixel_size import pixel_fault
from mappings.dicom_structure import FileMeta, Pixels, Skeleton, walk_file
from mappings.dicom_to_json import Json, select_json
from mappings.dicom_values import (
    PYDICOM_ERRORS,
    ascii_texts,
    decimals,
    fhir_date,
    items,
    name_groups,
    number,
    person_names,
    text,
    to_decimals,
    to_number,
)

_SPECIFIC_CHARACTER_SET = 0x00080005
_UID = re.compile(r"[0-9.]{1,64}")
_RIGHT_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")  # PS3.5 9.1
_SEX = {"M": "male", "F": "female", "O": "other"}
_OWN = {0x00080018: b"UI", 0x00200013: b"IS", 0x00200032: b"DS"}  # what differs among the slices of a series
_HEAD_BYTES = 8  # of tag, VR and length, for these VRs
_CACHED_HEADERS = 256
_CACHED_BYTES = 16 * 1024
_SCRIPTS = ("alphabetic", "ideographic", "phonetic")
_UNIVERSAL_ID_PREFIX = {"ISO": "urn:oid:", "UUID": "urn:uuid:"}


def read_header(file: BinaryIO, assigning_authority: str) -> InstanceHeader:
    """Read a seekable Part 10 file from its start.

    Identifiers that name no issuer get ``assigning_authority`` (decision 4). A fault behind the header, and text that
    may be shown wrongly, is told in ``fault``, what harms nobody in ``remark`` (ADR 18).

    Raises NotDicom, in words for the sender, when the file is no DICOM, is broken in its header or lacks a UID that it
    is known by; nothing else, whatever the bytes are.
    """
    skeleton = walk_file(file, header_tags())
    if not skeleton.is_attributable:
        raise NotDicom(skeleton.fault)
    try:
        return _header(skeleton, assigning_authority)
    except PYDICOM_ERRORS as error:
        raise NotDicom("The data set of the file cannot be read.") from error


def read_attributes(file: BinaryIO, tags: frozenset[int], *, is_spelt: bool = False) -> Json:
    """These attributes of a stored file, as DICOM JSON; a private one with its Private Creator (PS3.5 7.8.1).

    None longer than 64 KiB, and of pixel data only that there is some. With ``is_spelt``, DS and IS are texts, as they
    are written in the file. Raises NotDicom.
    """
    creators = {tag & 0xFFFF0000 | tag >> 8 & 0xFF for tag in tags if tag >> 16 & 1}
    wanted = tags | creators
    try:
        return select_json(
            _whole(walk_file(file, wanted | {_SPECIFIC_CHARACTER_SET})), wanted, is_spelt=is_spelt
        )
    except PYDICOM_ERRORS as error:
        raise NotDicom("The data set of the file cannot be read.") from error


def read_identity(file: BinaryIO) -> tuple[str, str]:
    """SOP Class and SOP Instance UID of a file that ``read_header`` refuses, as far as they can be read, else ''."""
    keywords = ("SOPClassUID", "SOPInstanceUID")
    try:
        ds = _whole(walk_file(file, header_tags()))
        found = [text(ds, keyword) for keyword in keywords]
    except (NotDicom, *PYDICOM_ERRORS):
        return "", ""
    sop_class_uid, sop_instance_uid = (uid if is_uid(uid) else "" for uid in found)
    return sop_class_uid, sop_instance_uid


def is_uid(found: str) -> bool:
    """Digits and dots, 64 at most: UIDs that break only PS3.5 9.1's finer rules are kept, and their sender is told."""
    return _UID.fullmatch(found) is not None


def _whole(skeleton: Skeleton) -> Dataset:
    return _dataset(b"".join(skeleton.elements.values()), skeleton.is_implicit, skeleton.is_little)


def _dataset(elements: bytes, is_implicit: bool, is_little: bool) -> Dataset:
    return read_dataset(BytesIO(elements), is_implicit, is_little)


def _header(skeleton: Skeleton, authority: str) -> InstanceHeader:
    common = b"".join(encoded for tag, encoded in skeleton.elements.items() if tag not in _OWN)
    read = _read_common if len(common) <= _CACHED_BYTES else _read_common.__wrapped__
    encoding = skeleton.is_implicit, skeleton.is_little
    header, orientation = read(common, *encoding, skeleton.transfer_syntax_uid, skeleton.pixels, authority)
    uid, instance_number, place = _own(skeleton)
    faults = [fault for fault in (skeleton.fault, header.fault) if fault]
    return header._replace(
        sop_instance_uid=_valid_uid(uid, "SOPInstanceUID", "00080018"),
        instance_number=instance_number,
        position=_position(place, orientation) if header.frames == 1 else None,
        dataset_offset=skeleton.dataset_offset,
        fault=" ".join(faults),
        remark=header.remark or _remark(skeleton.meta, uid),
    )


def _remark(meta: FileMeta, sop_instance_uid: str) -> str:
    """What is wrong with the wrapping of a data set that is the same whatever the wrapping says."""
    if not _RIGHT_UID.fullmatch(sop_instance_uid):
        return _not_right("SOPInstanceUID", "00080018")
    if meta.sop_instance_uid not in ("", sop_instance_uid):
        return "The file meta information names another instance (0002,0003) than the data set, which counts."
    if not meta.transfer_syntax_uid:
        return (
            "The file meta information has no Transfer Syntax UID (0002,0010); it was told by the data set."
        )
    return (
        "The file begins with DICM, and its preamble of 128 bytes is missing (PS3.10 7.1)."
        if meta.is_bare
        else ""
    )


def _own(skeleton: Skeleton) -> tuple[str, int | None, list[float]]:
    """SOP Instance UID, Instance Number and Image Position (Patient)."""
    uid, instance_number, place = (_plain_texts(skeleton, tag, vr) for tag, vr in _OWN.items())
    if uid is not None and instance_number is not None and place is not None:
        return "\\".join(uid).strip(), to_number(instance_number), to_decimals(place)
    encoded = b"".join(skeleton.elements[tag] for tag in _OWN if tag in skeleton.elements)
    ds = _dataset(encoded, skeleton.is_implicit, skeleton.is_little)
    return text(ds, "SOPInstanceUID"), number(ds, "InstanceNumber"), decimals(ds, "ImagePositionPatient")


def _plain_texts(skeleton: Skeleton, tag: int, vr: bytes) -> list[str] | None:
    """The values of an element, or None where it is not encoded as its VR tells."""
    encoded = skeleton.elements.get(tag)
    if encoded is None:
        return []
    if not skeleton.is_implicit and encoded[4:6] != vr:
        return None
    return ascii_texts(encoded[_HEAD_BYTES:])


@lru_cache(_CACHED_HEADERS)
def _read_common(
    elements: bytes,
    is_implicit: bool,
    is_little: bool,
    transfer_syntax_uid: str,
    pixels: Pixels | None,
    authority: str,
) -> tuple[InstanceHeader, tuple[float, ...]]:
    """All but what is an instance's own, and Image Orientation (Patient): the same bytes in all slices of a series."""
    ds = _dataset(elements, is_implicit, is_little)
    garbled = text_fault(ds)
    frames = number(ds, "NumberOfFrames")
    accession = text(ds, "AccessionNumber")
    header = InstanceHeader(
        sop_instance_uid="",
        sop_class_uid=_uid(ds, "SOPClassUID"),
        transfer_syntax_uid=_valid_uid(transfer_syntax_uid, "TransferSyntaxUID", "00020010"),
        study_instance_uid=_uid(ds, "StudyInstanceUID"),
        series_instance_uid=_uid(ds, "SeriesInstanceUID"),
        patient=_patient(ds, authority),
        patient_id=text(ds, "PatientID"),
        patient_name=text(ds, "PatientName"),
        patient_birth_date=text(ds, "PatientBirthDate"),
        patient_sex=text(ds, "PatientSex"),
        accession_number=accession,
        accession_issuer=_accession_issuer(ds, authority) if accession else "",
        study_date=text(ds, "StudyDate"),
        study_time=text(ds, "StudyTime"),
        study_description=text(ds, "StudyDescription"),
        series_number=number(ds, "SeriesNumber"),
        modality=text(ds, "Modality"),
        series_description=text(ds, "SeriesDescription"),
        body_part=text(ds, "BodyPartExamined"),
        instance_number=None,
        position=None,
        frames=frames if frames and frames > 0 else 1,
        rows=number(ds, "Rows"),
        columns=number(ds, "Columns"),
        study_attributes=_attributes(ds, "study"),
        series_attributes=_attributes(ds, "series"),
        dataset_offset=0,
        fault=" ".join(fault for fault in (garbled, pixel_fault(ds, pixels, transfer_syntax_uid)) if fault),
        remark="",
    )
    return header._replace(remark=_uid_remark(header)), tuple(decimals(ds, "ImageOrientationPatient"))


def _attributes(ds: Dataset, level: str) -> Json:
    return select_json(ds, (tag for keyword in stored_keywords(level) if (tag := tag_for_keyword(keyword))))


def _uid(ds: Dataset, keyword: str) -> str:
    return _valid_uid(text(ds, keyword), keyword, f"{tag_for_keyword(keyword):08X}")


def _valid_uid(uid: str, keyword: str, tag: str) -> str:
    place = f"{keyword} ({tag[:4]},{tag[4:]})"
    if not uid:
        raise NotDicom(f"The data set has no {place}.")
    if not is_uid(uid):
        raise NotDicom(f"{place} is not a UID: digits and dots, 64 characters at most (PS3.5 9.1).")
    return uid


def _uid_remark(header: InstanceHeader) -> str:
    named = {
        "SOPClassUID": header.sop_class_uid,
        "StudyInstanceUID": header.study_instance_uid,
        "SeriesInstanceUID": header.series_instance_uid,
    }
    for keyword, uid in named.items():
        if not _RIGHT_UID.fullmatch(uid):
            return _not_right(keyword, f"{tag_for_keyword(keyword):08X}")
    return ""


def _not_right(keyword: str, tag: str) -> str:
    return (
        f"{keyword} ({tag[:4]},{tag[4:]}) is kept as it is spelt, which breaks PS3.5 9.1: its components are numbers "
        "without a leading zero, with one dot in between."
    )


def _patient(ds: Dataset, authority: str) -> Demographics:
    return Demographics(
        names=_names(ds),
        birth_date=fhir_date(text(ds, "PatientBirthDate")),
        sex=_SEX.get(text(ds, "PatientSex").upper(), ""),
        identifiers=_identifiers(ds, authority),
    )


def _names(ds: Dataset) -> tuple[Name, ...]:
    """One Name for each component group of Patient's Name that is filled."""
    names = (_name(group, script) for pn in person_names(ds, "PatientName") for group, script in _groups(pn))
    return tuple(dict.fromkeys(name for name in names if name.text))


def _groups(pn: PersonName) -> Iterable[tuple[str, str]]:
    return zip(name_groups(pn), _SCRIPTS, strict=True)


def _name(group: str, script: str) -> Name:
    """Components: family^given^middle^prefix^suffix. Ideographic and phonetic names read family first."""
    family, first, middle, prefix, suffix = ([part.strip() for part in group.split("^")] + [""] * 5)[:5]
    spoken = (prefix, first, middle, family, suffix) if script == "alphabetic" else (family, first, middle)
    given = tuple(word for part in (first, middle) for word in part.split())
    return Name(text=" ".join(part for part in spoken if part), family=family, given=given, script=script)


def _identifiers(ds: Dataset, authority: str) -> tuple[Identifier, ...]:
    """Patient ID and Other Patient IDs Sequence, each with its issuer."""
    found = [(text(one, "PatientID"), one) for one in (ds, *items(ds, "OtherPatientIDsSequence"))]
    return tuple(
        dict.fromkeys(Identifier(value, _patient_issuer(one, authority)) for value, one in found if value)
    )


def _patient_issuer(ds: Dataset, authority: str) -> str:
    """The universal id where one is given, for that is what FHIR identifiers carry; else the local name."""
    qualifiers = items(ds, "IssuerOfPatientIDQualifiersSequence")
    universal = _universal_id(qualifiers[0]) if qualifiers else ""
    return universal or text(ds, "IssuerOfPatientID") or authority


def _accession_issuer(ds: Dataset, authority: str) -> str:
    issuers = items(ds, "IssuerOfAccessionNumberSequence")
    if not issuers:
        return authority
    return _universal_id(issuers[0]) or text(issuers[0], "LocalNamespaceEntityID") or authority


def _universal_id(item: Dataset) -> str:
    """Universal Entity ID (0040,0032) as a URI where its type allows (PS3.3 10.14)."""
    found = text(item, "UniversalEntityID")
    prefix = _UNIVERSAL_ID_PREFIX.get(text(item, "UniversalEntityIDType").upper(), "")
    return found if not found or found.startswith(prefix) else prefix + found


def _position(place: Sequence[float], axes: Sequence[float]) -> float | None:
    """Image Position (Patient) along the normal of Image Orientation (Patient), in mm (PS3.3 C.7.6.2.1.1)."""
    if len(place) != 3 or len(axes) != 6:
        return None
    (a, b, c), (d, e, f) = axes[:3], axes[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*normal)
    if not 0.5 < length < 2:  # the axes are unit vectors at a right angle, or they say nothing
        return None
    along = sum(p * n for p, n in zip(place, normal, strict=True)) / length
    return round(along, 4) if math.isfinite(along) else None
