"""Manifests that say what should be had: Key Object Selections and MADO's FHIR form, sent in every way."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.support.bundles import document_reference, patient, referral
from tests.support.fetching import Gateway, Imaging, gateway_by_hand
from tests.support.hospital import CHECKLIST
from tests.support.manifests import MANIFEST, OF_INTEREST, REJECTED, key_objects, mado_bundle
from tests.support.middleman import Middleman
from tests.support.orthanc import Orthanc

LOCATION = "1.2.826.0.1.3680043.9.7.78"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, middleman: Middleman) -> Iterator[Gateway]:
    with gateway_by_hand(tmp_path_factory.mktemp("fetching")) as made:
        made.register_located(middleman.url, LOCATION)
        yield made


@pytest.fixture
def imaging(orthanc: Orthanc) -> Imaging:
    made = Imaging(3)
    orthanc.upload(*made.files)
    return made


def attached(imaging: Imaging, content: bytes, kind: str) -> dict[str, Any]:
    """A referral whose only word on imaging is the attachment."""

    def make(urls: dict[str, str]) -> dict[str, Any]:
        made: dict[str, Any] = document_reference(content)(urls)
        made["content"][0]["attachment"]["contentType"] = kind
        return made

    return referral(imaging.mrn, document=make)


def retrieve_url(archive: Middleman, imaging: Imaging) -> dict[str, str]:
    return {"RetrieveURL": f"{archive.url}/studies/{imaging.study}/series/{imaging.series}"}


def test_a_manifest_that_is_attached_is_fetched(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    manifest = key_objects(imaging, place=retrieve_url(archive, imaging))
    case = gateway.work(gateway.send(attached(imaging, manifest, "application/dicom")))
    (fetch,) = case.fetches
    assert (fetch.state, fetch.here, fetch.expected) == ("complete", 3, 3)
    series = f"/dicom-web/studies/{imaging.study}/series/{imaging.series}"
    assert archive.asked == [f"{series}/instances/{uid}" for uid in imaging.uids]
    assert case.studies[0].study_instance_uid == imaging.study


def test_a_manifest_in_a_binary_is_fetched_and_is_no_unreadable_document(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    """As MHD provides documents: a DocumentReference whose attachment names a Binary of the bundle."""
    bundle = attached(imaging, b"", "application/dicom")
    manifest = key_objects(imaging, place=retrieve_url(archive, imaging))
    url, content = f"urn:uuid:{uuid4()}", base64.b64encode(manifest).decode()
    bundle["entry"][-1]["resource"]["content"][0]["attachment"] = {
        "contentType": "application/dicom",
        "url": url,
    }
    binary = {"resourceType": "Binary", "contentType": "application/dicom", "data": content}
    request = {"method": "POST", "url": "Binary"}
    bundle["entry"].append({"fullUrl": url, "resource": binary, "request": request})
    case = gateway.work(gateway.send(bundle))
    assert case.fetches[0].state == "complete"
    assert [f for f in case.open_findings if f.finding.check != CHECKLIST] == []


@pytest.mark.parametrize("status", ["superseded", "entered-in-error"])
def test_a_manifest_that_was_withdrawn_asks_for_nothing(
    gateway: Gateway, archive: Middleman, imaging: Imaging, status: str
) -> None:
    bundle = attached(
        imaging, key_objects(imaging, place=retrieve_url(archive, imaging)), "application/dicom"
    )
    bundle["entry"][-1]["resource"]["status"] = status
    case = gateway.work(gateway.send(bundle))
    assert (case.fetches, archive.asked) == ((), [])


def test_a_manifest_that_comes_as_an_instance_is_fetched_once_it_is_in_the_case(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    gateway.store(key_objects(imaging, place={"RetrieveLocationUID": LOCATION}))
    case_id = gateway.send(referral(imaging.mrn))
    first = gateway.work(case_id)
    assert [s.study_instance_uid for s in first.studies] == [imaging.study]
    case = gateway.work(case_id)
    (fetch,) = case.fetches
    assert (fetch.state, fetch.here, fetch.expected) == ("complete", 3, 3)
    [expected] = case.record.expected_studies
    assert expected.source.sop_instance_uid is not None
    assert archive.searches() == []


def test_while_it_is_in_no_case_a_manifest_is_not_followed(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    """It says that it is about another child than the only case of that hospital with this number."""
    gateway.store(key_objects(imaging, place={"RetrieveLocationUID": LOCATION}, PatientName="Else^Somebody"))
    case = gateway.work(gateway.send(referral(imaging.mrn)))
    case = gateway.work(case.id)
    assert [held.study.study_instance_uid for held in case.held_studies] == [imaging.study]
    assert case.fetches == ()
    assert archive.asked == []


def test_only_what_the_manifest_selects_is_fetched(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    manifest = key_objects(imaging, uids=imaging.uids[1:2], place=retrieve_url(archive, imaging))
    case = gateway.work(gateway.send(attached(imaging, manifest, "application/dicom")))
    (fetch,) = case.fetches
    assert (fetch.state, fetch.here, fetch.expected) == ("complete", 1, 1)
    assert archive.instances_asked() == [imaging.uids[1]]


@pytest.mark.parametrize("title", [OF_INTEREST, REJECTED])
def test_key_objects_that_are_no_manifest_ask_for_nothing(
    gateway: Gateway, archive: Middleman, imaging: Imaging, title: tuple[str, str, str]
) -> None:
    marked = key_objects(imaging, title, place=retrieve_url(archive, imaging))
    case = gateway.work(gateway.send(attached(imaging, marked, "application/dicom")))
    assert (case.fetches, archive.asked) == ((), [])


@pytest.mark.parametrize("title", [MANIFEST, ("ddd001", "99IHE", "Manifest with Description")])
def test_madolike_titles_are_manifests(
    gateway: Gateway, archive: Middleman, imaging: Imaging, title: tuple[str, str, str]
) -> None:
    manifest = key_objects(imaging, title, place=retrieve_url(archive, imaging))
    case = gateway.work(gateway.send(attached(imaging, manifest, "application/dicom")))
    assert case.fetches[0].state == "complete"


def test_a_mado_manifest_that_is_attached_is_fetched(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    manifest = mado_bundle(imaging, archive.url, patient(imaging.mrn))
    sent = attached(imaging, json.dumps(manifest).encode(), "application/fhir+json")
    case = gateway.work(gateway.send(sent))
    assert case.fetches[0].state == "complete"
    assert archive.instances_asked() == imaging.uids
    assert archive.searches() == []


def test_a_mado_manifest_that_is_sent_as_a_bundle_is_fetched(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    case_id = gateway.send(referral(imaging.mrn))
    assert gateway.send(mado_bundle(imaging, archive.url, patient(imaging.mrn))) == case_id
    case = gateway.work(case_id)
    assert case.fetches[0].state == "complete"
    assert archive.searches() == []


def test_a_manifest_about_another_child_is_not_followed(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    other = patient("other-number", name=[{"family": "Else", "given": ["Somebody"]}], birthDate="2011-01-01")
    bundle = json.dumps(mado_bundle(imaging, archive.url, other)).encode()
    objects = key_objects(imaging, place=retrieve_url(archive, imaging), PatientName="Else^Somebody")
    for content, kind in ((bundle, "application/fhir+json"), (objects, "application/dicom")):
        case = gateway.work(gateway.send(attached(Imaging(1), content, kind)))
        assert (case.fetches, archive.asked) == ((), [])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0" * 128 + b"DICM", "application/dicom"),
        (b"no DICOM", "application/dicom"),
        (b"[" * 100_000, "application/fhir+json"),
        (b'{"resourceType": "Bundle", "entry": [1, {"resource": 2}, null]}', "application/fhir+json"),
        (b'{"resourceType": "Bundle", "entry": "x"}', "application/json"),
        (b"\xff\xfe", "application/fhir+json"),
    ],
)
def test_a_manifest_that_cannot_be_read_asks_for_nothing_and_stops_nothing(
    gateway: Gateway, archive: Middleman, content: bytes, kind: str
) -> None:
    case = gateway.work(gateway.send(attached(Imaging(1), content, kind)))
    assert (case.fetches, archive.asked) == ((), [])
    assert case.record.documents[0].size_bytes == len(content)
    if kind == "application/dicom":
        assert {f.finding.check for f in case.open_findings} - {CHECKLIST} == {"attachment-unreadable"}


def test_a_study_that_a_later_referral_adds_is_fetched_too(
    gateway: Gateway, archive: Middleman, orthanc: Orthanc, imaging: Imaging
) -> None:
    case_id = gateway.send(imaging.referral(archive.url))
    gateway.work(case_id)
    added = Imaging(2, imaging.mrn)
    orthanc.upload(*added.files)
    again = imaging.referral(archive.url)
    study = added.imaging_study(archive.url)({"patient": again["entry"][0]["fullUrl"]})
    request = {"method": "POST", "url": "ImagingStudy"}
    again["entry"].append({"fullUrl": f"urn:uuid:{uuid4()}", "resource": study, "request": request})
    archive.forget()
    assert gateway.send(again) == case_id
    case = gateway.work(case_id)
    assert {f.study_instance_uid: f.state.value for f in case.fetches} == {
        imaging.study: "complete",
        added.study: "complete",
    }
    assert archive.instances_asked() == added.uids
    assert {s.study_instance_uid for s in case.studies} == {imaging.study, added.study}


def test_a_place_that_a_later_referral_corrects_is_asked_at_once(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    wrong = imaging.referral("https://wrong.example/dicom-web")
    case_id = gateway.send(wrong)
    assert gateway.work(case_id).fetches[0].problem == "not-registered"
    right = imaging.referral(archive.url)
    right["entry"][-1]["resource"]["identifier"] = wrong["entry"][-1]["resource"]["identifier"]
    assert gateway.send(right) == case_id
    (fetch,) = gateway.work(case_id).fetches
    assert fetch.state == "complete"
