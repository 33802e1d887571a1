"""Structured report (PS3.3 A.35, C.17.3) -> a page that a person can read. Nothing of the document is markup.

The whole content tree stands in it, in its order. What is not text, such as an image that is referred to, is named.
"""

from collections.abc import Iterator
from html import escape
from typing import BinaryIO

from pydicom.dataset import Dataset

from gateway.errors import NotAcceptable
from mappings.dicom_layout import PIXEL_TAGS, open_layout
from mappings.dicom_values import PYDICOM_ERRORS, items, name_groups, person_names, text, texts

MAX_ITEMS = 100_000
MAX_BYTES = 64 * 1024 * 1024
_DEEPEST_HEADING = 6
_STYLE = (
    "body{font:1rem/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "dt{font-weight:bold}dd{margin:0 0 .5rem 1.5rem;white-space:pre-wrap}"
    "section section{margin-left:1rem}"
)
_ABOUT = (
    ("PatientID", "Patient ID"),
    ("PatientBirthDate", "Birth date"),
    ("PatientSex", "Sex"),
    ("StudyDate", "Study date"),
    ("AccessionNumber", "Accession number"),
    ("InstitutionName", "Institution"),
    ("Manufacturer", "Manufacturer"),
    ("ContentDate", "Content date"),
    ("ContentTime", "Content time"),
    ("CompletionFlag", "Completion"),
    ("VerificationFlag", "Verification"),
    ("PreliminaryFlag", "Preliminary or final"),
)
_SIMPLE = {"DATE": "Date", "TIME": "Time", "DATETIME": "DateTime", "UIDREF": "UID"}


def write_report(source: BinaryIO, sink: BinaryIO) -> dict[str, list[int]]:
    """A job: the report as an HTML page in UTF-8. Raises NotAcceptable when the instance is none."""
    with open_layout(source) as layout:
        kept = []
        for element in layout:
            if element.tag in PIXEL_TAGS or element.end - element.start > MAX_BYTES:
                break
            kept.append(layout.buffer[element.start : element.end])
        try:
            page = report_page(layout.parse(b"".join(kept)))
        except PYDICOM_ERRORS as error:
            raise NotAcceptable("The content of the report cannot be read.") from error
    return {"sizes": [sink.write(page.encode("utf-8", "replace"))]}


def report_page(ds: Dataset) -> str:
    """Raises NotAcceptable where there is no content tree."""
    if "ContentSequence" not in ds:
        raise NotAcceptable("The instance is no structured report: it has no content.")
    title = escape(_concept(ds, "ConceptNameCodeSequence") or "Structured report")
    tree = "".join(_Tree().write(ds, 2))
    return (
        f'<!doctype html><html dir="auto"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{title}</h1><dl>{''.join(_about(ds))}</dl>{tree}</body></html>"
    )


def _about(ds: Dataset) -> Iterator[str]:
    if name := _names(ds, "PatientName"):
        yield _pair("Patient", name)
    for keyword, label in _ABOUT:
        if value := text(ds, keyword):
            yield _pair(label, value)
    for observer in items(ds, "VerifyingObserverSequence"):
        told = (_names(observer, "VerifyingObserverName"), *texts(observer, "VerifyingOrganization"))
        yield _pair(
            "Verified by", ", ".join(part for part in (*told, text(observer, "VerificationDateTime")) if part)
        )


class _Tree:
    def __init__(self) -> None:
        self._written = 0

    def write(self, container: Dataset, level: int) -> Iterator[str]:
        """The content items below ``container``, each with its own below it."""
        for item in items(container, "ContentSequence"):
            self._written += 1
            if self._written > MAX_ITEMS:
                raise NotAcceptable(f"The report has more than {MAX_ITEMS} content items.")
            name = _concept(item, "ConceptNameCodeSequence")
            if text(item, "ValueType") == "CONTAINER":
                yield f"<section>{_heading(name, level)}"
            else:
                yield f"<section><dl>{_pair(name or _kind(item), _value(item))}</dl>"
            yield from self.write(item, level + 1)
            yield "</section>"


def _heading(name: str, level: int) -> str:
    level = min(level, _DEEPEST_HEADING)
    return f'<h{level} dir="auto">{escape(name)}</h{level}>' if name else ""


def _pair(name: str, value: str) -> str:
    return f'<dt dir="auto">{escape(name)}</dt><dd dir="auto">{escape(value)}</dd>'


def _kind(item: Dataset) -> str:
    return text(item, "RelationshipType").capitalize() or text(item, "ValueType") or "Item"


def _value(item: Dataset) -> str:
    """Table C.17.3-7: the value of each Value Type, in words."""
    match text(item, "ValueType"):
        case "TEXT":
            return text(item, "TextValue")
        case "CODE":
            return _concept(item, "ConceptCodeSequence")
        case "NUM":
            return _measured(item)
        case "PNAME":
            return _names(item, "PersonName")
        case "DATE" | "TIME" | "DATETIME" | "UIDREF" as kind:
            return text(item, _SIMPLE[kind])
        case "IMAGE" | "COMPOSITE" | "WAVEFORM":
            return _references(item)
        case "SCOORD" | "SCOORD3D" | "TCOORD":
            return f"Coordinates: {text(item, 'GraphicType') or text(item, 'TemporalRangeType')}"
        case _:
            return "See elsewhere in the report." if "ReferencedContentItemIdentifier" in item else ""


def _measured(item: Dataset) -> str:
    found = []
    for value in items(item, "MeasuredValueSequence"):
        unit = items(value, "MeasurementUnitsCodeSequence")
        has_none = bool(unit) and (text(unit[0], "CodeValue"), text(unit[0], "CodingSchemeDesignator")) == (
            "1",
            "UCUM",
        )
        words = "" if has_none else _concept(value, "MeasurementUnitsCodeSequence")
        found.append(f"{text(value, 'NumericValue')} {words}".strip())
    return "; ".join(found) or f"No value: {_concept(item, 'NumericValueQualifierCodeSequence')}"


def _references(item: Dataset) -> str:
    found = []
    for reference in items(item, "ReferencedSOPSequence"):
        frames = ", ".join(texts(reference, "ReferencedFrameNumber"))
        found.append(
            f"{text(reference, 'ReferencedSOPInstanceUID')}{f' (frames {frames})' if frames else ''}"
        )
    return "\n".join(found)


def _concept(item: Dataset, keyword: str) -> str:
    """The meaning; where there is none the code, so that nothing is left out."""
    for concept in items(item, keyword)[:1]:
        for name in ("CodeMeaning", "CodeValue", "LongCodeValue", "URNCodeValue"):
            if found := text(concept, name):
                return found
    return ""


def _names(ds: Dataset, keyword: str) -> str:
    """Every component group that is filled, as people read names."""
    found = []
    for name in person_names(ds, keyword):
        found += [" ".join(part for part in group.split("^") if part) for group in name_groups(name) if group]
    return " / ".join(found)
