"""Values in the one spelling in which searches compare them: what the index keeps, and what is asked for."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from gateway.case.imaging import InstanceHeader

START_CHARACTERS = 64
"""What an index holds of a text: a value of any length can come, and PostgreSQL indexes 2,700 bytes at most."""

GROUP, WORD = "group", "word"
"""How a name is kept: each component group whole, for literal matching, and each of its words, for fuzzy matching."""

PATIENT_NAME = "PatientName"

_NAMES = {PATIENT_NAME: "00100010", "ReferringPhysicianName": "00080090"}
_DATE = re.compile(r"(\d{4})[.\-]?(0[1-9]|1[0-2])[.\-]?(0[1-9]|[12]\d|3[01])", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_BETWEEN_WORDS = re.compile(r"[\s^=.,\-\u2010-\u2015'\u2019\u00b7\u30fb]+")
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i"}
)
_HIRAGANA = {katakana: katakana - 0x60 for katakana in range(0x30A1, 0x30F7)}


def search_columns(header: InstanceHeader) -> dict[str, str]:
    """The columns of a study that its indexes are on."""
    return {
        "patient_id_start": start(header.patient_id),
        "accession_start": start(header.accession_number),
        "search_date": date_key(header.study_date),
        "search_time": time_key(header.study_time),
    }


def names(header: InstanceHeader) -> set[tuple[str, str, str]]:
    """The study's names as (keyword, GROUP or WORD, text)."""
    return {
        (keyword, form, text)
        for keyword, tag in _NAMES.items()
        for group in _groups(header.study_attributes.get(tag, {}).get("Value", ()))
        for form, text in _forms(group)
    }


def _groups(values: list[Any]) -> Iterator[str]:
    """Of DICOM JSON: an object of component groups, or a text where the element could not be read as a name."""
    for value in values:
        yield from value.values() if isinstance(value, dict) else str(value or "").split("=")


def _forms(group: str) -> Iterator[tuple[str, str]]:
    if text := name_key(group):
        yield GROUP, bounded(text)
    for word in words(group):
        yield WORD, bounded(word)


def start(text: str) -> str:
    return text[:START_CHARACTERS]


def bounded(text: str) -> str:
    """Names are compared by their first 250 characters; PN has 64 for a group (PS3.5 6.2)."""
    return text[:250]


def name_key(group: str) -> str:
    """A component group without regard to capitals, doubled spaces and empty components at its end."""
    folded = unicodedata.normalize("NFC", group.casefold())
    return "^".join(" ".join(component.split()) for component in folded.split("^")).rstrip("^")


def words(name: str) -> list[str]:
    """The words of all components, each without its accents; ``*`` and ``?`` stay where they are."""
    return [word for word in _BETWEEN_WORDS.split(fold(name)) if word]


def fold(text: str) -> str:
    """Without regard to capitals, accents, width, and which kana: Ł is l, ß is ss, ﾀ is た.

    Only what stands above or below a letter is an accent. Vowel signs of Indic scripts and Thai, and the marks that
    voice a kana, make another word and stay.
    """
    apart = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in apart if not _is_accent(letter))
    return unicodedata.normalize("NFC", plain.casefold().translate(_LETTERS)).translate(_HIRAGANA)


def _is_accent(letter: str) -> bool:
    """By its canonical combining class: 200 and up by place, 10 to 36 the points of Hebrew, Arabic and Syriac."""
    place = unicodedata.combining(letter)
    return place >= 200 or 10 <= place <= 36


def date_key(found: str) -> str:
    """DA as YYYYMMDD, also of ACR-NEMA's YYYY.MM.DD; '' when it is none."""
    match = _DATE.fullmatch(found.strip())
    return "".join(match.groups()) if match else ""


def time_key(found: str) -> str:
    """TM as HHMMSS.FFFFFF, also of ACR-NEMA's HH:MM:SS; '' when it is none. What is not told is zero."""
    match = _TIME.fullmatch(found.strip())
    if match is None:
        return ""
    hour, minute, second, fraction = match.groups(default="")
    return f"{hour}{minute or '00'}{second or '00'}.{fraction:0<6}"
