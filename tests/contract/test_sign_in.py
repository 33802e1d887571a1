"""Staff sign in, stay signed in and sign out; what asks the database most, on SQLite and PostgreSQL alike."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from gateway.auth import login
from gateway.auth.accounts import add_user
from gateway.case.access import Origin, Role
from gateway.clock import utc_now
from gateway.errors import Unauthenticated
from gateway.store.tables import AuditRow, LoginSessionRow, UserRow
from tests.support.in_process import migrated_services

HERE, ELSEWHERE = Origin("page", "192.0.2.1"), Origin("page", "192.0.2.2")
PASSWORD = "correct horse intake"
WRONG = "Login or password is wrong."
WAIT = "Too many failed sign-ins; please try again in 15 minutes."


on_both_databases = pytest.mark.parametrize("services", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def services(request, tmp_path):
    """On SQLite, unless the test asks for both."""
    url = ""
    if getattr(request, "param", "") == "postgresql":
        url = request.getfixturevalue("postgres_url")
    services = migrated_services(tmp_path, database_url=url)
    yield services
    services.database.engine.dispose()


@pytest.fixture
def ines(services):
    return add_user(services, "Ines.Intake", "Ines Intake", PASSWORD, ["intake"])


def _refusal(services, typed, password, origin=HERE) -> str:
    with pytest.raises(Unauthenticated) as refused:
        login.sign_in(services, typed, password, origin)
    return str(refused.value)


def _trail(services):
    with services.database.reading() as session:
        rows = session.query(AuditRow).order_by(AuditRow.id)
        return [(row.actor, row.action, row.subject, row.channel, row.address, row.detail) for row in rows]


@on_both_databases
def test_the_right_password_opens_a_session_of_that_user(services, ines):
    secret = login.sign_in(services, " INES.intake", PASSWORD, HERE)
    assert login.user_of_session(services, secret) == ines
    assert ines.roles == {"intake"}


def test_each_sign_in_is_a_session_of_its_own(services, ines):
    one, other = (login.sign_in(services, "ines.intake", PASSWORD, HERE) for _ in range(2))
    assert one != other
    login.sign_out(services, one, HERE)
    assert login.user_of_session(services, one) is None
    assert login.user_of_session(services, other) == ines


def test_the_database_holds_neither_password_nor_secret(services, ines):
    secret = login.sign_in(services, "ines.intake", PASSWORD, HERE)
    with services.database.reading() as session:
        stored = session.query(LoginSessionRow).one().id + session.query(UserRow).one().password_hash
    assert secret not in stored
    assert PASSWORD not in stored


@pytest.mark.parametrize("secret", ["", "x", "\ud800", "0" * 64])
def test_an_invented_secret_is_nobody(services, ines, secret):
    login.sign_in(services, "ines.intake", PASSWORD, HERE)
    assert login.user_of_session(services, secret) is None


def test_the_id_in_the_table_is_no_secret(services, ines):
    login.sign_in(services, "ines.intake", PASSWORD, HERE)
    with services.database.reading() as session:
        stolen = session.query(LoginSessionRow).one().id
    assert login.user_of_session(services, stolen) is None


def test_a_session_ends_after_twelve_hours_whatever_happens_in_it(services, ines):
    secret = login.sign_in(services, "ines.intake", PASSWORD, HERE)
    with services.database.transaction() as session:
        row = session.query(LoginSessionRow).one()
        assert abs(row.expires_at - row.created_at - timedelta(hours=12)) < timedelta(minutes=1)
        row.expires_at = utc_now() - timedelta(seconds=1)
    assert login.user_of_session(services, secret) is None


def test_a_disabled_user_is_out_at_once(services, ines):
    secret = login.sign_in(services, "ines.intake", PASSWORD, HERE)
    with services.database.transaction() as session:
        session.query(UserRow).one().disabled_at = utc_now()
    assert login.user_of_session(services, secret) is None
    assert _refusal(services, "ines.intake", PASSWORD) == WRONG


@on_both_databases
def test_the_refusal_does_not_tell_whether_the_login_exists(services, ines):
    for typed in ("ines.intake", "nobody", "", "a\0b", "\ud800"):
        assert _refusal(services, typed, "wrong password 1") == WRONG


@on_both_databases
def test_everything_is_in_the_trail_but_never_an_unknown_login(services, ines):
    secret = login.sign_in(services, "ines.intake", PASSWORD, HERE)
    login.sign_out(services, secret, HERE)
    login.sign_out(services, secret, HERE)
    _refusal(services, "ines.intake", "wrong password 1")
    _refusal(services, PASSWORD, "")
    user = f"user:{ines.id}"
    [added, *rest] = _trail(services)
    assert added == ("user:operator", "add-user", user, "command", "", {})
    assert rest[:3] == [
        (user, "sign-in", user, "page", "192.0.2.1", {}),
        (user, "sign-out", user, "page", "192.0.2.1", {}),
        ("anonymous", "sign-in-refused", user, "page", "192.0.2.1", {}),
    ]
    [unknown] = rest[3:]
    assert unknown[2].startswith("user:unknown-")
    assert len(unknown[2]) == len("user:unknown-") + 3


@on_both_databases
@pytest.mark.parametrize("typed", ["ines.intake", "nobody"])
def test_after_ten_failures_from_one_address_a_login_waits_there(services, ines, typed, monkeypatch):
    assert {_refusal(services, typed, "wrong password 1") for _ in range(10)} == {WRONG}
    assert _refusal(services, typed, PASSWORD) == WAIT
    assert _refusal(services, typed, "wrong password 1", ELSEWHERE) == WRONG
    monkeypatch.setattr(login, "WINDOW", timedelta(0))
    assert _refusal(services, typed, "wrong password 1") == WRONG


def test_waiting_holds_back_nobody_else(services, ines):
    specialist = add_user(services, "sam", "Dr Sam", "correct horse specialist", ["specialist"])
    for _ in range(10):
        _refusal(services, "ines.intake", "wrong password 1")
    secret = login.sign_in(services, "sam", "correct horse specialist", HERE)
    assert login.user_of_session(services, secret) == specialist
    assert (
        login.user_of_session(services, login.sign_in(services, "ines.intake", PASSWORD, ELSEWHERE)) == ines
    )


@on_both_databases
def test_a_success_clears_the_count(services, ines):
    for _ in range(2):
        for _ in range(9):
            assert _refusal(services, "ines.intake", "wrong password 1") == WRONG
        login.sign_in(services, "ines.intake", PASSWORD, HERE)


def test_an_address_that_tries_many_logins_waits(services, ines, monkeypatch):
    monkeypatch.setattr(login, "MAX_PER_ADDRESS", 5)
    assert {_refusal(services, f"guess-{number}", "wrong password 1") for number in range(5)} == {WRONG}
    assert _refusal(services, "ines.intake", PASSWORD) == WAIT
    assert login.sign_in(services, "ines.intake", PASSWORD, ELSEWHERE)


def test_a_login_that_many_addresses_try_waits_everywhere(services, ines, monkeypatch):
    monkeypatch.setattr(login, "MAX_PER_LOGIN", 5)
    for number in range(5):
        assert (
            _refusal(services, "ines.intake", "wrong password 1", Origin("page", f"192.0.2.{number}"))
            == WRONG
        )
    assert _refusal(services, "ines.intake", PASSWORD, Origin("page", "192.0.2.99")) == WAIT


def test_in_development_there_is_one_user_with_every_role(services):
    developing = migrated_services(
        services.config.data_dir, dev=True, database_url=services.config.database_url
    )
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: login.dev_user(developing), range(16)))
    [user] = found
    assert user.roles == set(Role)
    assert _refusal(services, login.DEV_LOGIN, "!") == WRONG
    developing.database.engine.dispose()


def test_outside_development_nobody_is_signed_in_by_themselves(services):
    with pytest.raises(Unauthenticated):
        login.dev_user(services)
