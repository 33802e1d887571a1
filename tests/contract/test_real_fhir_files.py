"""Real FHIR R4 files by others: the validator's verdict is the official validator's, and what may be sent is taken.

The files are those of SOURCES.md beside them; INDEX.csv has the errors that HL7's own validator finds in its cases.
"""

import csv
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import InvalidContent, NotFhir
from gateway.fhir.bundle import read_submission
from gateway.fhir.json_format import read_json
from gateway.fhir.validate import findings
from gateway.fhir.xml_format import read_xml
from tests.conftest import more_files

DATA = more_files()
CASES = DATA / "fhir" / "validator-cases-r4" if DATA else None

_TERMINOLOGY = "whether a code is one of its system, and its display, cannot be known offline"
_EXTENSIONS = "the definitions of extensions are not looked at"
_DEFINITIONS = (
    "a definition (profile, value set, code system, search parameter), which no case holds: structure only"
)
KNOWN: dict[str, str] = {
    "allergy": "a code in a required list may be stated as absent by its extension alone",
    "bad-bundle-reference-type-4": "a relative reference leads to no urn:uuid, also where the digits are the same",
    "bad-markdown-no-html": "HTML in markdown is text here, and is shown as text",
    "bundle-duplicate-ids-not": _TERMINOLOGY,
    "bundle-id-4": _TERMINOLOGY,
    "contained-resource-bad-id-ignore": "the validator was told to pass over contained resources; R4 does not",
    "contract-binding-test": _TERMINOLOGY,
    "cs-bad-oid": _DEFINITIONS,
    "cs-bad-props": _DEFINITIONS,
    "cs-narrative-status-pub": _DEFINITIONS,
    "cvx": _TERMINOLOGY,
    "dr-example-org": "the validator was told to refuse addresses at example.org",
    "encounter-period": "a day and an instant on it cannot be compared: FHIRPath has no verdict",
    "json-comments-1-yes": "the validator was told to allow comments in JSON; JSON has none",
    "json-comments-2-yes": "the validator was told to allow comments in JSON; JSON has none",
    "maiden-name-extension": _EXTENSIONS,
    "mni-patientOverview-bundle-example1": _TERMINOLOGY,
    "mr-m-simple-nossystem": _DEFINITIONS,
    "obs-vs-1": _EXTENSIONS,
    "pat-dob-ext": _EXTENSIONS,
    "pat-example-extensions": _EXTENSIONS,
    "pat-security-bad-string1": "text that looks like HTML is text here, and is shown as text",
    "patient-extension-complex-bad2": _EXTENSIONS,
    "patient-with-turvakielto": _EXTENSIONS,
    "patient-xver-bad": _EXTENSIONS,
    "patient-xver-bad-gino": _EXTENSIONS,
    "profile-default-value": _DEFINITIONS,
    "questionnaire-enableWhen-test-invalid": "no invariant of R4 says it; a questionnaire is no part of a case",
    "sp-composite": _DEFINITIONS,
    "sp-diff-base": _DEFINITIONS,
    "uk-msg": _TERMINOLOGY,
    "vs-bad-ecl-us": _DEFINITIONS,
    "vs-canonical-bad-2": _DEFINITIONS,
    "vs-canonical-urn": _DEFINITIONS,
    "vs-params-3": _DEFINITIONS,
}
"""Where the gateway's verdict is another one, and why."""


def cases() -> list[dict[str, str]]:
    if CASES is None:
        return []
    with (CASES / "INDEX.csv").open(newline="") as index:
        return list(csv.DictReader(index))


def read(path: Path) -> dict[str, Any]:
    return (read_xml if path.suffix == ".xml" else read_json)(path.read_bytes())


def is_refused(path: Path) -> bool:
    """Errors, not warnings; nothing that was read is altered by looking at it."""
    try:
        resource = read(path)
    except NotFhir:
        return True
    before = deepcopy(resource)
    refused = any(issue.severity == "error" for issue in findings(resource))
    assert resource == before
    return refused


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_the_verdict_is_that_of_the_official_validator(case: dict[str, str]) -> None:
    assert CASES is not None
    refused = is_refused(CASES / case["file"].replace("/", "__"))
    agrees = refused == (int(case["n_errors"]) > 0)
    assert agrees == (case["name"] not in KNOWN), KNOWN.get(case["name"], case["first_error"])


def files(folder: str, pattern: str = "*.json") -> list[Path]:
    return sorted((DATA / "fhir" / folder).glob(pattern)) if DATA else []


@pytest.mark.parametrize(
    "path", [*files("synthea-r4"), *files("mhd-iti65", "Bundle-ex-[cm]*")], ids=lambda p: p.stem
)
def test_a_real_transaction_has_no_fault(path: Path) -> None:
    assert read_submission(read(path)).faults == ()


FAULTY_DOCUMENTS = {
    "HK_IPS_Sample2": Counter({"value": 2, "invalid": 2}),
    "US_Epic_Jan_idrefs": Counter({"value": 2, "invalid": 1}),
    "new_incomplete_IPS_Example": Counter({"invalid": 1}),
}
"""Of real vendors: ids that are too long, fullUrls of other resources, narratives that are no XHTML or empty."""


@pytest.mark.parametrize(
    "path",
    [*files("ips-connectathon"), *files("ips-2.0.0-package/example", "Bundle-*")],
    ids=lambda p: p.stem,
)
def test_a_real_summary_is_kept_and_its_faults_are_warnings(path: Path) -> None:
    submission = read_submission(read(path))
    told = [issue for entry in submission.entries for issue in entry.issues]
    assert len(submission.kept) == len(submission.entries)
    assert {issue.severity for issue in told} <= {"warning"}
    assert Counter(issue.code for issue in told) == FAULTY_DOCUMENTS.get(path.stem, Counter())


@pytest.mark.parametrize(
    "path", [*files("us-core"), *files("ips-2.0.0-package/example")], ids=lambda p: p.stem
)
def test_a_published_example_has_no_error(path: Path) -> None:
    resource = read(path)
    assert [i for i in findings(resource) if i.severity == "error"] == []


@pytest.mark.parametrize("path", files("mhd-iti65", "Bundle-ex-response*"), ids=lambda p: p.stem)
def test_the_answer_of_another_server_is_refused_in_words(path: Path) -> None:
    with pytest.raises(InvalidContent, match="transaction-response"):
        read_submission(read(path))
