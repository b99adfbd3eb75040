"""Scans of many invented tenants."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from include.pipeline.quality_rules import RULES
from include.scan import scan_id
from include.warehouse.connection import Warehouse

TENANT_COUNT = 1_000
NAMED = (
    "hooli", "umbrella", "stark", "wayne", "wonka", "soylent", "tyrell", "cyberdyne",
    "massive_dynamic", "vandelay", "dunder_mifflin", "pied_piper",
)  # fmt: skip
#: Where the tenants of the tests stand besides "succeeded".
STATES = {"globex": "extracting", "hooli": "failed", "umbrella": "waiting", "wonka": "cancelled"}
#: Never scanned.
UNTOUCHED = "wayne"
#: A check of its last scan has warned.
WARNED = "cyberdyne"
#: What the check of stages found there; more than the page shows.
WRONG_RECORDS = 130
ERRORS = {
    "failed": (
        "TokenRejectedError: tenant hooli: HubSpot refused the token (401): it has expired.",
        "Put a valid token into the password of the Airflow connection hubspot_hooli, then clear"
        " the task.",
        "token-rejected",
    ),
    "waiting": (
        "DailyLimitError: tenant umbrella: 225,014 of HubSpot's 250,000 requests of the day are"
        " used up.",
        "The task waits, without using up retries, until 2030-01-01 05:00 UTC.",
        "daily-limit",
    ),
}
HISTORY_DAYS = 60


def other_tenants(real: Sequence[str]) -> list[str]:
    """Return the ids of all tenants but the real ones."""
    numbered = [f"tenant_{number:04d}" for number in range(TENANT_COUNT - len(NAMED) - len(real))]
    return [*NAMED, *numbered]


def fill(warehouse: Warehouse, tenants: Sequence[str]) -> None:
    """Write the scans of all *tenants*; those of the named ones go back for two months."""
    chance = random.Random(5)
    now = datetime.now(UTC)
    with warehouse.connect() as connection:
        for position, tenant in enumerate(tenants):
            if tenant == UNTOUCHED:
                continue
            size = chance.randrange(800, 90_000)
            if not tenant.startswith("tenant_"):
                _past(connection, warehouse.schema, tenant, size, now, chance)
            started_at = now - timedelta(minutes=3 + position % 720)
            _newest(connection, warehouse.schema, tenant, size, started_at)
        for deal_id in range(9_000_001, 9_000_001 + WRONG_RECORDS):
            insert(
                connection, warehouse.schema, "deals",
                _tenant_id=WARNED, deal_id=deal_id, archived=False, properties=Jsonb({}),
                _scan_id="an earlier one", _extracted_at=now,
                url=f"https://app.hubspot.com/contacts/7/record/0-3/{deal_id}",
            )  # fmt: skip
        insert(
            connection, warehouse.schema, "incidents",
            tenant_id="hooli", kind="failure", error_type="TokenRejectedError", cause="token",
            opened_at=now - timedelta(hours=5), scan_ids=[], said="it has expired",
        )  # fmt: skip


def insert(connection: psycopg.Connection, schema: str, table: str, **columns: Any) -> None:
    connection.execute(
        sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(schema, table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(sql.Placeholder() * len(columns)),
        ),
        [Jsonb(value) if isinstance(value, dict) else value for value in columns.values()],
    )


def add_scan(
    connection: psycopg.Connection,
    schema: str,
    tenant: str,
    run_id: str,
    *,
    deals: Mapping[str, Any] | None = None,
    checks: bool = True,
    **columns: Any,
) -> str:
    """Add a scan, what it read of deals, and its checks; return its id."""
    dag_id = f"hubspot_deals__{tenant}"
    key = scan_id(dag_id, run_id)
    defaults = {"scan_id": key, "tenant_id": tenant, "dag_id": dag_id, "run_id": run_id}
    more = {"attempt": 1, "mode": "auto", "state": "succeeded"}
    insert(connection, schema, "scans", **{**defaults, **more, **columns})
    if deals is not None:
        about = {"mode": "incremental", "reason": "changed since the last scan"}
        insert(
            connection, schema, "scan_objects",
            **{"scan_id": key, "tenant_id": tenant, "object": "deals", **about, **deals},
        )  # fmt: skip
    for rule in RULES if checks else ():
        insert(
            connection, schema, "quality_results",
            scan_id=key, tenant_id=tenant, check_name=rule.name,
            status="warned" if tenant == WARNED and rule.severity == "warn" else "passed",
            severity=rule.severity.value, observed=0, at_most=rule.at_most, why=rule.why,
        )  # fmt: skip
    if checks and tenant == WARNED:
        for number in range(1, WRONG_RECORDS + 1):
            insert(
                connection, schema, "quality_records",
                scan_id=key, tenant_id=tenant, check_name="stages_known_to_the_portal",
                number=number, object="deals", record_id=9_000_000 + number,
                detail="stage 1042 of pipeline default",
            )  # fmt: skip
    return key


def _past(
    connection: psycopg.Connection,
    schema: str,
    tenant: str,
    size: int,
    now: datetime,
    chance: random.Random,
) -> None:
    for days in range(HISTORY_DAYS, 0, -1):
        started_at = (now - timedelta(days=days)).replace(hour=3, minute=0, second=4)
        is_full = started_at.weekday() == 6
        received = (
            int(size * chance.uniform(0.97, 1)) if is_full else chance.randrange(40, size // 8)
        )
        seconds = 6 + received / 640 + chance.uniform(0, 4)
        add_scan(
            connection, schema, tenant, f"scheduled__{started_at:%Y-%m-%dT%H:%M:%S}+00:00",
            checks=days == 1, started_at=started_at,
            extraction_started_at=started_at + timedelta(seconds=1.5),
            extraction_finished_at=started_at + timedelta(seconds=seconds - 1),
            finished_at=started_at + timedelta(seconds=seconds), requests=received // 95 + 12,
            quota_limit=250_000, quota_remaining=250_000 - received * 2,
            deals={
                "mode": "full" if is_full else "incremental", "pages": received // 100 + 1,
                "records_received": received, "rows_written": min(received, size // 30),
                "live_rows": size, "warehouse_live": size, "portal_live": size,
                "difference": 0, "unexplained": 0,
                "records_archived": size // 90,
            },
        )  # fmt: skip


def _newest(
    connection: psycopg.Connection, schema: str, tenant: str, size: int, started_at: datetime
) -> None:
    state = STATES.get(tenant, "succeeded")
    ended = state in ("succeeded", "failed", "cancelled")
    received = {"failed": 0, "extracting": int(size * 0.42), "waiting": size // 2}.get(state, size)
    insert(
        connection, schema, "tenants",
        tenant_id=tenant, portal_id=7_000_000 + size, bound_by_scan_id="the first",
    )  # fmt: skip
    key = add_scan(
        connection, schema, tenant, f"scheduled__{started_at:%Y-%m-%dT%H:%M:%S}+00:00",
        state=state, started_at=started_at, extraction_started_at=started_at,
        extraction_finished_at=(
            started_at + timedelta(seconds=3 + size / 640) if state == "succeeded" else None
        ),
        finished_at=started_at + timedelta(seconds=4 + size / 640) if ended else None,
        **_error(state),
        pages=received // 100, requests=received // 95 + 12, throttled=size % 3,
        figures_at=started_at + timedelta(seconds=max(1, received / 640)),
        quota_limit=250_000, quota_remaining=225_000 - size,
        quota_resets_at=datetime.now(UTC) + timedelta(hours=9),
        checks=state == "succeeded",
        deals=None if state == "failed" else {
            "mode": "full", "reason": "a full scan was due", "pages": received // 100,
            "expected": size, "records_received": received, "rows_written": received // 24,
            "records_archived": size // 90, "associations": received * 2,
            **({"live_rows": size, "warehouse_live": size, "portal_live": size,
                "difference": 0, "unexplained": 0}
               if state == "succeeded" else {}),
        },
    )  # fmt: skip
    if state == "extracting":
        _checkpoints(connection, schema, key)
        for name, of in (("companies", 5_120), ("contacts", 11_904)):
            insert(
                connection, schema, "scan_objects", scan_id=key, tenant_id=tenant, object=name,
                mode="incremental", reason="changed since the last scan", pages=of // 200,
                expected=of, records_received=of // 2, rows_written=of // 7,
            )  # fmt: skip


def _error(state: str) -> dict[str, str]:
    if state not in ERRORS:
        return {}
    what, remedy, heading = ERRORS[state]
    return {"error": f"{what} {remedy} See docs/runbook.md#{heading}", "remedy": remedy}


def _checkpoints(connection: psycopg.Connection, schema: str, key: str) -> None:
    """The last few, from which a rate is computed: 5,000 records every 8 s."""
    now = datetime.now(UTC)
    for chunk in range(6):
        ids = list(range(chunk * 5_000, (chunk + 1) * 5_000))
        loaded_at = now - timedelta(seconds=8 * (6 - chunk))
        insert(
            connection, schema, "scan_chunks", scan_id=key, object="deals", chunk=chunk, ids=ids,
            hashes=ids, modified_at=[now] * len(ids), loaded_at=loaded_at,
        )  # fmt: skip
