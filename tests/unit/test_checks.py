"""Every check: what it finds, and that it is silent when all is there."""

from dataclasses import replace

import pytest

from gateway.case import checks
from gateway.case.checks import checklist, identity, incomplete, legibility, missing, programme
from gateway.case.fetching import Fetch, FetchState, Problem
from gateway.case.model import (
    Case,
    ClinicalItem,
    Coded,
    Content,
    Demographics,
    Document,
    ExpectedSeries,
    ExpectedStudy,
    Fault,
    HeldStudy,
    Identifier,
    ItemKind,
    Name,
    Section,
    Severity,
    Told,
)
from mappings.checklist_tables import CHECKLISTS
from tests.support.cases import (
    CHILD,
    ISSUER,
    NOON,
    PHYSICIAN,
    QUESTION,
    SOURCE,
    case,
    instance,
    stack,
    study,
    with_record,
)


def expected(uid: str = "1.2.3", *series: ExpectedSeries, instances: int | None = None) -> ExpectedStudy:
    return ExpectedStudy(uid, None, "CT abdomen", len(series) or None, instances, series, SOURCE)


def document(content: Content, problem: str = "", **changes: object) -> Document:
    made = Document(
        "d-0", "Letter", Coded("Letter"), "application/pdf", "en", "", 0, content, problem, SOURCE
    )
    return replace(made, **changes)


def test_a_complete_case_has_no_findings() -> None:
    complete = with_record(
        expected_studies=(expected("1.2.3", ExpectedSeries("1.2.3.1", "CT", 20)),),
        documents=(document(Content.PRESENT),),
    )
    assert checks.run(replace(complete, studies=(study(),))) == []


def test_records_without_a_request_lack_the_question() -> None:
    [found] = missing.no_question(with_record(questions=()))
    assert (found.key, found.severity) == ("no-question", Severity.BLOCKS)


def test_a_request_without_words_lacks_the_question() -> None:
    [found] = missing.no_question(with_record(questions=(replace(QUESTION, text=" "),)))
    assert found.severity is Severity.BLOCKS


def section(told: Told, code: str = "48765-2", reason: str = "") -> Section:
    return Section(
        "Allergies", Coded("Allergies", (("http://loinc.org", code),)), told, Coded(reason), SOURCE
    )


@pytest.mark.parametrize(
    ("told", "code", "severity"),
    [
        (Told.UNKNOWN, "48765-2", Severity.LIMITS),
        (Told.NOTHING, "48765-2", Severity.LIMITS),
        (Told.NOTHING, "29762-2", Severity.NOTE),
    ],
)
def test_a_section_that_does_not_say_whether_there_is_anything_is_told(
    told: Told, code: str, severity: Severity
) -> None:
    [found] = missing.section_not_told(with_record(sections=(section(told, code, "Unavailable"),)))
    assert (found.severity, found.text) == (
        severity,
        "The records do not say whether there is anything: Unavailable.",
    )


@pytest.mark.parametrize("told", [Told.ENTRIES, Told.WORDS, Told.NONE_KNOWN])
def test_a_known_absence_is_evidence_and_another_document_may_tell_the_section(told: Told) -> None:
    assert not list(missing.section_not_told(with_record(sections=(section(told), section(Told.UNKNOWN)))))


def test_facts_of_the_record_tell_a_section_that_a_document_leaves_open() -> None:
    concept = Coded("Peanut")
    fact = ClinicalItem(ItemKind.ALLERGY, concept, "active", "", "", SOURCE)
    open_ = section(Told.UNKNOWN, reason="Unavailable")
    assert not list(missing.section_not_told(with_record(sections=(open_,), items=(fact,))))
    said_so = replace(open_, reason=concept)
    assert list(missing.section_not_told(with_record(sections=(said_so,), items=(fact,))))


def test_a_physician_without_telephone_or_mail_is_not_reachable() -> None:
    [found] = missing.no_reachable_physician(with_record(physicians=(replace(PHYSICIAN, contacts=()),)))
    assert "Dr Adaeze Obi" in found.text


@pytest.mark.parametrize(
    ("changes", "word"), [({"names": ()}, "name"), ({"birth_date": ""}, "birth date"), ({"sex": ""}, "sex")]
)
def test_a_child_who_is_half_described_blocks_review(changes: dict[str, object], word: str) -> None:
    [found] = missing.no_patient(with_record(patient=replace(CHILD, **changes)))
    assert word in found.text
    assert found.severity is Severity.BLOCKS


def test_a_study_that_is_named_and_not_received_is_found_until_it_comes() -> None:
    waiting = with_record(expected_studies=(expected(),))
    [found] = missing.study_not_received(waiting)
    assert found.key == "study-not-received:1.2.3"
    assert not list(missing.study_not_received(replace(waiting, studies=(study(),))))


def test_what_is_being_fetched_is_said_and_what_could_not_be() -> None:
    def told(state: FetchState) -> str:
        fetch = Fetch(
            "f", "1.2.3", state, 20, 3, Problem.NOT_THERE, "The archive answered 404.", (), 1, None, NOON
        )
        [found] = missing.study_not_received(replace(waiting, fetches=(fetch,)))
        return found.text

    waiting = with_record(expected_studies=(expected(),))
    [plain] = missing.study_not_received(waiting)
    assert told(FetchState.PENDING) == f"{plain.text} The gateway is fetching it."
    assert told(FetchState.FAILED) == (
        f"{plain.text} The gateway could not fetch it. The hospital's archive does not have it."
    )
    assert told(FetchState.COMPLETE) == plain.text


def test_another_study_does_not_stand_for_the_named_one() -> None:
    other = replace(with_record(expected_studies=(expected(),)), studies=(study(uid="1.2.4"),))
    assert len(list(missing.study_not_received(other))) == 1


def test_a_study_named_by_accession_only_is_recognised_within_its_issuer() -> None:
    wanted = replace(expected(""), accession=Identifier("A1", "hospital"))
    waiting = with_record(expected_studies=(wanted,))
    elsewhere = replace(waiting, studies=(study(accession=Identifier("A1", "another hospital")),))
    here = replace(waiting, studies=(study(accession=Identifier("A1", "hospital")),))
    assert len(list(missing.study_not_received(elsewhere))) == 1
    assert not list(missing.study_not_received(here))


def test_a_series_that_is_listed_and_not_received_is_found() -> None:
    listed = expected("1.2.3", ExpectedSeries("1.2.3.1", "CT", 20), ExpectedSeries("1.2.3.2", "CT", 20))
    [found] = incomplete.series_not_received(
        replace(with_record(expected_studies=(listed,)), studies=(study(),))
    )
    assert found.key == "series-not-received:1.2.3.2"


def test_fewer_images_than_the_record_counts_are_found_by_series() -> None:
    listed = expected("1.2.3", ExpectedSeries("1.2.3.1", "CT", 22))
    [found] = incomplete.instances_missing(
        replace(with_record(expected_studies=(listed,)), studies=(study(),))
    )
    assert dict(found.evidence)["expected"] == "22"
    assert dict(found.evidence)["arrived"] == "20"


def test_fewer_images_than_the_record_counts_are_found_by_study_when_no_series_is_counted() -> None:
    counted = with_record(expected_studies=(expected(instances=25),))
    assert len(list(incomplete.instances_missing(replace(counted, studies=(study(),))))) == 1


def test_the_same_image_twice_does_not_fill_a_gap_in_the_count() -> None:
    twice = replace(stack(20), instances=(*stack(19).instances, instance(19, 36.0, conflict=True)))
    counted = with_record(expected_studies=(expected(instances=20),))
    [found] = incomplete.instances_missing(replace(counted, studies=(study(twice),)))
    assert dict(found.evidence)["arrived"] == "19"


@pytest.mark.parametrize(("told", "evidence"), [("yes", ()), ("2024-02", (("date of death", "2024-02"),))])
def test_a_case_of_a_child_that_has_died_waits_for_a_person(
    told: str, evidence: tuple[tuple[str, str], ...]
) -> None:
    assert not list(programme.child_deceased(with_record(patient=CHILD)))
    [found] = programme.child_deceased(with_record(patient=replace(CHILD, deceased=told)))
    assert (found.severity, found.evidence) == (Severity.BLOCKS, evidence)


@pytest.mark.parametrize("without", [(7,), (7, 8, 9), (3, 12)])
def test_a_gap_between_slices_is_found_by_position(without: tuple[int, ...]) -> None:
    [found] = incomplete.slice_gap(case(studies=(study(stack(20, without=without)),)))
    assert f"About {len(without)} slices are missing" in found.text


def test_an_even_stack_and_one_with_uneven_spacing_have_no_gap() -> None:
    uneven = replace(stack(4), instances=tuple(instance(i, p) for i, p in enumerate((0, 2.0, 4.1, 6.0), 1)))
    assert not list(incomplete.slice_gap(case(studies=(study(stack(20)), study(uneven)))))


def test_two_overlapping_acquisitions_in_one_series_have_no_gap() -> None:
    double = replace(stack(20), instances=(*stack(20).instances, *stack(20).instances))
    assert not list(incomplete.slice_gap(case(studies=(study(double),))))


def test_without_positions_a_gap_is_found_by_number() -> None:
    pictures = replace(stack(1), instances=tuple(instance(n) for n in (1, 2, 5, 6)))
    [found] = incomplete.slice_gap(case(studies=(study(pictures),)))
    assert "3 to 4" in found.text


@pytest.mark.parametrize("content", [Content.EMPTY, Content.UNDECODABLE, Content.ELSEWHERE])
def test_a_document_that_cannot_be_opened_is_found_with_its_cause(content: Content) -> None:
    [found] = legibility.attachment_unreadable(with_record(documents=(document(content, "why"),)))
    assert ("cause", "why") in found.evidence


def test_a_document_that_was_replaced_is_not_complained_about() -> None:
    replaced = document(Content.EMPTY, superseded=True)
    assert not list(legibility.attachment_unreadable(with_record(documents=(replaced,))))


def test_a_fault_of_an_accepted_entry_is_a_note_with_its_place() -> None:
    fault = Fault("The required element 'code' is missing.", "Bundle.entry[2].resource.code", SOURCE)
    [found] = legibility.record_fault(with_record(faults=(fault,)))
    assert (found.severity, found.evidence) == (Severity.NOTE, (("place", "Bundle.entry[2].resource.code"),))


def test_the_same_fault_at_many_places_of_one_delivery_is_one_finding() -> None:
    other = replace(SOURCE, receipt_id="receipt-2")
    faults = [Fault("There is no such element.", f"Bundle.entry[{n}].x", SOURCE) for n in range(62)]
    faults += [Fault("There is no such element.", "Bundle.entry[0].x", other), Fault("Another.", "y", SOURCE)]
    many, *rest = legibility.record_fault(with_record(faults=tuple(faults)))
    assert [found.text for found in rest] == ["There is no such element.", "Another."]
    assert many.subject == "62 faults in the records"
    assert len(dict(many.evidence)) == 21
    assert many.evidence[:2] == (("place", "Bundle.entry[0].x"), ("place 2", "Bundle.entry[1].x"))
    assert many.evidence[-1] == ("more places", "42")


@pytest.mark.parametrize(
    ("changes", "element"),
    [
        ({"birth_date": "2018-03-10"}, "birth date"),
        ({"sex": "male"}, "sex"),
        ({"names": (Name("Chidi Eze", "Eze", ("Chidi",)),)}, "name"),
        ({"identifiers": (Identifier("124", ISSUER),)}, "identifier"),
    ],
)
def test_images_that_tell_another_child_block_review(changes: dict[str, object], element: str) -> None:
    other = case(studies=(study(patient=replace(CHILD, **changes)),))
    [found] = identity.identity_differs(other)
    assert found.severity is Severity.BLOCKS
    assert found.text == f"The {element} in the images differs from the referral's."
    assert [name for name, _ in found.evidence[:2]] == [
        f"{element} in the referral",
        f"{element} in the images",
    ]


def test_all_that_differs_of_one_identity_is_one_finding() -> None:
    other = case(studies=(study(patient=replace(CHILD, birth_date="2018-03-10", sex="male")),))
    [found] = checks.run(other)
    assert found.text == "The birth date and sex in the images differ from the referral's."


def test_images_without_any_identity_in_a_joined_study_are_told() -> None:
    [found] = identity.identity_absent(case(studies=(study(other_patients=(Demographics(),)),)))
    assert found.severity is Severity.LIMITS


@pytest.mark.parametrize("status", ["revoked", "entered-in-error", "on-hold", "completed"])
def test_a_request_that_the_hospital_took_back_blocks_review(status: str) -> None:
    [found] = missing.request_withdrawn(with_record(questions=(replace(QUESTION, status=status),)))
    assert found.severity is Severity.BLOCKS


def test_a_later_image_of_another_child_inside_a_joined_study_blocks_review() -> None:
    mixed = study(other_patients=(replace(CHILD, birth_date="2015-01-01"),))
    [found] = checks.run(case(studies=(mixed,)))
    assert (found.check, found.severity) == ("identity-differs", Severity.BLOCKS)


def test_images_that_differ_from_one_another_block_review_when_the_referral_tells_no_identity() -> None:
    mixed = study(other_patients=(replace(CHILD, birth_date="2015-01-01"),))
    found = checks.run(replace(with_record(patient=None), studies=(mixed,)))
    assert "mixed-patients" in {f.check for f in found}


def test_a_held_study_that_contradicts_blocks_and_one_that_is_only_uncertain_limits() -> None:
    contrary = HeldStudy(study(patient=replace(CHILD, sex="male")), ("against: different sex",))
    uncertain = HeldStudy(study(), ("for: the referral names this study",))
    assert [f.severity for f in identity.study_held(case(held_studies=(contrary,)))] == [Severity.BLOCKS]
    assert [f.severity for f in identity.study_held(case(held_studies=(uncertain,)))] == [Severity.LIMITS]


def test_a_held_study_of_which_only_a_later_image_contradicts_blocks_too() -> None:
    later = study(other_patients=(replace(CHILD, birth_date="2015-01-01"),))
    [found] = identity.study_held(case(held_studies=(HeldStudy(later, ()),)))
    assert found.severity is Severity.BLOCKS
    assert "birth date" in found.text


def test_records_of_two_children_block_review() -> None:
    sibling = replace(CHILD, names=(Name("Ife Okafor"),), source=replace(SOURCE, reference="Patient/p2"))
    [found] = identity.mixed_patients(with_record(other_patients=(sibling,)))
    assert found.severity is Severity.BLOCKS


def test_an_image_that_came_twice_with_other_bytes_blocks_review() -> None:
    double = replace(stack(2), instances=(instance(1, 0.0), instance(1, 0.0, conflict=True)))
    [found] = identity.instance_conflict(case(studies=(study(double),)))
    assert found.severity is Severity.BLOCKS


def test_images_that_arrived_damaged_are_found_with_what_is_wrong() -> None:
    cut = replace(stack(2), instances=(instance(1, 0.0), instance(2, 2.0, fault="The file ends early.")))
    [found] = incomplete.instance_damaged(case(studies=(study(cut),)))
    assert found.severity is Severity.LIMITS
    assert found.text.startswith("1 images arrived damaged")
    assert (cut.instances[1].sop_instance_uid, "The file ends early.") in found.evidence


def test_a_check_that_fails_is_a_finding_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_case: Case) -> list[object]:
        raise ZeroDivisionError

    monkeypatch.setitem(checks.CHECKS, "slice-gap", broken)
    keys = {finding.key for finding in checks.run(with_record(questions=()))}
    assert keys == {"check-failed:slice-gap", "no-question"}


def test_findings_of_one_case_have_keys_of_their_own() -> None:
    poor = with_record(
        patient=None,
        physicians=(),
        questions=(),
        documents=(document(Content.EMPTY), document(Content.EMPTY, id="d-1")),
        expected_studies=(expected("1.9"), expected("1.8")),
    )
    keys = [finding.key for finding in checks.run(poor)]
    assert len(keys) == len(set(keys)) == 7


def test_a_demand_of_the_checklists_that_nothing_meets_is_a_finding_until_it_is_met() -> None:
    bare = with_record()
    found = {f.key: f.severity for f in checklist.checklist_item(bare, CHECKLISTS)}
    assert found["checklist-item:medication-list"] is Severity.LIMITS
    assert found["checklist-item:weight"] is Severity.NOTE
    drug = ClinicalItem(ItemKind.MEDICATION, Coded("Vincristine"), "active", "", "", SOURCE)
    met = with_record(items=(drug,))
    assert "checklist-item:medication-list" not in {f.key for f in checklist.checklist_item(met, CHECKLISTS)}
