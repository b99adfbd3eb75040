"""The third task of a scan: check that PostgreSQL has HubSpot's data, and that they are valid."""

import logging
from collections import Counter
from decimal import Decimal
from typing import NamedTuple, TypedDict

from psycopg import sql
from psycopg.types.json import Jsonb

from include.errors import QualityError
from include.metrics import count, gauge, timed
from include.pipeline.load.typed_columns import COLUMNS_BY_PROPERTY
from include.pipeline.quality_rules import RULES, Rule, Severity
from include.scan import Scan
from include.warehouse.checkpoints import delete_earlier_chunks
from include.warehouse.connection import Warehouse, WarehouseConnection, open_warehouse
from include.warehouse.records import (
    DETAIL_CHARACTERS,
    OF_THIS_SCAN,
    counted_misfits,
    find_misfits,
    received_records,
)
from include.warehouse.reference_data import bind
from include.warehouse.scans import ScanFacts, ScanLog, scan_facts
from include.warehouse.tenant_views.plan import ViewPlan

log = logging.getLogger(__name__)

#: Of each check, at most this many records are stored.
MAX_RECORDS = 10_000

_LEVELS = {
    "passed": logging.INFO,
    # normal for an incremental scan: nothing has changed
    "no_rows": logging.INFO,
    "warned": logging.WARNING,
    "failed": logging.ERROR,
}


class Checked(TypedDict):
    """The XCom value of `check_quality`.

    ``passed``: no blocking check failed. ``no_rows``: how many checks did not apply. ``scan``: the
    extra of the asset event.
    """

    scan_id: str
    passed: bool
    checks: int
    failed: int
    warned: int
    no_rows: int
    scan: ScanFacts


class CheckResult(NamedTuple):
    """The result of one rule. ``status``: passed, warned, failed or no_rows."""

    rule: Rule
    status: str
    observed: Decimal | None

    def __str__(self) -> str:
        return f"{self.rule.name} = {self.observed} (at most {self.rule.at_most}: {self.rule.why})"


def status_of(rule: Rule, observed: Decimal | None, *, applies: bool) -> str:
    """Return the status of a figure. A missing figure never passes."""
    if not applies:
        return "no_rows"
    if observed is not None and observed <= rule.at_most:
        return "passed"
    return "failed" if rule.severity is Severity.BLOCK else "warned"


def check_quality(scan: Scan) -> Checked:
    """Run every rule, store each result, and finish the scan.

    A scan that passes binds the tenant to its HubSpot account and moves the watermark. Raises
    QualityError, with the figures, if a blocking rule fails, and OutdatedAttemptError if the scan's
    extraction began again meanwhile.
    """
    tags = {"tenant": scan.tenant.id, "mode": scan.mode}
    with open_warehouse(scan.tenant.id).keeping_connections() as warehouse:
        scan_log = ScanLog(warehouse, scan).newest_attempt()
        with scan_log.step("checking"):
            results = _run(warehouse, scan)
            for result in results:
                log.log(_LEVELS[result.status], "%s: %s", result.status, result)
            failed = [result for result in results if result.status == "failed"]
            warned = sum(result.status == "warned" for result in results)
            count("quality_failed", len(failed), **tags)
            count("quality_warned", warned, **tags)
            if failed:
                raise QualityError(
                    f"{len(failed)} of {len(results)} quality checks failed in scan {scan.id}: "
                    f"{'; '.join(map(str, failed))}.",
                    tenant_id=scan.tenant.id,
                    remedy="Look at the records on the scan's page. The loaded rows are kept, but "
                    "the scan does not count as successful.",
                )
            bind(warehouse, scan)
            delete_earlier_chunks(warehouse, scan)
            facts = scan_facts(warehouse, scan)
            # last, because the failure of a task whose scan has succeeded is not alerted
            scan_log.succeed()
    count("scans_succeeded", 1, **tags)
    timed("scan_duration", facts["seconds"], **tags)
    gauge("freshness_s", facts["freshness_s"], tenant=scan.tenant.id)
    if facts["deals_live"] is not None:
        gauge("deals_live", facts["deals_live"], tenant=scan.tenant.id)
    return {
        "scan_id": scan.id,
        "passed": True,
        "checks": len(results),
        "failed": 0,
        "warned": warned,
        "no_rows": sum(result.status == "no_rows" for result in results),
        "scan": facts,
    }


def _run(warehouse: Warehouse, scan: Scan) -> list[CheckResult]:
    """Run every rule on the scan's rows, and store the results."""
    of_scan = {"scan_id": scan.id, "tenant_id": scan.tenant.id}
    with warehouse.connect() as connection:
        has_rows = received_records(connection, scan.id)["deals"] > 0
        _count_misfits(connection, scan)
        parts = {"of_this_scan": OF_THIS_SCAN, "typed_columns": _typed_columns()}
        connection.run("delete from {quality_results} where scan_id = %(scan_id)s", of_scan)
        results = []
        for rule in RULES:
            row = connection.run(rule.statement, of_scan, parts).fetchone()
            observed = None if row is None or row[0] is None else Decimal(row[0])
            applies = row is not None and (has_rows or not rule.needs_rows)
            status = status_of(rule, observed, applies=applies)
            results.append(CheckResult(rule, status, observed))
            connection.run(
                """
                insert into {quality_results} (scan_id, tenant_id, check_name, status, severity,
                                               observed, at_most, why)
                values (%(scan_id)s, %(tenant_id)s, %(name)s, %(status)s, %(severity)s,
                        %(observed)s, %(at_most)s, %(why)s)
                """,
                {
                    **of_scan,
                    "name": rule.name,
                    "status": status,
                    "severity": rule.severity,
                    "observed": observed,
                    "at_most": rule.at_most,
                    "why": rule.why,
                },
            )
            if rule.records and status in ("warned", "failed"):
                connection.run(
                    f"""
                    insert into {{quality_records}} (scan_id, tenant_id, check_name, number, object,
                                                     record_id, detail)
                    select %(scan_id)s, %(tenant_id)s, %(name)s,
                           row_number() over (order by object, record_id, detail),
                           object, record_id, left(detail, {DETAIL_CHARACTERS})
                    from ({rule.records}) as wrong
                    order by object, record_id, detail limit {MAX_RECORDS}
                    """,  # noqa: S608 - literals of this package
                    {**of_scan, "name": rule.name},
                    parts,
                )
    return results


def _typed_columns() -> sql.Composable:
    pairs = sql.SQL(", ").join(
        sql.SQL("({}, {})").format(name, hubspot_property)
        for hubspot_property, name in COLUMNS_BY_PROPERTY.items()
    )
    return sql.SQL("(values {})").format(pairs)


def _count_misfits(connection: WarehouseConnection, scan: Scan) -> None:
    """Add the misfits of the views' columns, which the extraction does not convert, to the scan's.

    If a property's type changed, all rows are checked, because all are now converted differently.
    For other properties only the received rows are, and only if the scan asked for the property.
    """
    statement = "select misfits from {scans} where scan_id = %s"
    ((misfits,),) = connection.run(statement, [scan.id]).fetchall()
    # an earlier try of this task may have counted them already
    misfits = Counter({name: n for name, n in misfits.items() if not _is_of_a_view(name)})
    rows = connection.run(
        "select read.object, read.properties_asked, scan.schema_drift -> read.object -> 'retyped'"
        " from {scan_objects} as read join {scans} as scan using (scan_id) where scan_id = %s",
        [scan.id],
    ).fetchall()
    asked = {(crm_object, name) for crm_object, names, _ in rows for name in names}
    retyped = {(crm_object, name) for crm_object, _, names in rows for name in names or ()}
    objects = [crm_object.name for crm_object in scan.tenant.crm_objects]
    plan = ViewPlan(connection, scan.tenant.id, COLUMNS_BY_PROPERTY)
    conversions = set(plan.conversions(objects))
    for properties, only_received in ((retyped, False), (asked - retyped, True)):
        of_these = {c for c in conversions if (c.crm_object, c.hubspot_property) in properties}
        find_misfits(connection, scan.tenant.id, of_these, only_received=only_received)
    misfits |= counted_misfits(connection)
    if misfits:
        shown = [f"{name} ({count})" for name, count in sorted(misfits.items())]
        log.warning(
            "tenant %s: values that do not fit their columns are NULL: %s",
            scan.tenant.id,
            ", ".join(shown),
        )
    connection.run("update {scans} set misfits = %s where scan_id = %s", [Jsonb(misfits), scan.id])


def _is_of_a_view(name: str) -> bool:
    """Return whether a misfit was counted by `check_quality`; otherwise the extraction did."""
    _, dot, column = name.partition(".")
    return bool(dot) and column not in ("created_at", "updated_at", "archived_at")
