"""What a specialist needs for a question, item by item, and how each item of a case stands.

The lists are tables that clinicians review (mappings/checklists/). An item is found by codes, or by words in the titles
and concepts of what was sent, whoever wrote them.
"""

import re
from calendar import monthrange
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import chain

from gateway.case.model import (
    Case,
    CaseFinding,
    ClinicalItem,
    Coded,
    Content,
    Document,
    FindingState,
    Question,
    Section,
    Study,
    Told,
)
from gateway.case.names import words_in


class Need(StrEnum):
    REQUIRED = "required"  # its lack limits the opinion
    HELPFUL = "helpful"


class ItemState(StrEnum):
    PRESENT = "present"
    KNOWN_ABSENT = "known absent"  # the record says that there is none, or that it was not done
    ASKED = "asked for"
    MISSING = "missing"


DOCUMENT, STUDY, SECTION = "document", "study", "section"
"""Where a clue looks besides clinical items (ItemKind)."""


@dataclass(frozen=True, slots=True)
class Words:
    """Phrases, looked for in words without case, accents and punctuation; see ``words_of``."""

    pattern: re.Pattern[str]

    def stand_in(self, *texts: str) -> bool:
        return any(self.pattern.search(" ".join(words_in(text))) for text in texts)


def words_of(phrases: Iterable[str]) -> Words | None:
    """None where there are no phrases. A ``*`` at an end of a word is any rest of it. Raises ValueError."""
    found = [_expression(phrase) for phrase in phrases]
    return Words(re.compile(f"(?:^| )(?:{'|'.join(found)})(?= |$)")) if found else None


def _expression(phrase: str) -> str:
    parts = [_expression_of_word(part) for part in phrase.split()]
    if not parts:
        raise ValueError("a phrase has letters or digits")
    return " ".join(parts)


def _expression_of_word(part: str) -> str:
    """Of ``x-ray`` two words, as ``words_in`` reads them."""
    words = words_in(part)
    if not words or "*" in part.strip("*"):
        raise ValueError(f"'{part}' is no word: letters or digits, and a * only at its ends")
    before, after = ("[^ ]*" if star else "" for star in (part.startswith("*"), part.endswith("*")))
    return f"{before}{' '.join(words)}{after}"


@dataclass(frozen=True, slots=True)
class When:
    """Which questions something is for: any of these is enough, and ``always`` is for all.

    ``specialties`` are codes of what is asked for, ``icd10`` beginnings of ICD-10 codes of the reasons; ``words`` stand
    in the question, its reasons or specialties.
    """

    always: bool = False
    specialties: frozenset[str] = frozenset()
    icd10: tuple[str, ...] = ()
    words: Words | None = None

    def fits(self, question: Question) -> bool:
        reasons = [coding for reason in question.reasons for coding in reason.codings]
        return (
            self.always
            or any(code in self.specialties for s in question.specialties for _, code in s.codings)
            or any(code.startswith(self.icd10) for system, code in reasons if _is_icd10(system))
            or (self.words is not None and self.words.stand_in(*_texts(question)))
        )


@dataclass(frozen=True, slots=True)
class Clue:
    """How an item is recognised: in one of ``places``, by a code or by words; by its place alone where it has neither.

    ``modalities`` and ``regions`` are for studies: DICOM Modality (0008,0060), and words in descriptions or Body Part
    Examined (0018,0015).
    """

    places: frozenset[str]
    codes: frozenset[str] = frozenset()
    words: Words | None = None
    modalities: frozenset[str] = frozenset()
    regions: Words | None = None

    def names(self, concept: Coded, *texts: str) -> bool:
        if not self.codes and self.words is None:
            return True
        by_code = any(code in self.codes for _, code in concept.codings)
        return by_code or (self.words is not None and self.words.stand_in(concept.text, *texts))


@dataclass(frozen=True, slots=True)
class Item:
    """One demand. ``within_days`` of the day on which the case was opened; None where age does not matter.

    ``source`` is where the demand is published; empty where it is the programme's own choice.
    """

    id: str
    name: str
    need: Need
    when: When
    clues: tuple[Clue, ...]
    ask: str
    source: str
    within_days: int | None = None


@dataclass(frozen=True, slots=True)
class Checklist:
    name: str
    when: When
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """How an item stands. ``found`` are names of what was recognised, ``note`` says why that is not enough.

    ``finding_id`` is of the finding that tells its lack, empty where there is none.
    """

    checklist: str
    item_id: str
    name: str
    need: Need
    state: ItemState
    found: tuple[str, ...]
    note: str
    ask: str
    source: str
    finding_id: str = ""


@dataclass(frozen=True, slots=True)
class _Trace:
    """Something that was sent and counts for an item; ``is_absence`` when it says that there is none."""

    name: str
    date: str
    is_absence: bool = False


def lines(case: Case, checklists: Sequence[Checklist]) -> tuple[Line, ...]:
    """Every item of those lists that apply to the case's questions, in the order of the lists."""
    findings = {f.finding.key: f for f in case.findings if f.state is not FindingState.RESOLVED}
    asked = {finding_id for enquiry in case.open_enquiries for finding_id in enquiry.finding_ids}
    return tuple(
        _line(case, checklist, item, findings.get(key_of(item.id)), asked)
        for checklist in checklists
        for item in _demanded(case, checklist)
    )


def key_of(item_id: str) -> str:
    """The key of the finding that an item is missing."""
    return f"checklist-item:{item_id}"


def _demanded(case: Case, checklist: Checklist) -> Iterator[Item]:
    """An item that is for some questions only is demanded when one of them is asked."""
    questions = [q for q in case.record.questions if checklist.when.fits(q)]
    for item in checklist.items:
        if any(item.when.fits(question) for question in questions):
            yield item


def _line(case: Case, checklist: Checklist, item: Item, finding: CaseFinding | None, asked: set[str]) -> Line:
    traces = list(chain.from_iterable(_traces(case, clue) for clue in item.clues))
    present = [trace for trace in traces if not trace.is_absence]
    note = _too_old(present, item, case.opened_at.date())
    if present and not note:
        state = ItemState.PRESENT
    elif len(traces) > len(present):
        state = ItemState.KNOWN_ABSENT
    elif finding is not None and finding.id in asked:
        state = ItemState.ASKED
    else:
        state = ItemState.MISSING
    settled = state in (ItemState.PRESENT, ItemState.KNOWN_ABSENT)
    return Line(
        checklist.name,
        item.id,
        item.name,
        item.need,
        state,
        tuple(dict.fromkeys(trace.name for trace in traces)),
        "" if settled else note or NOT_RECOGNISED,
        item.ask,
        item.source,
        finding.id if finding is not None and not settled else "",
    )


NOT_RECOGNISED = "Nothing that was sent could be recognised as this."


def _too_old(traces: list[_Trace], item: Item, opened_on: date) -> str:
    """Why what is there does not count, '' where it does."""
    if item.within_days is None or not traces:
        return ""
    told = {day: trace.date for trace in traces if (day := _latest_day(trace.date)) is not None}
    if not told:
        return f"What was sent tells no date, and is to be of the last {item.within_days} days before the request."
    newest = max(told)
    if newest >= opened_on - timedelta(days=item.within_days):
        return ""
    return (
        f"The newest that was sent is of {newest}, and is to be of the last {item.within_days} days "
        "before the request."
    )


_DATE = re.compile(r"(\d{4})(?:-?(\d\d))?(?:-?(\d\d))?(?!\d)")


def _latest_day(sent: str) -> date | None:
    """The last day that a FHIR or DICOM date, perhaps partial, can mean; None where it is no date.

    Of a Period the day at which it begins.
    """
    found = _DATE.match(sent)
    if found is None:
        return None
    year, month = int(found[1]), int(found[2] or 12)
    try:
        return date(year, month, int(found[3] or monthrange(year, month)[1]))
    except ValueError:
        return None


def _traces(case: Case, clue: Clue) -> Iterator[_Trace]:
    record = case.record
    if DOCUMENT in clue.places:
        yield from (_Trace(d.title, d.date) for d in record.documents if _is_document(d, clue))
    if STUDY in clue.places:
        yield from (_Trace(s.title, s.started) for s in case.studies if _is_study(s, clue))
    if SECTION in clue.places:
        yield from filter(None, (_of_section(section, clue) for section in record.sections))
    for item in record.items:
        if item.kind in clue.places and clue.names(item.concept):
            yield from _of_item(item)


def _is_document(document: Document, clue: Clue) -> bool:
    """One that cannot be opened is told by a finding of its own, and stands for nothing here."""
    held = document.content is Content.PRESENT and not document.superseded
    return held and clue.names(document.concept, document.title)


def _is_study(study: Study, clue: Clue) -> bool:
    return any(
        series.modality in clue.modalities
        and (
            clue.regions is None
            or clue.regions.stand_in(study.description, series.description, series.body_part)
        )
        for series in study.series
    )


def _of_section(section: Section, clue: Clue) -> _Trace | None:
    if not clue.names(section.concept, section.title):
        return None
    if section.told is Told.NONE_KNOWN:
        return _Trace(section.reason.text or section.title, "", is_absence=True)
    return _Trace(section.title, "") if section.told in (Told.ENTRIES, Told.WORDS) else None


_WITHDRAWN = frozenset({"registered", "cancelled", "entered-in-error", "refuted", "do not perform"})
_NOT_DONE = frozenset({"not-done", "not-performed"})
_NONE_KNOWN = frozenset(
    {
        *("no-known-allergies", "no-known-medications", "no-known-problems", "no-known-procedures"),
        *("no-known-immunizations", "716186003", "787481004", "160245001"),
    }
)
"""Of the IPS code system absent-unknown-uv-ips, and the SNOMED CT concepts that say the same."""
_NO_INFORMATION = frozenset(
    {"no-allergy-info", "no-medication-info", "no-problem-info", "no-procedure-info", "no-immunization-info"}
)


def _of_item(item: ClinicalItem) -> Iterator[_Trace]:
    """Nothing of what was withdrawn, has not been done yet, or has no value for a reason that leaves it open."""
    statuses = frozenset(item.status.split(", "))
    codes = {code for _, code in (*item.concept.codings, *item.absent.codings)}
    if statuses & _WITHDRAWN or codes & _NO_INFORMATION:
        return
    if statuses & _NOT_DONE or codes & (_NONE_KNOWN | _NOT_DONE):
        yield _Trace(item.concept.text, item.date, is_absence=True)
    elif not item.absent.text:
        yield _Trace(item.concept.text, item.date)


_ICD10 = ("icd-10", "2.16.840.1.113883.6.90", "2.16.840.1.113883.6.3")


def _is_icd10(system: str) -> bool:
    return any(name in system.casefold() for name in _ICD10)


def _texts(question: Question) -> list[str]:
    return [question.text, *(concept.text for concept in (*question.reasons, *question.specialties))]
