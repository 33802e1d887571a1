"""What the report says, and that nothing which was sent can make it say or do anything else."""

from dataclasses import replace

import pytest
from tinyhtml5.parser import HTMLParser

from gateway.case.model import Case, Content, Demographics, HeldStudy, ItemKind, Name, Opinion, Record
from mappings.opinion_to_report import report_of
from mappings.report_to_document import language_name, to_html, to_narrative, words
from tests.support.reviewed_case import (
    CT,
    HELD,
    OPEN_FINDING,
    OPINION,
    OPINION_ID,
    PATIENT,
    PROGRAMME,
    RECORD,
    RESOLVED_FINDING,
    SIGNED_AT,
    WAIVED_FINDING,
    document,
    instance,
    reviewed_case,
)

HTML = "{http://www.w3.org/1999/xhtml}"


def html_of(case: Case | None = None, opinion: Opinion = OPINION) -> str:
    return to_html(report_of(case or reviewed_case(), opinion, SIGNED_AT, PROGRAMME))


def with_record(**changes: object) -> Case:
    return reviewed_case(record=replace(RECORD, **changes))


def parsed(html: str):
    """The element tree; the parser records every deviation from the HTML standard."""
    parser = HTMLParser()
    tree = parser.parse(html)
    assert parser.errors == []
    return tree


def text_of(html: str) -> str:
    """The words as a reader sees them: a line break, a cell and a block part words, an inline element does not."""
    return " ".join("".join(pieces_of(parsed(html).find(f"{HTML}body"))).split())


def pieces_of(element):
    apart = "" if element.tag.removeprefix(HTML) in ("bdi", "span", "strong") else " "
    yield apart + (element.text or "")
    for child in element:
        yield from pieces_of(child)
    yield apart + (element.tail or "")


@pytest.mark.parametrize(
    ("told", "page", "narrative"),
    [
        ("yes", "Deceased Yes, the date was not stated", ", deceased."),
        ("2026-03-30", "Deceased 30 March 2026", ", deceased on 30 March 2026."),
    ],
)
def test_the_report_says_that_the_child_has_died(told: str, page: str, narrative: str):
    dead = with_record(patient=replace(PATIENT, deceased=told))
    assert page in text_of(html_of(dead))
    assert narrative in to_narrative(report_of(dead, OPINION, SIGNED_AT, PROGRAMME))
    assert "eceased" not in html_of()


def test_the_report_says_who_asked_what_and_what_the_specialist_answers():
    text = text_of(html_of())
    for said in (
        PROGRAMME,
        "SO-7K2M9QXA",
        "Received 2 April 2026, 08:15 UTC",
        "Dr Samir Khoury",
        "s.khoury@cedar.example.org",
        "Cedar Valley Hospital, Beirut",
        "Is nephron-sparing surgery an option?",
        "Asked by: Dr Samir Khoury, Cedar Valley Hospital, Beirut",
        "unilateral Wilms tumour",
        "CT of the chest before treatment starts.",
        "No tumour thrombus",
        "Electronically signed on 9 April 2026, 16:42 UTC",
        f"Opinion {OPINION_ID}",
    ):
        assert said in text


def test_every_form_of_the_childs_name_and_every_identifier_with_its_issuer_is_printed():
    text = text_of(html_of())
    for said in (
        "Layla Haddad",
        "ليلى حداد",
        "莱拉·哈达德",
        "3 May 2019",
        "female",
        "70012345 issued by https://hospital.example.org/mrn",
        "LH-19 issued by Regional registry",
    ):
        assert said in text


def test_documents_are_listed_with_date_type_and_language_and_a_replaced_one_is_not():
    text = text_of(html_of())
    assert "Clinic letter Discharge summary 20 March 2026 English" in text
    assert "رسالة الخروج من المستشفى Discharge summary March 2026 Arabic" in text
    assert "first version" not in text


@pytest.mark.parametrize("content", [Content.EMPTY, Content.ELSEWHERE, Content.UNDECODABLE])
def test_a_document_that_cannot_be_opened_is_not_listed_as_if_it_had_been_read(content):
    case = with_record(documents=(document("d9", "MR report", "de", "2026-01-05", content=content),))
    assert "MR report Named by the sender, but not available for review 5 January 2026 German" in text_of(
        html_of(case)
    )


def test_studies_are_listed_with_date_modality_and_the_number_of_distinct_images():
    twice = (instance(1), instance(1, conflict=True), instance(2))
    study = replace(CT, series=(replace(CT.series[0], instances=twice),))
    text = text_of(html_of(reviewed_case(studies=(study,))))
    assert "CT abdomen with contrast 18 March 2026, 14:20 local time CT 2" in text
    assert "Portal venous 5 mm (ABDOMEN) CT 2" in text


def test_open_and_waived_findings_are_declared_and_a_resolved_one_is_not():
    text = text_of(html_of())
    assert f"{OPEN_FINDING.finding.subject} {OPEN_FINDING.finding.text} Not resolved at sign-off." in text
    assert (
        f"{WAIVED_FINDING.finding.text} Ines Morel decided on 7 April 2026, 09:00 UTC that the review could go on "
        "in spite of this, because: the specialist reads Arabic"
    ) in text
    assert RESOLVED_FINDING.finding.text not in text


def test_a_report_without_limitations_says_so():
    case = reviewed_case(findings=(RESOLVED_FINDING,), held_studies=())
    assert "No missing or deficient evidence was known at sign-off." in text_of(html_of(case))


def test_held_imaging_is_declared_without_a_word_about_the_other_child():
    case = reviewed_case(findings=(), held_studies=(HeldStudy(HELD, ("name differs: Somebody Else",)),))
    text = text_of(html_of(case))
    assert "left out of the review" in text
    assert "MR, 1 March 2026, 1 series, 1 image" in text
    assert "Somebody" not in text
    assert "OTHERCHILD" not in text
    assert words().limitations.none not in text


def test_the_disclaimer_says_what_this_opinion_is_not():
    text = text_of(html_of())
    for said in (
        "review of records only",
        "has not met, interviewed or physically examined the patient",
        "limited and provisional",
        "not a primary diagnosis",
        "completeness of the records",
        "translations",
        "legibility",
        "quality of images",
        "remain with the treating physician",
    ):
        assert said in text
    assert "{programme}" not in text


def test_a_case_of_which_nothing_is_known_still_makes_a_report_that_says_so():
    case = reviewed_case(record=Record(), studies=(), held_studies=(), findings=())
    text = text_of(html_of(case, replace(OPINION, findings_text="", recommendations="")))
    for said in (
        "The sender did not state who the patient is.",
        "No physician was named.",
        "No question was sent with the records.",
        "No documents were received.",
        "No imaging was received.",
        "No coded conditions",
        "The specialist made no separate recommendations.",
    ):
        assert said in text


def test_a_patient_of_whom_only_the_record_exists_is_not_given_a_name_or_birth_date():
    text = text_of(html_of(with_record(patient=Demographics())))
    assert "Name not stated Born not stated Sex not stated Identifier not stated" in text


@pytest.mark.parametrize(
    "attack", ["<script>alert(1)</script>", '"><img src=http://x.test/a onerror=alert(1)>']
)
def test_markup_in_what_was_sent_or_written_stays_text(attack):
    nasty = document("d1", attack, attack, attack)
    finding = replace(OPEN_FINDING, finding=replace(OPEN_FINDING.finding, subject=attack, text=attack))
    case = reviewed_case(
        record=replace(RECORD, patient=replace(PATIENT, names=(Name(attack),)), documents=(nasty,)),
        findings=(finding,),
    )
    opinion = replace(OPINION, author_name=attack, conclusion=attack, recommendations=attack)
    html = html_of(case, opinion)
    tags = {element.tag for element in parsed(html).iter() if isinstance(element.tag, str)}
    assert tags.isdisjoint({f"{HTML}{name}" for name in ("script", "img", "link", "iframe", "a", "form")})
    assert attack in text_of(html)


def test_the_page_stands_alone():
    tree = parsed(html_of())
    for element in tree.iter():
        assert not {"src", "href", "srcset", "action", "style"} & set(element.attrib)
    style = tree.find(f"{HTML}head/{HTML}style").text
    assert "url(" not in style
    assert "@import" not in style


def test_right_to_left_text_is_marked_and_a_name_cannot_reverse_what_follows_it():
    opinion = replace(OPINION, conclusion="الكتلة في الكلية اليسرى.\n\nThe left kidney.")
    case = with_record(patient=replace(PATIENT, names=(Name("\u202eabc"),)))
    tree = parsed(html_of(case, opinion))
    directions = [p.get("dir") for p in tree.iter(f"{HTML}p") if p.get("class") == "prose"]
    assert "rtl" in directions
    assert "ltr" in directions
    isolated = [element for element in tree.iter(f"{HTML}bdi") if element.text == "\u202eabc"]
    assert len(isolated) == 1


def test_paragraphs_line_breaks_and_indents_of_the_specialist_are_kept():
    opinion = replace(OPINION, findings_text="First.\r\n\r\n  - a\n  - b\n\n\n\nLast.")
    tree = parsed(html_of(opinion=opinion))
    findings = next(e for e in tree.iter(f"{HTML}section") if e.get("aria-labelledby") == "findings")
    assert [p.text for p in findings.iter(f"{HTML}p")] == ["First.", "  - a\n  - b", "Last."]


def test_characters_that_no_reader_can_show_are_replaced_and_not_dropped():
    opinion = replace(OPINION, conclusion="a\x00b\x0bc\ud800d\uffffe")
    assert "a\ufffdb\ufffdc\ufffdd\ufffde" in html_of(opinion=opinion).encode().decode()


def test_a_very_long_opinion_is_printed_to_its_last_word():
    long = "\n\n".join(f"Paragraph {n}. " + "word " * 100 for n in range(50)) + " omega"
    text = text_of(html_of(opinion=replace(OPINION, findings_text=long)))
    assert text.count(" word") == 5000
    assert "omega" in text


def test_a_name_that_is_too_long_to_run_above_each_page_is_left_out_there_and_never_cut():
    long = "Maria " * 40
    html = html_of(with_record(patient=replace(PATIENT, names=(Name(long.strip()),))))
    body = parsed(html).find(f"{HTML}body")
    assert body.get("data-running") == "born 3 May 2019 · case SO-7K2M9QXA"
    assert long.strip() in text_of(html)


def test_every_kind_of_clinical_item_has_its_heading():
    items = tuple(replace(RECORD.items[0], kind=kind) for kind in ItemKind)
    text = text_of(html_of(with_record(items=items)))
    for heading in (
        "Conditions",
        "Medications",
        "Allergies",
        "Results",
        "Reports",
        "Procedures",
        "Immunizations",
    ):
        assert heading in text


@pytest.mark.parametrize(
    ("code", "name"), [("fr", "French"), ("pt-BR", "Portuguese"), ("no", "Norwegian"), ("xx", "xx")]
)
def test_languages_are_named_and_an_unknown_one_is_shown_as_sent(code, name):
    assert language_name(code) == name


def test_the_same_input_makes_the_same_page():
    assert html_of() == html_of()
