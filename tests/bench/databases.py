"""A gateway on each database that there is, and how long its answers take."""

import http.client
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from gateway.config import Config
from gateway.services import Services, build_services
from tests.support.gateway_process import GatewayProcess
from tests.support.postgres import PostgresCluster, server_programs

REQUESTS = 200
T = TypeVar("T")


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    """SQLite and, where it is installed, PostgreSQL."""
    yield "SQLite", {}
    programs = server_programs()
    if programs is not None:
        with PostgresCluster(programs) as cluster:
            yield "PostgreSQL", {"GATEWAY_DATABASE_URL": cluster.create_database()}


@contextmanager
def filling(gateway: GatewayProcess, environment: dict[str, str]) -> Iterator[Services]:
    """With the vacuum and statistics that PostgreSQL soon makes by itself of tables that have grown."""
    database_url = environment.get("GATEWAY_DATABASE_URL", "")
    services = build_services(Config(data_dir=gateway.data_dir, database_url=database_url))
    yield services
    if database_url:
        engine = services.database.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    services.database.close()


def times(port: int, headers: dict[str, str], path: Callable[[T], str], asked: Sequence[T]) -> list[float]:
    """Seconds from a request to the end of its answer, of REQUESTS of what can be asked for."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    taken = []
    for one in random.Random(7).sample(asked, REQUESTS):
        started = time.perf_counter()
        connection.request("GET", path(one), headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        taken.append(time.perf_counter() - started)
        assert answer.status == 200, (answer.status, body[:1000])
    connection.close()
    return taken
