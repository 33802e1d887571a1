"""FHIR JSON (FHIR R4 2.6.2) as it is read: whole numbers and decimals with their digits, nothing that is no text."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import simplejson

from gateway.errors import Issue, NotFhir

MAX_DIGITS = 1000
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def read_json(body: bytes) -> dict[str, Any]:
    """One JSON object in UTF-8; decimals keep their digits. Raises NotFhir saying where it stops being JSON."""
    if not body.strip():
        raise NotFhir("The body is empty.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotFhir(f"The body is not UTF-8 (byte {error.start}); FHIR JSON is always UTF-8.") from error
    has_escapes = b"\\u" in body
    del body  # attachments are large, and stand in the text and in what is found
    try:
        found = _loads(text, _object)
    except _Twice:
        raise _doubled(text) from None
    except simplejson.JSONDecodeError as error:
        raise NotFhir(
            f"The body is not JSON: {_reason(error)} at line {error.lineno}, column {error.colno}."
        ) from error
    except RecursionError as error:
        raise NotFhir("The JSON is nested too deeply.") from error
    if has_escapes and not all(map(_is_text, _strings(found))):
        raise NotFhir("A string holds NUL or half of a surrogate pair (\\u0000, \\ud800): that is no text.")
    if not isinstance(found, dict):
        raise NotFhir("The body is JSON and no object: a FHIR resource is an object with 'resourceType'.")
    return found


def _loads(text: str, as_object: Callable[[list[tuple[str, Any]]], Any]) -> Any:
    return simplejson.loads(
        text,
        object_pairs_hook=as_object,
        parse_float=_decimal,
        parse_int=_whole,
        parse_constant=_no_constant,
    )


class _Twice(Exception):
    """A property stands twice in one object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _doubled(text: str) -> NotFhir:
    """Which value is meant cannot be known, so that nothing of it is taken (FHIR R4 2.6.2: names are unique)."""
    doubled: dict[
        int, tuple[dict[str, Any], list[str]]
    ] = {}  # with the object: an id is given again after it

    def noted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if twice := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
            doubled[id(found)] = (found, twice)
        return found

    root = _loads(text, noted)
    issues = tuple(
        Issue("error", "structure", "The property stands here more than once; which value is meant?", place)
        for place in _places(root, doubled)
    )
    return NotFhir("The JSON has a property twice in one object.", issues)


def _places(root: Any, doubled: Mapping[int, tuple[dict[str, Any], list[str]]]) -> Iterator[str]:
    """Of what stands twice, in the values that JSON's last word leaves."""
    top = root.get("resourceType") if isinstance(root, dict) else None
    pending = [(top if isinstance(top, str) else "", root)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, dict):
            _, twice = doubled.get(id(item), ({}, []))
            yield from (_printable(f"{path}.{name}".lstrip(".")) for name in twice)
            pending += [(f"{path}.{name}", value) for name, value in item.items()]
        elif isinstance(item, list):
            pending += [(f"{path}[{index}]", value) for index, value in enumerate(item)]


def _printable(path: str) -> str:
    return path[:500].encode("ascii", "replace").decode()


def _strings(value: Any) -> Iterator[str]:
    """Every string of a JSON value, names of members included."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, list):
            pending += item


def _is_text(string: str) -> bool:
    return "\0" not in string and not any("\ud800" <= character <= "\udfff" for character in string)


def _reason(error: simplejson.JSONDecodeError) -> str:
    """The parser's own words never hold content, but a gap for the character (%r); cut all the same."""
    return str(error.msg).split(":")[0][:60].lower().replace(" %r", "").removesuffix(" at")


def _decimal(digits: str) -> Decimal:
    """Digits as sent; what is read is what can be written again, and counted with."""
    try:
        number = Decimal(_bounded(digits))
    except InvalidOperation as error:
        raise NotFhir("A number has an exponent that cannot be counted with.") from error
    if abs(number.adjusted()) > MAX_DIGITS:
        raise _too_many_digits()
    return number


def _whole(digits: str) -> int:
    return int(_bounded(digits))


def _bounded(digits: str) -> str:
    if len(digits) > MAX_DIGITS:
        raise _too_many_digits()
    return digits


def _too_many_digits() -> NotFhir:
    return NotFhir(f"A number has more than {MAX_DIGITS} digits.")


def _no_constant(name: str) -> NoReturn:
    raise NotFhir(f"{name} is no JSON number.")


def number(written: str) -> int | Decimal | str:
    """What the same digits are in JSON; as written where they are no number. Raises NotFhir as ``read_json`` does."""
    if _WHOLE.fullmatch(written):
        return _whole(written)
    return _decimal(written) if _DECIMAL.fullmatch(written) else written
