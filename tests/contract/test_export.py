"""Exports on SQLite and PostgreSQL, as the worker makes them: whole, again after a failure, given up when cancelled."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.case.access import Origin, Partner
from gateway.clock import utc_now
from gateway.errors import NotFound, StoreUnavailable, TooManyRequests
from gateway.services import Services
from gateway.store import async_requests, partners, receipts, resources
from gateway.store.async_requests import BEGUN, DONE, EXPIRED, EXPORT, FAILED
from gateway.store.objects import keep_bytes, read_bytes
from gateway.store.partners import Registration
from gateway.store.resources import NewVersion
from gateway.workflow import export, respond_async
from gateway.workflow.durable import Work
from gateway.workflow.export import Export, Line

ORIGIN = Origin("fhir", "test")
TYPES = ["Observation", "Patient"]


@pytest.fixture
def partner(services: Services) -> Partner:
    registered = Registration(id="h", name="H", assigning_authority="urn:h", jwks={"keys": []}, scopes=())
    with services.database.transaction() as session:
        partners.add(session, registered)
    return Partner("h", "H", "urn:h")


def send(services: Services, partner: Partner, *contents: dict[str, Any]) -> None:
    stored = keep_bytes(services.objects, [json.dumps(contents).encode()])
    with services.database.transaction() as session:
        receipt = receipts.add(session, partner, stored, ORIGIN, "")
        versions = [NewVersion(c["resourceType"], c["id"], c["id"], "", c) for c in contents]
        resources.save(session, partner, receipt, versions, utc_now())


def patient(number: int, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": f"p{number:04}"} | more


def ask(services: Services, partner: Partner, **changed: Any) -> str:
    asked = {"types": TYPES, "since": "", "of_patients": False, "patients": [], "filters": [], "notes": []}
    return respond_async.ask(
        services, partner, Work.EXPORT, EXPORT, "https://g.example/fhir/$export", asked | changed, ORIGIN
    )


def state(services: Services, request_id: str) -> str:
    with services.database.reading() as session:
        return async_requests.get(session, request_id).state


def told(services: Services, request_id: str) -> dict[str, list[dict[str, Any]]]:
    with services.database.reading() as session:
        manifest = export.manifest_of(async_requests.get(session, request_id))
    found: dict[str, list[dict[str, Any]]] = {}
    for file in manifest.output:
        packed = read_bytes(services.objects, export.key_of(request_id, file.number))
        text = gzip.decompress(packed)
        assert (len(packed), len(text)) == (file.gzip_bytes, file.size_bytes)
        found.setdefault(file.type, []).extend(json.loads(line) for line in text.splitlines())
    return found


def test_of_each_resource_the_version_of_the_moment_is_there_once_whatever_comes_while_it_is_written(
    services: Services, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.fhir.export_content._PAGE", 3)
    send(services, partner, *map(patient, range(10)), {"resourceType": "Observation", "id": "o"})
    send(services, partner, patient(3, gender="female"))

    def meanwhile(services: Services, asked: Export) -> Iterator[Line]:
        for number, line in enumerate(services_exported(services, asked)):
            if number == 2:
                send(services, partner, *(patient(n, gender="male") for n in (0, 3, 9, 20)))
            yield line

    services_exported = services.exported
    request_id = ask(services, partner)
    assert export.attempt(replace(services, exported=meanwhile), request_id, False)
    found = told(services, request_id)
    assert [one["id"] for one in found["Observation"]] == ["o"]
    assert [one["id"] for one in found["Patient"]] == [f"p{n:04}" for n in range(10)]
    assert [one.get("gender") for one in found["Patient"]] == [None] * 3 + ["female"] + [None] * 6
    assert {one["meta"]["versionId"] for one in found["Patient"]} == {"1", "2"}


def test_what_was_changed_since_is_there_and_nothing_of_another_partner(
    services: Services, partner: Partner
) -> None:
    send(services, partner, patient(1), patient(2))
    with services.database.transaction() as session:
        partners.add(session, Registration(id="i", name="I", assigning_authority="urn:i", scopes=()))
    send(services, Partner("i", "I", "urn:i"), patient(7))
    since = utc_now().isoformat()
    send(services, partner, patient(2, gender="other"))
    request_id = ask(services, partner, since=since)
    assert export.attempt(services, request_id, False)
    assert [one["id"] for one in told(services, request_id)["Patient"]] == ["p0002"]


def test_a_file_that_is_full_is_followed_by_another(
    services: Services, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "FILE_BYTES", 200)
    monkeypatch.setattr("gateway.fhir.export_content._AT_ONCE_CHARACTERS", 50)
    send(services, partner, *map(patient, range(5)))
    request_id = ask(services, partner)
    assert export.attempt(services, request_id, False)
    with services.database.reading() as session:
        manifest = export.manifest_of(async_requests.get(session, request_id))
    assert [file.count for file in manifest.output] == [2, 2, 1]
    assert len(told(services, request_id)["Patient"]) == 5


def test_after_a_failure_in_the_middle_it_is_made_again_as_of_the_same_moment(
    services: Services, partner: Partner
) -> None:
    send(services, partner, patient(1))

    def failing(services: Services, asked: Export) -> Iterator[Line]:
        yield Line("Patient", "{}")
        raise StoreUnavailable

    request_id = ask(services, partner)
    assert not export.attempt(replace(services, exported=failing), request_id, False)
    assert state(services, request_id) == BEGUN
    send(services, partner, patient(2))
    assert export.attempt(services, request_id, False)
    assert [one["id"] for one in told(services, request_id)["Patient"]] == ["p0001"]
    assert export.attempt(services, request_id, False)
    assert told(services, request_id)


@pytest.mark.parametrize(("error", "last"), [(StoreUnavailable(), True), (ValueError("a fault"), False)])
def test_what_cannot_be_made_is_told_as_failed_and_leaves_no_file(
    services: Services, partner: Partner, error: Exception, last: bool
) -> None:
    def failing(services: Services, asked: Export) -> Iterator[Line]:
        yield Line("Observation", "{}")
        yield Line("Patient", "{}")
        raise error

    request_id = ask(services, partner)
    assert export.attempt(replace(services, exported=failing), request_id, last)
    assert state(services, request_id) == FAILED
    with pytest.raises(NotFound):
        services.objects.open(export.key_of(request_id, 1))


def test_one_that_is_cancelled_while_it_is_written_is_given_up_and_leaves_no_file(
    services: Services, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LOOK_EVERY", 1)
    request_id = ask(services, partner)

    def cancelled(services: Services, asked: Export) -> Iterator[Line]:
        yield Line("Observation", "{}")
        yield Line("Patient", "{}")
        respond_async.cancel(services, partner, request_id, ORIGIN)
        yield Line("Patient", "{}")
        raise AssertionError("it goes on")

    assert export.attempt(replace(services, exported=cancelled), request_id, False)
    with pytest.raises(NotFound):
        services.objects.open(export.key_of(request_id, 1))
    assert export.attempt(services, request_id, False)  # it was cancelled, so there is nothing to do
    with services.database.reading() as session, pytest.raises(NotFound):
        async_requests.of_partner(session, partner, request_id)


def test_what_has_expired_is_removed_and_the_rest_stays(
    services: Services, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(services, partner, patient(1))
    with monkeypatch.context() as soon:
        soon.setitem(respond_async.KEPT, EXPORT, timedelta(0))
        expired = ask(services, partner)
        assert export.attempt(services, expired, False)
    stays = ask(services, partner)
    assert export.attempt(services, stays, False)
    assert respond_async.remove_expired(services) == 1
    assert respond_async.remove_expired(services) == 0
    assert (state(services, expired), state(services, stays)) == (EXPIRED, DONE)
    with pytest.raises(NotFound):
        services.objects.open(export.key_of(expired, 1))
    assert told(services, stays)


def test_a_partner_has_a_few_at_one_time(services: Services, partner: Partner) -> None:
    for _ in range(respond_async.MOST_UNFINISHED[EXPORT]):
        ask(services, partner)
    with pytest.raises(TooManyRequests):
        ask(services, partner)
