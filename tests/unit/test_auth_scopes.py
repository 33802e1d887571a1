"""SMART App Launch 2.2.0: which interactions a token allows, and what of the asked scopes is granted."""

import pytest

from gateway.auth import scopes
from gateway.auth.bearer import require_scope
from gateway.case.access import Partner
from gateway.errors import Forbidden


@pytest.mark.parametrize(
    ("asked", "registered", "granted"),
    [
        ("system/*.cruds", "system/*.cruds", "system/*.cruds"),
        ("system/*.rs", "system/*.cruds", "system/*.rs"),
        ("system/*.cruds", "system/*.rs", "system/*.rs"),
        ("system/Patient.rs", "system/*.cruds", "system/Patient.rs"),
        ("system/Patient.cruds", "system/Patient.rs", "system/Patient.rs"),
        ("system/*.rs", "system/Patient.cruds system/Task.r", "system/Patient.rs system/Task.r"),
        ("system/*.cruds", "system/*.r system/Patient.cs", "system/*.r system/Patient.crs"),
        ("system/Patient.cruds", "system/*.rs system/Patient.c", "system/Patient.crs"),
        ("system/Patient.r system/Patient.s", "system/*.cruds", "system/Patient.rs"),
        ("system/*.rs system/Patient.r", "system/*.cruds", "system/*.rs"),
        ("system/*.r system/Patient.s", "system/*.cruds", "system/*.r system/Patient.s"),
        ("system/Patient.r system/Task.d", "system/Patient.rs", "system/Patient.r"),
        ("system/Patient.read", "system/*.cruds", "system/Patient.read"),
        ("system/*.write", "system/*.cruds", "system/*.write"),
        ("system/*.*", "system/*.cruds", "system/*.*"),
        ("system/*.*", "system/*.read", "system/*.rs"),
        ("system/Patient.write", "system/Patient.cr", "system/Patient.c"),
        ("system/Patient.rs", "system/*.read", "system/Patient.rs"),
        ("openid user/*.rs patient/Patient.rs system/Task.r", "system/*.cruds", "system/Task.r"),
        ("system/Task.cruds", "system/Patient.cruds", ""),
        ("system/Patient.d", "system/*.rs", ""),
        ("system/*.rs", "", ""),
        ("system/Observation.rs?category=laboratory", "system/*.cruds", ""),
        ("user/*.cruds", "system/*.cruds", ""),
    ],
)
def test_the_granted_scope_is_what_was_asked_and_is_registered(asked, registered, granted):
    assert " ".join(scopes.narrow(asked.split(), registered.split())) == granted


@pytest.mark.parametrize(
    "text",
    [
        "system/Patient.",
        "system/Patient.sr",
        "system/Patient.rr",
        "system/Patient.x",
        "system/patient.rs",
        "system/.rs",
        "system/Patient",
        "system/Patient.rs ",
        "System/Patient.rs",
        "patient/*.rs",
        "launch",
        "",
    ],
)
def test_what_is_no_smart_system_scope_is_not_read_as_one(text):
    assert scopes.parse(text) is None


def test_narrowing_never_grants_more_than_was_asked_or_than_is_registered():
    spelled = [f"system/{kind}.{letters}" for kind in ("*", "Patient", "Task") for letters in ("r", "cs")]
    pairs = [[one, other] for one in spelled for other in spelled]
    for asked in pairs:
        for registered in pairs:
            granted = scopes.narrow(asked, registered)
            for kind in ("Patient", "Task", "Binary"):
                for letter in scopes.INTERACTIONS:
                    both = scopes.allows(asked, kind, letter) and scopes.allows(registered, kind, letter)
                    assert scopes.allows(granted, kind, letter) == both, (
                        asked,
                        registered,
                        granted,
                        kind,
                        letter,
                    )


def test_an_interaction_in_the_scope_is_allowed():
    require_scope(_partner("system/Patient.rs"), "Patient", "r")
    require_scope(_partner("system/*.c"), "Bundle", "c")
    require_scope(_partner("system/*.r", "system/Task.u"), "Task", "u")


@pytest.mark.parametrize(
    ("scope", "resource_type", "interaction", "text"),
    [
        (
            "system/Patient.rs",
            "Patient",
            "c",
            "The access token does not allow to create Patient; the scope system/Patient.c is needed.",
        ),
        (
            "system/Patient.rs",
            "Task",
            "s",
            "The access token does not allow to search Task; the scope system/Task.s is needed.",
        ),
    ],
)
def test_an_interaction_outside_the_scope_is_forbidden_and_says_what_is_needed(
    scope, resource_type, interaction, text
):
    with pytest.raises(Forbidden) as refused:
        require_scope(_partner(scope), resource_type, interaction)
    assert str(refused.value) == text


def _partner(*granted):
    return Partner("hospital-a", "Hospital A", "urn:x", granted)
