"""The table of invariants (fhir_r4_invariants.yaml) by the type or element that they stand on."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mappings.yaml_table import YamlTable

_TABLE = Path(__file__).with_name("fhir_r4_invariants.yaml")


@dataclass(frozen=True, slots=True)
class Invariant:
    """``expression`` is FHIRPath in the context of ``path``; ``means`` is the standard's own sentence."""

    key: str
    path: str
    expression: str
    means: str


@cache
def invariants() -> dict[str, tuple[Invariant, ...]]:
    """By the name that a model of fhir.resources has: ``Observation.referenceRange`` is ``ObservationReferenceRange``.

    Those that stand on an element of a data type have a name of the same form: ``OrganizationTelecom``.
    """
    found: dict[str, tuple[Invariant, ...]] = {}
    table = YamlTable(_TABLE.read_text(encoding="utf-8"), _TABLE.name, {"invariants"})
    for row in table.rows("invariants", {"key", "path", "expression", "means"}):
        one = Invariant(row.word("key"), row.word("path"), row.word("expression"), row.word("means"))
        name = element_name(*one.path.removesuffix("[x]").split("."))
        found[name] = (*found.get(name, ()), one)
    return found


def element_name(*path: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in path)
