"""Values as people read them. What was sent is never completed or guessed."""

import re
from datetime import date, datetime

_FHIR_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?(?:T(\d{2}:\d{2})\S*?(Z|[+-]\d{2}:\d{2})?)?$")
_DICOM_STARTED = re.compile(r"(\d{4})(\d{2})(\d{2})(?: (\d{2})(\d{2})?[\d.]*)?$")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def instant(value: datetime) -> str:
    """24 Nov 2025, 05:46 UTC."""
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}, {value:%H:%M} UTC"


def sent_date(value: str) -> str:
    """A FHIR date or dateTime in words, with the zone that was sent; anything else as it is."""
    found = _FHIR_DATE.match(value)
    if not found:
        return value
    year, month, day, clock, zone = found.groups()
    words = _day(year, month, day)
    if words is None:
        return value
    if not clock:
        return words
    return f"{words}, {clock} {'UTC' if zone == 'Z' else zone or 'local time'}"


def started(value: str) -> str:
    """DICOM DA and TM without an offset: local time of the place where the study was made."""
    found = _DICOM_STARTED.match(value)
    words = _day(*found.group(1, 2, 3)) if found else None
    if found is None or words is None:
        return value
    hour, minute = found.group(4, 5)
    return f"{words}, {hour}:{minute or '00'} local time" if hour else words


def _day(year: str, month: str | None, day: str | None) -> str | None:
    """None where there is no such date."""
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return None
    if month is None:
        return f"{year} (month and day not given)"
    name = _MONTHS[int(month) - 1]
    return f"{int(day)} {name} {year}" if day else f"{name} {year} (day not given)"


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
