"""What is read of a DICOM instance once, when it arrives."""

from typing import Any, NamedTuple

from gateway.case.model import Demographics


class InstanceHeader(NamedTuple):
    """What is indexed of a DICOM instance, read once from its header by mappings/dicom_to_header.py.

    ``study``, ``series`` attributes are DICOM JSON (PS3.18 F.2) of the level's attributes.
    ``position`` is the distance along the slice normal in mm. Dates and times are as sent (DA, TM).
    ``dataset_offset`` is where the data set begins in the file: after preamble, prefix and group 0002 (PS3.10 7.1).
    ``fault`` says in words where the file is damaged behind its header or may be shown wrongly, '' where it is not;
    ``remark`` what breaks a rule and harms no reader, which is for the sender alone (ADR 18). Nothing of the record.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient: Demographics
    patient_id: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str
    accession_number: str
    accession_issuer: str
    study_date: str
    study_time: str
    study_description: str
    series_number: int | None
    modality: str
    series_description: str
    body_part: str
    instance_number: int | None
    position: float | None
    frames: int
    rows: int | None
    columns: int | None
    study_attributes: dict[str, Any]
    series_attributes: dict[str, Any]
    dataset_offset: int
    fault: str
    remark: str
