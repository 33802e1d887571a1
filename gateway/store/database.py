"""Engine and transactions, the same for SQLite on one machine and PostgreSQL on many."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, configure_mappers

from gateway.errors import StoreUnavailable

__all__ = ["Database", "Session", "create_engine"]

SQLITE_BUSY_TIMEOUT_SECONDS = 30


def create_engine(url: str, synchronous: str = "FULL") -> sa.Engine:
    """An engine that has not connected yet. SQLite runs in WAL, with full sync at each commit unless told otherwise.

    Its errors do not quote what was to be stored.
    """
    if url.startswith("sqlite"):
        engine = sa.create_engine(
            url, hide_parameters=True, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        )
        event.listen(engine, "connect", partial(_prepare_sqlite, synchronous))
        event.listen(engine, "begin", _begin_immediate)
        return engine
    url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        return sa.create_engine(url, hide_parameters=True, pool_size=10, max_overflow=20, pool_pre_ping=True)
    except (ArgumentError, ValueError):  # they quote the URL, and with it the password
        raise StoreUnavailable("The database URL cannot be read.") from None


def after_commit(session: Session, act: Callable[[], None]) -> None:
    """``act`` once, if the session's transaction commits; it must not use the session."""
    event.listen(session, "after_commit", lambda _: act(), once=True)


def _is_our_fault(error: Exception) -> bool:
    """A statement that the database will never take, which to send again is of no use.

    SQLite tells SQLITE_ERROR (1), SQLITE_TOOBIG (18) and SQLITE_RANGE (25); PostgreSQL class 54, a program limit.
    """
    cause = getattr(error, "orig", None)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return code in (1, 18, 25) or str(getattr(cause, "sqlstate", None) or "").startswith("54")


def _prepare_sqlite(synchronous: str, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # pysqlite's own BEGIN is deferred; ours is immediate
    settings = (
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        "foreign_keys=ON",
        "wal_autocheckpoint=4000",
    )
    for pragma in settings:
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: Any) -> Any:
    """SQLite's own lower() knows ASCII only."""
    return value.lower() if isinstance(value, str) else value


def _begin_immediate(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("read_only"):
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def warm() -> None:
    """Have SQLAlchemy work out what it does at first use, before processes are forked: about 8 MiB in each of them."""
    configure_mappers()
    engine = create_engine("sqlite://")
    engine.connect().close()
    engine.dispose()


class Database:
    """Opens nothing until the first transaction."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        # On SQLite writers queue for one lock, with their connections: who reads must not stand behind them.
        is_sqlite = self.engine.dialect.name == "sqlite"
        reading = create_engine(url) if is_sqlite else self.engine
        self._repeating = create_engine(url, "NORMAL") if is_sqlite else self.engine
        self._readers = reading.execution_options(read_only=True)

    def close(self) -> None:
        """Close the connections that nobody uses; the next transaction opens new ones."""
        self.engine.dispose()
        self._readers.dispose()
        self._repeating.dispose()

    @property
    def place(self) -> str:
        """For the operator: a file, or a URL without its password."""
        url = self.engine.url
        return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string()

    def has_tables(self) -> bool:
        """Creates nothing, where SQLite would make a file of any name. Raises StoreUnavailable."""
        url = self.engine.url
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            return False
        try:
            with self.reading() as session:
                return sa.inspect(session.connection()).has_table("alembic_version")
        except DBAPIError as error:
            raise StoreUnavailable("The gateway's database cannot be read.") from error

    @contextmanager
    def transaction(self, *, is_repeatable: bool = False) -> Iterator[Session]:
        """One read-write transaction; commits at the end, rolls back on any exception.

        ``is_repeatable``: it is done again at the next start where a loss of power has undone it, so that SQLite need
        not sync its log; the next other commit does. Raises StoreUnavailable when the database cannot be reached or
        stays locked.
        """
        with self._session(self._repeating if is_repeatable else self.engine) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent snapshot for reading; never blocks a writer (SQLite WAL, PostgreSQL MVCC)."""
        with self._session(self._readers) as session:
            yield session

    @contextmanager
    def _session(self, engine: sa.Engine) -> Iterator[Session]:
        try:
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            if _is_our_fault(error):
                raise
            raise StoreUnavailable("The gateway's database is not available; please send again.") from error
