"""Runs the migrations on the connection that `search/migration.py` hands over."""

from alembic import context

from search.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
