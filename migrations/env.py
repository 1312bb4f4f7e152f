# ruff: noqa: INP001 - Alembic loads this by its path; it is no module of a package
"""Runs the revisions on the connection that `syncd.ledger.schema` hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
