"""Warehouses of earlier versions: built, filled, and described so that two can be compared."""

import json
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.warehouse import migrations as migrations_module
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate, migrations

SCAN = "00000000-0000-4000-8000-000000000001"
#: What a column is filled with where its type alone does not say.
_BY_NAME: dict[str, Any] = {
    "scan_id": SCAN,
    "_scan_id": SCAN,
    "tenant_id": "other",
    "_tenant_id": "other",
    "state": "succeeded",
    "status": "passed",
    "severity": "warn",
    "mode": "full",
    "kind": "failure",
    "event": "failure",
    "object": "deals",
    "from_object": "deals",
    "to_object": "contacts",
    "deal_name": "Größe XL - 20 %",
    "amount": "12345678901234567890.123456789",
    "properties": json.dumps({"dealname": "Größe XL - 20 %", "note": "línea\n☃", "empty": ""}),
    "version": 1,
    "slot": 99,
}
_BY_TYPE: dict[str, Any] = {
    "text": "text",
    "character varying": "text",
    "boolean": True,
    "integer": 7,
    "bigint": 4_000_000_000,
    "numeric": "0.5",
    "double precision": 0.5,
    "jsonb": '{"a": [1, null, "ü"]}',
    "json": '{"a": [1, null, "ü"]}',
    "timestamp with time zone": "2025-02-28T23:59:59.123456Z",
    "ARRAY": "{}",
}
#: Tables that others refer to come first.
_FIRST = ("scans", "incidents")


def build_version(warehouse: Warehouse, version: int) -> None:
    """Make the schema as it was when *version* was the newest migration."""
    known = [(number, path) for number, path in migrations() if number <= version]
    with pytest.MonkeyPatch.context() as then:
        then.setattr(migrations_module, "migrations", lambda: known)
        migrate(warehouse)


def fill(warehouse: Warehouse) -> None:
    """Write one row into every table there is, in the staging schemas too."""
    with warehouse.connect() as connection:
        for schema, table in _tables(connection, warehouse.schema):
            row = _row(connection, schema, table)
            connection.execute(
                sql.SQL("insert into {} ({}) values ({})").format(
                    sql.Identifier(schema, table),
                    sql.SQL(", ").join(map(sql.Identifier, row)),
                    sql.SQL(", ").join(sql.Placeholder() * len(row)),
                ),
                list(row.values()),
            )


def rows(warehouse: Warehouse) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, as JSON."""
    with warehouse.connect() as connection:
        return {
            f"{schema}.{table}": [
                row
                for (row,) in connection.execute(
                    sql.SQL("select to_jsonb(t) from {} t order by to_jsonb(t)::text").format(
                        sql.Identifier(schema, table)
                    )
                )
            ]
            for schema, table in _tables(connection, warehouse.schema)
        }


def description(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """All that PostgreSQL knows of the schema and its staging schemas, without any rows."""
    with warehouse.connect() as connection:
        return {
            name: connection.execute(
                f"with ours as ({_NAMESPACES}) {query}".replace(
                    "{schema}", warehouse.schema
                ).encode(),
                {"schema": warehouse.schema},
            ).fetchall()
            for name, query in _DESCRIPTION.items()
        }


def _tables(connection: psycopg.Connection, schema: str) -> list[tuple[str, str]]:
    found = connection.execute(
        f"with ours as ({_NAMESPACES}) select nspname, relname from pg_class"
        " join ours on ours.oid = relnamespace where relkind = 'r'"
        " and relname <> 'schema_migrations'".encode(),
        {"schema": schema},
    ).fetchall()
    return sorted(found, key=lambda of: (of[0], of[1] not in _FIRST, of[1]))


def _row(connection: psycopg.Connection, schema: str, table: str) -> dict[str, Any]:
    columns = connection.execute(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = %s and table_name = %s"
        " and is_identity = 'NO' and is_generated = 'NEVER'",
        [schema, table],
    ).fetchall()
    row = {
        # dlt has a `status` that is a number
        name: _BY_TYPE[kind] if kind == "bigint" else _BY_NAME.get(name, _BY_TYPE[kind])
        for name, kind in columns
    }
    if "incident_id" in row:
        newest = sql.SQL("select max(incident_id) from {}").format(
            sql.Identifier(schema, "incidents")
        )
        (row["incident_id"],) = connection.execute(newest).fetchone() or (None,)
    return row


_NAMESPACES = """
    select oid, nspname from pg_namespace
    where nspname = %(schema)s
       or (starts_with(nspname, %(schema)s || '_stg_slot') and nspname ~ '_slot[0-9]+$')
"""
_DESCRIPTION = {
    "schemas": "select nspname, obj_description(oid, 'pg_namespace') from ours order by 1",
    "tables": """
        select nspname, relname, relkind::text, relpersistence::text, reloptions,
               obj_description(c.oid, 'pg_class')
        from pg_class c join ours on ours.oid = relnamespace order by 1, 2
    """,
    "columns": """
        select nspname, relname, attname,
               row_number() over (partition by attrelid order by attnum),
               format_type(atttypid, atttypmod), attnotnull, attidentity::text,
               attgenerated::text, attstorage::text, attcompression::text,
               pg_get_expr(adbin, adrelid), col_description(c.oid, attnum)
        from pg_attribute join pg_class c on c.oid = attrelid
        join ours on ours.oid = relnamespace
        left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where attnum > 0 and not attisdropped order by 1, 2, 4
    """,
    "constraints": """
        select nspname, conrelid::regclass::text, conname, pg_get_constraintdef(c.oid)
        from pg_constraint c join ours on ours.oid = connamespace order by 1, 2, 3
    """,
    "indexes": """
        select nspname, pg_get_indexdef(indexrelid), indisunique, indisprimary
        from pg_index join pg_class c on c.oid = indexrelid
        join ours on ours.oid = relnamespace order by 1, 2
    """,
    "triggers": """
        select nspname, relname, pg_get_triggerdef(t.oid), tgenabled::text
        from pg_trigger t join pg_class c on c.oid = tgrelid
        join ours on ours.oid = relnamespace where not tgisinternal order by 1, 2, 3
    """,
    "functions": """
        select nspname, pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc')
        from pg_proc p join ours on ours.oid = pronamespace order by 1, 2
    """,
    "migrations": "select version, name from {schema}.schema_migrations order by 1",
}
