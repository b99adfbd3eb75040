"""Numbered SQL files, applied once each, in order, under a lock. Forward only.

`python -m include.warehouse.migrations` applies them by hand; every scan does so first.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from include.errors import WarehouseConfigError
from include.warehouse.connection import Warehouse
from include.warehouse.grants import grant_rights
from include.warehouse.locks import lock_key

log = logging.getLogger(__name__)

#: As PostgreSQL counts: the first with the MERGE statement.
MIN_SERVER_VERSION = 150_000

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


def migrations() -> list[tuple[int, Path]]:
    """Return (version, file), ascending."""
    folder = Path(__file__).parent
    return sorted(
        (int(match[1]), path)
        for path in folder.glob("*.sql")
        if (match := _FILE_NAME.fullmatch(path.name))
    )


def migrate(warehouse: Warehouse, tenant_id: str | None = None) -> list[int]:
    """Bring the schema up to date and return the versions applied now.

    Any number of processes may call this at once: the first applies, the others wait, then find
    nothing to do. A migration that fails leaves nothing of itself. The group roles, if there are
    any, get their rights on what is new in the same transaction.

    Raises WarehouseConfigError if the role may not, or if the schema is newer than this code.
    """
    with warehouse.connect(tenant_id) as connection:
        if _version(connection, warehouse.schema) == migrations()[-1][0]:
            return []
        _require_merge(connection)
    # A session of its own, and the lock its first statement: what was looked up before waiting
    # must not answer for what is there after it.
    with warehouse.connect(tenant_id) as connection:
        key = lock_key(f"{warehouse.schema}:migrate")
        connection.execute("select pg_advisory_xact_lock(%s)", [key])
        have = _version(connection, warehouse.schema)
        try:
            applied = list(_apply_missing(connection, warehouse.schema, have))
            if applied:
                grant_rights(connection, warehouse.schema)
        except psycopg.errors.InsufficientPrivilege as exc:
            raise _may_not(connection, warehouse.schema, have, tenant_id, exc) from exc
    log.info("warehouse schema %s: applied migrations %s", warehouse.schema, applied)
    return applied


def _require_merge(connection: psycopg.Connection) -> None:
    version = connection.info.server_version
    if version < MIN_SERVER_VERSION:
        raise WarehouseConfigError(
            f"the warehouse is PostgreSQL {version // 10_000}; dlt's upsert needs MERGE.",
            remedy=f"Use PostgreSQL {MIN_SERVER_VERSION // 10_000} or newer.",
        )


def _may_not(
    connection: psycopg.Connection,
    schema: str,
    have: int,
    tenant_id: str | None,
    exc: psycopg.errors.InsufficientPrivilege,
) -> WarehouseConfigError:
    return WarehouseConfigError(
        f"schema {schema} is at version {have}, this code needs {migrations()[-1][0]}, and the "
        f"role {connection.info.user} may not migrate it: {exc.diag.message_primary}.",
        tenant_id=tenant_id,
        remedy="Run `python -m include.warehouse.migrations` with DATABASE_URL as the schema's "
        "owner.",
    )


def _apply_missing(connection: psycopg.Connection, schema: str, have: int) -> Iterator[int]:
    newest = migrations()[-1][0]
    if have > newest:
        raise WarehouseConfigError(
            f"schema {schema} is at version {have}, this code knows versions up to {newest}.",
            remedy="Deploy the newer code again: migrations are forward only.",
        )
    if have == 0:
        connection.execute(_compose(_CREATE_HISTORY, schema))
    for version, path in migrations():
        if version > have:
            connection.execute(_compose(path.read_text(), schema))
            connection.execute(_compose(_RECORD, schema), [version, path.stem])
            yield version


_CREATE_HISTORY = """
    create schema if not exists {schema};
    create table {schema}.schema_migrations (
        version integer primary key,
        name text not null,
        applied_at timestamptz not null default now()
    );
"""
_RECORD = "insert into {schema}.schema_migrations (version, name) values (%s, %s)"


def _version(connection: psycopg.Connection, schema: str) -> int:
    known = connection.execute(
        "select from pg_catalog.pg_tables "
        "where schemaname = %s and tablename = 'schema_migrations'",
        [schema],
    ).fetchone()
    if known is None:
        return 0
    row = connection.execute(
        _compose("select coalesce(max(version), 0) from {schema}.schema_migrations", schema)
    ).fetchone()
    return int(row[0]) if row else 0


def _compose(statement: str, schema: str) -> sql.Composed:
    return sql.SQL(statement).format(schema=sql.Identifier(schema), schema_name=sql.Literal(schema))
