"""Rows of scans as they come to be, for tests and benchmarks of what is shown of them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from include.scan import scan_id
from include.warehouse.connection import Warehouse

#: A property's value that must not be in a log or an error.
SECRET_VALUE = "Must-Not-Be-Logged-4711"


def run_of(tenant_id: str, number: int) -> tuple[str, str, str]:
    """Return scan id, DAG id and run id."""
    dag_id, run_id = f"hubspot_deals__{tenant_id}", f"manual__{number}"
    return scan_id(dag_id, run_id), dag_id, run_id


def add_scan(
    warehouse: Warehouse,
    tenant_id: str,
    number: int = 1,
    *,
    state: str = "succeeded",
    age: timedelta = timedelta(hours=1),
    took: timedelta = timedelta(seconds=30),
    deals: Mapping[str, Any] | None = None,
    **columns: Any,
) -> str:
    """Add a scan's row, and if *deals* is given its row in `scan_objects`; return its id."""
    id_, dag_id, run_id = run_of(tenant_id, number)
    started = columns.pop("started_at", datetime.now(UTC) - age)
    row = {
        "scan_id": id_,
        "tenant_id": tenant_id,
        "dag_id": dag_id,
        "run_id": run_id,
        "mode": "auto",
        "state": state,
        "attempt": 2,
        "started_at": started,
        "finished_at": started + took if state in ("succeeded", "failed", "cancelled") else None,
        **columns,
    }
    insert(warehouse, "scans", row)
    if deals is not None:
        add_object(warehouse, tenant_id, number, **deals)
    return id_


def add_object(
    warehouse: Warehouse, tenant_id: str, number: int = 1, name: str = "deals", **columns: Any
) -> None:
    row = {
        "scan_id": run_of(tenant_id, number)[0],
        "tenant_id": tenant_id,
        "object": name,
        "mode": "full",
        "reason": "it was requested",
        **columns,
    }
    insert(warehouse, "scan_objects", row)


def add_check(
    warehouse: Warehouse, tenant_id: str, number: int, name: str, status: str, **columns: Any
) -> None:
    row = {
        "scan_id": run_of(tenant_id, number)[0],
        "tenant_id": tenant_id,
        "check_name": name,
        "status": status,
        "severity": "warn",
        "observed": 3,
        "at_most": 0,
        "why": "because",
        **columns,
    }
    insert(warehouse, "quality_results", row)


def add_deals(
    warehouse: Warehouse, tenant_id: str, number: int, count: int, first: int = 1
) -> None:
    """Add deals that a scan wrote, with ids from *first* on and a value that must not be logged."""
    with psycopg.connect(**warehouse.parameters) as connection:
        connection.execute(
            sql.SQL(
                "insert into {} (_tenant_id, deal_id, deal_name, amount, archived, created_at,"
                " updated_at, properties, _scan_id, _extracted_at)"
                " select %(tenant)s, n, 'Deal ' || n || ' 😀 \"quoted\"', n + 0.25, false,"
                " '2026-01-01Z', '2026-01-02Z', jsonb_build_object('dealname', 'Deal ' || n,"
                " 'secret', %(value)s::text, 'empty', null), %(scan)s, now()"
                " from generate_series(%(first)s::bigint, %(first)s::bigint + %(count)s - 1) as n"
            ).format(sql.Identifier(warehouse.schema, "deals")),
            {
                "tenant": tenant_id,
                "value": SECRET_VALUE,
                "scan": run_of(tenant_id, number)[0],
                "first": first,
                "count": count,
            },
        )


def insert(warehouse: Warehouse, table: str, row: Mapping[str, Any]) -> None:
    values = {
        name: Jsonb(value) if name in {"warnings", "misfits", "repairs"} else value
        for name, value in row.items()
    }
    with psycopg.connect(**warehouse.parameters) as connection:
        connection.execute(
            sql.SQL("insert into {} ({}) values ({})").format(
                sql.Identifier(warehouse.schema, table),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join(map(sql.Placeholder, values)),
            ),
            values,
        )
