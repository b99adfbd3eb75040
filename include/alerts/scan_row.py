"""A scan's row as alerts see it: its state and its figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from include.alerts.message import FIGURES
from include.warehouse.scan_end import FINAL_STATES


@dataclass(frozen=True)
class ScanRow:
    """What is known of one scan."""

    state: str
    error: str | None
    remedy: str | None
    warnings: list[str]
    figures: Mapping[str, int | float]
    #: Names of its quality checks, by status.
    checks: Mapping[str, list[str]]

    @property
    def is_over(self) -> bool:
        return self.state in FINAL_STATES


def scan_row(connection: psycopg.Connection, schema: str, scan_id: str) -> ScanRow | None:
    """Return what is known of the scan; None: it has no row."""
    cursor = connection.cursor(row_factory=dict_row)
    row = cursor.execute(
        _composed(
            """
            select scan.state, scan.error, scan.remedy, scan.warnings,
                scan.attempt, scan.pages, scan.requests, scan.throttled,
                deals.records_received as deals_received, deals.rows_written as deals_written,
                round(extract(
                    epoch from coalesce(scan.finished_at, now()) - scan.started_at
                ))::integer as seconds,
                coalesce((
                    select jsonb_object_agg(status, names) from (
                        select status, jsonb_agg(check_name order by check_name) as names
                        from {quality_results} where scan_id = scan.scan_id group by status
                    ) as by_status
                ), '{{}}') as checks
            from {scans} as scan
            left join {scan_objects} as deals
                on deals.scan_id = scan.scan_id and deals.object = 'deals'
            where scan.scan_id = %s
            """,
            schema,
        ),
        [scan_id],
    ).fetchone()
    if row is None:
        return None
    checks: Mapping[str, list[str]] = row.pop("checks")
    figures = {
        **{name: row[name] for name in FIGURES if row[name]},
        **{f"checks_{status}": len(names) for status, names in checks.items()},
    }
    return ScanRow(row["state"], row["error"], row["remedy"], row["warnings"], figures, checks)


def _composed(statement: str, schema: str) -> sql.Composed:
    tables: tuple[str, ...] = ("scans", "scan_objects", "quality_results")
    names: dict[str, Any] = {table: sql.Identifier(schema, table) for table in tables}
    return sql.SQL(statement).format(**names)
