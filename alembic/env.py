"""Runs the migrations, on the connection that `syncd db upgrade` hands in or on the one its URL names."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from sqlmodel import SQLModel

import syncd.store.tables  # noqa: F401 (fills the metadata)
from syncd.store.session import open_engine


def render_item(kind: str, item: Any, autogen: Any) -> str | Literal[False]:
    """Plain SQLAlchemy types in migrations: an old one must not depend on what SQLModel calls things today."""
    if kind != "type":
        return False
    name = type(item).__name__
    if name == "AutoString":
        return "sa.String()"
    if name == "UTCDateTime":
        return "sa.DateTime(timezone=True)"
    if isinstance(item, sa.JSON):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


def include_object(_object: Any, name: str | None, kind: str, _reflected: bool, _compared: Any) -> bool:
    return not (kind == "table" and name is not None and name.startswith("v_"))


def run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=True,
        compare_type=True,
        render_item=render_item,
        include_object=include_object,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed_in = context.config.attributes.get("connection")
if handed_in is not None:
    run(handed_in)
else:
    url = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True)["url"]
    with open_engine(url).begin() as own:
        run(own)
