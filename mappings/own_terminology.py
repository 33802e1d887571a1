"""The code systems and value sets that are the gateway's own (FHIR R4 4.8, 4.9)."""

import inspect
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gateway.case.checks import CHECKS
from mappings.case_to_task import statuses
from mappings.fhir_datatypes import CASE_STATUS_SYSTEM, CHECK_SYSTEM
from mappings.own_profiles import canonical, definition

Json = dict[str, Any]
_REQUESTS = Path(__file__).with_name("second_opinion_request.yaml")


@cache
def code_systems() -> dict[str, Json]:
    """By id."""
    shown = [
        {"code": str(status), "display": shown.words, "definition": f"Shown as the Task.status {shown.task}."}
        for status, shown in statuses().items()
    ]
    checks = [
        {"code": name, "display": name.replace("-", " "), "definition": _first_line(check)}
        for name, check in CHECKS.items()
    ]
    made = [
        _code_system("case-status", CASE_STATUS_SYSTEM, "Status of a case", "Where a case stands.", shown),
        _code_system("check", CHECK_SYSTEM, "Checks", "What is checked in every case.", checks),
    ]
    return {resource["id"]: resource for resource in made}


@cache
def value_sets() -> dict[str, Json]:
    """By id."""
    listed = yaml.load(_REQUESTS.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    made = [
        _value_set(
            "case-status", "Status of a case", "Where a case stands.", [{"system": CASE_STATUS_SYSTEM}]
        ),
        _value_set("check", "Checks", "The check that found something.", [{"system": CHECK_SYSTEM}]),
        _value_set(
            "second-opinion-request",
            "What asks for a second opinion",
            "Codes by which a ServiceRequest asks for a second opinion. Words in many languages do so too.",
            _included(listed["codes"], named=False),
        ),
        _value_set(
            "specialty",
            "Specialties",
            "Specialties whose opinion is asked for. Any other may be named.",
            _included(listed["specialties"], named=True),
        ),
    ]
    return {resource["id"]: resource for resource in made}


@cache
def codes_of(value_set_url: str) -> frozenset[tuple[str, str]]:
    """(system, code) of a value set that is made of own code systems; none for any other."""
    by_url = {one["url"]: one for one in code_systems().values()}
    value_set = next((one for one in value_sets().values() if one["url"] == value_set_url), None)
    included = value_set["compose"]["include"] if value_set else []
    return frozenset(
        (part["system"], concept["code"])
        for part in included
        for concept in by_url.get(part["system"], {}).get("concept", ())
    )


def _first_line(check: object) -> str:
    return (inspect.getdoc(check) or "").split("\n")[0]


def _code_system(name: str, url: str, title: str, description: str, concepts: list[Json]) -> Json:
    return definition("CodeSystem", name, title, description) | {
        "url": url,
        "caseSensitive": True,
        "valueSet": canonical("ValueSet", name),
        "content": "complete",
        "count": len(concepts),
        "concept": concepts,
    }


def _value_set(name: str, title: str, description: str, include: list[Json]) -> Json:
    return definition("ValueSet", name, title, description) | {"compose": {"include": include}}


def _included(rows: Iterable[Json], *, named: bool) -> list[Json]:
    """ValueSet.compose.include by system. The words of the table are not always the system's own: a designation."""
    by_system: dict[str, list[Json]] = {}
    for row in rows:
        concept = {"code": row["code"]} | (dict(_designation(row)) if named else {})
        by_system.setdefault(row["system"], []).append(concept)
    return [{"system": system, "concept": concepts} for system, concepts in by_system.items()]


def _designation(row: Json) -> Iterator[tuple[str, list[Json]]]:
    yield "designation", [{"language": "en", "value": row["display"]}]
