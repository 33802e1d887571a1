"""FHIR R4 documents (Composition and what it leads, 3.3): what each section tells, and the whole as text to read.

A section that says that it is empty (emptyReason) is not a section that is missing: "no known allergies" is evidence.
"""

import base64
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from gateway.case.model import Coded, Section, Told
from mappings.fhir_bag import Bag, Sourced
from mappings.fhir_elements import Resource, coded, display_name, has_code, objects, reference, text
from mappings.plain_text import date_words, legible

PATIENT_SUMMARY = "60591-5"
MANDATORY = {
    "11450-4": "Problem list",
    "48765-2": "Allergies and intolerances",
    "10160-0": "Medication summary",
}
"""LOINC codes of the sections that an International Patient Summary must have (IPS 2.0.0, Composition)."""

_NONE_KNOWN = frozenset(
    {
        *("no-known-allergies", "no-known-medication-allergies", "no-known-environmental-allergies"),
        *("no-known-food-allergies", "no-known-medications", "no-known-problems", "no-known-procedures"),
        *("no-known-immunizations", "no-known-devices", "716186003", "787481004", "160245001"),
    }
)
"""Of the IPS code system absent-unknown-uv-ips, and the SNOMED CT concepts that say the same."""
_NO_INFORMATION = frozenset(
    {
        *("no-allergy-info", "no-medication-info", "no-problem-info", "no-procedure-info"),
        *("no-immunization-info", "no-device-info"),
    }
)
_ABSENCE_SYSTEMS = frozenset(
    {"http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips", "http://snomed.info/sct"}
)
_DEPTH = 16


def sections_of(bag: Bag, composition: Sourced) -> Iterator[Section]:
    """Every section that has no sections of its own; those too that a patient summary must have and has not."""
    seen = set()
    for section in _leaves(composition.content.get("section")):
        concept = coded(section.get("code"))
        seen |= {code for _, code in concept.codings}
        told, reason = _told(bag, composition, section)
        title = text(section.get("title")) or concept.text or "A section without title"
        yield Section(title, concept, told, reason, composition.source)
    if has_code(composition.content.get("type"), PATIENT_SUMMARY):
        for code, title in MANDATORY.items():
            if code not in seen:
                concept = Coded(title, (("http://loinc.org", code),))
                yield Section(title, concept, Told.NOTHING, Coded(""), composition.source)


def _leaves(sections: Any, depth: int = 0) -> Iterator[Resource]:
    for section in objects(sections):
        inner = list(_leaves(section.get("section"), depth + 1)) if depth < _DEPTH else []
        has_own = section.get("entry") or section.get("emptyReason") or not inner
        yield from [section, *inner] if has_own else inner


def _told(bag: Bag, composition: Sourced, section: Resource) -> tuple[Told, Coded]:
    found = [
        r for entry in objects(section.get("entry")) if (r := bag.follow(composition, entry)) is not None
    ]
    concepts = [_concept(r.content) for r in found]
    for told, codes in ((Told.NONE_KNOWN, _NONE_KNOWN), (Told.UNKNOWN, _NO_INFORMATION)):
        if concepts and all(_says(concept, codes) for concept in concepts):
            return told, concepts[0]
    if found:
        return Told.ENTRIES, Coded("")
    if section.get("emptyReason"):
        reason = coded(section["emptyReason"])
        known = has_code(section["emptyReason"], "nilknown")
        return (Told.NONE_KNOWN if known else Told.UNKNOWN), reason
    return (Told.WORDS if _words(section.get("text")) else Told.NOTHING), Coded("")


def _concept(resource: Resource) -> Coded:
    """What an entry is of: its code, or the medication or vaccine that it names in itself."""
    for element in ("code", "medicationCodeableConcept", "vaccineCode"):
        found = coded(resource.get(element))
        if found.codings or found.text:
            return found
    return Coded("")


def _says(concept: Coded, codes: frozenset[str]) -> bool:
    return any(system in _ABSENCE_SYSTEMS and code in codes for system, code in concept.codings)


def as_attachment(composition: Resource) -> Resource | None:
    """The document as an Attachment of plain text; None where it has neither sections nor a narrative."""
    words = "\n".join(_lines(composition)).strip()
    if not (composition.get("section") or _words(composition.get("text"))):
        return None
    return {
        "contentType": "text/plain; charset=utf-8",
        "title": text(composition.get("title")) or coded(composition.get("type")).text or "Document",
        "data": base64.b64encode(legible(words).encode()).decode(),
    }


def _lines(composition: Resource) -> Iterator[str]:
    yield text(composition.get("title")) or coded(composition.get("type")).text or "Document"
    facts = [
        ("Type", coded(composition.get("type")).text),
        ("Date", date_words(text(composition.get("date")))),
        ("Status", text(composition.get("status"))),
        ("Author", ", ".join(_author(a, composition) for a in objects(composition.get("author")))),
    ]
    yield from (f"{name}: {value}" for name, value in facts if value)
    yield from ["", own] if (own := _words(composition.get("text"))) else []
    yield from _section_lines(composition.get("section"), 0)


def _author(author: Resource, composition: Resource) -> str:
    inside = {f"#{text(c.get('id'))}": c for c in objects(composition.get("contained"))}
    named = inside.get(reference(author), {})
    return text(author.get("display")) or display_name(named.get("name"))


def _section_lines(sections: Any, depth: int) -> Iterator[str]:
    for section in objects(sections):
        title = text(section.get("title")) or coded(section.get("code")).text or "A section without title"
        yield from ["", f"{'#' * (depth + 2)} {title}"]
        if words := _words(section.get("text")):
            yield words
        if section.get("emptyReason"):
            yield f"[Empty: {coded(section['emptyReason']).text or 'no reason given'}]"
        elif count := len(objects(section.get("entry"))):
            yield f"[{count} coded {'entry' if count == 1 else 'entries'}]"
        elif not words and not section.get("section"):
            yield "[Nothing is said here, and no reason why.]"
        if depth < _DEPTH:
            yield from _section_lines(section.get("section"), depth + 1)


def _words(narrative: Any) -> str:
    """Narrative.div as text: blocks on lines of their own, cells of a row parted by bars."""
    div = narrative.get("div") if isinstance(narrative, dict) else None
    if not isinstance(div, str):
        return ""
    reader = _Reader()
    reader.feed(div)
    reader.close()
    lines = (" ".join(line.split()).strip(" |") for line in "".join(reader.parts).split("\n"))
    return "\n".join(line for line in lines if line)


_BLOCKS = frozenset(
    {
        *("div", "p", "br", "tr", "table", "caption", "ul", "ol", "dl", "dt", "dd", "hr", "pre"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "thead", "tbody", "tfoot"),
    }
)
_UNSEEN = frozenset({"script", "style"})


class _Reader(HTMLParser):
    """Lenient: real narratives are not always well-formed. Nothing of it is run or fetched."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag == "img":
            self.parts.append(f"[image: {dict(attrs).get('alt') or 'without words'}]")
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in ("td", "th"):
            self.parts.append(" | ")
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data.replace("\n", " "))
