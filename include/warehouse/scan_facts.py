"""What a scan came to, in one dict: for whoever waits for it."""

from typing import TypedDict, cast

from psycopg import sql
from psycopg.rows import dict_row

from include.scan import Scan
from include.warehouse.connection import Warehouse


class ScanFacts(TypedDict):
    """Times are ISO 8601 in UTC, or None. ``mode``: how deals were read, not what was asked for.

    ``freshness_s``: how long ago HubSpot was asked, and so how old the rows are at most.
    """

    scan_id: str
    tenant: str
    run_id: str
    portal_id: int | None
    mode: str | None
    window_start: str | None
    window_end: str | None
    deals_received: int
    deals_written: int
    deals_archived: int
    deals_live: int | None
    warnings: int
    seconds: float
    freshness_s: float


def scan_facts(warehouse: Warehouse, scan: Scan) -> ScanFacts:
    """Read them from the scan's rows."""
    with warehouse.connect(scan.tenant.id) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        row = cursor.execute(
            sql.SQL(
                """
                select
                    scan.scan_id, scan.tenant_id as tenant, scan.run_id, scan.portal_id,
                    deals.mode,
                    to_char(deals.window_start at time zone 'UTC', {iso_8601}) as window_start,
                    to_char(deals.window_end at time zone 'UTC', {iso_8601}) as window_end,
                    coalesce(deals.records_received, 0) as deals_received,
                    coalesce(deals.rows_written, 0) as deals_written,
                    coalesce(deals.records_archived, 0) as deals_archived,
                    deals.warehouse_live as deals_live,
                    jsonb_array_length(scan.warnings) as warnings,
                    extract(epoch from now() - scan.started_at)::float8 as seconds,
                    extract(epoch from now() - coalesce(scan.extraction_started_at,
                                                        scan.started_at))::float8 as freshness_s
                from {scans} as scan
                left join {scan_objects} as deals
                    on deals.scan_id = scan.scan_id and deals.object = 'deals'
                where scan.scan_id = %s
                """
            ).format(
                iso_8601=sql.Literal('YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                scans=sql.Identifier(warehouse.schema, "scans"),
                scan_objects=sql.Identifier(warehouse.schema, "scan_objects"),
            ),
            [scan.id],
        ).fetchone()
    if row is None:
        raise LookupError(f"scan {scan.id} has no row in scans")
    return cast(ScanFacts, row)
