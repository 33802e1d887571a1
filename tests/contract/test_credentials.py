"""What signing in leaves behind, on SQLite and on PostgreSQL alike, with many processes at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from gateway.auth.keyring import Keyring
from gateway.clock import utc_now
from gateway.errors import Conflict
from gateway.store import credentials, partners, users
from gateway.store.database import Database
from gateway.store.migrations import upgrade
from gateway.store.partners import ApplicationEntity, Registration
from gateway.store.tables import OAuthAssertionRow, SigningKeyRow


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/gateway.sqlite"


@pytest.fixture
def databases(url):
    """Four engines on one database, as four processes have."""
    four = [Database(url) for _ in range(4)]
    upgrade(four[0])
    yield four
    for database in four:
        database.engine.dispose()


def _at_once(databases, act):
    with ThreadPoolExecutor(len(databases)) as pool:
        return list(pool.map(act, databases))


def test_an_assertion_is_used_by_exactly_one_of_many(databases):
    expires_at = utc_now() + timedelta(minutes=5)

    def use(database):
        with database.transaction() as session:
            return credentials.use_assertion(session, "hospital-a", "jti-1", expires_at)

    assert sorted(_at_once(databases, use)) == [False, False, False, True]


def test_a_refused_replay_does_not_undo_the_transaction_around_it(databases):
    expires_at = utc_now() + timedelta(minutes=5)
    with databases[0].transaction() as session:
        assert credentials.use_assertion(session, "hospital-a", "one", expires_at)
        assert not credentials.use_assertion(session, "hospital-a", "one", expires_at)
        assert credentials.use_assertion(session, "hospital-a", "two", expires_at)
    with databases[1].reading() as session:
        assert session.query(OAuthAssertionRow).count() == 2


def test_assertions_are_forgotten_once_they_have_expired(databases):
    with databases[0].transaction() as session:
        assert credentials.use_assertion(session, "hospital-a", "old", utc_now() - timedelta(seconds=1))
    with databases[0].transaction() as session:
        assert credentials.use_assertion(session, "hospital-a", "new", utc_now() + timedelta(minutes=5))
        assert [row.jti for row in session.query(OAuthAssertionRow)] == ["new"]


def test_processes_that_start_at_once_share_one_key_of_each_kind(databases):
    def kids(database):
        keyring = Keyring(database, allow_loopback=True)
        return keyring.signing_key().kid, keyring.assertion_key().kid

    [both] = set(_at_once(databases, kids))
    with databases[0].reading() as session:
        assert sorted(row.kid for row in session.query(SigningKeyRow)) == sorted(both)


def test_the_keys_for_tokens_and_for_client_assertions_are_published_together(databases):
    keyring = Keyring(databases[0], allow_loopback=True)
    published = {key["alg"]: key for key in keyring.public_keys()}
    assert {alg: key["crv"] for alg, key in published.items()} == {"ES256": "P-256", "ES384": "P-384"}
    assert published["ES256"]["kid"] == keyring.signing_key().kid
    assert published["ES384"]["kid"] == keyring.assertion_key().kid
    assert all("d" not in key for key in published.values())


def test_the_key_for_client_assertions_verifies_no_access_token(databases):
    keyring = Keyring(databases[0], allow_loopback=True)
    assert keyring.verifying_key(keyring.signing_key().kid) is not None
    assert keyring.verifying_key(keyring.assertion_key().kid) is None


def test_a_key_that_another_process_made_later_is_found(databases, monkeypatch):
    monkeypatch.setattr("gateway.auth.keyring.RETRY_SECONDS", 0.0)
    early, late = (Keyring(database, allow_loopback=True) for database in databases[:2])
    assert early.verifying_key("unknown") is None
    kid = late.signing_key().kid
    assert early.verifying_key(kid).kid == kid


def test_a_login_goes_to_exactly_one_of_many(databases):
    def add(database):
        try:
            with database.transaction() as session:
                return users.add(session, "ines", "Ines", "!", frozenset({"intake"}))
        except Conflict as taken:
            return str(taken)

    answers = _at_once(databases, add)
    assert answers.count("User ines exists already.") == 3


def test_a_partner_id_and_an_ae_title_go_to_exactly_one_of_many(databases):
    def add(number):
        same_ae = (ApplicationEntity("PACS"),)
        new = Registration(f"hospital-{number % 2}", "Hospital", application_entities=same_ae)
        try:
            with databases[number].transaction() as session:
                partners.add(session, new)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add, range(4))) == [False, False, False, True]
    with databases[0].reading() as session:
        [registered] = partners.every(session)
        assert registered.application_entities == (ApplicationEntity("PACS"),)
