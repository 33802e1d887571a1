"""conformance/fhir/profiles.md: the gateway's own profiles in words, made from what is served and compared with."""

from collections.abc import Iterator
from typing import Any

from mappings.own_profiles import Constraint, OwnProfile, canonical, own_profiles
from mappings.structure_definitions import structure_definitions

_TESTS = "tests/unit/test_own_profiles.py"


def profile_page() -> Iterator[str]:
    """Lines of Markdown."""
    yield from (
        "# The gateway's own profiles",
        "",
        "Written by `gateway write-conformance` from [own_profiles.yaml](../../mappings/own_profiles.yaml); edit that, "
        "not this file. The running gateway serves them as StructureDefinitions with differential and snapshot "
        "(`GET /fhir/StructureDefinition`), and compares with them what claims them. Their addresses are the same at "
        "every installation; they are names, and are found by `StructureDefinition?url=`.",
        "",
        "What the gateway asks of a referral refuses nothing: a referral of another form is taken, and what it lacks "
        "becomes a finding. What the gateway makes keeps its profile.",
        "",
        "MS: must support. Elements that are not listed are as in R4.",
    )
    for profile in own_profiles().values():
        yield from _section(profile, structure_definitions()[profile.name])


def _section(profile: OwnProfile, made: dict[str, Any]) -> Iterator[str]:
    whole = {element["id"]: element for element in made["snapshot"]["element"]}
    yield from (
        "",
        f"## {profile.title}",
        "",
        f"`{profile.url}`, of {profile.type}. {profile.description.strip()}",
        "",
        f"Proven by `{_TESTS}::test_what_keeps_a_profile_passes` and "
        f"`{_TESTS}::test_each_row_of_a_profile_is_looked_at`.",
        "",
        "| element | how often | MS | what |",
        "|---|---|---|---|",
    )
    for path, constraint in profile.elements.items():
        element = whole[f"{profile.type}.{path}"]
        told = "; ".join([constraint.words, *_asked(element, constraint)])
        how_often = f"{element['min']}..{element['max']}"
        yield f"| {path} | {how_often} | {'MS' if constraint.must else ''} | {told} |"


def _asked(element: dict[str, Any], told: Constraint) -> Iterator[str]:
    for key, value in element.items():
        if key.startswith(("pattern", "fixed")):
            yield f"{'has' if key.startswith('pattern') else 'is'} `{_in_words(value)}`"
    if told.binding:
        yield f"value set `{element['binding']['valueSet']}`, {told.strength}"
    if kinds := [*told.types, *told.targets]:
        yield f"only {' or '.join(kinds)}"
    if told.profile:
        yield f"that keeps `{canonical('StructureDefinition', told.profile)}`"


def _in_words(value: Any) -> str:
    """A pattern on one line."""
    if isinstance(value, dict):
        return " ".join(_in_words(one) for one in value.values())
    if isinstance(value, list):
        return ", ".join(map(_in_words, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
