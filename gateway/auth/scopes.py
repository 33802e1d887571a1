"""SMART system scopes: read, narrowed, asked (SMART App Launch 2.2.0, Scopes and Launch Context).

Version 2 is ``system/Patient.rs``: of ``c`` create, ``r`` read, ``u`` update, ``d`` delete, ``s`` search, in that
order. Version 1 is ``system/Patient.read``, ``.write`` or ``.*``. A scope limited by a query
(``system/Observation.rs?category=…``) is not offered: it would promise a restriction that nothing holds.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

ALL_SCOPES = ("system/*.cruds",)
_VERSION_1 = {"read": "rs", "write": "cud", "*": "cruds"}
_SCOPE = re.compile(r"system/(\*|[A-Z][A-Za-z]{1,63})\.(\*|read|write|c?r?u?d?s?)")
INTERACTIONS = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}


@dataclass(frozen=True, slots=True)
class Scope:
    """What one scope allows; ``resource_type`` is ``*`` for every type."""

    resource_type: str
    interactions: frozenset[str]


@lru_cache(1024)
def parse(scope: str) -> Scope | None:
    """None when this is no SMART system scope that is offered here."""
    match = _SCOPE.fullmatch(scope)
    if match is None or not match[2]:
        return None
    return Scope(match[1], frozenset(_VERSION_1.get(match[2], match[2])))


def narrow(asked: Iterable[str], registered: Iterable[str]) -> tuple[str, ...]:
    """The part of the asked scopes that the registered ones allow.

    A wildcard that is asked shrinks to the registered types; a scope that is allowed as asked keeps its spelling.
    """
    held = _rights(registered)
    spellings: dict[tuple[str, frozenset[str]], str] = {}
    granted: dict[str, frozenset[str]] = {}
    for text in asked:
        if (scope := parse(text)) is None:
            continue
        spellings.setdefault((scope.resource_type, scope.interactions), text)
        for resource_type in held if scope.resource_type == "*" else (scope.resource_type,):
            rights = scope.interactions & _allowed(held, resource_type)
            granted[resource_type] = granted.get(resource_type, frozenset()) | rights
    everywhere = granted.get("*", frozenset())
    return tuple(
        spellings.get((resource_type, rights)) or _spell(resource_type, rights)
        for resource_type, rights in granted.items()
        if rights and (resource_type == "*" or not rights <= everywhere)
    )


def allows(scopes: Iterable[str], resource_type: str, interaction: str) -> bool:
    """Whether the scopes allow the interaction, one of c, r, u, d and s."""
    return interaction in _allowed(_rights(scopes), resource_type)


def _rights(scopes: Iterable[str]) -> dict[str, frozenset[str]]:
    rights: dict[str, frozenset[str]] = {}
    for scope in filter(None, map(parse, scopes)):
        rights[scope.resource_type] = rights.get(scope.resource_type, frozenset()) | scope.interactions
    return rights


def _allowed(rights: dict[str, frozenset[str]], resource_type: str) -> frozenset[str]:
    return rights.get(resource_type, frozenset()) | rights.get("*", frozenset())


def _spell(resource_type: str, interactions: frozenset[str]) -> str:
    return f"system/{resource_type}.{''.join(letter for letter in INTERACTIONS if letter in interactions)}"
