"""How long a hospital waits for a search among 100,000 of its FHIR resources, over one connection."""

import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from statistics import quantiles
from typing import Any

from gateway.case.access import Origin
from gateway.clock import utc_now
from gateway.services import Services
from gateway.store import partners, receipts, resources
from gateway.store.resources import NewVersion
from gateway.workflow.searchable import make_searchable
from tests.bench.databases import environments, filling, times
from tests.support.gateway_process import GatewayProcess

RESOURCES, PATIENTS, BATCH = 100_000, 500, 2_000
FIRST_DAY = date(2021, 1, 1)
SYSTEM = "https://hospital.example/result"

Asks = Callable[[int], str]
QUERIES: dict[str, Asks] = {
    "identifier": lambda n: f"identifier={SYSTEM}|{n}",
    "patient and date": lambda n: f"patient=p{n % PATIENTS}&date=ge{_day(n)}&_sort=-date",
    "patient and code": lambda n: f"patient=p{n % PATIENTS}&code=http://loinc.org|{n % 40}",
    "day": lambda n: f"date={_day(n)}",
    "anything": lambda _: "_count=50",
}


def _day(number: int) -> str:
    return (FIRST_DAY + timedelta(days=number % 1826)).isoformat()


def _observation(number: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "identifier": [{"system": SYSTEM, "value": str(number)}],
        "status": "final",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/x", "code": "laboratory"}]}
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": str(number % 40)}], "text": "Hemoglobin"},
        "subject": {"reference": f"Patient/p{number % PATIENTS}"},
        "effectiveDateTime": f"{_day(number)}T08:30:00+01:00",
        "valueString": f"{number % 97}",
    }


def searches() -> Iterator[tuple[str, str, str]]:
    """On each database."""
    for kind, environment in environments():
        yield from _on(kind, environment)


def _on(kind: str, environment: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    with GatewayProcess(environment=environment) as gateway:
        partner = gateway.add_partner("hospital", name="Hospital")
        with filling(gateway, environment) as services:
            taken = _fill(services, partner.id)
        yield f"{RESOURCES:,} FHIR resources made searchable, {kind}", "60 s", f"{taken:.1f} s"
        for asked, ask in QUERIES.items():
            found = times(gateway.http_port, partner.headers(), partial(_path, ask), range(RESOURCES))
            p50, p95 = quantiles(found, n=100)[49], quantiles(found, n=100)[94]
            figure = f"FHIR search of {RESOURCES:,} resources by {asked}, {kind}, p50 and p95"
            yield figure, "20 ms", f"{p50 * 1000:.1f} ms, {p95 * 1000:.1f} ms"


def _path(ask: Asks, number: int) -> str:
    return f"/fhir/Observation?{ask(number)}"


def _fill(services: Services, partner_id: str) -> float:
    """Seconds that it takes to make them searchable."""
    with services.database.reading() as session:
        partner = partners.get(session, partner_id).partner
    for start in range(0, RESOURCES, BATCH):
        with services.database.transaction() as session:
            with services.objects.spool() as spool:
                spool.write(str(start).encode())
                stored = services.objects.keep(spool)
            receipt = receipts.add(session, partner, stored, Origin("fhir"), "application/fhir+json")
            new = [
                NewVersion("Observation", f"o{n}", f"o{n}", "Bundle.entry[0].resource", _observation(n))
                for n in range(start, start + BATCH)
            ]
            resources.save(session, partner, receipt, new, utc_now())
    started = time.perf_counter()
    make_searchable(services, partner)
    return time.perf_counter() - started
