"""FHIR resources to the record: what a clinician must see, and what must never be guessed or mixed."""

import base64
import hashlib
from typing import Any

import pytest

from gateway.case.model import Coded, Content, Identifier, ItemKind, Record, Source
from mappings.attachments import open_attachment
from mappings.clinical_items import to_item
from mappings.fhir_bag import Sourced
from mappings.fhir_elements import coded, names, quantity, value_x
from mappings.fhir_to_case import to_record

AUTHORITY = "urn:hospital-a"


def sourced(reference: str, **content: Any) -> Sourced:
    kind, fhir_id = reference.split("/")
    resource = {"resourceType": kind, "id": fhir_id} | content
    return Sourced(
        resource, Source("receipt-1", "0" * 64, f"Bundle.entry[{fhir_id}].resource", reference=reference)
    )


def ref(reference: str) -> dict[str, str]:
    return {"reference": reference}


PATIENT = sourced(
    "Patient/p", name=[{"family": "Okafor", "given": ["Amara"]}], birthDate="2018-03", gender="female"
)
REQUEST = sourced(
    "ServiceRequest/s",
    code={"text": "Second opinion"},
    subject=ref("Patient/p"),
    requester=ref("PractitionerRole/r"),
    note=[{"text": "Is surgery possible?"}],
    reasonCode=[{"text": "Hepatoblastoma"}],
    priority="urgent",
)
ROLE = sourced(
    "PractitionerRole/r",
    practitioner=ref("Practitioner/d"),
    organization=ref("Organization/o"),
    code=[{"text": "Surgeon"}],
)
DOCTOR = sourced(
    "Practitioner/d", name=[{"text": "Dr Obi"}], telecom=[{"system": "email", "value": "o@h.example"}]
)
HOSPITAL = sourced("Organization/o", name="Hospital A")


def record(*own: Sourced, beside: tuple[Sourced, ...] = (), request: str = "ServiceRequest/s") -> Record:
    return to_record(own, beside, AUTHORITY, request)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({}, ""),
        ({"deceasedBoolean": False}, ""),
        ({"deceasedBoolean": True}, "yes"),
        ({"deceasedDateTime": "2024-02-11"}, "2024-02-11"),
        ({"deceasedDateTime": {"on": "2024"}}, "yes"),
    ],
)
def test_that_a_child_has_died_is_read(sent: dict[str, Any], read: str) -> None:
    child = record(sourced("Patient/p", **PATIENT.content | sent), REQUEST).patient
    assert child is not None
    assert child.deceased == read


def test_the_question_its_reasons_and_its_priority_are_taken_from_the_request() -> None:
    [question] = record(PATIENT, REQUEST).questions
    assert (question.text, question.priority) == ("Is surgery possible?", "urgent")
    assert question.reasons == (Coded("Hepatoblastoma"),)


def test_without_a_note_the_order_detail_and_then_the_reason_is_the_question() -> None:
    content = {k: v for k, v in REQUEST.content.items() if k not in ("note", "resourceType", "id")}
    assert record(PATIENT, sourced("ServiceRequest/s", **content)).questions[0].text == "Hepatoblastoma"
    detailed = content | {"orderDetail": [{"text": "Re-read the CT"}]}
    assert record(PATIENT, sourced("ServiceRequest/s", **detailed)).questions[0].text == "Re-read the CT"


@pytest.mark.parametrize("beside", [True, False])
def test_the_physician_behind_a_role_is_found_with_mail_and_organisation(beside: bool) -> None:
    others = (ROLE, DOCTOR, HOSPITAL)
    found = record(PATIENT, REQUEST, beside=others) if beside else record(PATIENT, REQUEST, *others)
    [physician] = found.physicians
    assert (physician.name, physician.role, physician.organisation) == ("Dr Obi", "Surgeon", "Hospital A")
    assert physician.contacts[0].value == "o@h.example"
    assert found.organisation == "Hospital A"


def test_of_a_flood_of_names_the_first_fifty_are_compared() -> None:
    told = names([{"text": ""}, *({"text": f"Name {number}"} for number in range(1000))])
    assert [told[0].text, told[-1].text, len(told)] == ["Name 0", "Name 49", 50]


def test_an_identifier_without_a_system_is_issued_by_the_partner() -> None:
    patient = sourced(
        "Patient/p", identifier=[{"value": "1"}, {"system": "https://id.example", "value": "1"}]
    )
    found = record(patient).patient
    assert found is not None
    assert found.identifiers == (Identifier("1", AUTHORITY), Identifier("1", "https://id.example"))


def test_a_partial_birth_date_stays_partial_and_an_unknown_code_is_no_sex() -> None:
    patient = sourced("Patient/p", birthDate="2018-03", gender="girl")
    found = record(patient).patient
    assert found is not None
    assert (found.birth_date, found.sex) == ("2018-03", "")


def test_all_name_forms_are_kept_with_their_script() -> None:
    ideographic = {
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation", "valueCode": "IDE"}
        ],
        "family": "王",
        "given": ["小明"],
    }
    found = names([{"text": "Wang Xiaoming"}, ideographic])
    assert [(n.text, n.script) for n in found] == [
        ("Wang Xiaoming", "alphabetic"),
        ("小明 王", "ideographic"),
    ]


def test_what_is_about_another_patient_is_left_out_and_said() -> None:
    sibling = sourced("Patient/q", name=[{"text": "Ife"}])
    theirs = sourced("Condition/c", code={"text": "Asthma"}, subject=ref("Patient/q"))
    own = sourced("Condition/d", code={"text": "Hepatoblastoma"}, subject=ref("Patient/p"))
    found = record(PATIENT, REQUEST, sibling, theirs, own)
    assert [item.concept.text for item in found.items] == ["Hepatoblastoma"]
    assert [source.reference for source in found.excluded] == ["Condition/c"]
    assert [p.display_name for p in found.other_patients] == ["Ife"]


def test_a_guardian_is_taken_from_the_related_person_and_the_patient_s_contact_once() -> None:
    patient = sourced("Patient/p", contact=[{"name": {"text": "Ngozi"}}, {"name": {"text": "Emeka"}}])
    related = sourced("RelatedPerson/g", patient=ref("Patient/p"), name=[{"text": "Ngozi"}])
    assert [g.name for g in record(patient, related).guardians] == ["Ngozi", "Emeka"]


def test_expected_imaging_has_its_uid_accession_and_counts() -> None:
    study = sourced(
        "ImagingStudy/i",
        subject=ref("Patient/p"),
        identifier=[
            {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"},
            {"type": {"coding": [{"code": "ACSN"}]}, "value": "A1"},
        ],
        numberOfSeries=2,
        series=[{"uid": "1.2.3.1", "instance": [{}, {}]}, {"uid": "1.2.3.2", "numberOfInstances": 9}],
    )
    [expected] = record(PATIENT, study).expected_studies
    assert (expected.study_instance_uid, expected.accession) == ("1.2.3", Identifier("A1", AUTHORITY))
    assert [s.instances for s in expected.series] == [2, 9]
    assert expected.instance_count is None


def test_a_replaced_document_is_superseded() -> None:
    old = sourced("DocumentReference/1", content=[{"attachment": {"title": "Old"}}])
    new = sourced(
        "DocumentReference/2",
        content=[{"attachment": {"title": "New"}}],
        relatesTo=[{"code": "replaces", "target": ref("DocumentReference/1")}],
    )
    assert [(d.title, d.superseded) for d in record(old, new).documents] == [("Old", True), ("New", False)]


def test_a_document_without_any_attachment_is_an_empty_document() -> None:
    [document] = record(sourced("DocumentReference/1", description="Letter")).documents
    assert (document.title, document.content) == ("Letter", Content.EMPTY)


def data(content: bytes) -> dict[str, Any]:
    return {"data": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    ("attachment", "content"),
    [
        (data(b"x"), Content.PRESENT),
        (data(b"x") | {"size": 1}, Content.PRESENT),
        (data(b"x") | {"hash": base64.b64encode(hashlib.sha1(b"x").digest()).decode()}, Content.PRESENT),
        (data(b"x") | {"hash": hashlib.sha1(b"x").hexdigest()}, Content.PRESENT),
        (data(b"x") | {"size": 2}, Content.UNDECODABLE),
        (data(b"x") | {"hash": "AAAA"}, Content.UNDECODABLE),
        ({"data": "***"}, Content.UNDECODABLE),
        ({"data": "YQ"}, Content.UNDECODABLE),
        ({"data": "  "}, Content.EMPTY),
        ({"data": 7}, Content.EMPTY),
        ({}, Content.EMPTY),
        ({"url": "https://elsewhere.example/a.pdf"}, Content.ELSEWHERE),
        ({"url": "Binary/b"}, Content.PRESENT),
        ({"url": "Binary/none"}, Content.ELSEWHERE),
    ],
)
def test_an_attachment_is_what_its_bytes_say(attachment: dict[str, Any], content: Content) -> None:
    found = open_attachment(attachment, {"Binary/b": {"resourceType": "Binary"} | data(b"y")})
    assert found.content is content
    assert bool(found.problem) is (content is not Content.PRESENT)


@pytest.mark.parametrize(
    ("resource", "kind", "concept", "value", "date"),
    [
        (
            {
                "resourceType": "Observation",
                "code": {"text": "AFP"},
                "valueQuantity": {"value": "1.50", "unit": "ng/mL", "comparator": "<"},
                "interpretation": [{"text": "high"}],
                "effectiveDateTime": "2026-03-01",
            },
            ItemKind.RESULT,
            "AFP",
            "<1.50 ng/mL (high)",
            "2026-03-01",
        ),
        (
            {
                "resourceType": "Observation",
                "code": {"text": "Blood pressure"},
                "component": [
                    {"code": {"text": "systolic"}, "valueQuantity": {"value": 95, "unit": "mmHg"}},
                    {"code": {"text": "diastolic"}, "dataAbsentReason": {"text": "not measured"}},
                ],
            },
            ItemKind.RESULT,
            "Blood pressure",
            "systolic: 95 mmHg; diastolic: not measured",
            "",
        ),
        (
            {
                "resourceType": "MedicationRequest",
                "medicationReference": {"reference": "#m"},
                "contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "Cisplatin"}}],
                "dosageInstruction": [{"text": "80 mg/m2 once"}],
                "authoredOn": "2026-02-01",
            },
            ItemKind.MEDICATION,
            "Cisplatin",
            "80 mg/m2 once",
            "2026-02-01",
        ),
        (
            {
                "resourceType": "AllergyIntolerance",
                "code": {"text": "Penicillin"},
                "reaction": [{"manifestation": [{"text": "rash"}]}],
                "criticality": "high",
            },
            ItemKind.ALLERGY,
            "Penicillin",
            "rash, high",
            "",
        ),
        (
            {
                "resourceType": "Condition",
                "code": {"coding": [{"display": "Nephroblastoma"}]},
                "onsetString": "in May",
            },
            ItemKind.CONDITION,
            "Nephroblastoma",
            "",
            "in May",
        ),
    ],
)
def test_clinical_resources_become_one_line_each(
    resource: dict[str, Any], kind: ItemKind, concept: str, value: str, date: str
) -> None:
    item = to_item(resource, PATIENT.source, lambda _: None)
    assert (item.kind, item.concept.text, item.value, item.date) == (kind, concept, value, date)


@pytest.mark.parametrize("broken", [None, 7, "text", [], [7], {"coding": "x"}, {"text": {"a": 1}}, True])
def test_ill_typed_elements_read_as_absent(broken: Any) -> None:
    assert coded(broken).codings == ()
    assert names(broken) == ()
    assert quantity(broken) in ("",)
    whole = dict.fromkeys(("code", "subject", "content", "name", "identifier", "series", "component"), broken)
    for kind in (
        "Patient",
        "Observation",
        "DocumentReference",
        "ImagingStudy",
        "ServiceRequest",
        "Condition",
    ):
        record(sourced(f"{kind}/x", **whole))


def test_false_is_a_value_and_a_nested_element_none() -> None:
    assert value_x({"valueBoolean": False}) == "no"
    assert value_x({"valueSet": "http://x", "valueString": "words"}) in ("words", "http://x")


VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


def verified(code: str) -> dict[str, Any]:
    return {"coding": [{"system": VERIFICATION, "code": code}]}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("Condition", {"verificationStatus": verified("entered-in-error")}),
        ("AllergyIntolerance", {"verificationStatus": verified("entered-in-error")}),
        ("Condition", {"verificationStatus": {"text": "Entered in Error"}}),
        *(
            (kind, {"status": "entered-in-error"})
            for kind in (
                "Observation",
                "DiagnosticReport",
                "MedicationStatement",
                "MedicationRequest",
                "Procedure",
                "Immunization",
            )
        ),
    ],
)
def test_what_was_entered_in_error_is_no_fact(kind: str, content: dict[str, Any]) -> None:
    stands = sourced(f"{kind}/1", code={"text": "A"}, subject=ref("Patient/p"))
    wrong = sourced(f"{kind}/2", code={"text": "B"}, subject=ref("Patient/p"), **content)
    assert [item.source for item in record(PATIENT, REQUEST, stands, wrong).items] == [stands.source]


def test_imaging_that_was_entered_in_error_is_not_expected() -> None:
    wrong = sourced("ImagingStudy/1", status="entered-in-error", subject=ref("Patient/p"))
    assert record(PATIENT, REQUEST, wrong).expected_studies == ()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (
            {"clinicalStatus": verified("active"), "verificationStatus": verified("refuted")},
            "active, refuted",
        ),
        ({"clinicalStatus": verified("active"), "verificationStatus": verified("confirmed")}, "active"),
        ({"verificationStatus": verified("unconfirmed")}, "unconfirmed"),
        ({"verificationStatus": verified("provisional")}, "provisional"),
        ({"verificationStatus": verified("differential")}, "differential"),
        (
            {"resourceType": "MedicationRequest", "status": "active", "doNotPerform": True},
            "do not perform, active",
        ),
    ],
)
def test_what_is_not_sure_is_said_beside_the_status(content: dict[str, Any], status: str) -> None:
    item = to_item({"resourceType": "Condition"} | content, PATIENT.source, lambda _: None)
    assert item.status == status


def test_resources_are_never_compared_one_with_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a bundle of thousands that took minutes, in which nobody else could write; a reference tells them apart."""

    def refuse(*_: object) -> bool:
        raise AssertionError("two resources were compared")

    conditions = [sourced(f"Condition/{n}", subject=ref("Patient/p")) for n in range(3)]
    monkeypatch.setattr(Sourced, "__eq__", refuse)
    assert len(record(PATIENT, REQUEST, *conditions).items) == 3
