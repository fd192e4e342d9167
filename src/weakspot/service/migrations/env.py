"""Alembic's entry: runs what is missing inside the transaction of the connection it is given."""

from alembic import context

from weakspot.service.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
