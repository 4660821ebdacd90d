"""Runs the migrations on the connection that `search/sql/connection/migration.py` hands over."""

from alembic import context

from brainformer.search.sql.connection.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
