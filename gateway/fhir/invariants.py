"""Invariants of FHIR R4 (ElementDefinition.constraint) by FHIRPath; one that cannot be evaluated is taken as kept.

Most can be decided by which elements are there, without an engine; the others are evaluated once for the same values.
"""

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any

import fhirpathpy
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

from mappings.fhir_elements import objects
from mappings.fhir_invariants import Invariant, invariants

_MAX_VERDICTS = 4_096
_IDENTIFIER = re.compile(r"(?<![%'\w])[a-z]\w*(?!\w*\()")
_PRESENCE = re.compile(r"\b([a-z]\w*)\.(exists|empty)\(\)(\.not\(\))?")
_OPERATORS = re.compile(r"(and|or|xor|implies|!?=|[() ])*")
_PRESENT = re.compile(r"(\w+)\.exists\(\)")
_ABSENT = re.compile(r"([a-z]\w*)\.(?:(?:\S.*\.)?empty\(\)|(?:exists|hasValue)\(\)\.not\(\))")

Json = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """An invariant, and how it can be decided without the engine.

    It holds when one of ``if_present`` is there or one of ``if_absent`` is not. ``elements`` are all that it names;
    ``by_presence``: nothing but their presence matters.
    """

    invariant: Invariant
    elements: frozenset[str]
    if_present: frozenset[str]
    if_absent: frozenset[str]
    by_presence: bool

    def __hash__(self) -> int:
        return id(self)

    def holds(self, item: Json, present: Set[str], stems: dict[str, str]) -> bool:
        """``present`` are the elements of ``item`` by their names, ``stems`` tells the name of each key of a choice."""
        if present & self.if_present or self.if_absent - present:
            return True
        if self.by_presence:
            return _of_presence(self, frozenset(present & self.elements))
        if (by_hand := _BY_HAND.get(self.invariant.key)) is not None:
            return by_hand(item)
        named = [(key, item[key]) for key in item if stems.get(key, key) in self.elements]
        key = (self, blake2b(repr(named).encode(errors="surrogatepass"), digest_size=16).digest())
        if (known := _VERDICTS.get(key)) is None:
            if len(_VERDICTS) >= _MAX_VERDICTS:
                _VERDICTS.clear()
            known = _VERDICTS[key] = _evaluate(self, item)
        return known


_VERDICTS: dict[tuple[Rule, bytes], bool] = {}
"""Of the same values, by their digest: nothing of a record stays here."""


@cache
def rules_on(names: tuple[str, ...]) -> tuple[Rule, ...]:
    """Of a type and those that it is derived from; or of one element of one type."""
    return tuple(rule_of(invariant) for name in names for invariant in invariants().get(name, ()))


@cache
def rule_of(invariant: Invariant) -> Rule:
    expression = invariant.expression
    if_present, if_absent = set(), set()
    for alternative in _alternatives(expression):
        if found := _PRESENT.fullmatch(alternative):
            if_present.add(found[1])
        elif found := _ABSENT.fullmatch(alternative):
            if_absent.add(found[1])
    return Rule(
        invariant,
        frozenset(_IDENTIFIER.findall(re.sub(r"'[^']*'", "", expression))),
        frozenset(if_present),
        frozenset(if_absent),
        bool(_OPERATORS.fullmatch(_PRESENCE.sub("", expression))),
    )


def _alternatives(expression: str) -> Iterator[str]:
    """Of which one is enough: the parts of an ``or``; of ``a implies b`` that a is not, and b."""
    if _is_split(expression, ("and", "xor")):
        return
    condition, *consequence = _split(expression, "implies")
    if consequence:
        yield f"{condition}.not()"
        yield from consequence[-1:] if len(consequence) == 1 else ()
    else:
        yield from _split(expression, "or")


def _is_split(expression: str, operators: tuple[str, ...]) -> bool:
    return any(len(_split(expression, operator)) > 1 for operator in operators)


def _split(expression: str, operator: str) -> list[str]:
    """At an operator that stands outside parentheses and strings."""
    parts, depth, quoted, begin = [], 0, False, 0
    for at, character in enumerate(expression):
        if character == "'":
            quoted = not quoted
        elif not quoted:
            depth += {"(": 1, ")": -1}.get(character, 0)
            if depth == 0 and expression.startswith(f" {operator} ", at):
                parts.append(expression[begin:at].strip())
                begin = at + len(operator) + 2
    return [*parts, expression[begin:].strip()]


@lru_cache(_MAX_VERDICTS)
def _of_presence(rule: Rule, present: frozenset[str]) -> bool:
    def literal(test: re.Match[str]) -> str:
        found = (test[1] in present) == (test[2] == "exists")
        return ("true" if found else "false") + (test[3] or "")

    return fhirpathpy.evaluate({}, _PRESENCE.sub(literal, rule.invariant.expression)) != [False]


def _no_component_has_the_code(observation: Json) -> bool:
    """obs-7, whose cost grows with the product of the codings in FHIRPath."""
    codes = {repr(coding) for coding in _codings(observation)}
    return not any(
        repr(coding) in codes for one in objects(observation.get("component")) for coding in _codings(one)
    )


def _codings(coded: Json) -> list[Json]:
    code = coded.get("code")
    return [dict(sorted(c.items())) for c in objects(code.get("coding"))] if isinstance(code, dict) else []


_BY_HAND = {"obs-7": _no_component_has_the_code}


def _evaluate(rule: Rule, item: Json) -> bool:
    """False only where the engine says false: an exception or an empty answer is no verdict."""
    node: Any = ResourceNode(item, rule.invariant.path)
    try:
        found = _compiled(rule)(node, {})
    except Exception:  # noqa: BLE001 - the engine raises bare exceptions for what it does not know
        return True
    return list(found) != [False]


@cache
def _compiled(rule: Rule) -> Any:
    return fhirpathpy.compile(rule.invariant.expression, models["r4"], _OPTIONS)


def _has_value(found: list[Any]) -> bool:
    """FHIR R4 2.9.1.3: one primitive with a value; the engine does not have it."""
    return len(found) == 1 and not isinstance(found[0], dict)


_OPTIONS = {
    "traceFn": lambda *_: None,
    "userInvocationTable": {"hasValue": {"fn": _has_value, "arity": {0: []}}},
}
