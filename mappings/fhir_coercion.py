"""A value of one data type as another type that takes its place in the other FHIR release; None where it cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mappings.fhir_conversion_table import Rule
from mappings.fhir_cross_version import url_of, value_key, value_name
from mappings.fhir_datatypes import URI_SYSTEM
from mappings.fhir_definitions import Element, Release, elements_of, is_backbone
from mappings.fhir_elements import Resource, objects, reference
from mappings.fhir_places import At, Told, is_placeholder, set_member, values_of
from mappings.fhir_type_names import renamed_reference

if TYPE_CHECKING:
    from mappings.fhir_conversion import Conversion

Pair = tuple[Any, Any]
"""A value and what stands beside it under ``_name``."""
Turn = Callable[["Conversion", Resource, str, Rule], Pair | None]

_WORDS = frozenset({"string", "markdown", "code", "uri", "url", "canonical", "uuid", "id", "oid"})
_WHOLE = frozenset({"integer", "positiveInt", "unsignedInt", "integer64"})
_OID = "urn:oid:"
_REFERENCE = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[^/]+)?$")
_INT32 = 2**31
_EVERYWHERE = frozenset({"id", "extension", "modifierExtension"})


def coerced(
    conversion: Conversion, told: Told, ours: Element, rule: Rule, at: At, goal_name: str
) -> Pair | None:
    """The value as the element ``ours`` has it; None too for a reference to what that must not name."""
    found = _coerced(conversion, told, ours, rule, at, goal_name)
    literal = reference(found[0]) if found is not None and ours.targets else ""
    named = _REFERENCE.search(literal)
    return None if named and named[1] not in ours.targets else found


def _coerced(
    conversion: Conversion, told: Told, ours: Element, rule: Rule, at: At, goal_name: str
) -> Pair | None:
    theirs, value = told.element, told.value
    if theirs.is_resource and ours.is_resource:
        return conversion.inner(value, told.where), None
    if rule.member and theirs.child is not None and isinstance(value, dict):
        return _member_of(conversion, told, ours, rule, at, goal_name)
    if is_placeholder(value, told.beside) and theirs.is_primitive == ours.is_primitive:
        return None if rule.wrapped else (value, told.beside)
    if rule.wrapped and ours.child is not None and (theirs.child is None or not is_backbone(theirs.child)):
        return _wrapped(conversion, told, ours, rule, at)
    if theirs.is_primitive and ours.is_primitive:
        return _primitive(conversion, told, ours, rule, at, goal_name)
    inside = at.inside(told, ours, goal_name)
    if inside is not None and isinstance(value, dict):
        if theirs.kind == ours.kind or _are_alike(theirs, ours):
            return conversion.object(value, inside), None
        turn = _TURNS.get((theirs.kind, ours.kind))
        url = url_of(conversion.source, f"{at.place}.{told.stem}")
        return turn(conversion, value, url, rule) if turn else None
    return _between(conversion, told, ours, rule, at)


def _are_alike(theirs: Element, ours: Element) -> bool:
    """Both are nameless types of an element, or one is, and has members of the other."""
    if theirs.child is None or ours.child is None:
        return False
    nameless = is_backbone(theirs.child) + is_backbone(ours.child)
    shared = elements_of(theirs.child).keys() & elements_of(ours.child).keys() - _EVERYWHERE
    return nameless == 2 or (nameless == 1 and bool(shared))


def _primitive(
    conversion: Conversion, told: Told, ours: Element, rule: Rule, at: At, goal_name: str
) -> Pair | None:
    """A code that the other release has not becomes the nearest one, and the sender's stands in an extension."""
    value, beside = told.value, told.beside
    if value is not None and not isinstance(value, str | int | bool) and told.element.kind != "decimal":
        return value, beside  # a fault: the words of another type
    known = _own_code(conversion, beside, at, goal_name)
    if known is not None:
        return known
    if value is None:
        return value, beside
    if ours.codes or rule.codes:
        mapped = rule.codes.get(str(value), value)
        fitting = not ours.codes or mapped in ours.codes
        if fitting and mapped == value:
            return value, beside
        url = url_of(conversion.source, f"{at.place}.{told.stem}")
        kept = {"url": url, value_name(told.element.kind, conversion.target): value}
        return (mapped if fitting else None), _beside(beside, kept)
    if at.place == "Reference" and told.name == "reference":
        to_r4 = conversion.target is Release.R4
        return renamed_reference(conversion.table.types, str(value), to_r4=to_r4), beside
    found = primitive_as(value, ours.kind, told.element.kind)
    return None if found is None else (found, beside)


def _own_code(conversion: Conversion, beside: Any, at: At, goal_name: str) -> Pair | None:
    """The code that an extension beside a mapped one remembers."""
    url = url_of(conversion.target, f"{at.goal}.{goal_name}")
    if not isinstance(beside, dict):
        return None
    for extension in objects(beside.get("extension")):
        if extension.get("url") == url and (key := value_key(extension)):
            return extension.get(key), _without(beside, url) or None
    return None


def _beside(beside: Any, extension: Resource) -> Resource:
    known = beside if isinstance(beside, dict) else {}
    return {**known, "extension": [*objects(known.get("extension")), extension]}


def primitive_as(value: Any, kind: str, source: str = "") -> Any:
    """A primitive in the form of another type; integer64 is a string in JSON (FHIR R5 2.1.28.0.1)."""
    if kind == source or value is None:
        return value
    if kind in _WHOLE:
        return _whole(value, kind)
    if source == "oid" and kind == "id":
        return str(value).removeprefix(_OID)
    if kind == "oid" and source == "id":
        return f"{_OID}{value}"
    if source and (source in _WORDS) != (kind in _WORDS):
        return str(value) if kind == "string" and source in _WHOLE else None
    if kind in ("date", "instant") and source == "dateTime":
        is_date, is_instant = len(str(value)) <= 10, bool(re.search(r"T.+(Z|[+-]\d\d:\d\d)$", str(value)))
        return value if (is_date if kind == "date" else is_instant) else None
    return value


def _whole(value: Any, kind: str) -> Any:
    text = str(value)
    if not re.fullmatch(r"-?\d{1,19}", text):
        return None
    if kind == "integer64":
        return text
    least = {"positiveInt": 1, "unsignedInt": 0}.get(kind, -_INT32)
    return int(text) if least <= int(text) < _INT32 else None


def _member_of(
    conversion: Conversion, told: Told, ours: Element, rule: Rule, at: At, goal_name: str
) -> Pair | None:
    """One member of a backbone element stands for it; its other members go in an extension of that value."""
    held = elements_of(told.element.child).get(rule.member) if told.element.child else None
    values = values_of(told.value, rule.member, held) if held else []
    if held is None or len(values) != 1 or values[0] == (None, None):
        return None
    inner = Told(rule.member, held.choice or rule.member, held, *values[0], f"{told.where}.{rule.member}")
    found = _coerced(conversion, inner, ours, Rule(), at, goal_name)
    rest = {k: v for k, v in told.value.items() if k.removeprefix("_") != rule.member}
    if found is None or not rest:
        return found
    url = url_of(conversion.source, f"{at.place}.{told.stem}")
    extension = conversion.extension(url, told.element, rest, None)
    value, beside = found
    if extension is None:
        return None
    return (
        (_beside(value, extension), beside)
        if isinstance(value, dict)
        else (value, _beside(beside, extension))
    )


def _wrapped(conversion: Conversion, told: Told, ours: Element, rule: Rule, at: At) -> Pair | None:
    """A value as the member of the backbone element that it stands for, with what an extension keeps of the others."""
    held = elements_of(ours.child).get(rule.wrapped) if ours.child else None
    if held is None or ours.child is None:
        return None
    own = [target for target in rule.targets if target.startswith(f"{at.goal}.")]
    url = url_of(conversion.target, own[0] if own else f"{at.goal}.{told.stem}")
    value, beside, rest = told.value, told.beside, None
    carrier = value if isinstance(value, dict) else beside
    if isinstance(carrier, dict):
        mine = [e for e in objects(carrier.get("extension")) if e.get("url") == url]
        rest = mine[0] if mine else None
        carrier = _without(carrier, url)
        value, beside = (carrier, beside) if isinstance(value, dict) else (value, carrier or None)
    plain = type(told)(told.name, told.stem, told.element, value, beside, told.where)
    found = _coerced(conversion, plain, held, Rule(), at, rule.wrapped)
    if found is None:
        return None
    made: Resource = (conversion.held(rest, ours)[0] or {}) if rest else {}
    set_member(made, ours.child, rule.wrapped, *found)
    return made, None


def _without(holder: Resource, url: str) -> Resource:
    """An element without the extensions of that URL."""
    given = holder.get("extension")
    if not isinstance(given, list):
        return holder
    kept = [e for e in given if not (isinstance(e, dict) and e.get("url") == url)]
    rest = {k: v for k, v in holder.items() if k != "extension"}
    return rest | ({"extension": kept} if kept else {})


def _between(conversion: Conversion, told: Told, ours: Element, rule: Rule, at: At) -> Pair | None:
    """A primitive that is complex in the other release, or the other way round."""
    value, pair = told.value, (told.element.kind, ours.kind)
    if isinstance(value, str) and ours.child is not None:
        made = _MADE[ours.kind](value, rule) if ours.kind in _MADE else None
        kept = objects(told.beside.get("extension")) if isinstance(told.beside, dict) else []
        if rule.codes.get(value, value) != value:
            kept.append({"url": url_of(conversion.source, f"{at.place}.{told.stem}"), "valueCode": value})
        return None if made is None else (made | ({"extension": kept} if kept else {}), None)
    if isinstance(value, dict) and ours.is_primitive:
        if pair[0] == "CodeableConcept":
            return _code_of(conversion, told, ours, rule, at)
        if pair[0] == "Coding" and value.get("system") == (rule.system or URI_SYSTEM):
            value = {k: v for k, v in value.items() if k != "system"}
        member = _TOLD_BY.get(pair[0], "")
        if set(value) == {member} and isinstance(value[member], str):
            return value[member], None
    return None


def _concept_made(value: str, rule: Rule) -> Resource | None:
    return (
        {"coding": [{"system": rule.system, "code": rule.codes.get(value, value)}]} if rule.system else None
    )


def _as(member: str) -> Callable[[str, Rule], Resource]:
    return lambda value, _: {member: value}


def _coding_made(value: str, rule: Rule) -> Resource:
    return {"system": rule.system or URI_SYSTEM, "code": value}


_MADE: dict[str, Callable[[str, Rule], Resource | None]] = {
    "CodeableConcept": _concept_made,
    "Coding": _coding_made,
    "Annotation": _as("text"),
    "Identifier": _as("value"),
    "Reference": _as("reference"),
}
_TOLD_BY = {"Annotation": "text", "Identifier": "value", "Reference": "reference", "Coding": "code"}
"""The member of a complex type that tells all of it where it is the only one."""


def _code_of(conversion: Conversion, told: Told, ours: Element, rule: Rule, at: At) -> Pair | None:
    """A concept's code in the system of the rule; nothing else of it may be lost."""
    if own := _own_code(conversion, told.value, at, (rule.targets or (told.name,))[0].rpartition(".")[2]):
        return own[0], None
    codings = objects(told.value.get("coding"))
    fitting = [c for c in codings if c.get("system") == rule.system and isinstance(c.get("code"), str)]
    code = rule.codes.get(fitting[0]["code"], fitting[0]["code"]) if fitting else ""
    if not code or (ours.codes and code not in ours.codes):
        return None
    if set(told.value) == {"coding"} and len(codings) == 1 and set(fitting[0]) <= {"system", "code"}:
        return code, None
    url = url_of(conversion.source, f"{at.place}.{told.stem}")
    extension = conversion.extension(url, told.element, told.value, None)
    return None if extension is None else (code, {"extension": [extension]})


def _concept_of(conversion: Conversion, value: Resource, _: str, rule: Rule) -> Pair | None:
    """CodeableReference as a concept, which carries the reference in an extension."""
    return _half(conversion, value, ("concept", "CodeableConcept"), ("reference", "Reference"), rule)


def _reference_of(conversion: Conversion, value: Resource, _: str, rule: Rule) -> Pair | None:
    """CodeableReference as a reference, which carries the concept in an extension."""
    return _half(conversion, value, ("reference", "Reference"), ("concept", "CodeableConcept"), rule)


def _half(
    conversion: Conversion, value: Resource, own: tuple[str, str], other: tuple[str, str], rule: Rule
) -> Pair | None:
    """None where only the other half is told and R4 has an element for it (FHIR R5 2.1.28.0.19)."""
    mine, theirs = value.get(own[0]), value.get(other[0])
    if set(value) - {"concept", "reference"} or not (isinstance(mine, dict) or len(rule.targets) < 2):
        return None
    found = conversion.data_type(mine, own[1]) if isinstance(mine, dict) else {}
    if found is not None and isinstance(theirs, dict):
        carried = conversion.data_type(theirs, other[1])
        url = url_of(conversion.source, f"CodeableReference.{other[0]}")
        found = _beside(found, {"url": url, f"value{other[1]}": carried})
    return (found, None) if found else None


def _codeable(own: str, other: str, kind: str) -> Turn:
    def turn(conversion: Conversion, value: Resource, _: str, __: Rule) -> Pair | None:
        url = url_of(conversion.target, f"CodeableReference.{other}")
        carried = [e.get(f"value{kind}") for e in objects(value.get("extension")) if e.get("url") == url]
        mine = conversion.data_type(
            _without(value, url), {"concept": "CodeableConcept"}.get(own, "Reference")
        )
        theirs = conversion.data_type(carried[0], kind) if carried and isinstance(carried[0], dict) else None
        made = ({own: mine} if mine else {}) | ({other: theirs} if theirs else {})
        return (made, None) if made else None

    return turn


def _coding_of(conversion: Conversion, value: Resource, url: str, _: Rule) -> Pair | None:
    """CodeableConcept as its first Coding; one that says more goes along in an extension."""
    codings = objects(value.get("coding"))
    first = conversion.data_type(codings[0], "Coding") if codings else {}
    if first is None:
        return None
    if len(codings) == 1 and set(value) == {"coding"}:
        return first, None
    if not codings and set(value) == {"text"}:
        return {"display": value["text"]}, None
    whole = conversion.data_type(value, "CodeableConcept")
    return _beside(first, {"url": url, "valueCodeableConcept": whole}), None


def _site_of(conversion: Conversion, value: Resource, url: str, rule: Rule) -> Pair | None:
    """CodeableReference as a Coding, where it is a concept only."""
    concept = value.get("concept")
    return (
        _coding_of(conversion, concept, url, rule)
        if set(value) == {"concept"} and isinstance(concept, dict)
        else None
    )


def _site_from(conversion: Conversion, value: Resource, url: str, rule: Rule) -> Pair | None:
    found = _concept_from(conversion, value, url, rule)
    return None if found is None else ({"concept": found[0]}, None)


def _concept_from(conversion: Conversion, value: Resource, _: str, __: Rule) -> Pair | None:
    """Coding as a CodeableConcept, or the concept that it was once."""
    for extension in objects(value.get("extension")):
        url, whole = str(extension.get("url")), extension.get("valueCodeableConcept")
        if url.startswith(url_of(conversion.target, "")) and isinstance(whole, dict):
            return conversion.data_type(whole, "CodeableConcept"), None
    if set(value) == {"display"}:
        return {"text": value["display"]}, None
    found = conversion.data_type(value, "Coding")
    return None if found is None else ({"coding": [found]}, None)


_TURNS: dict[tuple[str, str], Turn] = {
    ("CodeableReference", "CodeableConcept"): _concept_of,
    ("CodeableReference", "Reference"): _reference_of,
    ("CodeableConcept", "CodeableReference"): _codeable("concept", "reference", "Reference"),
    ("Reference", "CodeableReference"): _codeable("reference", "concept", "CodeableConcept"),
    ("CodeableReference", "Coding"): _site_of,
    ("Coding", "CodeableReference"): _site_from,
    ("CodeableConcept", "Coding"): _coding_of,
    ("Coding", "CodeableConcept"): _concept_from,
}


def allows(rule: Rule, value: Any) -> bool:
    """Whether a reference names one of the types that the rule is for."""
    if not rule.only or not isinstance(value, dict):
        return True
    return not reference(value) or any(f"{kind}/" in f"/{reference(value)}" for kind in rule.only)


def can_become(theirs: Element, ours: Element, rule: Rule) -> bool:
    """Whether values of one element can stand in the other; single values may still be too much for it."""
    if theirs.is_primitive and ours.is_primitive:
        samples = {"2024-05-06T07:08:09Z", "2024-05-06", "7"}
        return any(primitive_as(sample, ours.kind, theirs.kind) is not None for sample in samples)
    pair = (theirs.kind, ours.kind)
    if theirs.kind == ours.kind or _are_alike(theirs, ours) or pair in _TURNS:
        return True
    if rule.member or rule.wrapped:
        return True
    if theirs.is_primitive:
        return ours.kind in _MADE and (ours.kind != "CodeableConcept" or bool(rule.system))
    return ours.is_primitive and (
        theirs.kind in _TOLD_BY or (theirs.kind == "CodeableConcept" and bool(rule.system))
    )
