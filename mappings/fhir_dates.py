"""FHIR dates as the intervals that they mean, in UTC (FHIR R4 3.1.1.4.7)."""

import calendar
import re
from datetime import UTC, datetime, timedelta, timezone

Interval = tuple[datetime, datetime]
"""From the first moment to the one after the last: [low, high)."""

_DATE = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d+))?)?(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
_LAST = datetime.max.replace(tzinfo=UTC)


def interval(date: str) -> Interval | None:
    """Of a date, dateTime or instant; None where it is none. What names no time zone is taken as UTC."""
    found = _DATE.fullmatch(date)
    if found is None:
        return None
    try:
        low = _low(found)
    except (ValueError, OverflowError):
        return None
    return low, _high(found, low)


def _low(found: re.Match[str]) -> datetime:
    """Raises ValueError or OverflowError on a day or time that is not in the calendar; second 60 is the next one."""
    part = {name: int(found[name] or default) for name, default in _DEFAULTS.items()}
    leap = part["second"] == 60
    second = 59 if leap else part["second"]
    microsecond = int((found["fraction"] or "0")[:6].ljust(6, "0"))
    local = datetime(
        part["year"],
        part["month"],
        part["day"],
        part["hour"],
        part["minute"],
        second,
        microsecond,
        _zone(found["zone"]),
    )
    return local.astimezone(UTC) + timedelta(seconds=leap)


_DEFAULTS = {"year": 1, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0}


def _zone(zone: str | None) -> timezone:
    if zone in (None, "Z"):
        return UTC
    sign = -1 if str(zone)[0] == "-" else 1
    hours, minutes = map(int, str(zone)[1:].split(":"))
    if minutes > 59:
        raise ValueError("no such offset")
    return timezone(sign * timedelta(hours=hours, minutes=minutes))


def _high(found: re.Match[str], low: datetime) -> datetime:
    try:
        return low + _length(found, low)
    except OverflowError:
        return _LAST


def _length(found: re.Match[str], low: datetime) -> timedelta:
    if found["fraction"]:
        return timedelta(microseconds=10 ** max(6 - len(found["fraction"]), 0))
    if found["second"]:
        return timedelta(seconds=1)
    if found["minute"]:
        return timedelta(minutes=1)
    if found["day"]:
        return timedelta(days=1)
    if found["month"]:
        return timedelta(days=calendar.monthrange(low.year, low.month)[1])
    return timedelta(days=366 if calendar.isleap(low.year) else 365)
