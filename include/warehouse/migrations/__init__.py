"""Numbered SQL files, applied once each, in order, under a lock. Forward only.

`python -m include.warehouse.migrations` applies them by hand; every scan does so first.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from include.errors import HubSpotDealsError, WarehouseConfigError, WarehouseUnavailableError
from include.warehouse.connection import Warehouse, WarehouseConnection, require_usable
from include.warehouse.tenant_views.roles import grant_rights

log = logging.getLogger(__name__)

#: How long to wait for a table that another session reads. Sessions that come later queue behind
#: us for as long.
LOCK_TIMEOUT = "30s"

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


def migrations() -> list[tuple[int, Path]]:
    """Return (version, file), ascending."""
    folder = Path(__file__).parent
    return sorted(
        (int(match[1]), path)
        for path in folder.glob("*.sql")
        if (match := _FILE_NAME.fullmatch(path.name))
    )


def migrate(warehouse: Warehouse) -> list[int]:
    """Bring the schema up to date and return the versions applied now.

    Any number of processes may call this at once: the first applies the migrations, the others wait
    and find nothing to do. A failed migration is rolled back. If there are group roles, they get
    their rights on new tables in the same transaction.

    Raises WarehouseConfigError if the server or its settings can't be used (`require_usable`), if
    the role lacks rights, or if the schema is newer than this code; WarehouseUnavailableError if
    another session locks a table for longer than LOCK_TIMEOUT.
    """
    with warehouse.connect() as connection:
        require_usable(connection)
        if _version(connection) == migrations()[-1][0]:
            return []
    schema = warehouse.schema
    # Take the lock in the first statement of a new transaction, so that the next ones see what was
    # committed while we waited.
    with warehouse.connect() as connection:
        try:
            have = _lock(connection)
            # a reader may lock a table for any time, and all others would queue behind us
            connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            applied = list(_apply_missing(connection, have))
            if applied:
                grant_rights(connection, schema)
        except psycopg.errors.InsufficientPrivilege as exc:
            raise _may_not(warehouse, exc) from exc
        except (
            psycopg.errors.DuplicateSchema,
            psycopg.errors.DuplicateTable,
            psycopg.errors.DuplicateFunction,
        ) as exc:
            raise WarehouseConfigError(
                f"schema {schema} can't be created: {exc.diag.message_primary}, and does not "
                "belong to this warehouse.",
                remedy="Choose another DLT_DATABASE_SCHEMA, or remove the other object.",
            ) from exc
    log.info("warehouse schema %s: applied migrations %s", schema, applied)
    return applied


def _lock(connection: WarehouseConnection) -> int:
    """Lock out other migrations until the transaction ends; return the schema's version.

    It is a table lock, in a mode that a role that only reads can't take. Any role can take the
    other lock, which is needed only until there is a table.
    """
    if not _has_history(connection):
        key = "select pg_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))"
        connection.execute(key, [f"{connection.schema}:migrations"])
    if not _has_history(connection):
        _run_script(connection, _CREATE_HISTORY)
        return 0
    have = _version(connection)
    if have < migrations()[-1][0]:
        connection.run("lock table {schema_migrations} in share row exclusive mode")
        have = _version(connection)
    return have


def _may_not(warehouse: Warehouse, exc: psycopg.errors.InsufficientPrivilege) -> HubSpotDealsError:
    schema = warehouse.schema
    with warehouse.connect() as connection:
        if connection.execute(_IS_MIGRATED, [schema]).fetchone() is not None:
            return WarehouseUnavailableError(
                f"another process is migrating the schema {schema}.",
                remedy="Wait until it has finished.",
            )
        return WarehouseConfigError(
            f"schema {schema} is at version {_version(connection)}, this code needs "
            f"{migrations()[-1][0]}, and the role {connection.info.user} may not migrate it: "
            f"{exc.diag.message_primary}.",
            remedy="Run `python -m include.warehouse.migrations` with DATABASE_URL as the schema's "
            "owner.",
        )


def _apply_missing(connection: WarehouseConnection, have: int) -> Iterator[int]:
    newest = migrations()[-1][0]
    if have > newest:
        raise WarehouseConfigError(
            f"schema {connection.schema} is at version {have}, this code knows versions up to "
            f"{newest}.",
            remedy="Deploy the newer code again: migrations are forward only.",
        )
    for version, path in migrations():
        if version > have:
            _run_script(connection, path.read_text())
            connection.run(
                "insert into {schema_migrations} (version, name) values (%s, %s)",
                [version, path.stem],
            )
            yield version


_IS_MIGRATED = """
    select from pg_catalog.pg_locks lock
    join pg_catalog.pg_class relation on relation.oid = lock.relation
    join pg_catalog.pg_namespace namespace on namespace.oid = relation.relnamespace
    where lock.mode = 'ShareRowExclusiveLock' and lock.granted
          and namespace.nspname = %s and relation.relname = 'schema_migrations'
"""
_CREATE_HISTORY = """
    create schema if not exists {schema};
    create table {schema}.schema_migrations (
        version integer primary key,
        name text not null,
        applied_at timestamptz not null default now()
    );
    comment on table {schema}.schema_migrations is 'Which numbered migrations are applied.';
    comment on column {schema}.schema_migrations.version is 'The number in the file''s name.';
    comment on column {schema}.schema_migrations.name is 'The file''s name without `.sql`.';
"""


def _has_history(connection: WarehouseConnection) -> bool:
    known = connection.execute(
        "select from pg_catalog.pg_tables "
        "where schemaname = %s and tablename = 'schema_migrations'",
        [connection.schema],
    )
    return known.fetchone() is not None


def _version(connection: WarehouseConnection) -> int:
    if not _has_history(connection):
        return 0
    row = connection.run("select coalesce(max(version), 0) from {schema_migrations}").fetchone()
    return int(row[0]) if row else 0


def _run_script(connection: WarehouseConnection, script: str) -> None:
    schema = connection.schema
    parts = {"schema": sql.Identifier(schema), "schema_name": sql.Literal(schema)}
    connection.run(script, parts=parts)
