"""Members of JSON that say nothing: null, an empty list, object or text.

What has no value is left out (FHIR R4 2.6.2), and many serialisers write it all the same. Nothing else can be meant,
so that a submission is read without it, and its sender is told; ``$validate`` names it as the error that it is.
"""

from typing import Any

from gateway.errors import Issue
from gateway.fhir.walk import empty

MAX_TOLD = 1_000
Json = dict[str, Any]


def without_empty(value: Json, path: str) -> tuple[Json, list[Issue]]:
    """The value without them, and a warning for each by its FHIRPath; the same value where there is none."""
    if not _has_empty(value):
        return value, []
    told: list[Issue] = []
    try:
        found = _members(value, path, told)
    except RecursionError:
        return value, []  # validation tells that it is nested too deeply
    if len(told) > MAX_TOLD:
        text = f"{len(told) - MAX_TOLD} more members have no value; not each is told."
        told[MAX_TOLD:] = [Issue("warning", "structure", text, path)]
    return found, told


def _has_empty(value: Json) -> bool:
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        for one in item.values() if isinstance(item, dict) else item:
            if isinstance(one, dict | list) and one:
                pending.append(one)
            elif _is_empty(one):
                return True
    return False


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | dict | list) and not value)


def _members(value: Json, path: str, told: list[Issue]) -> Json:
    found: Json = {}
    for name, member in value.items():
        where = f"{path}.{name}"
        if _is_empty(member):
            told.append(empty(member, where, "warning"))
            continue
        if isinstance(member, dict):
            member = _members(member, where, told)
        elif isinstance(member, list):
            member = _items(member, where, told, is_paired=name.startswith("_"))
        if not _is_empty(member):
            found[name] = member
    return found


def _items(items: list[Any], path: str, told: list[Issue], is_paired: bool) -> list[Any]:
    """Without the last ones of a list of objects that say nothing: every other one keeps its place (2.6.2.2)."""
    found = [
        _members(one, f"{path}[{index}]", told) if isinstance(one, dict) and one else one
        for index, one in enumerate(items)
    ]
    while not is_paired and found and _is_empty(found[-1]) and any(isinstance(one, dict) for one in items):
        index, _ = len(found) - 1, found.pop()
        if _is_empty(items[index]):
            told.append(empty(items[index], f"{path}[{index}]", "warning"))
    return found
