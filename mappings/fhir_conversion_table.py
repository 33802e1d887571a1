"""The tables of what becomes of each element between a release and R4: fhir_r5.yaml and fhir_stu3.yaml."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from mappings.fhir_definitions import Release
from mappings.fhir_type_names import Types, r4_name
from mappings.yaml_table import Row, YamlTable

FILES = {Release.R5: "fhir_r5.yaml", Release.STU3: "fhir_stu3.yaml"}
USED = (
    *("AllergyIntolerance", "Appointment", "Binary", "CarePlan", "CareTeam", "Communication"),
    *("CommunicationRequest", "Composition", "Condition", "Consent", "Coverage", "DetectedIssue", "Device"),
    *("DiagnosticReport", "DocumentManifest", "DocumentReference", "Encounter", "Endpoint"),
    *("FamilyMemberHistory", "Flag", "Goal", "ImagingStudy", "Immunization", "List", "Location", "Media"),
    *("Medication", "MedicationRequest", "MedicationStatement", "MessageHeader", "Observation"),
    *("OperationOutcome", "Organization", "Patient", "Practitioner", "PractitionerRole", "Procedure"),
    *("ProcedureRequest", "Provenance", "QuestionnaireResponse", "ReferralRequest", "RelatedPerson"),
    *("ServiceRequest", "Specimen", "Task"),
)
"""Resource types that a case uses: every element of each was looked at. Others are turned by their names alone."""
_SECTIONS = ("types", "elements", "modifiers")
_OPTIONAL = {"system", "codes", "member", "r4_member", "only", "way", "why"}
_WAYS = ("", "in", "out")


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of one element, in one direction.

    ``targets`` are elements of the release that is written, none for the same name. ``codes`` turns codes, ``system``
    is the CodeSystem of what is a code on one side and a concept on the other. ``member`` of a backbone element
    becomes the value; ``wrapped`` is the member that the value becomes. ``only`` are types that a reference may name.
    """

    targets: tuple[str, ...] = ()
    system: str = ""
    codes: Mapping[str, str] = field(default_factory=dict)
    member: str = ""
    wrapped: str = ""
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConversionTable:
    """One direction. Keys of ``rules`` are ``Type.element``, of a choice without its ``[x]``.

    Elements in ``dissolved`` give their members to what they stand in; ``types`` are those that have other names in R4.
    ``modifiers`` change the meaning of what they stand in (FHIR R4 2.1.0.9), so that an extension for one must too.
    """

    rules: Mapping[str, Rule]
    dissolved: frozenset[str]
    types: Types
    modifiers: frozenset[str]


@cache
def to_r4(release: Release) -> ConversionTable:
    return _table(release, inbound=True)


@cache
def from_r4(release: Release) -> ConversionTable:
    return _table(release, inbound=False)


def r4_id(sent_type: str, fhir_id: str) -> str:
    """The id in R4 of a resource that had that type when it was sent."""
    return r4_name(to_r4(Release.STU3).types, sent_type, fhir_id)[1]


def _table(release: Release, *, inbound: bool) -> ConversionTable:
    """Raises ValueError naming the file and the line of the first fault."""
    if release not in FILES:
        return ConversionTable({}, frozenset(), (), frozenset())
    file = Path(__file__).with_name(FILES[release])
    return read_table(file.read_text("utf-8"), f"mappings/{file.name}", inbound=inbound)


def read_table(content: str, file: str, *, inbound: bool) -> ConversionTable:
    """Raises ValueError naming ``file`` and the line of the first fault."""
    table = YamlTable(content, file, _SECTIONS)
    types = table.rows("types", {"type", "r4"})
    rows = table.rows("elements", {"element", "r4"}, _OPTIONAL)
    found: dict[str, Rule] = {}
    for row in rows:
        way = row.word("way")
        if way not in _WAYS:
            raise row.fault("'way' is in, out or left away")
        if way in ("", "in" if inbound else "out"):
            for source, rule in _inbound(row) if inbound else _outbound(row):
                found[source] = _merged(row, found.get(source), rule)
    return ConversionTable(
        found,
        frozenset(_parent(source) for source, rule in found.items() if _is_risen(source, rule)),
        tuple((row.word("type"), row.word("r4")) for row in types),
        frozenset(row.word("element") for row in table.rows("modifiers", {"element", "why"}) if inbound),
    )


def _inbound(row: Row) -> Iterator[tuple[str, Rule]]:
    yield (
        _plain(row.word("element")),
        Rule(
            tuple(map(_plain, _several(row, "r4"))),
            row.word("system"),
            _turned(_codes(row)),
            member=row.word("member"),
            wrapped=row.word("r4_member"),
            only=row.words("only"),
        ),
    )


def _outbound(row: Row) -> Iterator[tuple[str, Rule]]:
    codes = _turned((r4, theirs) for theirs, r4 in _codes(row))
    rule = Rule(
        (_plain(row.word("element")),), row.word("system"), codes, row.word("r4_member"), row.word("member")
    )
    for source in _several(row, "r4"):
        yield _plain(source), rule


def _merged(row: Row, before: Rule | None, rule: Rule) -> Rule:
    """A second row for one element adds a target for what the first cannot take."""
    if before is None:
        return rule
    if before.targets == rule.targets:
        raise row.fault("the same element stands in a row before")
    return replace(before, targets=tuple(dict.fromkeys((*before.targets, *rule.targets))))


def _several(row: Row, column: str) -> tuple[str, ...]:
    value = row.values.get(column, "")
    return value if isinstance(value, tuple) else (value,)


def _codes(row: Row) -> Iterator[tuple[str, str]]:
    for pair in row.words("codes"):
        theirs, arrow, r4 = pair.partition(" -> ")
        if not arrow:
            raise row.fault("a pair of codes is written 'theirs -> r4'")
        yield theirs, r4


def _turned(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of several codes for one the first counts."""
    found: dict[str, str] = {}
    for code, other in pairs:
        found.setdefault(code, other)
    return found


def _plain(element: str) -> str:
    return element.removesuffix("[x]")


def _parent(element: str) -> str:
    return element.rpartition(".")[0]


def _is_risen(source: str, rule: Rule) -> bool:
    return any(target.count(".") < source.count(".") for target in rule.targets)
