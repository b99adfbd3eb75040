"""What the tests of tenants' views have in common: definitions, rows, logins."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql
from psycopg.types.json import Jsonb

from include.warehouse.connection import Warehouse
from include.warehouse.tenant_views.views import publish_views

# Roles are the cluster's: the ids must not be those of other tests.
OURS, THEIRS = "tv_acme", "tv_globex"
PASSWORD = "only for tests"
TYPED = {"dealstage": "stage_id", "amount": "amount"}
OBJECTS = ["deals", "contacts"]
NOW = datetime(2024, 5, 1, tzinfo=UTC)


def make_login(database_url: str, name: str, options: str) -> str:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            sql.SQL("create role {} login password {} " + options).format(
                sql.Identifier(name), PASSWORD
            )
        )
    return conninfo.make_conninfo(database_url, user=name, password=PASSWORD)


def define(
    warehouse: Warehouse,
    name: str,
    property_type: str = "string",
    field_type: str = "text",
    *,
    tenant_id: str = OURS,
    crm_object: str = "deals",
    archived: bool = False,
    label: str | None = None,
    description: str = "",
) -> None:
    definition = Jsonb({"description": description})
    execute(
        warehouse,
        "insert into {schema}.property_definitions (_tenant_id, object, name, property_type,"
        " field_type, calculated, options, archived, listed, label, definition)"
        " values (%s, %s, %s, %s, %s, false, '[]', %s, not %s, %s, %s)"
        " on conflict (_tenant_id, object, name) do update"
        " set property_type = excluded.property_type, field_type = excluded.field_type,"
        " label = excluded.label, definition = excluded.definition",
        [
            *(tenant_id, crm_object, name, property_type, field_type),
            *(archived, archived, label, definition),
        ],
    )


def add_deal(
    warehouse: Warehouse, deal_id: int, *, tenant_id: str = OURS, **columns: object
) -> None:
    row = {"properties": {}, "archived": False, "_scan_id": "s", "_extracted_at": NOW, **columns}
    insert(warehouse, "deals", {"_tenant_id": tenant_id, "deal_id": deal_id, **row})


def add_record(warehouse: Warehouse, record_id: int, crm_object: str, **columns: object) -> None:
    row = {"properties": {}, "archived": False, "_scan_id": "s", "_extracted_at": NOW, **columns}
    row = {"_tenant_id": OURS, "object": crm_object, "record_id": record_id, **row}
    insert(warehouse, "records", row)


def insert(warehouse: Warehouse, table: str, row: dict[str, Any]) -> None:
    values = [Jsonb(v) if isinstance(v, dict) else v for v in row.values()]
    names = sql.SQL(", ").join(map(sql.Identifier, row)).as_string()
    places = ", ".join(["%s"] * len(row))
    execute(warehouse, f"insert into {{schema}}.{table} ({names}) values ({places})", values)


def execute(warehouse: Warehouse, statement: str, values: list[Any] | None = None) -> None:
    with warehouse.connect() as connection:
        connection.execute(composed(warehouse, statement), values)


def rows(warehouse: Warehouse, statement: str, values: list[Any] | None = None) -> list[Any]:
    with warehouse.connect() as connection:
        return connection.execute(composed(warehouse, statement), values).fetchall()


def composed(warehouse: Warehouse, statement: str) -> sql.Composed:
    return sql.SQL(statement).format(
        schema=sql.Identifier(warehouse.schema),
        ours=sql.Identifier(f"{warehouse.schema}__{OURS}"),
    )


def publish(
    warehouse: Warehouse, tenant_id: str = OURS, objects: list[str] | None = None
) -> list[str]:
    return publish_views(warehouse, tenant_id, objects or OBJECTS, TYPED)


def columns_of(warehouse: Warehouse, view: str) -> dict[str, str]:
    found = rows(
        warehouse,
        "select column_name, data_type from information_schema.columns"
        " where table_schema = %s and table_name = %s order by ordinal_position",
        [f"{warehouse.schema}__{OURS}", view],
    )
    return dict(found)


def comments_of(warehouse: Warehouse, view: str) -> dict[str, str | None]:
    found = rows(
        warehouse,
        "select attname::text, col_description(attrelid, attnum) from pg_attribute"
        " where attrelid = to_regclass(%s) and attnum > 0",
        [f"{warehouse.schema}__{OURS}.{view}"],
    )
    return dict(found)


def views_of(warehouse: Warehouse) -> set[str]:
    found = rows(
        warehouse,
        "select viewname from pg_views where schemaname = %s",
        [f"{warehouse.schema}__{OURS}"],
    )
    return {name for (name,) in found}


def oid_of(warehouse: Warehouse, view: str) -> list[Any]:
    return rows(warehouse, f"select '{{ours}}.{view}'::regclass::oid")


def build_time(warehouse: Warehouse) -> list[Any]:
    return rows(warehouse, "select built_at, signature from {schema}.tenant_views")


def refused(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)
