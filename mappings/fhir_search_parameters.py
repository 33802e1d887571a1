"""Search parameters of FHIR R4 by type: fhir_search_parameters.csv, from HL7's definitions (search-parameters.json);
three are of IHE MHD, with their whole address as definition.

A path is of JSON names with the data type that stands there; ``telecom[system=phone]`` are those of that system, of an
extension's ``url`` the last step is compared.
Left out are the kinds composite, quantity, number and special, ``phonetic``, and what asks for more than a path
(Patient.deceased, Bundle.composition, Bundle.message).
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).with_name("fhir_search_parameters.csv")
_DEFINITIONS = "http://hl7.org/fhir/SearchParameter/"
_ANY_TYPE = "*"
_WITHOUT_OWN = (
    "Binary",
    "BiologicallyDerivedProduct",
    "CatalogEntry",
    "ObservationDefinition",
    "OperationOutcome",
    "Parameters",
)


@dataclass(frozen=True, slots=True)
class ElementPath:
    """``text`` names the element, ``kind`` is its FHIR data type."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """``kind``: token, reference, string, date or uri. No ``targets``: a reference to any type.

    ``of_patient``: it puts a resource into the compartment of the Patient that it refers to (FHIR R4
    CompartmentDefinition patient, without Patient.link, which leads to another Patient).
    """

    name: str
    kind: str
    paths: tuple[ElementPath, ...]
    targets: frozenset[str]
    definition: str
    of_patient: bool


@cache
def search_parameters(type_name: str) -> dict[str, SearchParameter]:
    """Those of a resource type by name, with those that all types have (FHIR R4 3.1.1.4.1)."""
    return _table().get("Resource", {}) | _table().get(type_name, {})


@cache
def resource_types() -> frozenset[str]:
    """The resource types of R4 that are known here."""
    return frozenset(_table()).difference({"Resource"}).union(_WITHOUT_OWN)


@cache
def indexed_paths(type_name: str) -> dict[tuple[str, ElementPath], tuple[str, ...]]:
    """The names of the parameters that read a path, by their kind and that path; without those that are columns."""
    found: dict[tuple[str, ElementPath], tuple[str, ...]] = {}
    for name, parameter in search_parameters(type_name).items():
        if name not in COLUMNS:
            for path in parameter.paths:
                found[parameter.kind, path] = (*found.get((parameter.kind, path), ()), name)
    return found


COLUMNS = frozenset({"_id", "_lastUpdated"})
"""Parameters of what the gateway itself says of a resource."""


@cache
def _table() -> dict[str, dict[str, SearchParameter]]:
    found: dict[str, dict[str, SearchParameter]] = {}
    with _TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["type"], {})[row["parameter"]] = _parameter(row)
    return found


def _parameter(row: dict[str, str]) -> SearchParameter:
    paths = (ElementPath(*path.split(":")) for path in row["paths"].split())
    targets = frozenset(row["targets"].split()) - {_ANY_TYPE}
    return SearchParameter(
        name=row["parameter"],
        kind=row["kind"],
        paths=tuple(paths),
        targets=targets,
        definition=row["definition"] if "://" in row["definition"] else _DEFINITIONS + row["definition"],
        of_patient=row["compartment"] == "Patient",
    )
