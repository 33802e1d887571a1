"""Run by alembic for each command; the connection comes from ``upgrade``, with its transaction open."""

from alembic import context

from gateway.store.tables import Row

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Row.metadata,
    render_as_batch=connection.dialect.name == "sqlite",  # SQLite cannot alter a column in place
)
context.run_migrations()
