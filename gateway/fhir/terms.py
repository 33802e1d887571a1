"""What a search asks of one parameter, as conditions (FHIR R4 3.1.1.3, 3.1.1.4)."""

import re
from collections.abc import Callable, Iterator

from gateway.case.searching import (
    EARLIEST,
    LATEST,
    Condition,
    Form,
    HasDate,
    HasId,
    HasKey,
    HasText,
    IsPresent,
    Key,
    Prefix,
    Term,
    Updated,
    microseconds,
)
from gateway.clock import utc_now
from gateway.errors import InvalidContent, Issue
from mappings.fhir_dates import interval
from mappings.fhir_search_parameters import ElementPath, SearchParameter, resource_types
from mappings.fhir_search_values import MAX_LENGTH, plain, words_of

MODIFIERS = {
    "string": frozenset({"exact", "contains"}),
    "token": frozenset({"text", "not", "of-type"}),
    "uri": frozenset({"below", "above"}),
    "reference": frozenset({"identifier"}),
}
"""By kind of parameter. ``missing`` is there for all; a reference may be asked for by the type that it leads to."""
MAX_OPTIONS = 100
_ESCAPED = re.compile(r"\\([\\,|$])")
_OF_BINDINGS = ("http://hl7.org/fhir/", "http://terminology.hl7.org/", "urn:ietf:bcp:")
_BARE = frozenset({"code", "boolean", "string", "id", "uri", "url"})
"""Data types whose values have the system of their binding, which they do not name."""
_ABOUT = 10
"""``ap``: within a tenth of the time between then and now (3.1.1.4.5)."""
_DATE_WANTED = "A date to search for is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz."


def term(parameter: SearchParameter, modifier: str, value: str, base: str) -> Term:
    """Raises InvalidContent on a modifier that is not offered and on a malformed value."""
    if modifier == "missing":
        return (_missing(parameter, value),)
    options = [option.strip() for option in _split(value, ",")]
    if len(options) > MAX_OPTIONS:
        raise InvalidContent(f"'{parameter.name}' has more than {MAX_OPTIONS} values; please ask in parts.")
    if parameter.name == "_id" and modifier in ("", "not"):
        return (HasId(frozenset(_token(option)[1] for option in options), modifier == "not"),)
    read = _reader(parameter, modifier, base)
    return _merged([condition for option in options for condition in read(option)], modifier == "not")


def not_offered(name: str) -> InvalidContent:
    text = f"'{name[:64]}': this modifier or chain is not supported, and a search without it would find too much."
    return InvalidContent(text, (Issue("error", "not-supported", text),))


def whole_token(option: str) -> str:
    """The code alone."""
    return _token(option)[1]


def _missing(parameter: SearchParameter, value: str) -> Condition:
    if value not in ("true", "false"):
        raise InvalidContent("The value of :missing is true or false.")
    if parameter.name == "_id":
        return HasId(frozenset(), value == "false")
    if parameter.name == "_lastUpdated":
        return Updated(Prefix.GE if value == "false" else Prefix.EB, EARLIEST, EARLIEST)
    return IsPresent(parameter.name, value == "false")


def _merged(found: list[Condition], is_not: bool) -> Term:
    """The keys of all options are one condition; ``:not`` holds where none of the values is there."""
    keys = frozenset(key for c in found if isinstance(c, HasKey) for key in c.keys)
    others = tuple(condition for condition in found if not isinstance(condition, HasKey))
    if is_not:
        if others:  # a whole code system that the values do not name
            raise InvalidContent("':not' cannot be asked of all codes of a system.")
        return (HasKey(keys, True),)
    return (HasKey(keys), *others) if keys else others


_Read = Callable[[str], Iterator[Condition]]


def _reader(parameter: SearchParameter, modifier: str, base: str) -> _Read:
    paths = frozenset(path.text for path in parameter.paths)
    offered = MODIFIERS.get(parameter.kind, frozenset())
    if parameter.kind == "reference" and modifier not in offered:
        return lambda option: _reference(parameter, modifier, option, base)
    if modifier and modifier not in offered:
        raise not_offered(f"{parameter.name}:{modifier}")
    readers: dict[str, _Read] = {
        "text": lambda option: _starts(frozenset(map(words_of, paths)), option),
        "not": lambda option: _coded(parameter, option),
        "of-type": lambda option: _of_type(paths, option),
        "exact": lambda option: _keys(paths, Form.EXACT, [unescaped(option)]),
        "contains": lambda option: _starts(paths, option, inside=True),
        "below": lambda option: _below(paths, option),
        "above": lambda option: _keys(paths, Form.URI, _parents(unescaped(option))),
        "identifier": lambda option: _keys(paths, Form.IDENTIFIER, [_identifier(option)]),
        "token": lambda option: _coded(parameter, option),
        "string": lambda option: _starts(paths, option),
        "uri": lambda option: _keys(paths, Form.URI, [unescaped(option)]),
        "date": lambda option: _date(parameter.name, paths, option),
    }
    return readers[modifier or parameter.kind]


def _keys(paths: frozenset[str], form: Form, values: list[str]) -> Iterator[Condition]:
    yield HasKey(frozenset(Key(path, form, value) for path in paths for value in values))


def _coded(parameter: SearchParameter, option: str) -> Iterator[Condition]:
    """``code``, ``system|code``, ``|code`` and ``system|`` (3.1.1.4.10)."""
    system, code = _token(option)
    if not code and not system:
        raise InvalidContent(f"'{parameter.name}' has no value.")
    keys = {Key(path.text, *wanted) for path in parameter.paths for wanted in _forms(path, system, code)}
    yield HasKey(frozenset(keys))
    if not code and any(_is_bound(path, system) for path in parameter.paths):
        yield IsPresent(parameter.name, True)


def _forms(path: ElementPath, system: str | None, code: str) -> Iterator[tuple[Form, str]]:
    if code and (system is None or _is_bound(path, system)):
        yield Form.CODE, code
    elif code:
        yield Form.SYSTEM_AND_CODE, f"{system}|{code}"
    elif system:
        yield Form.SYSTEM, system


def _is_bound(path: ElementPath, system: str | None) -> bool:
    return path.kind in _BARE and system is not None and (not system or system.startswith(_OF_BINDINGS))


def _of_type(paths: frozenset[str], option: str) -> Iterator[Condition]:
    """``system|code|value`` of Identifier.type and Identifier.value (3.1.1.4.10)."""
    parts = [unescaped(part) for part in _split(option, "|")]
    if len(parts) != 3 or not all(parts):
        raise InvalidContent("The value of :of-type is system|code|value.")
    yield from _keys(paths, Form.OF_TYPE, ["|".join(parts)])


def _identifier(option: str) -> str:
    system, value = _token(option)
    return f"={value}" if system is None else f"{system}|{value}"


def _reference(parameter: SearchParameter, type_name: str, option: str, base: str) -> Iterator[Condition]:
    """``id``, ``Type/id`` or a URL (3.1.1.4.12); ours is the reference that it ends in."""
    if type_name and type_name not in (parameter.targets or resource_types()):
        raise not_offered(f"{parameter.name}:{type_name}")
    wanted = unescaped(option).removeprefix(f"{base}/").split("/_history/")[0]
    types = frozenset({type_name}) if type_name else parameter.targets or resource_types()
    named = wanted.split("/")
    if not wanted:
        raise InvalidContent(f"'{parameter.name}' has no value.")
    if ":" in wanted or len(named) > 2:
        found = [wanted] if not type_name else []
    elif len(named) == 2:
        found = [wanted] if named[0] in types else []
    else:
        found = [f"{name}/{wanted}" for name in types]
    yield from _keys(frozenset(path.text for path in parameter.paths), Form.REFERENCE, found)


def _starts(paths: frozenset[str], option: str, *, inside: bool = False) -> Iterator[Condition]:
    """The start of a text, without regard to case and accents (3.1.1.4.8)."""
    wanted = plain(unescaped(option))
    if not wanted or len(wanted) > MAX_LENGTH:
        raise InvalidContent(f"A text to search for has 1 to {MAX_LENGTH} characters.")
    yield HasText(paths, wanted, inside)


def _below(paths: frozenset[str], option: str) -> Iterator[Condition]:
    """The URI itself and those that go on with a slash (3.1.1.4.13)."""
    wanted = unescaped(option).rstrip("/")
    if not wanted or len(wanted) >= MAX_LENGTH:
        raise InvalidContent(f"A URI to search below has 1 to {MAX_LENGTH} characters.")
    yield from _keys(paths, Form.URI, [wanted])
    yield HasText(paths, f"{wanted}/")


def _parents(uri: str) -> list[str]:
    parts = uri.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)][-50:]


def _date(name: str, paths: frozenset[str], option: str) -> Iterator[Condition]:
    has_prefix = option[:2].isalpha()
    sent, date = (option[:2], option[2:]) if has_prefix else ("eq", option)
    if sent not in Prefix.__members__.values():
        raise InvalidContent(f"The prefix of a date is one of {', '.join(Prefix)}.")
    wanted = interval(date.replace(" ", "+"))  # an unescaped + of an offset arrives as a space
    if wanted is None:
        raise InvalidContent(_DATE_WANTED)
    prefix = Prefix(sent)
    low, high = map(microseconds, wanted)
    if prefix is Prefix.AP:
        about = abs(microseconds(utc_now()) - low) // _ABOUT
        low, high = max(low - about, EARLIEST), min(high + about, LATEST)
    yield Updated(prefix, low, high) if name == "_lastUpdated" else HasDate(paths, prefix, low, high)


def _token(option: str) -> tuple[str | None, str]:
    """System, None where none is said, and code."""
    system, *code = _split(option, "|")
    if not code:
        return None, unescaped(system)
    return unescaped(system), unescaped("|".join(code))


def _split(value: str, separator: str) -> list[str]:
    """Parts between unescaped separators (3.1.1.4.4)."""
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
