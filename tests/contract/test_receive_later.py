"""Bundles that are received later, on SQLite and PostgreSQL: nothing that was acknowledged is lost or done twice."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.case.access import SYSTEM_ACTOR, Origin, Partner
from gateway.errors import Conflict, NotFound, StoreUnavailable
from gateway.services import Services
from gateway.store import async_requests, cases, partners, receipts
from gateway.store.async_requests import BUNDLE, DONE, FAILED
from gateway.store.objects import keep_bytes
from gateway.store.partners import Registration
from gateway.workflow import receive_later, respond_async
from gateway.workflow.durable import Work
from tests.support.bundles import referral

ORIGIN = Origin("fhir", "test")
FHIR_JSON = "application/fhir+json"


@pytest.fixture
def partner(services: Services) -> Partner:
    registered = Registration(id="h", name="H", assigning_authority="urn:h", jwks={"keys": []}, scopes=())
    with services.database.transaction() as session:
        partners.add(session, registered)
    return Partner("h", "H", "urn:h")


def ask(services: Services, partner: Partner) -> str:
    stored = keep_bytes(services.objects, [json.dumps(referral("1")).encode()])
    asked = {
        "key": stored.key,
        "sha256": stored.sha256,
        "size_bytes": stored.size_bytes,
        "content_type": FHIR_JSON,
        "is_message": False,
        "returns": "",
        "media_type": FHIR_JSON,
        "release": "",
        "request_id": "asked-1",
    }
    work = Work.RECEIVE_BUNDLE
    return respond_async.ask(services, partner, work, BUNDLE, "https://g.example/fhir/", asked, ORIGIN)


def state(services: Services, request_id: str) -> str:
    with services.database.reading() as session:
        return async_requests.get(session, request_id).state


def count_cases(services: Services) -> int:
    with services.database.reading() as session:
        return len(session.scalars(cases.visible(SYSTEM_ACTOR)).all())


def unavailable(*_: Any) -> str:
    raise StoreUnavailable


def test_after_a_failure_it_is_received_once(services: Services, partner: Partner) -> None:
    request_id = ask(services, partner)
    assert not receive_later.attempt(replace(services, answer_later=unavailable), request_id, False)
    for _ in range(2):
        assert receive_later.attempt(services, request_id, False)
    assert (state(services, request_id), count_cases(services)) == (DONE, 1)


def test_one_killed_after_it_was_received_is_answered_all_the_same(
    services: Services, partner: Partner
) -> None:
    request_id = ask(services, partner)

    def killed(*asked: Any) -> str:
        services.answer_later(*asked)
        raise StoreUnavailable

    assert not receive_later.attempt(replace(services, answer_later=killed), request_id, False)
    assert receive_later.attempt(services, request_id, False)
    assert (state(services, request_id), count_cases(services)) == (DONE, 1)


def test_what_was_not_begun_can_be_cancelled_and_is_not_received(
    services: Services, partner: Partner
) -> None:
    request_id = ask(services, partner)
    respond_async.cancel(services, partner, request_id, ORIGIN)
    assert receive_later.attempt(services, request_id, False)
    assert count_cases(services) == 0


def test_what_is_being_received_cannot_be_cancelled(services: Services, partner: Partner) -> None:
    request_id = ask(services, partner)
    assert respond_async.begin(services, request_id)
    with pytest.raises(Conflict):
        respond_async.cancel(services, partner, request_id, ORIGIN)
    with pytest.raises(NotFound):
        respond_async.cancel(services, Partner("i", "I", ""), request_id, ORIGIN)
    assert receive_later.attempt(services, request_id, False)
    assert count_cases(services) == 1


def test_what_could_not_be_received_for_days_is_shown_to_a_person(
    services: Services, partner: Partner
) -> None:
    request_id = ask(services, partner)
    assert receive_later.attempt(replace(services, answer_later=unavailable), request_id, True)
    assert state(services, request_id) == FAILED
    with services.database.reading() as session:
        [refused] = receipts.refused(session, SYSTEM_ACTOR)
    assert (refused.cause, refused.content_type) == ("StoreUnavailable", FHIR_JSON)
