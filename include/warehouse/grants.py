"""What the group roles of a warehouse may do: `<schema>_loader` and `<schema>_reader`.

Granted with the migrations, in their transaction: a new table is never without its grants. There
are no default privileges: they would open tables to readers before anybody has decided so.
docs/security.md#roles
"""

from collections.abc import Iterator

import psycopg
from psycopg import sql

#: Tables that no reader needs: what is in them is of use to an attacker, or to nobody.
CLOSED_TO_READERS = frozenset({"locks", "oauth_tokens", "rate_limits"})
#: Written by migrations alone.
READ_BY_LOADERS = frozenset({"schema_migrations"})


def loader_role(schema: str) -> str:
    """Return the group of those that load: scans, the API, alerts."""
    return f"{schema}_loader"


def reader_role(schema: str) -> str:
    """Return the group of those that read all tenants' tables: operators, BI."""
    return f"{schema}_reader"


def group_roles(schema: str) -> tuple[str, str]:
    return loader_role(schema), reader_role(schema)


def exists(connection: psycopg.Connection, role: str) -> bool:
    known = "select from pg_catalog.pg_roles where rolname = %s"
    return connection.execute(known, [role]).fetchone() is not None


def grant_rights(connection: psycopg.Connection, schema: str) -> None:
    """Give each group role that exists its rights, and PUBLIC none. May be run any time again.

    To be run by the owner of the schema's tables, or a superuser.
    """
    for statement in _statements(connection, schema):
        connection.execute(statement)


def _statements(connection: psycopg.Connection, schema: str) -> Iterator[sql.Composed]:
    tables = _tables(connection, schema)
    staging = {name: _tables(connection, name) for name in _staging_schemas(connection, schema)}
    for name, own in {schema: tables, **staging}.items():
        yield _on_schema("revoke all on schema {schema} from public", name)
        yield _on_tables("revoke all on {tables} from public", name, own)
    loader, reader = group_roles(schema)
    if exists(connection, loader):
        yield _on_schema("grant usage on schema {schema} to {role}", schema, loader)
        yield _on_tables(
            "grant select, insert, update, delete on {tables} to {role}",
            schema,
            tables - READ_BY_LOADERS,
            loader,
        )
        yield _on_tables("grant select on {tables} to {role}", schema, READ_BY_LOADERS, loader)
        for name, own in staging.items():
            yield _on_schema("grant usage on schema {schema} to {role}", name, loader)
            rights = "grant select, insert, update, delete, truncate on {tables} to {role}"
            yield _on_tables(rights, name, own, loader)
    if exists(connection, reader):
        yield _on_schema("grant usage on schema {schema} to {role}", schema, reader)
        yield _on_tables(
            "grant select on {tables} to {role}", schema, tables - CLOSED_TO_READERS, reader
        )
        # what somebody granted with `on all tables` before
        if closed := tables & CLOSED_TO_READERS:
            yield _on_tables("revoke all on {tables} from {role}", schema, closed, reader)


def _on_schema(statement: str, schema: str, role: str = "public") -> sql.Composed:
    return sql.SQL(statement).format(schema=sql.Identifier(schema), role=sql.Identifier(role))


def _on_tables(
    statement: str, schema: str, tables: frozenset[str], role: str = "public"
) -> sql.Composed:
    names = [sql.Identifier(schema, table) for table in sorted(tables)]
    return sql.SQL(statement).format(tables=sql.SQL(", ").join(names), role=sql.Identifier(role))


def _tables(connection: psycopg.Connection, schema: str) -> frozenset[str]:
    rows = connection.execute(
        "select tablename from pg_catalog.pg_tables where schemaname = %s", [schema]
    )
    return frozenset(name for (name,) in rows)


def _staging_schemas(connection: psycopg.Connection, schema: str) -> list[str]:
    rows = connection.execute(
        "select nspname from pg_catalog.pg_namespace"
        " where starts_with(nspname, %s) and nspname ~ '_stg_slot[0-9]+$' order by nspname",
        [f"{schema}_stg_slot"],
    )
    return [name for (name,) in rows]
