"""What a search asks of one parameter, made ready to compare (FHIR R4 3.1.1.3, 3.1.1.4)."""

import re
import unicodedata
from collections.abc import Callable

from gateway.errors import InvalidContent
from gateway.fhir.dates import PREFIXES, interval

Value = tuple[str | None, str]
"""A value of a resource: (system, code) of a token, where system is None for a bare code; else (None, text)."""
Test = Callable[[Value], bool]

MODIFIERS = {"string": frozenset({"exact", "contains"})}
"""By kind of parameter; ``missing`` is there for all kinds."""
_ESCAPED = re.compile(r"\\([\\,|$])")
_FHIR_SYSTEM = "http://hl7.org/fhir/"


def options(value: str) -> list[str]:
    """The values between commas, one of which must match; still escaped (3.1.1.4.4)."""
    return [option.strip() for option in _split(value, ",")]


def _split(value: str, separator: str) -> list[str]:
    """Parts between unescaped separators."""
    parts, start, position = [], 0, 0
    while position < len(value):
        if value[position] == "\\":
            position += 1
        elif value[position] == separator:
            parts.append(value[start:position])
            start = position + 1
        position += 1
    return [*parts, value[start:]]


def unescaped(value: str) -> str:
    return _ESCAPED.sub(r"\1", value)


def token(option: str) -> tuple[str | None, str]:
    """``code``, ``system|code``, ``|code`` (that has no system) and ``system|`` (3.1.1.4.10)."""
    system, *code = _split(option, "|")
    if not code:
        return None, unescaped(system)
    return unescaped(system), unescaped("|".join(code))


def compare(kind: str, modifier: str, option: str) -> Test:
    """The test of one option. Raises InvalidContent where it is malformed."""
    if kind == "string" and modifier:
        return _STRING_MODIFIERS[modifier](unescaped(option))
    return _KINDS[kind](option)


def _token(option: str) -> Test:
    wanted_system, wanted = token(option)

    def matches(value: Value) -> bool:
        system, code = value
        if wanted_system is None:
            return code == wanted
        if wanted and code != wanted:
            return False
        if system is None:  # a code, whose system is the one of its binding
            return not wanted_system or wanted_system.startswith(_FHIR_SYSTEM)
        return system == wanted_system

    return matches


def _reference(option: str) -> Test:
    """A literal reference, an id alone, or an absolute URL that ends in the reference."""
    wanted = unescaped(option)
    is_url = "://" in wanted

    def matches(value: Value) -> bool:
        found = value[1]
        if is_url and "/" in found:
            return wanted == found or wanted.endswith(f"/{found}")
        return wanted in (found, found.split("/")[-1])

    return matches


def _starts(option: str) -> Test:
    """String search: the start of the value, without regard to case and accents (3.1.1.4.8)."""
    wanted = _plain(unescaped(option))
    return lambda value: _plain(value[1]).startswith(wanted)


def _contains(wanted: str) -> Test:
    return lambda value: _plain(wanted) in _plain(value[1])


def _exact(wanted: str) -> Test:
    return lambda value: value[1] == wanted


def _plain(value: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", value.casefold()) if not unicodedata.combining(c))


def _date(option: str) -> Test:
    prefix = option[:2] if option[:2].isalpha() else "eq"
    date = option.removeprefix(prefix) if option[:2].isalpha() else option
    wanted = interval(date.replace(" ", "+"))  # an unescaped + of an offset arrives as a space
    if prefix not in PREFIXES:
        raise InvalidContent(f"The prefix of a date is one of {', '.join(PREFIXES)}.")
    if wanted is None:
        raise InvalidContent(
            "A date to search for is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz."
        )

    def matches(value: Value) -> bool:
        found = interval(value[1])
        return found is not None and PREFIXES[prefix](found, wanted)

    return matches


_KINDS: dict[str, Callable[[str], Test]] = {
    "token": _token,
    "reference": _reference,
    "string": _starts,
    "date": _date,
}
_STRING_MODIFIERS: dict[str, Callable[[str], Test]] = {"exact": _exact, "contains": _contains}
