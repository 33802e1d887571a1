"""What must be in place before a part starts."""

from gateway.config import Config
from gateway.processes import parts
from gateway.services import build_services
from gateway.store import heartbeats, migrations
from gateway.store.objects import remove_abandoned_spools


def migrate(config: Config) -> None:
    """Create or update all tables; processes that do so at once take turns. Raises StoreUnavailable."""
    from gateway.workflow import durable

    database = build_services(config).database
    try:
        migrations.upgrade(database)
    finally:
        database.close()
    durable.migrate(config.sqlalchemy_url)


def prepare(config: Config) -> None:
    """Before the parts of this machine start together: the schema, and nothing left of an earlier run."""
    migrate(config)
    database = build_services(config).database
    with database.transaction() as session:
        heartbeats.forget(session, (parts.DIMSE, parts.WORKER), parts.machine())
    database.close()
    remove_abandoned_spools(config.data_dir / "incoming")
