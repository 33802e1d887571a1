"""A FHIR document: what its sections tell, and the text that people read."""

import base64
from typing import Any

import pytest

from gateway.case.model import Coded, Source, Told
from mappings.fhir_bag import Bag, Sourced
from mappings.fhir_document import PATIENT_SUMMARY, as_attachment, sections_of

LOINC = "http://loinc.org"
ABSENT = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"


def sourced(reference: str, content: dict[str, Any]) -> Sourced:
    resource = {"resourceType": reference.split("/")[0]} | content
    return Sourced(resource, Source("r", "0" * 64, "Bundle.entry[0].resource", reference=reference))


def composition(*sections: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"resourceType": "Composition", "title": "Summary", "section": list(sections)} | changes


def section(**elements: Any) -> dict[str, Any]:
    return {"title": "Allergies", "code": {"coding": [{"system": LOINC, "code": "48765-2"}]}} | elements


def told(one: dict[str, Any], *others: Sourced) -> tuple[Told, str]:
    made = sourced("Composition/1", composition(one))
    [found] = sections_of(Bag([made, *others], []), made)
    return found.told, found.reason.text


def narrative(div: str) -> dict[str, Any]:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{div}</div>'}


def empty(code: str, words: str = "") -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/list-empty-reason"
    return {"coding": [{"system": system, "code": code}], "text": words or code}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (section(emptyReason=empty("nilknown", "Nil known")), (Told.NONE_KNOWN, "Nil known")),
        (section(emptyReason=empty("withheld", "Withheld")), (Told.UNKNOWN, "Withheld")),
        (section(text=narrative("<p>Penicillin</p>")), (Told.WORDS, "")),
        (section(text=narrative(" <p/> ")), (Told.NOTHING, "")),
        (section(), (Told.NOTHING, "")),
        (section(entry=[{"reference": "AllergyIntolerance/gone"}]), (Told.NOTHING, "")),
    ],
)
def test_an_empty_section_is_told_apart_from_one_that_says_nothing(
    one: dict[str, Any], expected: tuple[Told, str]
) -> None:
    assert told(one) == expected


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (ABSENT, "no-known-allergies", Told.NONE_KNOWN),
        ("http://snomed.info/sct", "716186003", Told.NONE_KNOWN),
        (ABSENT, "no-allergy-info", Told.UNKNOWN),
        ("http://snomed.info/sct", "91936005", Told.ENTRIES),
        ("https://hospital-a.example/codes", "716186003", Told.ENTRIES),
    ],
)
def test_an_entry_may_say_that_there_is_nothing(system: str, code: str, expected: Told) -> None:
    concept = {"coding": [{"system": system, "code": code}], "text": "words"}
    allergy = sourced("AllergyIntolerance/1", {"code": concept})
    assert told(section(entry=[{"reference": "AllergyIntolerance/1"}]), allergy)[0] is expected


def test_a_patient_summary_without_a_mandatory_section_lacks_it() -> None:
    summary = {"coding": [{"system": LOINC, "code": PATIENT_SUMMARY}]}
    made = sourced("Composition/1", composition(section(emptyReason=empty("nilknown")), type=summary))
    found = {s.title: s.told for s in sections_of(Bag([made], []), made)}
    assert found == {
        "Allergies": Told.NONE_KNOWN,
        "Problem list": Told.NOTHING,
        "Medication summary": Told.NOTHING,
    }


def test_sections_inside_sections_are_told_each() -> None:
    inner = [section(title=title, text=narrative("words")) for title in ("A", "B")]
    made = sourced("Composition/1", composition({"title": "Both", "section": inner}))
    assert [s.title for s in sections_of(Bag([made], []), made)] == ["A", "B"]


def test_the_document_is_text_with_every_section_its_words_and_why_it_is_empty() -> None:
    table = "<table><tr><th>Drug</th><th>Dose</th></tr><tr><td>Salbutamol</td><td>2 &lt; 4 puffs</td></tr></table>"
    made = as_attachment(
        composition(
            section(
                title="Drugs", text=narrative(table + "<script>alert(1)</script><ul><li>daily</li></ul>")
            ),
            section(emptyReason=empty("nilknown", "Nil known")),
            {"title": "Story", "section": [{"title": "School", "text": narrative("Year 3<br/>goes daily")}]},
            date="2026-04-01",
            author=[{"display": "Dr Obi"}],
        )
    )
    assert made is not None
    assert base64.b64decode(made["data"]).decode() == (
        "Summary\nDate: 1 April 2026\nAuthor: Dr Obi\n\n"
        "## Drugs\nDrug | Dose\nSalbutamol | 2 < 4 puffs\n- daily\n[Nothing coded]\n\n"
        "## Allergies\n[Empty: Nil known]\n\n"
        "## Story\n\n### School\nYear 3\ngoes daily"
    ).replace("[Nothing coded]\n", "")


def test_a_composition_without_sections_and_words_is_no_document() -> None:
    assert as_attachment({"resourceType": "Composition", "title": "Referral"}) is None


@pytest.mark.parametrize("broken", [5, "x", [[{}]], {"div": 3}, None])
def test_ill_typed_sections_are_read_as_absent(broken: Any) -> None:
    made = sourced(
        "Composition/1", composition(section(text=broken, entry=broken, emptyReason=broken, code=broken))
    )
    assert next(sections_of(Bag([made], []), made)).concept == Coded("")
    as_attachment(made.content | {"section": broken, "text": broken, "author": broken, "date": broken})
