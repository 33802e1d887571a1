"""What conformance/examples/ promises: valid FHIR R4, true attachments, and imaging of the same child."""

import base64
import hashlib
import io
import itertools
import json
import re
from pathlib import Path

import pytest
from fhir.resources.R4B.bundle import Bundle
from pydicom import dcmread
from pypdf import PdfReader

from gateway.case.model import Source
from gateway.case.patient_match import Verdict, match
from gateway.demo import imaging
from mappings.dicom_to_header import read_header
from mappings.fhir_bag import Sourced
from mappings.fhir_to_case import to_demographics
from mappings.second_opinion_request import asks_for_second_opinion

EXAMPLES = Path(__file__).resolve().parents[2] / "conformance" / "examples"
FILES = sorted(file.name for file in EXAMPLES.glob("*.json"))
_TYPES = {
    "supplement.json": "transaction",
    "provide-documents.json": "transaction",
    "patient-summary.json": "document",
}
_WITHOUT_REQUEST = ("referral-collection.json", *_TYPES)
UID = re.compile(r"2\.25\.[1-9][0-9]{0,38}")


def example(name: str) -> dict:
    return json.loads((EXAMPLES / name).read_bytes())


def resources(bundle: dict, kind: str) -> list[dict]:
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def every(value, key: str):
    """Every value of ``key`` at any depth."""
    if isinstance(value, dict):
        yield from (item for name, item in value.items() if name == key)
        for item in value.values():
            yield from every(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from every(item, key)


def test_there_is_an_example_of_each_type_of_bundle():
    kinds = {example(name)["type"] for name in FILES}
    assert kinds == {"transaction", "batch", "collection", "document", "message"}


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_valid_r4_and_of_the_type_in_its_name(name):
    bundle = Bundle.model_validate(example(name))
    assert bundle.type == _TYPES.get(name, name.split("-")[-1][: -len(".json")])


@pytest.mark.parametrize("name", FILES)
def test_every_reference_leads_to_an_entry_or_asks_for_what_was_sent_before(name):
    bundle = example(name)
    known = {entry["fullUrl"] for entry in bundle["entry"]}
    known |= {"/".join(url.split("/")[-2:]) for url in known if url.startswith("http")}
    for reference in every(bundle, "reference"):
        assert reference in known or (name == "supplement.json" and "?identifier=" in reference), reference


@pytest.mark.parametrize("name", FILES)
def test_the_children_and_identifiers_are_each_examples_own(name):
    """Names that no real person answers to, and no identifier that another example uses."""
    others = [example(other) for other in FILES if other not in (name, "supplement.json")]
    taken = {str(i) for o in others for p in resources(o, "Patient") for i in p["identifier"]}
    for patient in resources(example(name), "Patient"):
        assert not {str(i) for i in patient["identifier"]} & taken


@pytest.mark.parametrize("name", [n for n in FILES if n not in _WITHOUT_REQUEST])
def test_a_referral_asks_for_a_second_opinion(name):
    requests = resources(example(name), "ServiceRequest")
    assert [request["status"] for request in requests] == ["active"]
    assert asks_for_second_opinion(requests[0])


def test_the_collection_has_no_request():
    assert resources(example("referral-collection.json"), "ServiceRequest") == []


@pytest.mark.parametrize("name", FILES)
def test_attachments_have_the_size_and_the_hash_that_they_say(name):
    entries = example(name)["entry"]
    binaries = {
        e["fullUrl"]: e["resource"]["data"] for e in entries if e["resource"]["resourceType"] == "Binary"
    }
    for document in resources(example(name), "DocumentReference"):
        attachment = document["content"][0]["attachment"]
        if document["identifier"][0]["value"] == "PATH-2026-03391":
            assert "data" not in attachment, "this one is empty on purpose"
            continue
        content = base64.b64decode(attachment.get("data") or binaries[attachment["url"]], validate=True)
        digest = hashlib.sha1(content, usedforsecurity=False).digest()
        assert attachment["size"] == len(content)
        assert attachment["hash"] == base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("name", "identifier", "words"),
    [
        ("referral-transaction.json", "REF-2026-1102-ja", "肝芽腫の疑い"),
        ("referral-transaction.json", "REF-2026-1102-en", "Suspected hepatoblastoma"),
        ("supplement.json", "PATH-2026-03391-ja", "グリピカン3"),
        ("supplement.json", "PATH-2026-03391-en", "glypican 3 positive"),
    ],
)
def test_a_pdf_opens_and_can_be_searched(name, identifier, words):
    found = {d["identifier"][0]["value"]: d for d in resources(example(name), "DocumentReference")}
    pdf = base64.b64decode(found[identifier]["content"][0]["attachment"]["data"])
    assert words in PdfReader(io.BytesIO(pdf), strict=True).pages[0].extract_text()


@pytest.fixture(scope="module")
def referral() -> dict:
    return example("referral-transaction.json")


@pytest.fixture(scope="module")
def instances(referral) -> list:
    return [*imaging.ct_series(referral), *imaging.ultrasound(referral)]


def as_file(ds) -> io.BytesIO:
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    file.seek(0)
    return file


def test_the_imaging_has_the_uids_and_counts_that_the_referral_announces(referral, instances):
    for modality in ("CT", "US"):
        study = imaging.announced(referral, modality).study
        made = [ds for ds in instances if ds.Modality == modality]
        assert len(made) == study["numberOfInstances"] == study["series"][0]["numberOfInstances"]
        assert [ds.SOPInstanceUID for ds in made] == [i["uid"] for i in study["series"][0]["instance"]]
        assert {ds.SeriesInstanceUID for ds in made} == {study["series"][0]["uid"]}
        assert {f"urn:oid:{ds.StudyInstanceUID}" for ds in made} == {study["identifier"][0]["value"]}


def test_every_uid_is_made_from_a_uuid(referral, instances):
    uids = set(every(referral, "uid")) | {ds.FrameOfReferenceUID for ds in instances if ds.Modality == "CT"}
    assert len(uids) == 3 + 24 + 4 + 1
    assert [uid for uid in uids if not UID.fullmatch(uid)] == []


def test_the_imaging_is_of_the_child_of_the_referral(referral, instances):
    patient = Sourced(resources(referral, "Patient")[0], Source("r", "h", reference="Patient/p"))
    known = to_demographics(patient, "urn:somebody-else")
    for ds in (instances[0], instances[-1]):
        header = read_header(as_file(ds), "urn:another")
        assert [name.script for name in header.patient.names] == ["alphabetic", "ideographic", "phonetic"]
        assert match(known, header.patient).verdict is Verdict.SAME


def test_the_ct_is_a_stack_of_even_slices_in_hounsfield_units(instances):
    slices = [ds for ds in instances if ds.Modality == "CT"]
    positions = [float(ds.ImagePositionPatient[2]) for ds in slices]
    assert {round(a - b, 3) for a, b in itertools.pairwise(positions)} == {5.0}
    upper = dcmread(as_file(slices[4]))
    hounsfield = upper.pixel_array.astype(int) + int(upper.RescaleIntercept)
    assert hounsfield.min() < -950, "air"
    assert 300 < hounsfield.max() < 1500, "bone"
    assert 90 < hounsfield[100:120, 75:95].mean() < 130, "the liver, which stands on the left of the image"


def test_the_ultrasound_is_in_colour_and_calibrated(instances):
    *stills, clip = (dcmread(as_file(ds)) for ds in instances if ds.Modality == "US")
    assert [ds.pixel_array.shape for ds in stills] == [(480, 640, 3)] * 3
    assert clip.pixel_array.shape == (8, 480, 640, 3)
    assert {ds.SequenceOfUltrasoundRegions[0].PhysicalDeltaX for ds in (*stills, clip)} == {0.03}
