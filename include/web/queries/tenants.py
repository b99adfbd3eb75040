"""Where tenants stand: their last scans, what they hold, what is wrong."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, LiteralString, TypedDict, cast

from psycopg import sql
from psycopg.rows import dict_row

from include.warehouse.connection import Warehouse
from include.web.queries.scans import ScanSummary
from include.web.warehouse import reading, tables

HISTORY = 60


class Quality(TypedDict):
    """How many checks of the last scan that was checked ended so."""

    passed: int
    warned: int
    failed: int
    no_rows: int


class DailyQuota(TypedDict):
    """As HubSpot stated it last, all the account's apps together. ``used_today`` None: that was
    on another day.
    """

    used_today: int | None
    daily_limit: int


class Incident(TypedDict):
    kind: str
    since: datetime
    error_type: str | None


class TenantStatus(TypedDict):
    """What the warehouse knows of a tenant.

    ``last_ended_state``: of the newest scan that succeeded or failed. ``deals_live``,
    ``deals_archived``: as the last successful scan that read everything there is counted them.
    """

    portal_id: int | None
    last_scan: ScanSummary | None
    last_ended_state: str | None
    last_success_at: datetime | None
    freshness_s: float | None
    deals_live: int | None
    deals_archived: int | None
    quality: Quality | None
    quota: DailyQuota | None
    incident: Incident | None


NOTHING_KNOWN: TenantStatus = {
    "portal_id": None,
    "last_scan": None,
    "last_ended_state": None,
    "last_success_at": None,
    "freshness_s": None,
    "deals_live": None,
    "deals_archived": None,
    "quality": None,
    "quota": None,
    "incident": None,
}


class HistoryEntry(TypedDict):
    """One scan of a chart. ``mode``: how deals were read."""

    scan_id: str
    started_at: datetime
    state: str
    mode: str
    deals_received: int
    deals_written: int
    seconds: float | None


def tenant_statuses(warehouse: Warehouse, tenant_ids: Collection[str]) -> dict[str, TenantStatus]:
    """Return where each of these tenants stands, whether it is known here or not."""
    with reading(warehouse) as connection:
        rows = (
            connection.cursor(row_factory=dict_row)
            .execute(
                sql.SQL(_STATUSES).format(
                    **tables(
                        warehouse,
                        "tenants",
                        "scans",
                        "scan_objects",
                        "quality_results",
                        "incidents",
                    )
                ),
                [list(tenant_ids)],
            )
            .fetchall()
        )
    return {row["tenant_id"]: _status(row) for row in rows}


def tenant_history(warehouse: Warehouse, tenant_id: str) -> list[HistoryEntry]:
    """Return the tenant's last scans, the newest last."""
    with reading(warehouse) as connection:
        rows = (
            connection.cursor(row_factory=dict_row)
            .execute(
                sql.SQL(_HISTORY).format(**tables(warehouse, "scans", "scan_objects")),
                {"tenant_id": tenant_id, "limit": HISTORY},
            )
            .fetchall()
        )
    return cast("list[HistoryEntry]", rows[::-1])


# Each lateral join is one look into an index for each tenant.
_STATUSES: LiteralString = """
    select
        wanted.tenant_id,
        bound.portal_id,
        last.*,
        ended.last_ended_state,
        success.last_success_at,
        extract(epoch from now() - success.last_success_at)::float8 as freshness_s,
        held.deals_live,
        held.deals_archived,
        checked.*,
        quota.*,
        incident.*
    from unnest(%s::text[]) as wanted (tenant_id)
    left join {tenants} as bound using (tenant_id)
    left join lateral (
        select
            scan.scan_id, scan.dag_id, scan.run_id, scan.mode, scan.state,
            scan.started_at, scan.finished_at,
            extract(epoch from scan.finished_at - scan.started_at)::float8 as seconds,
            coalesce(deals.records_received, 0) as deals_received,
            coalesce(deals.rows_written, 0) as deals_written,
            scan.requests, scan.throttled, scan.attempt,
            jsonb_array_length(scan.warnings) as warnings,
            substring(scan.error from '^[A-Za-z_][A-Za-z0-9_]*') as error_type
        from (
            select * from {scans} where tenant_id = wanted.tenant_id
            order by started_at desc, scan_id desc limit 1
        ) as scan
        left join {scan_objects} as deals on deals.scan_id = scan.scan_id and deals.object = 'deals'
    ) as last on true
    left join lateral (
        select state as last_ended_state from {scans}
        where tenant_id = wanted.tenant_id and state in ('succeeded', 'failed')
        order by started_at desc, scan_id desc limit 1
    ) as ended on true
    left join lateral (
        select started_at as last_success_at from {scans}
        where tenant_id = wanted.tenant_id and state = 'succeeded'
        order by started_at desc limit 1
    ) as success on true
    left join lateral (
        select deals.warehouse_live as deals_live, deals.records_archived as deals_archived
        from {scans} as scan
        join {scan_objects} as deals
            on deals.scan_id = scan.scan_id and deals.object = 'deals'
            and deals.warehouse_live is not null
        where scan.tenant_id = wanted.tenant_id and scan.state = 'succeeded'
        order by scan.started_at desc limit 1
    ) as held on true
    left join lateral (
        select
            count(*) as checks,
            count(*) filter (where status = 'passed') as passed,
            count(*) filter (where status = 'warned') as warned,
            count(*) filter (where status = 'failed') as failed,
            count(*) filter (where status = 'no_rows') as no_rows
        from {quality_results} where scan_id = (
            select scan.scan_id from {scans} as scan
            where scan.tenant_id = wanted.tenant_id
              and exists (select from {quality_results} as result
                          where result.scan_id = scan.scan_id)
            order by scan.started_at desc, scan.scan_id desc limit 1
        )
    ) as checked on true
    left join lateral (
        select
            quota_limit,
            case when quota_resets_at > now() then quota_limit - quota_remaining end as quota_used
        from {scans}
        where tenant_id = wanted.tenant_id and quota_limit is not null
        order by started_at desc, scan_id desc limit 1
    ) as quota on true
    left join lateral (
        select kind as incident_kind, opened_at as incident_since, error_type as incident_error_type
        from {incidents}
        where tenant_id = wanted.tenant_id and closed_at is null
        order by kind = 'warning', opened_at desc limit 1
    ) as incident on true
"""
_HISTORY: LiteralString = """
    select
        scan.scan_id, scan.started_at, scan.state,
        coalesce(nullif(deals.mode, 'skipped'), scan.mode) as mode,
        coalesce(deals.records_received, 0) as deals_received,
        coalesce(deals.rows_written, 0) as deals_written,
        extract(epoch from scan.finished_at - scan.started_at)::float8 as seconds
    from {scans} as scan
    left join {scan_objects} as deals on deals.scan_id = scan.scan_id and deals.object = 'deals'
    where scan.tenant_id = %(tenant_id)s
    order by scan.started_at desc, scan.scan_id desc limit %(limit)s
"""

_OF_LAST_SCAN = tuple(name for name in ScanSummary.__annotations__ if name != "tenant")
_OF_QUALITY = tuple(Quality.__annotations__)


def _status(row: dict[str, Any]) -> TenantStatus:
    last = {"tenant": row["tenant_id"], **{name: row[name] for name in _OF_LAST_SCAN}}
    quality = {name: row[name] for name in _OF_QUALITY}
    return {
        "portal_id": row["portal_id"],
        "last_scan": cast("ScanSummary", last) if row["scan_id"] else None,
        "last_ended_state": row["last_ended_state"],
        "last_success_at": row["last_success_at"],
        "freshness_s": row["freshness_s"],
        "deals_live": row["deals_live"],
        "deals_archived": row["deals_archived"],
        "quality": cast("Quality", quality) if row["checks"] else None,
        "quota": _quota(row),
        "incident": _incident(row),
    }


def _quota(row: dict[str, Any]) -> DailyQuota | None:
    if row["quota_limit"] is None:
        return None
    return {"used_today": row["quota_used"], "daily_limit": row["quota_limit"]}


def _incident(row: dict[str, Any]) -> Incident | None:
    if row["incident_kind"] is None:
        return None
    return {
        "kind": row["incident_kind"],
        "since": row["incident_since"],
        "error_type": row["incident_error_type"],
    }
