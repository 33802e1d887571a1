"""The licences of what the gateway runs with: each is known, and none binds the whole to the GPL."""

import re
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PERMISSIVE = re.compile(r"\b(MIT|ISC|BSD|0BSD|Apache|PSF|Zlib|CC0|AFL|MIT-CMU|MIT-0)\b", re.IGNORECASE)
WEAK = re.compile(r"LGPL|Lesser General|MPL|Mozilla", re.IGNORECASE)
STRONG = re.compile(r"GPL|General Public", re.IGNORECASE)
ELSEWHERE = {"brotlicffi", "tzdata"}
"""Installed on PyPy and on Windows only."""


def locked() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return sorted({match[1] for line in lines if (match := re.match(r"([\w.-]+)==", line))} - ELSEWHERE)


def choices(package: str) -> list[str]:
    """The licences of a package, of which one may be chosen."""
    told = metadata.metadata(package)
    if expression := told.get("License-Expression"):
        return re.split(r"\s+OR\s+", expression)
    named = [
        text.rpartition(" :: ")[2] for text in told.get_all("Classifier", []) if text.startswith("License")
    ]
    return named or re.split(r"\s+OR\s+", told.get("License") or in_its_file(package))


def in_its_file(package: str) -> str:
    """The heading of the licence that a package brings, where its metadata name none."""
    for file in metadata.files(package) or ():
        if "LICENSE" in file.name and (
            heading := re.search(r"^(\w+) License$", file.read_text(), re.MULTILINE)
        ):
            return heading[1]
    return ""


def kind(licence: str) -> str:
    if WEAK.search(licence):
        return "weak copyleft"
    if STRONG.search(licence):
        return "strong copyleft"
    return "permissive" if PERMISSIVE.search(licence) else f"unknown: {licence}"


@pytest.mark.parametrize("package", locked())
def test_a_package_may_be_used_under_a_licence_that_does_not_bind_the_gateway(package: str) -> None:
    assert {kind(licence) for licence in choices(package)} & {"permissive", "weak copyleft"}


def test_what_is_not_permissive_is_named_in_the_documentation() -> None:
    weak = {name for name in locked() if "permissive" not in map(kind, choices(name))}
    [paragraph] = re.findall(
        r"^Licences are permissive but .*?(?=\n\n)",
        (ROOT / "docs" / "dependencies.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert {name for name in weak if name not in paragraph.split("`")} == set()


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("GPL-3.0-only", "strong copyleft"),
        ("GNU Affero General Public License v3", "strong copyleft"),
        ("AGPL-3.0-or-later", "strong copyleft"),
        ("LGPL-3.0-only", "weak copyleft"),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", "weak copyleft"),
        ("BSD License", "permissive"),
        ("Proprietary", "unknown: Proprietary"),
    ],
)
def test_a_licence_is_told_by_its_name(licence: str, expected: str) -> None:
    assert kind(licence) == expected
