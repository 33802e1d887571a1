"""The database's schema, made and changed step by step by alembic.

A change of ``tables.py`` needs a new revision in ``versions``; ``tests/contract/test_database.py``
prints the operations that are missing.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.errors import StoreUnavailable
from gateway.store.database import Database

_LOCK = 4_702_111_001  # any number that nobody else in this database locks


def upgrade(database: Database) -> None:
    """Bring the schema to the newest revision, all in one transaction; processes that do so at once take turns.

    Raises StoreUnavailable when the database cannot be reached.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    try:
        with database.engine.begin() as connection:  # SQLite: BEGIN IMMEDIATE, one writer
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise StoreUnavailable("The gateway's database is not available.") from error
