"""Never one child's data under another's name: the traps that hospitals set without knowing."""

import base64
import secrets
from typing import Any
from uuid import uuid4

import pytest

from tests.support.bundles import (
    MRN,
    PDF,
    bundle,
    document_reference,
    imaging_study,
    in_letters,
    patient,
    referral,
)
from tests.support.gateway_process import GatewayProcess
from tests.support.hospital import Scene, images
from tests.support.partner import Partner

FIXED = "urn:uuid:00000000-0000-4000-8000-0000000000b1"
OTHER_CHILD: dict[str, Any] = {
    "name": [{"family": "Eze", "given": ["Chidi"]}],
    "gender": "male",
    "birthDate": "2011-02-02",
}


@pytest.fixture(scope="module")
def scene(gateway: GatewayProcess, partner: Partner) -> Scene:
    return Scene(gateway, partner)


@pytest.fixture
def mrn() -> str:
    return uuid4().hex[:10]


def uids() -> tuple[str, str]:
    return f"2.25.{secrets.randbits(96)}", f"2.25.{secrets.randbits(96)}"


def observation(text: str, **changes: Any) -> Any:
    return lambda urls: (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": text},
            "subject": {"reference": urls["patient"]},
        }
        | changes
    )


def items(scene: Scene, case_id: str) -> list[str]:
    return [item["concept"]["text"] for item in scene.intake.case(case_id)["record"]["items"]]


def letter_in(content: bytes) -> Any:
    """A DocumentReference and its Binary, which always has the same fullUrl, as a template fills it in."""
    binary = {
        "resourceType": "Binary",
        "contentType": "text/plain",
        "data": base64.b64encode(content).decode(),
    }

    def document(urls: dict[str, str]) -> dict[str, Any]:
        made = document_reference(None)(urls)
        made["content"] = [{"attachment": {"contentType": "text/plain", "url": FIXED}}]
        return made

    sent = referral(document=document)
    sent["entry"].append(
        {"fullUrl": FIXED, "resource": binary, "request": {"method": "POST", "url": "Binary"}}
    )
    return sent


def test_a_binary_of_the_same_full_url_does_not_replace_another_child_s_letter(scene: Scene) -> None:
    carl = scene.ehr.post(letter_in(b"LETTER ABOUT CARL"))
    scene.ehr.open_case(letter_in(b"LETTER ABOUT DORA"))
    reference = carl.json()["entry"][3]["response"]["location"].split("/_history")[0]
    url = scene.ehr.get(reference).json()["content"][0]["attachment"]["url"]
    assert scene.ehr.get(url, Accept="text/plain").content == b"LETTER ABOUT CARL"


def test_bare_ids_of_two_collections_are_two_documents(scene: Scene) -> None:
    def sent(title: str) -> dict[str, Any]:
        made = referral(bundle_type="collection", document=document_reference(PDF, description=title))
        document = made["entry"][3]
        del document["fullUrl"], document["resource"]["identifier"]
        document["resource"]["id"] = "d1"
        return made

    cases = [scene.ehr.open_case(sent(title)) for title in ("of Emil", "of Fina")]
    counts = [len(scene.intake.case(case_id)["record"]["documents"]) for case_id in cases]
    assert counts == [1, 1]


def test_a_role_of_the_same_full_url_does_not_change_another_case_s_physician(scene: Scene) -> None:
    def sent(name: str) -> dict[str, Any]:
        made = referral(practitioner=None)
        made["entry"][1]["resource"]["requester"] = {"reference": FIXED}
        doctor = {"resourceType": "PractitionerRole", "practitioner": {"display": name}}
        doctor["telecom"] = [{"system": "phone", "value": f"+00 {name}"}]
        entry = {
            "fullUrl": FIXED,
            "resource": doctor,
            "request": {"method": "POST", "url": "PractitionerRole"},
        }
        made["entry"].append(entry)
        return made

    first = scene.ehr.open_case(sent("DRA"))
    scene.ehr.open_case(sent("DRB"))
    assert [p["name"] for p in scene.intake.case(first)["record"]["physicians"]] == ["DRA"]


def test_a_condition_that_matches_another_child_s_number_is_not_obeyed(scene: Scene, mrn: str) -> None:
    scene.ehr.open_case(referral(mrn))
    boris = referral(mrn, patient=patient(mrn, **OTHER_CHILD), result=observation("BORIS-AFP"))
    boris["entry"][0]["request"]["ifNoneExist"] = f"identifier=https://hospital-a.example/mrn|{mrn}"
    boris["entry"][2]["resource"]["identifier"][0]["value"] = f"other-{mrn}"
    case_id = scene.ehr.open_case(boris)
    assert scene.intake.case(case_id)["record"]["patient"]["birth_date"] == "2011-02-02"


def test_images_with_another_number_of_the_same_issuer_never_join_by_themselves(
    scene: Scene, mrn: str
) -> None:
    study, series = uids()
    child = patient(mrn, identifier=[{"value": "SI-1"}])
    case_id = scene.ehr.open_case(referral(mrn, patient=child, imaging=imaging_study(study, {series: 1})))
    scene.pacs.store(*images(mrn, 1, study, series, PatientID="SI-2"))
    scene.wait_for_checks(case_id, "study-held")


def test_newborn_twins_are_two_children(scene: Scene, mrn: str) -> None:
    study, series = uids()
    first = patient(mrn, name=[{"family": "Muster", "given": ["Boy", "1"]}])
    case_id = scene.ehr.open_case(referral(mrn, patient=first, imaging=imaging_study(study, {series: 1})))
    scene.pacs.store(*images(mrn, 1, study, series, PatientName="MUSTER^Boy 2"))
    scene.wait_for_checks(case_id, "study-held")


def test_a_family_name_alone_does_not_join(scene: Scene, mrn: str) -> None:
    study, series = uids()
    case_id = scene.ehr.open_case(referral(mrn, imaging=imaging_study(study, {series: 1})))
    told = {"PatientName": "Okafor", "PatientBirthDate": "", "PatientSex": ""}
    scene.pacs.store(*images(mrn, 1, study, series, **told))
    scene.wait_for_checks(case_id, "study-held")


@pytest.mark.parametrize(
    "subject",
    [
        {"identifier": {"system": "https://hospital-a.example/mrn", "value": "the sister's"}},
        {"display": "Hanna Okafor"},
    ],
)
def test_a_result_of_a_sibling_by_logical_reference_is_not_shown(
    scene: Scene, mrn: str, subject: dict[str, Any]
) -> None:
    sent = referral(mrn, own=observation("OWN"), other=observation("SIBLING-BLASTS", subject=subject))
    case_id = scene.ehr.open_case(sent)
    scene.wait_for_checks(case_id, "mixed-patients")
    assert items(scene, case_id) == ["OWN"]


def test_the_child_s_own_logical_reference_is_its_own(scene: Scene, mrn: str) -> None:
    subject = {"identifier": {"system": "https://hospital-a.example/mrn", "value": mrn}}
    case_id = scene.ehr.open_case(referral(mrn, own=observation("OWN", subject=subject)))
    assert items(scene, case_id) == ["OWN"]


def test_what_names_nobody_in_a_bundle_about_two_children_is_shown_for_neither(scene: Scene) -> None:
    one = referral(document=document_reference(PDF, subject=None))
    del one["entry"][3]["resource"]["subject"]
    two = referral()
    sent = bundle("transaction", {e["fullUrl"]: e["resource"] for e in [*one["entry"], *two["entry"]]})
    links = scene.ehr.post(sent).json()["link"]
    cases = [scene.intake.case(link["url"].split("/")[-1]) for link in links]
    assert [case["record"]["documents"] for case in cases] == [[], []]
    scene.wait_for_checks(cases[0]["id"], "mixed-patients")


def test_a_birth_date_corrected_with_the_referral_keeps_the_case_and_asks_a_person(
    scene: Scene, mrn: str
) -> None:
    allergy = observation("LATEX")
    case_id = scene.ehr.open_case(referral(mrn, allergy=allergy))
    corrected = referral(mrn, patient=patient(mrn, birthDate="2014-04-04"), allergy=allergy)
    assert scene.ehr.open_case(corrected) == case_id
    scene.wait_for_checks(case_id, "mixed-patients")
    record = scene.intake.case(case_id)["record"]
    assert record["patient"]["birth_date"] == "2014-04-04"
    assert items(scene, case_id) == ["LATEX"]


def test_a_birth_date_corrected_by_put_reaches_the_case(scene: Scene, mrn: str) -> None:
    own = f"p-{mrn}"

    def put(child: dict[str, Any]) -> dict[str, Any]:
        return {
            "fullUrl": f"urn:uuid:{uuid4()}",
            "resource": child | {"id": own},
            "request": {"method": "PUT", "url": f"Patient/{own}"},
        }

    sent = referral(mrn)
    sent["entry"][0] |= {k: v for k, v in put(patient(mrn)).items() if k != "fullUrl"}
    case_id = scene.ehr.open_case(sent)
    again = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [put(patient(mrn, birthDate="2014-04-04"))],
    }
    assert scene.ehr.open_case(again) == case_id
    assert scene.intake.case(case_id)["record"]["patient"]["birth_date"] == "2014-04-04"
    scene.wait_for_checks(case_id, "mixed-patients")


def test_records_that_came_before_the_request_are_in_its_case(scene: Scene, mrn: str) -> None:
    records = referral(
        mrn, bundle_type="collection", request=None, practitioner=None, own=observation("NEUROBLASTOMA")
    )
    first = scene.ehr.open_case(records)
    assert scene.ehr.open_case(referral(mrn)) == first
    assert items(scene, first) == ["NEUROBLASTOMA"]
    scene.wait_for_checks(first)


def test_a_request_that_was_taken_back_blocks_review(scene: Scene, mrn: str) -> None:
    sent = referral(mrn)
    case_id = scene.ehr.open_case(sent)
    sent["entry"][2]["resource"]["status"] = "revoked"
    assert scene.ehr.open_case(sent) == case_id
    scene.wait_for_checks(case_id, "request-withdrawn")


def test_sending_again_under_new_names_doubles_nothing(scene: Scene, mrn: str) -> None:
    def sent() -> dict[str, Any]:
        return referral(mrn, own=observation("AFP"), second=observation("hCG"))

    case_id = scene.ehr.open_case(sent())
    assert scene.ehr.open_case(sent()) == case_id
    assert sorted(items(scene, case_id)) == ["AFP", "hCG"]


def test_sending_again_with_a_conditional_patient_doubles_nothing(scene: Scene, mrn: str) -> None:
    def sent() -> dict[str, Any]:
        made = referral(mrn, own=observation("AFP"))
        made["entry"][0]["request"]["ifNoneExist"] = f"identifier=https://hospital-a.example/mrn|{mrn}"
        return made

    case_id = scene.ehr.open_case(sent())
    assert scene.ehr.open_case(sent()) == case_id
    assert items(scene, case_id) == ["AFP"]


def test_two_equal_results_of_one_bundle_are_two(scene: Scene, mrn: str) -> None:
    case_id = scene.ehr.open_case(referral(mrn, own=observation("AFP"), second=observation("AFP")))
    assert items(scene, case_id) == ["AFP", "AFP"]


def test_contained_child_and_physician_are_read(scene: Scene, mrn: str) -> None:
    request = referral(mrn)["entry"][2]["resource"] | {
        "contained": [
            patient(mrn) | {"id": "p"},
            {
                "resourceType": "Practitioner",
                "id": "d",
                "name": [{"text": "Dr Obi"}],
                "telecom": [{"system": "phone", "value": "+1"}],
            },
        ],
        "subject": {"reference": "#p"},
        "requester": {"reference": "#d"},
    }
    case_id = scene.ehr.open_case(bundle("transaction", {f"urn:uuid:{uuid4()}": request}))
    record = scene.intake.case(case_id)["record"]
    assert record["patient"]["birth_date"] == "2018-03-09"
    assert record["physicians"][0]["name"] == "Dr Obi"
    assert scene.ehr.task(case_id)["for"]["display"] == f"Amara {in_letters(mrn)} Okafor"
    assert scene.intake.open_checks(case_id) == set()


def test_imaging_of_a_second_referral_joins_the_case_that_names_it(scene: Scene, mrn: str) -> None:
    study, series = uids()
    first = scene.ehr.open_case(referral(mrn))
    second = referral(mrn, imaging=imaging_study(study, {series: 1}))
    second["entry"][2]["resource"]["identifier"][0]["value"] = f"second-{mrn}"
    second_id = scene.ehr.open_case(second)
    assert second_id != first
    scene.pacs.store(*images(mrn, 1, study, series))
    assert scene.wait_for_study(second_id)["study_instance_uid"] == study
    assert scene.intake.case(first)["held_studies"] == []


def test_a_waiver_does_not_cover_what_comes_later(scene: Scene, mrn: str) -> None:
    sent = referral(mrn, other=observation("SIBLING", subject={"display": "Hanna Okafor"}))
    case_id = scene.ehr.open_case(sent)
    scene.wait_for_checks(case_id, "mixed-patients")
    [finding] = scene.intake.findings(case_id)
    waived = {"finding_id": finding["id"], "because": "it is the sister's, and is not shown"}
    assert scene.intake.post(f"cases/{case_id}/waive", **waived).ok
    more = referral(
        mrn, practitioner=None, another=observation("SIBLING 2", subject={"display": "Hanna Okafor"})
    )
    more["entry"][1]["resource"].pop("requester")
    assert scene.ehr.open_case(more) == case_id
    scene.wait_for_checks(case_id, "mixed-patients", "no-reachable-physician")


def two_of_one_id(mrn: str, first: str, second: str) -> dict[str, Any]:
    """Two children with the id 1 and a result of the second, whose subject is written ``Patient/1``."""
    other = patient(f"{mrn}9", **OTHER_CHILD) | {"id": "1"}
    result = observation("of the second")({"patient": "Patient/1"}) | {"id": "7"}
    request = referral(mrn)["entry"][2]["resource"] | {"subject": {"reference": f"{first}/Patient/1"}}
    del request["requester"]
    return {
        f"{first}/Patient/1": patient(mrn) | {"id": "1"},
        f"{second}/Patient/1": other,
        f"urn:uuid:{uuid4()}": request,
        f"{second}/Observation/7": result,
    }


def test_one_id_on_two_servers_is_two_children(scene: Scene, mrn: str) -> None:
    case_id = scene.ehr.open_case(
        bundle("collection", two_of_one_id(mrn, "https://a.example/fhir", "https://b.example/fhir"))
    )
    assert items(scene, case_id) == []


@pytest.mark.parametrize("bundle_type", ["transaction", "collection"])
def test_an_id_that_two_children_of_one_bundle_have_names_neither(
    scene: Scene, mrn: str, bundle_type: str
) -> None:
    told = two_of_one_id(mrn, "https://a.example/fhir", "https://b.example/fhir").values()
    one, two, request, result = told
    urls = [f"urn:uuid:{uuid4()}" for _ in told]
    request["subject"] = {"reference": urls[0]}
    answer = scene.ehr.post(bundle(bundle_type, dict(zip(urls, (one, two, request, result), strict=True))))
    assert answer.status_code == 400
    assert [(i["code"], i["expression"]) for i in answer.json()["issue"] if i["severity"] == "error"] == [
        ("multiple-matches", ["Bundle.entry[3].resource.subject.reference"])
    ]


@pytest.fixture
def reused(scene: Scene, mrn: str) -> str:
    """The number of two children, both sent."""
    scene.ehr.open_case(referral(mrn))
    second = referral(mrn, patient=patient(mrn, **OTHER_CHILD))
    second["entry"][2]["resource"]["identifier"][0]["value"] = f"second-{mrn}"
    scene.ehr.open_case(second)
    return mrn


def test_a_number_that_two_children_have_names_neither(scene: Scene, reused: str) -> None:
    result = observation("Haemoglobin")({"patient": f"Patient?identifier={MRN}|{reused}"})
    answer = scene.ehr.post(bundle("transaction", {f"urn:uuid:{uuid4()}": result}))
    assert answer.status_code == 400
    assert [(i["code"], i["expression"]) for i in answer.json()["issue"]] == [
        ("multiple-matches", ["Bundle.entry[0].resource.subject.reference"])
    ]


@pytest.mark.parametrize(("bundle_type", "status"), [("transaction", 412), ("batch", 200)])
def test_a_condition_that_finds_two_children_creates_and_takes_none(
    scene: Scene, reused: str, bundle_type: str, status: int
) -> None:
    nameless = {"resourceType": "Patient", "identifier": [{"system": MRN, "value": reused}]}
    sent = bundle(bundle_type, {f"urn:uuid:{uuid4()}": nameless})
    sent["entry"][0]["request"]["ifNoneExist"] = f"identifier={MRN}|{reused}"
    answer = scene.ehr.post(sent)
    assert answer.status_code == status
    assert "multiple-matches" in answer.text
    assert scene.ehr.get(f"Patient?identifier={MRN}|{reused}").json()["total"] == 2


def test_a_child_is_found_by_any_of_its_numbers(scene: Scene, mrn: str) -> None:
    second = {"system": "https://insurance.example", "value": mrn}
    child = patient(mrn)
    case_id = scene.ehr.open_case(
        referral(mrn, patient=child | {"identifier": [*child["identifier"], second]})
    )
    result = observation("Haemoglobin")({"patient": f"Patient?identifier={second['system']}|{mrn}"})
    assert scene.ehr.open_case(bundle("transaction", {f"urn:uuid:{uuid4()}": result})) == case_id
    assert items(scene, case_id) == ["Haemoglobin"]


@pytest.mark.parametrize("kind", ["DocumentReference", "ServiceRequest"])
def test_a_condition_that_finds_what_is_another_child_s_finds_nothing(
    scene: Scene, mrn: str, kind: str
) -> None:
    number = {"identifier": [{"system": "https://hospital-a.example/number", "value": mrn}]}

    def sent(own: str, **changes: Any) -> dict[str, Any]:
        made = referral(own, patient=patient(own, **changes), document=document_reference(PDF, **number))
        made["entry"][2]["resource"] |= number
        return made

    first = scene.ehr.open_case(sent(mrn))
    other = sent(f"{mrn}9", **OTHER_CHILD)
    asked = next(e for e in other["entry"] if e["resource"]["resourceType"] == kind)
    asked["request"]["ifNoneExist"] = f"identifier=https://hospital-a.example/number|{mrn}"
    second = scene.ehr.open_case(other)
    assert second != first
    for case_id, given in ((first, "Amara"), (second, "Chidi")):
        record = scene.intake.case(case_id)["record"]
        assert record["patient"]["names"][0]["given"][0] == given
        assert len(record["documents"]) == 1


@pytest.mark.parametrize("subject", ["contained", "logical"])
def test_a_document_with_the_number_of_another_child_s_replaces_nothing(
    scene: Scene, mrn: str, subject: str
) -> None:
    number = {"identifier": [{"system": "https://hospital-a.example/number", "value": mrn}]}

    def about(child: dict[str, Any]) -> dict[str, Any]:
        if subject == "logical":
            return number | {"subject": {"identifier": child["identifier"][0]}}
        return number | {"subject": {"reference": "#p"}, "contained": [child | {"id": "p"}]}

    one, two = patient(mrn), patient(f"{mrn}9", **OTHER_CHILD)
    cases = [
        scene.ehr.open_case(referral(own, patient=child, document=document_reference(PDF, **about(child))))
        for own, child in ((mrn, one), (f"{mrn}9", two))
    ]
    assert [len(scene.intake.case(case_id)["record"]["documents"]) for case_id in cases] == [1, 1]


def test_a_request_with_the_number_of_another_child_s_is_another_request(scene: Scene, mrn: str) -> None:
    def sent(own: str, child: dict[str, Any]) -> dict[str, Any]:
        made = referral(own, patient=None)
        made["entry"][1]["resource"] |= {
            "subject": {"reference": "#p"},
            "contained": [child | {"id": "p"}],
            "identifier": [{"system": "https://hospital-a.example/order", "value": mrn}],
        }
        return made

    first = scene.ehr.open_case(sent(mrn, patient(mrn)))
    second = scene.ehr.open_case(sent(f"{mrn}9", patient(f"{mrn}9", **OTHER_CHILD)))
    assert first != second
    assert scene.intake.case(first)["record"]["patient"]["names"][0]["family"] == "Okafor"


def test_results_of_two_children_who_were_not_sent_are_not_one_child_s(scene: Scene) -> None:
    told = {
        f"urn:uuid:{uuid4()}": observation(f"of {n}")(
            {"patient": f"https://c.example/fhir/Patient/{uuid4()}"}
        )
        for n in ("one", "two")
    }
    case_id = scene.ehr.open_case(bundle("collection", told))
    assert items(scene, case_id) == ["of one"]
    assert len(scene.intake.case(case_id)["record"]["excluded"]) == 1


def test_a_reference_that_has_another_child_s_number_beside_it_is_not_believed(
    scene: Scene, mrn: str
) -> None:
    def result(urls: dict[str, str]) -> dict[str, Any]:
        subject = {"reference": urls["patient"], "identifier": {"system": MRN, "value": f"{mrn}9"}}
        made: dict[str, Any] = observation("Haemoglobin", subject=subject)(urls)
        return made

    case_id = scene.ehr.open_case(referral(mrn, result=result))
    assert items(scene, case_id) == []
    assert len(scene.intake.case(case_id)["record"]["excluded"]) == 1
