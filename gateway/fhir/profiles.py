"""A resource against a profile: cardinality, fixed and pattern values, slices by value, the profile's own invariants.

FHIR R4 5.1.0.13 (slicing), ElementDefinition.pattern[x]. Not looked at: slices by type or profile of a reference's
target, value sets, and the profiles of data types.
"""

from collections.abc import Iterator
from typing import Any

from gateway.errors import Issue
from gateway.fhir.invariants import rule_of
from mappings.fhir_definitions import Release, elements_of, resource_model
from mappings.fhir_elements import texts
from mappings.fhir_profiles import UNBOUNDED, Part, Profile, profiles

Json = dict[str, Any]


def claimed(resource: Json, wished: str = "") -> list[Profile]:
    """The known profiles that a resource says it keeps to, or that it is to be compared with."""
    meta = resource.get("meta")
    named = texts(meta.get("profile")) if isinstance(meta, dict) else []
    urls = dict.fromkeys(name.split("|")[0] for name in (wished, *named))
    return [profiles()[url] for url in urls if url in profiles()]


def profile_faults(resource: Json, profile: Profile, path: str) -> list[Issue]:
    """Errors, and which must-support elements of the resource are absent as information."""
    if resource.get("resourceType") != profile.type:
        text = f"The profile {profile.url} is of {profile.type}, and another type of resource was found."
        return [Issue("error", "invalid", text, path)]
    name = profile.url.rpartition("/")[2]
    told = [
        Issue(i.severity, i.code, f"{i.text} (profile {name})", i.expression)
        for i in _check(profile.root, resource, path)
    ]
    absent = [
        part.name
        for part in profile.root.parts.values()
        if part.must_support and not _values(part, resource, "")
    ]
    if absent:
        text = (
            f"Elements that a sender must support, and that are absent: {', '.join(absent)}. (profile {name})"
        )
        told.append(Issue("information", "informational", text, path))
    return list({(i.code, i.expression, i.text): i for i in told}.values())


def _check(part: Part, value: Any, path: str) -> Iterator[Issue]:
    """One value of an element."""
    if part.pattern is not None and not contains(value, part.pattern):
        yield Issue(
            "error",
            "value",
            f"The value that is asked for '{part.name}' was expected, and another was found.",
            path,
        )
    if not isinstance(value, dict):
        return
    for invariant in part.rules:
        rule = rule_of(invariant)
        stems = _stems(value)
        if not rule.holds(value, {stems.get(key, key.removeprefix("_")) for key in value}, stems):
            yield Issue("error", "invariant", f"The rule {invariant.key} is broken: {invariant.means}", path)
    for child in part.parts.values():
        found = _values(child, value, path)
        yield from _count(child, len(found), f"'{child.name}'", f"{path}.{child.name.removesuffix('[x]')}")
        for _, one, where in found:
            yield from _check(child, one, where)
        for slice_name, sliced in child.slices.items():
            yield from _check_slice(child, slice_name, sliced, found, path)


def _check_slice(
    part: Part, slice_name: str, sliced: Part, found: list[tuple[str, Any, str]], path: str
) -> Iterator[Issue]:
    belonging = _belonging(part, slice_name, sliced, found)
    if belonging is None:
        return
    where = f"{path}.{part.name.removesuffix('[x]')}"
    yield from _count(sliced, len(belonging), f"'{part.name}' of the kind {slice_name}", where)
    for value, place in belonging:
        yield from _check(sliced, value, place)


def _belonging(
    part: Part, slice_name: str, sliced: Part, found: list[tuple[str, Any, str]]
) -> list[tuple[Any, str]] | None:
    """The values of a slice; None where what tells it apart is not looked at."""
    if part.name.endswith("[x]"):
        return [(value, where) for key, value, where in found if key == slice_name]
    discriminator = sliced if part.by == "$this" else sliced.parts.get(part.by)
    if discriminator is None or discriminator.pattern is None:
        return None
    pattern = discriminator.pattern if part.by == "$this" else {part.by: discriminator.pattern}
    return [(value, where) for _, value, where in found if contains(value, pattern)]


def _count(part: Part, number: int, what: str, path: str) -> Iterator[Issue]:
    if number < part.min:
        yield Issue(
            "error", "required", f"At least {part.min} {what} was expected, and {number} found.", path
        )
    elif number > part.max and part.max < UNBOUNDED:
        yield Issue(
            "error", "structure", f"At most {part.max} {what} was expected, and {number} found.", path
        )


def _values(part: Part, holder: Json, path: str) -> list[tuple[str, Any, str]]:
    """(JSON name, value, place) of an element; an extension in place of a value counts as one."""
    stem = part.name.removesuffix("[x]")
    names = {key.removeprefix("_"): None for key in holder}
    keys = (
        [k for k in names if k[len(stem) : len(stem) + 1].isupper() and k.startswith(stem)]
        if stem != part.name
        else [stem]
    )
    found: list[tuple[str, Any, str]] = []
    for key in keys:
        value = holder.get(key, holder.get(f"_{key}"))
        if isinstance(value, list):
            found += [(key, one, f"{path}.{key}[{index}]") for index, one in enumerate(value)]
        elif value is not None:
            found.append((key, value, f"{path}.{key}"))
    return found


def contains(value: Any, pattern: Any) -> bool:
    """Whether a value has everything of a pattern (ElementDefinition.pattern[x])."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            k in value and contains(value[k], p) for k, p in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(contains(v, p) for v in value) for p in pattern)
    return bool(value == pattern) and type(value) is type(pattern)


def _stems(item: Json) -> dict[str, str]:
    """The name of each choice; only a resource's are known here."""
    model = resource_model(str(item.get("resourceType")), Release.R4)
    return {k: e.choice for k, e in elements_of(model).items() if e.choice} if model else {}
