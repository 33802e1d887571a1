"""Passwords of staff."""

import pytest

from gateway.auth import passwords


def test_only_the_right_password_matches():
    stored = passwords.hashed("correct horse battery")
    assert passwords.matches("correct horse battery", stored)
    assert not passwords.matches("correct horse batterY", stored)
    assert not passwords.matches("", stored)


def test_the_hash_is_argon2id_and_differs_each_time():
    one, other = passwords.hashed("correct horse battery"), passwords.hashed("correct horse battery")
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != other


@pytest.mark.parametrize("stored", [None, "", passwords.UNUSABLE, "not a hash"])
def test_nothing_matches_where_there_is_no_hash(stored):
    for password in ("", "!", "nobody's password", "not a hash"):
        assert not passwords.matches(password, stored)


def test_the_same_password_from_another_keyboard_matches():
    assert passwords.matches("Mu\u0308ller geht heim", passwords.hashed("M\u00fcller geht heim"))


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("elevenchars", "the password must have 12 to 200 characters"),
        ("x" * 201, "the password must have 12 to 200 characters"),
        ("aaaaaaaaaaaaaa", "the password is too easy to guess"),
        ("ines.intake.1", "the password is too easy to guess"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(password, fault):
    assert passwords.faults(password, "ines.intake.1") == [fault]


def test_a_long_password_is_fit():
    assert passwords.faults("correct horse intake", "ines") == []


def test_a_login_is_the_same_in_any_case():
    assert passwords.normal_login(" Ines.Intake ") == "ines.intake"
