"""Knowing a resource again by what it says, where its sender gave it no name that lasts.

Entries of a bundle refer to one another, in long chains and in circles. What an entry says therefore includes what
those say that it refers to, its patient above all; where circles come in, up to ROUNDS references away.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.store.resources import dumps
from gateway.workflow.references import referenced
from gateway.workflow.submission import Entry
from mappings.fhir_elements import Resource, copied

Key = tuple[str, str]  # resource type and identity
ROUNDS = 32


@dataclass(frozen=True, slots=True)
class _Said:
    """An entry's own words as a digest, and what its references name: keys, and indexes of entries without one."""

    type: str
    words: str
    targets: tuple[Key | int, ...]


def content_keys(
    entries: tuple[Entry, ...], keys: Mapping[int, Key], own: Mapping[str, Entry]
) -> dict[int, Key]:
    """Keys of the entries that are not in ``keys``; ``own`` are the bundle's entries by fullUrl and Type/id.

    The same entry gets the same key in every bundle, whatever else stands there that it does not refer to.
    """
    said = {entry.index: _said(entry, keys, own) for entry in entries if entry.index not in keys}
    labels = _settled(said)
    circling = {index: one for index, one in said.items() if index not in labels}
    labels |= {index: one.type for index, one in circling.items()}
    for _ in range(ROUNDS):
        labels |= {index: _label(one, labels) for index, one in circling.items()}
    return {index: (one.type, f"sha256:{labels[index]}") for index, one in said.items()}


def _settled(said: Mapping[int, _Said]) -> dict[int, str]:
    """Labels of entries from which no reference leads into a circle, what is referred to first."""
    waiting = {index: {t for t in one.targets if isinstance(t, int)} for index, one in said.items()}
    referring: dict[int, list[int]] = {}
    for index, targets in waiting.items():
        for target in targets:
            referring.setdefault(target, []).append(index)
    labels: dict[int, str] = {}
    ready = [index for index, targets in waiting.items() if not targets]
    while ready:
        index = ready.pop()
        labels[index] = _label(said[index], labels)
        for other in referring.get(index, ()):
            waiting[other].discard(index)
            if not waiting[other]:
                ready.append(other)
    return labels


def digest(value: object) -> str:
    return hashlib.sha256(dumps(value).encode()).hexdigest()[:32]


def _said(entry: Entry, keys: Mapping[int, Key], own: Mapping[str, Entry]) -> _Said:
    content = _without_name(entry)
    targets: list[Key | int] = []
    for one in referenced(content, ""):
        target = own.get(one.value)
        if target is not None:
            targets.append(keys.get(target.index, target.index))
            one.holder[one.key] = ""
    return _Said(entry.type, digest(content), tuple(targets))


def _label(said: _Said, labels: Mapping[int, str]) -> str:
    named = [labels[target] if isinstance(target, int) else " ".join(target) for target in said.targets]
    return hashlib.sha256("\n".join((said.words, *named)).encode()).hexdigest()[:32]


def _without_name(entry: Entry) -> Resource:
    """The resource without what does not tell it: id, meta and narrative."""
    resource = entry.resource or {}
    return {name: copied(value) for name, value in resource.items() if name not in ("id", "meta", "text")}
