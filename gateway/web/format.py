"""Values as people read them. What was sent is never completed or guessed."""

import re
from datetime import date, datetime

from mappings.plain_text import date_words, instant_words, shortened, started_words

_YEAR = re.compile(r"(?!0000)[0-9]{4}")
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def instant(value: datetime) -> str:
    """24 Nov 2025, 05:46 UTC."""
    return shortened(instant_words(value))


def sent_date(value: str) -> str:
    """A FHIR date or dateTime in words, with the zone that was sent; anything else as it is."""
    words = date_words(value)
    if words == value:  # a year alone, or no date
        return f"{value} (month and day not given)" if _YEAR.fullmatch(value) else value
    left_out = " (day not given)" if len(value) == len("2019-05") else ""
    return shortened(words) + left_out


def started(value: str) -> str:
    """DICOM DA and TM without an offset: local time of the place where the study was made."""
    words = started_words(value)
    return words if words == value else shortened(words)


def age(birth_date: str, on: date) -> str:
    """In the unit that paediatrics uses for the age: days, weeks, months or years; empty where it is not certain."""
    try:
        born = date.fromisoformat(birth_date)
    except ValueError:
        return ""
    days = (on - born).days
    months = (on.year - born.year) * 12 + on.month - born.month - (on.day < born.day)
    if days < 0:
        return ""
    for count, unit, until in ((days, "day", 28), (days // 7, "week", 13), (months, "month", 24)):
        if count < until:
            return _counted(count, unit)
    return _counted(months // 12, "year")


def waiting(since: datetime, now: datetime) -> str:
    """Whole days since, in words."""
    days = (now - since).days
    return "today" if days < 1 else _counted(days, "day")


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'' if count == 1 else 's'}"


def size(size_bytes: int) -> str:
    """Decimal units, as operating systems show them."""
    amount, unit = float(size_bytes), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 100 else f"{amount:.1f} {_UNITS[unit]}"
