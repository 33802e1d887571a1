"""What the gateway claims, as far as it can be read off the code that keeps it: ``gateway write-conformance``."""

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from gateway import errors
from gateway.case import checks
from gateway.case.model import Severity
from gateway.dicomweb import status as dicomweb
from gateway.dimse import status as dimse
from gateway.fhir import outcome
from gateway.fhir.capability import capability_statement
from gateway.fhir.profile_page import profile_page
from gateway.fhir.release_page import release_page
from mappings.checklist_tables import CHECKLISTS

EXAMPLE_BASE_URL = "https://opinions.example.org"
TEST_OF_CHECKLISTS = "tests/unit/test_checklists.py::test_an_item_is_recognised_by_what_a_hospital_sends"
TESTS_OF_CHECKS = "tests/unit/test_checks.py"
_CAUSE = re.compile(r"[├└]── (\w+)\s{2,}(.+)$", re.MULTILINE)
_CONSTANT = re.compile(r"``(_?[A-Z][A-Z_]+)``")
_PARTS = ("How", "Threshold", "Limits")


def write(project: Path) -> list[Path]:
    """Write every generated file under ``project``/conformance; those that changed. Raises FileNotFoundError."""
    changed = []
    for name, text in generated(project).items():
        file = project / "conformance" / name
        if not file.exists() or file.read_text("utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
            changed.append(file)
    return changed


def generated(project: Path) -> dict[str, str]:
    """Content by path below conformance/. The tests in ``project`` are read for those that prove a check."""
    if not (project / TESTS_OF_CHECKS).is_file():
        raise FileNotFoundError(f"{project} is not the project's folder: it has no {TESTS_OF_CHECKS}.")
    return {
        "fhir/capability-statement.json": _capability(),
        "fhir/profiles.md": "\n".join(profile_page()) + "\n",
        "fhir/releases.md": "\n".join(release_page()) + "\n",
        "errors.md": "\n".join(_errors()) + "\n",
        "checks.md": "\n".join(_checks(project)) + "\n",
        "checklists.md": "\n".join(_checklists()) + "\n",
    }


def _capability() -> str:
    return json.dumps(capability_statement(EXAMPLE_BASE_URL), indent=2, ensure_ascii=False) + "\n"


def _errors() -> Iterator[str]:
    """One row for each cause, with what each kind of peer sees."""
    yield from (
        "# What a peer sees of each error",
        "",
        "Written by `gateway write-conformance` from the code; edit the code, not this file.",
        "",
        "An error has one cause, whatever the door, and each door tells it in its own protocol:",
        "",
        "- FHIR by HTTP status and OperationOutcome.issue.code,",
        "- DICOMweb by HTTP status of the request and, for one instance among others, by Failure Reason (0008,1197),",
        "- DIMSE by Status (0000,0900).",
        "",
        "Not every cause can happen at every door. What nobody foresaw is 500, or 0x0110, with a reference to the log "
        "and nothing else.",
        "",
        "Proven by `tests/unit/test_fhir_outcome.py::test_each_cause_is_in_the_table`, "
        "`tests/unit/test_dicomweb_status.py::test_every_error_has_its_own_row` and "
        "`tests/unit/test_dimse_status.py::test_every_error_has_a_status_of_its_own_in_the_table`.",
        "",
        "| cause | when | FHIR | DICOMweb | Failure Reason | DIMSE |",
        "|---|---|---|---|---|---|",
    )
    for name, words in _CAUSE.findall(inspect.getdoc(errors) or ""):
        cause = getattr(errors, name)
        http, issue = outcome.STATUS[cause]
        web = dicomweb.STATUS[cause]
        yield (
            f"| {name} | {words} | {http} `{issue}` | {web.http} | 0x{web.failure_reason:04X} "
            f"| 0x{dimse.STATUS[cause]:04X} |"
        )


def _checks(project: Path) -> Iterator[str]:
    yield from (
        "# What is checked in every case",
        "",
        "Written by `gateway write-conformance` from the code; edit the code, not this file.",
        "",
        "Each check looks at the whole case again whenever something arrives. What it finds is a finding: it opens by "
        "itself, and closes by itself when what was missing has come or was put right. Three severities:",
        "",
        f"- **{Severity.BLOCKS}**: review cannot begin until it is resolved, or a person waives it with a reason.",
        f"- **{Severity.LIMITS}**: review can begin; what is unresolved at signing is declared in the report.",
        f"- **{Severity.NOTE}**: for information; declared in the report too.",
        "",
        "A check that fails by a fault of its own is a finding too, and hides no other: "
        f"`{TESTS_OF_CHECKS}::test_a_check_that_fails_is_a_finding_and_hides_no_other`.",
    )
    proofs = _proofs(project / TESTS_OF_CHECKS)
    for name, check in checks.CHECKS.items():
        module = sys.modules[check.__module__]
        severities = ", ".join(sorted(_severities(module, check.__name__)))
        yield from ("", f"## {name}", "", f"**{severities}**. {_finds(check)}", "")
        yield from (f"- {label}: {text}" for label, text in _described(check, module))
        yield from (f"- Test: `{TESTS_OF_CHECKS}::{test}`" for test in proofs.get(check.__name__, ()))


def _checklists() -> Iterator[str]:
    yield from (
        "# What each question needs",
        "",
        "Written by `gateway write-conformance` from the tables in mappings/checklists/; edit the tables, not this "
        "file. They were not yet reviewed by a clinician.",
        "",
        "How they are read: [checks.md](checks.md), checklist-item.",
    )
    for checklist in CHECKLISTS:
        yield from ("", f"## {checklist.name}", "", f"Proven by `{TEST_OF_CHECKLISTS}`.", "")
        yield from ("| item | need | not older than | for | demanded by |", "|---|---|---|---|---|")
        for item in checklist.items:
            age = f"{item.within_days} days" if item.within_days else ""
            asked = "every such question" if item.when.always else "some such questions"
            source = item.source or "own choice of the programme"
            yield f"| {item.name} | {item.need} | {age} | {asked} | {source} |"


def _finds(check: checks.Check) -> str:
    return (inspect.getdoc(check) or "").split("\n", 1)[0]


def _described(check: checks.Check, module: ModuleType) -> Iterator[tuple[str, str]]:
    """The labelled parts of the docstring; a ``CONSTANT`` of the module is told as its value."""
    text = " ".join((inspect.getdoc(check) or "").split())
    text = _CONSTANT.sub(lambda found: str(getattr(module, found[1])), text).replace("``", "`")
    pieces = re.split(rf" ({'|'.join(_PARTS)}): ", text)
    yield from zip(pieces[1::2], pieces[2::2], strict=True)


def _severities(module: ModuleType, function: str) -> set[str]:
    """Severities that a function of the module, or one that it calls there, gives."""
    tree = ast.parse(inspect.getsource(module))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found: set[str] = set()
    waiting, seen = [function], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Name):
                waiting.append(node.id)
            elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "Severity":
                found.add(Severity[node.attr].value)
    return found


def _proofs(file: Path) -> dict[str, list[str]]:
    """Names of the tests that call each check, by the check's function."""
    found: dict[str, list[str]] = {}
    for test in ast.parse(file.read_text("utf-8")).body:
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            for name in dict.fromkeys(
                node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)
            ):
                found.setdefault(name, []).append(test.name)
    return found
