"""How long a hospital waits for a search among 20,000 studies and a million instances: QIDO-RS over one connection."""

import http.client
import random
import time
from collections.abc import Callable, Iterator
from statistics import quantiles
from urllib.parse import urlencode

from gateway.config import Config
from gateway.services import build_services
from tests.bench.large_index import STUDIES, Study, fill
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import PostgresCluster, server_programs

REQUESTS = 200
PAGE = 100

Asks = Callable[[Study], dict[str, str]]

QUERIES: dict[str, Asks] = {
    "patient ID": lambda study: {"PatientID": study.patient_id},
    "accession number": lambda study: {"AccessionNumber": study.accession},
    "Study Instance UID": lambda study: {"StudyInstanceUID": study.uid},
    "name": lambda study: {"PatientName": study.name.split("=")[0]},
    "beginning of a name": lambda study: {"PatientName": f"{study.name[:5]}*"},
    "middle of a name": lambda study: {"PatientName": f"*{study.name[1:7]}*"},
    "name, fuzzy": lambda study: {"PatientName": _turned(study.name), "fuzzymatching": "true"},
    "day": lambda study: {"StudyDate": study.on},
    "month": lambda study: {"StudyDate": f"{study.on[:6]}01-{study.on[:6]}31"},
    "year": lambda study: {"StudyDate": f"{study.on[:4]}0101-{study.on[:4]}1231"},
    "name and year": lambda study: {
        "PatientName": f"{study.name[:5]}*",
        "StudyDate": f"{study.on[:4]}0101-{study.on[:4]}1231",
    },
    "anything": lambda _: {},
}


def _turned(name: str) -> str:
    return " ".join(reversed(name.split("=")[0].split("^")))


def searches() -> Iterator[tuple[str, str, str]]:
    """On SQLite and, where it is installed, on PostgreSQL."""
    yield from _on("SQLite", {})
    programs = server_programs()
    if programs is not None:
        with PostgresCluster(programs) as cluster:
            yield from _on("PostgreSQL", {"GATEWAY_DATABASE_URL": cluster.create_database()})


def _on(kind: str, environment: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    with GatewayProcess(environment=environment) as gateway:
        partner = gateway.add_partner("hospital", name="Hospital")
        studies = _fill(gateway, partner.id, environment.get("GATEWAY_DATABASE_URL", ""))
        headers = partner.headers() | {"Accept": "application/dicom+json"}
        for asked, ask in QUERIES.items():
            taken = _times(gateway.http_port, headers, ask, studies)
            p50, p95 = quantiles(taken, n=100)[49], quantiles(taken, n=100)[94]
            figure = f"QIDO-RS of {STUDIES:,} studies by {asked}, {kind}, p50 and p95"
            yield figure, "10 ms", f"{p50 * 1000:.1f} ms, {p95 * 1000:.1f} ms"


def _fill(gateway: GatewayProcess, partner_id: str, database_url: str) -> list[Study]:
    """With the vacuum and statistics that PostgreSQL soon makes by itself of tables that have grown."""
    services = build_services(Config(data_dir=gateway.data_dir, database_url=database_url))
    studies = fill(services.database, partner_id)
    if database_url:
        engine = services.database.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    services.database.close()
    return studies


def _times(port: int, headers: dict[str, str], ask: Asks, studies: list[Study]) -> list[float]:
    """Seconds from a request to the end of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    taken = []
    for study in random.Random(7).sample(studies, REQUESTS):
        query = urlencode(ask(study) | {"limit": str(PAGE)})
        started = time.perf_counter()
        connection.request("GET", f"/dicom-web/studies?{query}", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        taken.append(time.perf_counter() - started)
        assert answer.status == 200, (answer.status, body[:1000])
    connection.close()
    return taken
