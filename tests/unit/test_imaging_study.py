"""ImagingStudy says what is stored and nothing that the headers do not say."""

from dataclasses import replace

import pytest
from fhir.resources.R4B.imagingstudy import ImagingStudy

from gateway.case.model import Demographics, Identifier, Study
from mappings.study_to_imaging_study import to_imaging_study
from tests.support.reviewed_case import CT, SIGNED_AT, instance

DICOMWEB = "https://opinions.example.org/dicom-web"
ABSENT = {
    "extension": [
        {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    ]
}


def resource_of(study: Study = CT, patient: str = "Patient/p1") -> dict:
    resource = to_imaging_study(study, patient, DICOMWEB, SIGNED_AT)
    ImagingStudy.model_validate(resource)
    return resource


def with_instances(*instances) -> Study:
    return replace(CT, series=(replace(CT.series[0], instances=instances),))


def test_the_study_is_named_by_its_uid_and_its_accession_number_with_issuer():
    resource = resource_of()
    assert resource["id"] == CT.id
    assert resource["identifier"] == [
        {"use": "official", "system": "urn:dicom:uid", "value": f"urn:oid:{CT.study_instance_uid}"},
        {
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]},
            "system": "https://hospital.example.org/accession",
            "value": "A-778",
        },
    ]
    assert resource["subject"] == {"reference": "Patient/p1"}
    assert resource["status"] == "available"
    assert resource["description"] == "CT abdomen with contrast"


@pytest.mark.parametrize(
    ("issuer", "written"),
    [
        ("urn:second-opinion:partner:cedar", {"system": "urn:second-opinion:partner:cedar"}),
        ("1.2.826.0.1", {"system": "urn:oid:1.2.826.0.1"}),
        ("CEDAR RIS", {"assigner": {"display": "CEDAR RIS"}}),
    ],
)
def test_an_issuer_that_is_no_uri_is_named_in_words_and_never_made_a_system(issuer, written):
    accession = resource_of(replace(CT, accession=Identifier("A-1", issuer)))["identifier"][1]
    assert {name: accession[name] for name in ("system", "assigner") if name in accession} == written


def test_series_and_instances_are_listed_with_their_numbers_and_counted():
    resource = resource_of()
    assert (resource["numberOfSeries"], resource["numberOfInstances"]) == (2, 4)
    series = resource["series"][0]
    assert series["uid"] == CT.series[0].series_instance_uid
    assert series["number"] == 2
    assert series["modality"] == {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}
    assert series["description"] == "Portal venous 5 mm"
    assert series["bodySite"] == {"display": "ABDOMEN"}
    assert series["numberOfInstances"] == 3
    assert series["instance"][0] == {
        "uid": instance(1).sop_instance_uid,
        "sopClass": {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"},
        "number": 1,
    }


def test_a_series_without_modality_number_or_description_says_that_the_modality_is_unknown():
    bare = resource_of()["series"][1]
    assert bare["modality"] == ABSENT
    assert not {"number", "description", "bodySite"} & set(bare)


def test_a_conflicting_copy_of_an_instance_is_not_counted_twice():
    resource = resource_of(with_instances(instance(1, conflict=True), instance(1), instance(2)))
    assert resource["numberOfInstances"] == resource["series"][0]["numberOfInstances"] == 2


def test_a_negative_number_which_dicom_allows_and_fhir_does_not_is_left_out():
    listed = resource_of(with_instances(replace(instance(1), number=-1), replace(instance(2), number=0)))
    assert [i.get("number") for i in listed["series"][0]["instance"]] == [None, 0]


def test_a_local_time_without_offset_keeps_its_date_and_is_told_in_a_note():
    resource = resource_of()
    assert resource["started"] == "2026-03-18"
    assert resource["note"] == [
        {
            "text": "Study date and time as sent: 18 March 2026, 14:20 local time. "
            "The sender stated no offset from UTC."
        }
    ]


@pytest.mark.parametrize("started", ["", "20261399", "2026", "20260230 10"])
def test_a_date_that_is_none_is_not_made_one(started):
    resource = resource_of(replace(CT, started=started))
    assert "started" not in resource
    assert ("note" in resource) == bool(started)


def test_a_date_alone_needs_no_note():
    resource = resource_of(replace(CT, started="20260301"))
    assert resource["started"] == "2026-03-01"
    assert "note" not in resource


def test_the_images_are_to_be_had_at_the_contained_endpoint():
    resource = resource_of()
    assert resource["endpoint"] == [{"reference": "#wado", "type": "Endpoint"}]
    endpoint = resource["contained"][0]
    assert endpoint["connectionType"]["code"] == "dicom-wado-rs"
    assert endpoint["address"] == DICOMWEB


def test_a_study_in_no_case_is_of_the_patient_that_its_headers_name():
    subject = resource_of(replace(CT, patient=replace(CT.patient, source=None)), patient="")["subject"]
    assert subject == {
        "type": "Patient",
        "identifier": {"system": "https://hospital.example.org/mrn", "value": "70012345"},
        "display": "Layla Haddad",
    }


def test_a_study_whose_headers_name_nobody_says_so():
    subject = resource_of(replace(CT, patient=Demographics()), patient="")["subject"]
    assert subject == {"display": "Not stated by the sender"}
