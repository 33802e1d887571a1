"""A resource against a profile: cardinality, fixed and pattern values, slices by value or type, its own invariants.

FHIR R4 5.1.0.13 (slicing), ElementDefinition.fixed[x] and pattern[x]. Of value sets only those are looked at that are
required and the gateway's own. Not looked at: slices by the profile of a reference's target, profiles of data types.
"""

import re
from collections.abc import Iterator
from typing import Any

from gateway.errors import Issue
from gateway.fhir.invariants import rule_of
from gateway.fhir.resource_rules import type_named
from mappings.fhir_definitions import Release, elements_of, resource_model
from mappings.fhir_elements import coded, reference, text, texts
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
        words = f"The profile {profile.url} is of {profile.type}, and another type of resource was found."
        return [Issue("error", "invalid", words, path)]
    name = re.split("[/:]", profile.url)[-1]
    told = [
        Issue(i.severity, i.code, f"{i.text} (profile {name})", i.expression)
        for i in _check(profile.root, resource, path)
    ]
    if absent := dict.fromkeys(_absent(profile.root, resource, "")):
        words = (
            f"Elements that a sender must support, and that are absent: {', '.join(absent)}. (profile {name})"
        )
        told.append(Issue("information", "informational", words, path))
    return list({(i.code, i.expression, i.text): i for i in told}.values())


def _check(part: Part, value: Any, path: str) -> Iterator[Issue]:
    """One value of an element."""
    yield from _check_value(part, value, path)
    if not isinstance(value, dict):
        return
    if part.profile:
        yield from _check_profile(profiles()[part.profile], value, path)
    for invariant in part.rules:
        rule = rule_of(invariant)
        stems = _stems(value)
        if not rule.holds(value, {stems.get(key, key.removeprefix("_")) for key in value}, stems):
            yield Issue("error", "invariant", f"The rule {invariant.key} is broken: {invariant.means}", path)
    for child in part.parts.values():
        found = _values(child, value, path)
        yield from _count(child, len(found), f"'{child.name}'", f"{path}.{child.name.removesuffix('[x]')}")
        yield from _check_types(child, found)
        for _, one, where in found:
            yield from _check(child, one, where)
        for slice_name, sliced in child.slices.items():
            yield from _check_slice(child, slice_name, sliced, found, path)


def _check_value(part: Part, value: Any, path: str) -> Iterator[Issue]:
    """What a value is to be as a whole."""
    if part.pattern is not None and not contains(value, part.pattern):
        yield _another(part, path)
    if part.fixed is not None and (value != part.fixed or type(value) is not type(part.fixed)):
        yield _another(part, path)
    if part.codes and not any(coding in part.codes for coding in coded(value).codings):
        words = f"A code of the value set that '{part.name}' is bound to was expected, and none was found."
        yield Issue("error", "code-invalid", words, path)
    found = type_named(reference(value)) if part.targets else ""
    if found and found not in part.targets:
        words = (
            f"A reference to {', '.join(sorted(part.targets))} was expected, and one to {found} was found."
        )
        yield Issue("error", "value", words, f"{path}.reference")


def _another(part: Part, path: str) -> Issue:
    words = f"The value that is asked for '{part.name}' was expected, and another was found."
    return Issue("error", "value", words, path)


def _check_profile(profile: Profile, resource: Json, path: str) -> Iterator[Issue]:
    """A resource inside another one; one that claims the profile is compared with it for itself."""
    if resource.get("resourceType") == profile.type and profile not in claimed(resource):
        yield from _check(profile.root, resource, path)


def _check_types(part: Part, found: list[tuple[str, Any, str]]) -> Iterator[Issue]:
    """The types that a profile leaves of a choice."""
    stem = part.name.removesuffix("[x]")
    if stem == part.name or not part.types:
        return
    left = {f"{stem}{name[0].upper()}{name[1:]}" for name in part.types}
    for key, _, where in found:
        if key not in left:
            words = (
                f"The profile leaves {', '.join(sorted(left))} of this choice, and another type was found."
            )
            yield Issue("error", "value", words, where)


def _absent(part: Part, holder: Json, path: str) -> Iterator[str]:
    """The must-support elements and slices that are not there, of what is there."""
    for child in part.parts.values():
        found, name = _values(child, holder, ""), f"{path}{child.name}"
        if child.must_support and not found:
            yield name
        for slice_name, sliced in child.slices.items():
            belonging = _belonging(child, slice_name, sliced, found)
            if sliced.must_support and belonging == []:
                yield f"{name}:{slice_name}"
            for value, _ in belonging or ():
                yield from _absent_inside(sliced, value, f"{name}:{slice_name}.")
        for _, value, _ in found:
            yield from _absent_inside(child, value, f"{name}.")


def _absent_inside(part: Part, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _absent(part, value, path)
        if part.profile:
            yield from _absent(profiles()[part.profile].root, value, path)


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
    if discriminator is None:
        return None
    if part.by_type:
        types = discriminator.types
        return [(value, where) for _, value, where in found if _type_of(value, part.by) in types]
    told = discriminator.fixed if discriminator.pattern is None else discriminator.pattern
    if told is None:
        return None
    pattern = told if part.by == "$this" else {part.by: told}
    return [(value, where) for _, value, where in found if contains(value, pattern)]


def _type_of(value: Any, path: str) -> str:
    """The type of a resource, or of the one in the element ``path``."""
    held = value.get(path) if isinstance(value, dict) and path != "$this" else value
    return text(held.get("resourceType")) if isinstance(held, dict) else ""


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
