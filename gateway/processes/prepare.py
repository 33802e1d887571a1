"""What must be in place before a part starts."""

from datetime import timedelta

import structlog

from gateway.config import Config
from gateway.processes import parts
from gateway.services import Services, build_services
from gateway.store import heartbeats, migrations
from gateway.store.objects import remove_abandoned_spools
from gateway.workflow.index_again import index_again, index_left_behind

_MARGIN = timedelta(minutes=1)  # a clock that was set, and files that were kept before their index

log = structlog.get_logger(__name__)


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
    services = build_services(config)
    index_left_behind(services)
    _index_again(services)
    with services.database.transaction() as session:
        heartbeats.forget(session, (parts.DIMSE, parts.WORKER), parts.machine())
    services.database.close()
    remove_abandoned_spools(config.data_dir / "incoming")


def _index_again(services: Services) -> None:
    """A beat is a commit that the disk has, and all before it with it."""
    with services.database.reading() as session:
        certain = heartbeats.latest(session)
    if certain is not None and (count := index_again(services, certain - _MARGIN)):
        log.warning("indexed-again-after-loss-of-power", instances=count)
