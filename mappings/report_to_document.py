"""The report as people read it: standalone HTML, PDF for printing and archives, and the FHIR narrative."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.case.model import FindingState
from mappings.plain_text import date_words, direction, instant_words, paragraphs, started_words

if TYPE_CHECKING:
    from gateway.case.model import CaseFinding
    from mappings.opinion_to_report import Report

_HERE = Path(__file__).parent
_FOLDER = _HERE / "report"
_LONGEST_RUNNING_NAME = 90  # characters that fit on the two lines above each page


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LimitationWords:
    title: str
    introduction: str
    none: str
    open: str
    waived: str
    held_title: str
    held: str


@dataclass(frozen=True, slots=True)
class Words:
    """The programme's own sentences, of mappings/disclaimer.yaml."""

    report_title: str
    disclaimer: Section
    limitations: LimitationWords

    def disclaimer_of(self, programme_name: str) -> list[str]:
        return [text.replace("{programme}", programme_name) for text in self.disclaimer.paragraphs]

    def state_of(self, limitation: CaseFinding) -> str:
        """Whether the finding was left open, or who let the review go on and why."""
        if limitation.state is not FindingState.WAIVED:
            return self.limitations.open
        on = instant_words(limitation.closed_at) if limitation.closed_at else "an unrecorded date"
        return self.limitations.waived.format(
            by=limitation.waived_by or "A member of the programme",
            date=on,
            because=limitation.waived_because or "no reason recorded",
        )


@cache
def words() -> Words:
    """Raises TypeError where the file does not have exactly the wanted entries."""
    table = yaml.safe_load((_HERE / "disclaimer.yaml").read_text("utf-8"))
    disclaimer = table.pop("disclaimer")
    return Words(
        disclaimer=Section(title=disclaimer["title"], paragraphs=tuple(disclaimer["paragraphs"])),
        limitations=LimitationWords(**table.pop("limitations")),
        **table,
    )


@cache
def _languages() -> dict[str, str]:
    names: dict[str, str] = yaml.safe_load((_FOLDER / "languages.yaml").read_text("utf-8"))
    return names


def language_name(code: str) -> str:
    """The English name of a BCP 47 tag by its language; the tag itself where it is not in the table."""
    return _languages().get(code.split("-")[0].lower(), code)


@cache
def _templates() -> Environment:
    """Everything is escaped, and a name that is not there is an error rather than an empty place."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "date": date_words,
        "dir": direction,
        "instant": instant_words,
        "language": language_name,
        "paragraphs": paragraphs,
        "started": started_words,
    }
    return environment


def _render(template: str, report: Report, **more: Any) -> str:
    return _templates().get_template(template).render(report=report, words=words(), **more)


def to_html(report: Report) -> str:
    """One valid HTML page with its style inside, without script or any external resource."""
    style = (_FOLDER / "report.css").read_text("utf-8")
    return _render("report.html", report, style=style, running=_running_title(report))


def _running_title(report: Report) -> str:
    """Who the page is about, above every page but the first. A name that does not fit is left out, not cut."""
    patient = report.patient
    name = patient.display_name if patient else ""
    parts = [f"\u2068{name}\u2069"] if name and len(name) <= _LONGEST_RUNNING_NAME else []
    if patient and patient.birth_date:
        parts.append(f"born {date_words(patient.birth_date)}")
    return " · ".join([*parts, f"case {report.case_id}"])


def to_narrative(report: Report) -> str:
    """Narrative.div (FHIR R4 2.4.0.1): well-formed XHTML, no style, no script, no link."""
    return _render("narrative.html", report).strip()


def to_pdf(report: Report) -> bytes:
    """PDF/A-2a (ISO 19005-2): archivable, tagged and searchable; the same content as ``to_html``."""
    from weasyprint import HTML  # heavy: only the process that signs pays for it

    content: bytes = HTML(string=to_html(report), url_fetcher=_fetch_nothing).write_pdf(
        pdf_variant="pdf/a-2a", pdf_identifier=report.opinion_id.encode()
    )
    return content


def _fetch_nothing(*_: object, **__: object) -> dict[str, Any]:
    """A report refers to nothing outside itself; if it did, nothing would be fetched."""
    raise ValueError("a report refers to nothing outside itself")
