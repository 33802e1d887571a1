"""Words for people: text that any reader can show, dates without ambiguity, the direction of writing."""

import dataclasses
import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Any, TypeVar

_T = TypeVar("_T")

# XML 1.0 2.2 Char and FHIR R4 string allow no other control characters, and UTF-8 has no lone surrogates.
_NOT_LEGIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_PARAGRAPH_BREAK = re.compile(r"\n[ \t]*\n+")
_FHIR_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}:\d{2})(?::\d{2}(?:\.\d+)?)?(\S*))?)?)?")
_DICOM_STARTED = re.compile(r"(\d{8})(?: (\d{2})(\d{2})?(\d{2})?\S*)?")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_MONTH = re.compile("|".join(_MONTHS))


def legible(text: str) -> str:
    """``text`` with U+FFFD in place of each character that XML, FHIR or UTF-8 cannot carry."""
    return _NOT_LEGIBLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def all_legible(value: _T) -> _T:
    """The same frozen dataclass, tuple or string with every text in it legible."""
    made: Any = value
    if type(made) is str:
        made = legible(made)
    elif isinstance(made, tuple):
        made = tuple(all_legible(item) for item in made)
    elif dataclasses.is_dataclass(made) and not isinstance(made, type):
        fields = {f.name: all_legible(getattr(made, f.name)) for f in dataclasses.fields(made)}
        made = dataclasses.replace(made, **fields)
    return made  # type: ignore[no-any-return] # rebuilt with the type that came in


def paragraphs(text: str) -> list[str]:
    """Paragraphs are parted by empty lines; line breaks and indents inside them are kept."""
    return [part for part in (p.strip("\n").rstrip() for p in _PARAGRAPH_BREAK.split(text)) if part]


def direction(text: str) -> str:
    """``rtl`` or ``ltr`` by the first strong character (Unicode UAX 9, P2 and P3)."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return "rtl"
        if kind == "L":
            return "ltr"
    return "ltr"


def date_words(value: str) -> str:
    """A FHIR date or dateTime in words, as precise as it was sent; what is none is shown as sent."""
    found = _FHIR_DATE.fullmatch(value)
    if not found or not _is_date(*found.group(1, 2, 3)):
        return value
    year, month, day, time, zone = found.groups()
    words = " ".join(
        part
        for part in (str(int(day)) if day else "", _MONTHS[int(month) - 1] if month else "", year)
        if part
    )
    return f"{words}, {time} {'UTC' if zone == 'Z' else zone or 'local time'}" if time else words


def _is_date(year: str, month: str | None, day: str | None) -> bool:
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return False
    return True


def started_words(started: str) -> str:
    """A study's DICOM date and time in words. No offset was sent, so the time is the hospital's own clock."""
    found = _DICOM_STARTED.fullmatch(started)
    on = study_date(started)
    if not found or not on:
        return started
    words = f"{on.day} {_MONTHS[on.month - 1]} {on.year}"
    return f"{words}, {found[2]}:{found[3]} local time" if found[3] else words


def shortened(words: str) -> str:
    """Words of this module with their months in three letters, for tables."""
    return _MONTH.sub(lambda month: month[0][:3], words)


def study_date(started: str) -> date | None:
    """The date part (DA) of a study's start, or None where it is absent or no date."""
    try:
        return datetime.strptime(started.split(" ")[0], "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def instant_words(instant: datetime) -> str:
    """An aware instant in words, in UTC."""
    utc = instant.astimezone(UTC)
    return f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"
