"""conformance/ says what the code does, and names a test that exists for each claim."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from gateway import conformance
from gateway.case import checks
from gateway.case.model import (
    Case,
    Coded,
    Content,
    Demographics,
    Document,
    ExpectedSeries,
    ExpectedStudy,
    Fault,
    HeldStudy,
    Record,
    Section,
    Told,
)
from gateway.errors import NotFhir
from gateway.fhir.bundle import ACCEPTED_TYPES, read_submission, release_of
from gateway.fhir.json_format import read_json
from gateway.workflow import examination
from mappings import document_legibility
from mappings.checklist_tables import CHECKLISTS
from mappings.fhir_definitions import Release, resource_model
from tests.support.cases import CHILD, QUESTION, SOURCE, case, instance, stack, study, with_record

PROJECT = Path(__file__).resolve().parents[2]
CONFORMANCE = PROJECT / "conformance"
PAGES = sorted(page for page in CONFORMANCE.rglob("*.md") if page.name != "README.md")
RELEASES = {"referral-r5": Release.R5, "referral-stu3": Release.STU3}
JSON_FILES = sorted(CONFORMANCE.rglob("*.json"))
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
NAMED = re.compile(r"tests/[\w/]+\.py(?:::\w+)?")
HEADING = re.compile(r"^\|(\s*-+\s*\|)+$")


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@cache
def names_of_tests_in(file: str) -> frozenset[str]:
    tree = ast.parse((PROJECT / file).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def unproven_rows(lines: list[str]) -> Iterator[str]:
    """Rows of tables without a test, unless the paragraph before the table names it for all of them."""
    before, is_table, is_proven = "", False, False
    for line in lines:
        if not line.startswith("|"):
            is_table, before = False, line or before
        elif not is_table:
            is_table, is_proven = True, before.startswith("Proven by") and bool(TEST.search(before))
        elif not (is_proven or HEADING.match(line) or TEST.search(line)):
            yield line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_is_named_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    named = TEST.findall(text)
    assert named
    assert [f"{file}::{test}" for file, test in named if test not in names_of_tests_in(file)] == []
    assert [n for n in NAMED.findall(text) if f"`{n}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_claim_names_a_test(page: Path) -> None:
    assert list(unproven_rows(page.read_text("utf-8").splitlines())) == []


def test_a_claim_without_a_test_is_noticed() -> None:
    table = ["| claim | test |", "|---|---|", "| one | `tests/unit/test_a.py::test_b` |", "| two | |"]
    assert list(unproven_rows(table)) == ["| two | |"]
    assert list(unproven_rows(["Proven by `tests/unit/test_a.py::test_b`.", "", *table])) == []


@pytest.mark.parametrize("page", [*PAGES, CONFORMANCE / "README.md"], ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", conformance.generated(PROJECT))
def test_what_is_generated_is_what_the_code_says(name: str) -> None:
    written = (CONFORMANCE / name).read_text("utf-8")
    assert written == conformance.generated(PROJECT)[name], "run: gateway write-conformance"


def test_writing_names_what_changed_and_then_nothing(tmp_path: Path) -> None:
    proofs = tmp_path / conformance.TESTS_OF_CHECKS
    proofs.parent.mkdir(parents=True)
    proofs.write_text("")
    assert len(conformance.write(tmp_path)) == len(conformance.generated(PROJECT))
    assert conformance.write(tmp_path) == []


def test_another_folder_than_the_project_s_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not the project's folder"):
        conformance.write(tmp_path)


@pytest.mark.parametrize("file", JSON_FILES, ids=name_of)
def test_every_json_file_is_fhir_of_its_release(file: Path) -> None:
    content = read_json(file.read_bytes())
    release = release_of(content, None)
    assert release is (RELEASES[file.stem] if file.parent.name == "other-releases" else Release.R4)
    model = resource_model(content["resourceType"], release)
    assert model is not None
    model.model_validate(content)
    try:
        submission = read_submission(content, release)
    except NotFhir:
        assert content["resourceType"] == "CapabilityStatement"
    else:
        assert [*submission.faults, *(i for e in submission.entries for i in e.issues)] == []


def test_the_fhir_page_names_the_bundle_types_of_the_code() -> None:
    page = (CONFORMANCE / "fhir" / "fhir.md").read_text("utf-8")
    [row] = re.findall(r"^\| Bundle types (.*?) are taken\.", page, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(ACCEPTED_TYPES)


def sections() -> dict[str, str]:
    """The page of checks by check."""
    page = (CONFORMANCE / "checks.md").read_text("utf-8")
    pieces = re.split(r"^## (\S+)$", page, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


@pytest.mark.parametrize("name", checks.CHECKS)
def test_every_check_says_how_it_looks_what_it_cannot_see_and_its_test(name: str) -> None:
    section = sections()[name]
    assert "\n- How: " in section
    assert "\n- Limits: " in section
    assert "\n- Test: " in section


def poor_cases() -> list[Case]:
    """Cases in which every check finds something, and study-held both of its kinds."""
    other = study(patient=replace(CHILD, birth_date="2015-01-01", sex="male"))
    known = ExpectedStudy(
        "1.2.3", None, "", None, None, (ExpectedSeries("1.2.3.1", "CT", 99), ExpectedSeries("9")), SOURCE
    )
    conflicting = stack(9, without=(4,))
    twice = (*conflicting.instances, instance(1, 0.0, conflict=True, fault="x"))
    document = Document("d-0", "", Coded("Letter"), "", "", "", 0, Content.EMPTY, "", SOURCE)
    poor = Record(
        other_patients=(CHILD,),
        expected_studies=(known, ExpectedStudy("8", None, "", None, None, (), SOURCE)),
        documents=(document,),
        faults=(Fault("x", "y", SOURCE),),
        sections=tuple(
            Section("x", Coded("", (("", code),)), Told.NOTHING, Coded(""), SOURCE)
            for code in ("10160-0", "1")
        ),
    )
    received = study(replace(conflicting, instances=twice))
    return [
        case(poor, studies=(received,)),
        with_record(patient=replace(CHILD, deceased="yes")),
        with_record(questions=(replace(QUESTION, status="revoked"),)),
        case(studies=(study(other_patients=(Demographics(),)),)),
        case(studies=(other,), held_studies=(HeldStudy(other, ("x",)), HeldStudy(study(uid="7"), ("x",)))),
    ]


def test_the_severities_that_are_told_are_those_that_are_found() -> None:
    found: dict[str, set[str]] = {}
    for poor in poor_cases():
        for finding in checks.run(poor, CHECKLISTS):
            found.setdefault(finding.check, set()).add(finding.severity.value)
    told = {name: set(text.split("**")[1].split(", ")) for name, text in sections().items()}
    assert found == told


def test_the_limits_of_opening_that_are_told_are_those_that_are_kept() -> None:
    told = " ".join(sections()["attachment-unreadable"].split())
    assert f"more than {document_legibility._MAX_PIXELS // 1_000_000} million pixels" in told
    assert f"{examination.CPU_SECONDS} seconds of processor time" in told
    assert f"{examination.MEMORY_BYTES // 1024**2} MiB of memory" in told
