"""The same database on SQLite and on PostgreSQL: empty, or with all tables."""

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.processes import prepare
from gateway.services import Services, build_services
from gateway.store.database import Database

KINDS = ("sqlite", "postgresql")


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database in which nothing is yet."""
    return _sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture(scope="session")
def migrated_once(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """For a kind of database, the URL of one with all tables, to be copied."""

    @cache
    def migrated(kind: str) -> str:
        folder = tmp_path_factory.mktemp(kind)
        cluster = None if kind == "sqlite" else request.getfixturevalue("postgres_cluster")
        url = cluster.create_database() if cluster else _sqlite_url(folder)
        prepare.migrate(Config(data_dir=folder, database_url=url))
        return url

    return migrated


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, migrated_once: Callable[[str], str], tmp_path: Path) -> str:
    """The URL of a database with all tables, without rows."""
    template = migrated_once(request.param)
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_cluster").create_database(like=template)
    shutil.copy(template.removeprefix("sqlite:///"), tmp_path)
    return _sqlite_url(tmp_path)


def _sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'gateway.sqlite'}"


@pytest.fixture
def config(database_url: str, tmp_path: Path) -> Config:
    return Config(data_dir=tmp_path, database_url=database_url)


@pytest.fixture
def services(config: Config) -> Iterator[Services]:
    built = build_services(config)
    yield built
    built.database.close()


@pytest.fixture
def database(services: Services) -> Database:
    return services.database
