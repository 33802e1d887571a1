"""Checklists: which apply, how an item is recognised and settled, and that a faulty table stops the start."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.case import checks
from gateway.case.checklist import ItemState, Line, lines
from gateway.case.checks import checklist
from gateway.case.model import (
    Case,
    CaseFinding,
    ClinicalItem,
    Coded,
    Content,
    Document,
    Enquiry,
    FindingState,
    ItemKind,
    Section,
    Severity,
    Told,
)
from mappings.checklist_tables import CHECKLISTS, read_checklist, read_checklists
from tests.support.cases import NOON, QUESTION, SOURCE, stack, study, with_record

LOINC, SNOMED, ICD10 = "http://loinc.org", "http://snomed.info/sct", "http://hl7.org/fhir/sid/icd-10"
ONCOLOGY = replace(
    QUESTION,
    specialties=(Coded("Paediatric oncology", ((SNOMED, "418002000"),)),),
    reasons=(Coded("Hepatoblastoma", ((ICD10, "C22.2"),)),),
)


ALLERGIES = Section("Allergies", Coded("", ((LOINC, "48765-2"),)), Told.NONE_KNOWN, Coded(""), SOURCE)


def asking(question: Any = ONCOLOGY, **changes: Any) -> Case:
    """A case of one question; ``changes`` are of its record."""
    return with_record(questions=(question,), **changes)


def line(found: Case, item_id: str) -> Line:
    [one] = [one for one in lines(found, CHECKLISTS) if one.item_id == item_id]
    return one


def document(title: str, code: str = "", date: str = "2026-05-01", **changes: Any) -> Document:
    concept = Coded("", ((LOINC, code),)) if code else Coded("")
    made = Document(
        "d-0", title, concept, "application/pdf", "", date, 9, Content.PRESENT, "", SOURCE, sha256="0" * 64
    )
    return replace(made, **changes)


def result(code: str, date: str, **changes: Any) -> ClinicalItem:
    concept = Coded("A result", ((LOINC, code),))
    return replace(ClinicalItem(ItemKind.RESULT, concept, "final", "1", date, SOURCE), **changes)


def names(question: Any) -> set[str]:
    return {one.checklist for one in lines(asking(question), CHECKLISTS)}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"specialties": (Coded("Kinderonkologie", ((SNOMED, "418002000"),)),)}, "Oncology"),
        ({"specialties": (Coded("x", (("http://nucc.org/provider-taxonomy", "2080P0207X"),)),)}, "Oncology"),
        ({"reasons": (Coded("x", ((ICD10, "Q21.3"),)),)}, "Cardiology"),
        (
            {"reasons": (Coded("x", (("urn:oid:2.16.840.1.113883.6.90", "G40.8"),)),)},
            "Neurology and neurosurgery",
        ),
        ({"text": "¿Es operable la ESCOLIÓSIS?"}, "Orthopaedics"),
        ({"text": "Welches Syndrom ist es?"}, "Genetics"),
        ({"text": "Is fetal surgery possible?"}, "Fetal medicine"),
        ({"text": "この子は消化器の病気ですか"}, "Gastroenterology"),
        ({"text": "The EEG of May"}, "Examinations named in the question"),
    ],
)
def test_a_list_applies_by_specialty_by_reason_and_by_words_in_any_script(
    changes: dict[str, Any], name: str
) -> None:
    plain = replace(QUESTION, text="What now?", reasons=())
    assert names(plain) == {"General"}
    assert names(replace(plain, **changes)) == {"General", name}


def test_a_code_of_another_system_is_no_icd10_code() -> None:
    local = replace(QUESTION, text="x", reasons=(Coded("x", (("https://hospital.example", "C22"),)),))
    assert names(local) == {"General"}


def test_without_a_question_nothing_is_demanded() -> None:
    assert lines(with_record(questions=()), CHECKLISTS) == ()


def test_an_item_for_some_questions_is_demanded_of_those_alone() -> None:
    leukaemia = replace(ONCOLOGY, text="?", reasons=(Coded("x", ((ICD10, "C91.0"),)),))
    demanded = {one.item_id for one in lines(asking(leukaemia), CHECKLISTS)}
    assert "oncology-bone-marrow" in demanded
    assert "oncology-tumour-markers" not in demanded
    assert "oncology-tumour-markers" in {one.item_id for one in lines(asking(), CHECKLISTS)}


@pytest.mark.parametrize(
    ("item_id", "sent"),
    [
        ("oncology-pathology", {"documents": (document("scan.pdf", "11526-1"),)}),
        ("oncology-pathology", {"documents": (document("Informe de ANATOMÍA PATOLÓGICA"),)}),
        ("oncology-pathology", {"documents": (document("病理診断報告書"),)}),
        ("oncology-tumour-markers", {"items": (result("1834-1", "2020"),)}),
        ("oncology-blood-count", {"items": (result("718-7", "2026-05-01T08:00:00Z"),)}),
        ("medication-list", {"items": (replace(result("1", ""), kind=ItemKind.MEDICATION),)}),
        ("allergies", {"sections": (replace(ALLERGIES, told=Told.WORDS),)}),
    ],
)  # fmt: skip
def test_an_item_is_recognised_by_what_a_hospital_sends(item_id: str, sent: dict[str, Any]) -> None:
    assert line(asking(), item_id).state is ItemState.MISSING
    assert line(asking(**sent), item_id).state is ItemState.PRESENT


def test_images_are_recognised_by_modality_and_where_it_matters_by_region() -> None:
    def state(question: Any, item_id: str, *studies: Any) -> ItemState:
        return line(replace(asking(question), studies=studies), item_id).state

    assert state(ONCOLOGY, "oncology-imaging", study()) is ItemState.PRESENT
    assert state(ONCOLOGY, "oncology-imaging", study(replace(stack(2), modality="DX"))) is ItemState.MISSING
    spine = replace(ONCOLOGY, text="Scoliosis?")
    hand = replace(stack(1), modality="DX", body_part="HAND", description="")
    whole = replace(hand, body_part="WHOLESPINE")
    taken = {"description": "", "started": "20260401"}
    assert state(spine, "orthopaedics-whole-spine", study(hand, **taken)) is ItemState.MISSING
    assert state(spine, "orthopaedics-whole-spine", study(whole, **taken)) is ItemState.PRESENT


@pytest.mark.parametrize(
    "sent",
    [
        document("Histology", content=Content.EMPTY),
        document("Histology", superseded=True),
        document("Doctor's letter"),
        document("Pathway"),
    ],
)
def test_what_is_empty_replaced_or_something_else_stands_for_nothing(sent: Document) -> None:
    assert line(asking(documents=(sent,)), "oncology-pathology").state is ItemState.MISSING


@pytest.mark.parametrize("status", ["registered", "cancelled", "entered-in-error"])
def test_a_report_that_was_not_made_or_was_taken_back_stands_for_nothing(status: str) -> None:
    report = replace(result("11526-1", "2026"), kind=ItemKind.REPORT, status=status)
    assert line(asking(items=(report,)), "oncology-pathology").state is ItemState.MISSING


def test_what_was_not_done_or_is_known_to_be_none_is_known_absent() -> None:
    biopsy = ClinicalItem(
        ItemKind.PROCEDURE, Coded("Biopsy", ((SNOMED, "86273004"),)), "not-done", "", "", SOURCE
    )
    assert line(asking(items=(biopsy,)), "oncology-pathology").state is ItemState.KNOWN_ABSENT
    assert line(asking(sections=(ALLERGIES,)), "allergies").state is ItemState.KNOWN_ABSENT
    no_drugs = replace(
        result("", ""), kind=ItemKind.MEDICATION, concept=Coded("none", (("ips", "no-known-medications"),))
    )
    assert line(asking(items=(no_drugs,)), "medication-list").state is ItemState.KNOWN_ABSENT
    not_measured = result("1834-1", "", absent=Coded("Not Performed", (("x", "not-performed"),)))
    assert line(asking(items=(not_measured,)), "oncology-tumour-markers").state is ItemState.KNOWN_ABSENT
    assert not [
        f for f in checklist.checklist_item(asking(items=(biopsy,)), CHECKLISTS) if "athology" in f.subject
    ]


def test_what_is_unknown_is_neither_there_nor_known_absent() -> None:
    unknown = result("1834-1", "", absent=Coded("Unknown", (("x", "unknown"),)))
    assert line(asking(items=(unknown,)), "oncology-tumour-markers").state is ItemState.MISSING
    nothing_told = replace(
        result("", ""), kind=ItemKind.ALLERGY, concept=Coded("no", (("ips", "no-allergy-info"),))
    )
    assert line(asking(items=(nothing_told,)), "allergies").state is ItemState.MISSING
    withheld = replace(ALLERGIES, told=Told.UNKNOWN)
    assert line(asking(sections=(withheld,)), "allergies").state is ItemState.MISSING


@pytest.mark.parametrize(
    ("date", "state"),
    [
        ("2026-04-04", ItemState.PRESENT),
        ("2026-04-03", ItemState.MISSING),
        ("20260404", ItemState.PRESENT),
        ("2026-04", ItemState.PRESENT),
        ("2026-03", ItemState.MISSING),
        ("2026", ItemState.PRESENT),
        ("2026-02-31", ItemState.MISSING),
        ("", ItemState.MISSING),
        ("2026-05-20", ItemState.PRESENT),
    ],
)
def test_how_recent_is_counted_from_the_day_of_the_case_and_a_partial_date_by_its_last_day(
    date: str, state: ItemState
) -> None:
    assert line(asking(items=(result("718-7", date),)), "oncology-blood-count").state is state


def test_what_is_too_old_or_undated_is_said_with_its_date() -> None:
    old = line(asking(items=(result("718-7", "2025-01-02"),)), "oncology-blood-count")
    assert old.note.startswith("The newest that was sent is of 2025-01-02")
    assert old.found == ("A result",)
    undated = line(asking(items=(result("718-7", ""),)), "oncology-blood-count")
    assert undated.note.startswith("What was sent tells no date")


def finding_of(found: Case, item_id: str) -> CaseFinding:
    [finding] = [
        f for f in checklist.checklist_item(found, CHECKLISTS) if f.key == f"checklist-item:{item_id}"
    ]
    return CaseFinding("f-1", finding, FindingState.OPEN, NOON)


def test_a_missing_item_is_a_finding_and_is_asked_for_once_intake_has_asked() -> None:
    waiting = asking()
    finding = finding_of(waiting, "oncology-pathology")
    assert finding.finding.severity is Severity.LIMITS
    assert finding.finding.remedy.startswith("Please send the pathology report")
    told = replace(waiting, findings=(finding,))
    assert line(told, "oncology-pathology").state is ItemState.MISSING
    assert line(told, "oncology-pathology").finding_id == "f-1"
    asked = Enquiry("e", "Please send it.", ("f-1",), "Intake", NOON)
    assert line(replace(told, enquiries=(asked,)), "oncology-pathology").state is ItemState.ASKED
    answered = replace(asked, answered_at=NOON + timedelta(days=1))
    assert line(replace(told, enquiries=(answered,)), "oncology-pathology").state is ItemState.MISSING
    come = replace(asking(documents=(document("Histology"),)), findings=(finding,), enquiries=(asked,))
    assert line(come, "oncology-pathology").state is ItemState.PRESENT
    assert line(come, "oncology-pathology").finding_id == ""


def test_what_is_only_helpful_is_a_note() -> None:
    weight = finding_of(asking(), "weight")
    assert weight.finding.severity is Severity.NOTE


def test_an_examination_that_the_question_names_and_that_is_not_held_is_found() -> None:
    named = asking(replace(QUESTION, text="Does the MRI of 3 March show a relapse?"))
    assert line(named, "named-mr").state is ItemState.MISSING
    held = replace(named, studies=(study(replace(stack(3), modality="MR")),))
    assert line(held, "named-mr").state is ItemState.PRESENT
    assert "named-mr" not in {
        one.item_id for one in lines(asking(replace(QUESTION, text="Mr Smith asks.")), CHECKLISTS)
    }


def test_two_questions_demand_an_item_once() -> None:
    twice = with_record(questions=(ONCOLOGY, ONCOLOGY))
    ids = [one.item_id for one in lines(twice, CHECKLISTS)]
    assert len(ids) == len(set(ids))
    keys = [finding.key for finding in checks.run(twice, CHECKLISTS)]
    assert len(keys) == len(set(keys))


TABLE = """checklist: Test
applies_to: every question
items:
  - id: one
    item: The first
    need: required
    basis: own choice
    reviewed_by: nobody yet
    found_as:
      - in: [document]
        words: [letter]
"""


@pytest.mark.parametrize(
    ("there", "instead", "told"),
    [
        (
            "need: required",
            "need: perhaps",
            r"line 6: items\.0\.need: Input should be 'required' or 'helpful'",
        ),
        ("    item: The first\n", "", r"line 4: items\.0\.item: Field required"),
        ("need: required", "need: required\n    within: 3", r"line 7: items\.0\.within: Extra inputs"),
        ("basis: own choice", "basis: published", r"line 4: items\.0: .*names its source"),
        ("words: [letter]", "modalities: [CT]", r"line 10: .*modalities and regions are for studies"),
        ("words: [letter]", "words: ['let*ter']", r"line 10: .*a \* only at its ends"),
        ("words: [letter]", "words: ['--']", r"line 10: .*is no word"),
        ("in: [document]", "in: [dokument]", r"line 10: items\.0\.found_as\.0\.in\.0"),
        ("in: [document]", "in: [study]", r"line 10: .*a clue of its own"),
        ("        words: [letter]\n", "", r"line 10: .*recognised by codes or words"),
        ("need: required", "need: required\n    need: helpful", r"line 7: 'need' stands here twice"),
        ("every question", "everything", r"line 2: applies_to"),
        ("every question", "{}", r"line 2: .*one of specialties, icd10 and words is needed"),
        ("words: [letter]", "words: [letter", r"line \d+: "),
        ("words: [letter]", "codes: [11526-1, 3]", r"line 11: .*should be a valid string"),
    ],
)
def test_a_malformed_checklist_is_told_with_file_line_and_reason(there: str, instead: str, told: str) -> None:
    assert read_checklist(TABLE, "a.yaml").items
    with pytest.raises(ValueError, match=rf"^a\.yaml, {told}"):
        read_checklist(TABLE.replace(there, instead), "a.yaml")


def test_an_empty_file_no_file_and_an_id_in_two_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a\.yaml, line 1"):
        read_checklist("# nothing\n", "a.yaml")
    folder = tmp_path / "checklists"
    folder.mkdir()
    with pytest.raises(ValueError, match="no checklist"):
        read_checklists(folder)
    (folder / "a.yaml").write_text(TABLE)
    (folder / "b.yaml").write_text(TABLE)
    with pytest.raises(ValueError, match=r"b\.yaml, line 4: 'one' stands in .*a\.yaml already"):
        read_checklists(folder)


def test_every_specialty_of_the_programme_has_its_list() -> None:
    assert {one.name for one in CHECKLISTS} >= {
        *("Oncology", "Cardiology", "Neurology and neurosurgery", "Orthopaedics", "Genetics"),
        *("Fetal medicine", "Gastroenterology", "General"),
    }
