"""The third task of a scan: does PostgreSQL hold what HubSpot sent, and does it make sense?"""

import logging
from dataclasses import dataclass
from decimal import Decimal
from typing import TypedDict

from psycopg.types.json import Jsonb

from include.errors import QualityError
from include.metrics import count, gauge, timed
from include.pipeline.quality_rules import RULES, Rule, Severity
from include.scan import Scan
from include.warehouse.binding import bind
from include.warehouse.checkpoints import forget_proofs
from include.warehouse.connection import Warehouse, WarehouseConnection, open_warehouse
from include.warehouse.records import OF_THIS_SCAN, count_misfits, received_records
from include.warehouse.scans import ScanFacts, ScanLog, scan_facts
from include.warehouse.tenant_views.plan import Conversion, ViewPlan

log = logging.getLogger(__name__)


class Checked(TypedDict):
    """What `check_quality` hands on through XCom.

    ``passed``: no blocking check failed. ``no_rows``: how many checks had nothing to look at.
    ``scan``: what the asset event carries on.
    """

    scan_id: str
    passed: bool
    checks: int
    failed: int
    warned: int
    no_rows: int
    scan: ScanFacts


@dataclass(frozen=True)
class CheckResult:
    """What one rule found. ``status``: passed, warned, failed or no_rows."""

    rule: Rule
    status: str
    observed: Decimal | None

    def __str__(self) -> str:
        return f"{self.rule.name} = {self.observed} (at most {self.rule.at_most}: {self.rule.why})"


def status_of(rule: Rule, observed: Decimal | None, *, has_rows: bool) -> str:
    """Return how a figure counts. No figure at all is never a pass."""
    if (rule.needs_rows and not has_rows) or (rule.may_not_apply and observed is None):
        return "no_rows"
    if observed is not None and observed <= rule.at_most:
        return "passed"
    return "failed" if rule.severity is Severity.BLOCK else "warned"


def check_quality(scan: Scan) -> Checked:
    """Run every rule, store each result, and finish the scan.

    A scan that passes binds the tenant to its HubSpot account, and moves its watermark. Raises
    QualityError, with the figures, when a blocking rule fails.
    """
    with open_warehouse(scan.tenant.id).keeping_connections() as warehouse:
        results, facts = _check(warehouse, scan)
    _count_success(scan, facts)
    return {
        "scan_id": scan.id,
        "passed": True,
        "checks": len(results),
        "failed": 0,
        "warned": sum(result.status == "warned" for result in results),
        "no_rows": sum(result.status == "no_rows" for result in results),
        "scan": facts,
    }


def _check(warehouse: Warehouse, scan: Scan) -> tuple[list[CheckResult], ScanFacts]:
    scan_log = ScanLog(warehouse, scan)
    with scan_log.step("checking"):
        results = _run(warehouse, scan)
        for result in results:
            log.log(_LEVELS[result.status], "%s: %s", result.status, result)
        _count(scan, results)
        _raise_if_blocked(scan, results)
        bind(warehouse, scan)
        scan_log.succeed()
        forget_proofs(warehouse, scan)
    return results, scan_facts(warehouse, scan)


_LEVELS = {
    "passed": logging.INFO,
    # ordinary for an incremental scan: nothing has changed
    "no_rows": logging.INFO,
    "warned": logging.WARNING,
    "failed": logging.ERROR,
}


def _run(warehouse: Warehouse, scan: Scan) -> list[CheckResult]:
    with warehouse.connect(scan.tenant.id) as connection:
        has_rows = received_records(connection, scan.id)["deals"] > 0
        _count_misfits(connection, scan)
        results = []
        for rule in RULES:
            observed = _figure(connection, scan, rule.sql)
            status = status_of(rule, observed, has_rows=has_rows)
            results.append(CheckResult(rule, status, observed))
        _store(connection, scan, results)
    return results


def _count_misfits(connection: WarehouseConnection, scan: Scan) -> None:
    """Add to the scan's misfits those of the views' columns, which the extraction does not see."""
    statement = "select misfits from {scans} where scan_id = %s"
    row = connection.run(statement, [scan.id]).fetchone()
    misfits: dict[str, int] = {
        name: n for name, n in (row[0] if row else {}).items() if not _is_of_a_view(name)
    }
    changed, received = _conversions(connection, scan)
    for conversions, only_received in ((changed, False), (received - changed, True)):
        misfits |= count_misfits(
            connection, scan.tenant.id, conversions, only_received=only_received
        )
    if misfits:
        shown = [f"{name} ({count})" for name, count in sorted(misfits.items())]
        log.warning("tenant %s: values do not fit: %s", scan.tenant.id, ", ".join(shown))
    connection.run("update {scans} set misfits = %s where scan_id = %s", [Jsonb(misfits), scan.id])


def _conversions(
    connection: WarehouseConnection, scan: Scan
) -> tuple[set[Conversion], set[Conversion]]:
    """Return the conversions that this scan found changed, and those of what it asked for.

    When a property gets another type, its values are converted in a new way in all rows. What was
    not asked for is not in the rows that were received.
    """
    from include.pipeline.load.typed_columns import COLUMNS_BY_PROPERTY

    plan = ViewPlan(connection, scan.tenant.id)
    objects = [crm_object.name for crm_object in scan.tenant.crm_objects]
    rows = connection.run(
        "select read.object, read.properties_asked, scan.schema_drift -> read.object -> 'retyped'"
        " from {scan_objects} as read join {scans} as scan using (scan_id) where scan_id = %s",
        [scan.id],
    ).fetchall()
    asked = {(crm_object, name) for crm_object, names, _ in rows for name in names}
    retyped = {(crm_object, name) for crm_object, _, names in rows for name in names or ()}
    conversions = set(plan.conversions(objects, COLUMNS_BY_PROPERTY))
    return (
        {c for c in conversions if (c.crm_object, c.hubspot_property) in retyped},
        {c for c in conversions if (c.crm_object, c.hubspot_property) in asked},
    )


def _is_of_a_view(name: str) -> bool:
    """Return whether an earlier check of the scan counted the column, not the extraction."""
    _, dot, column = name.partition(".")
    return bool(dot) and column not in ("created_at", "updated_at", "archived_at")


def _figure(connection: WarehouseConnection, scan: Scan, statement: str) -> Decimal | None:
    row = connection.run(
        statement,
        {"tenant_id": scan.tenant.id, "scan_id": scan.id},
        {"of_this_scan": OF_THIS_SCAN},
    ).fetchone()
    return None if row is None or row[0] is None else Decimal(row[0])


def _store(connection: WarehouseConnection, scan: Scan, results: list[CheckResult]) -> None:
    connection.run("delete from {quality_results} where scan_id = %s", [scan.id])
    with connection.cursor() as cursor:
        cursor.executemany(
            connection.composed(
                "insert into {quality_results} (scan_id, tenant_id, check_name, status, severity,"
                " observed, at_most, why) values (%s, %s, %s, %s, %s, %s, %s, %s)"
            ),
            [
                (
                    scan.id,
                    scan.tenant.id,
                    result.rule.name,
                    result.status,
                    result.rule.severity,
                    result.observed,
                    result.rule.at_most,
                    result.rule.why,
                )
                for result in results
            ],
        )


def _count(scan: Scan, results: list[CheckResult]) -> None:
    for status in ("failed", "warned"):
        found = sum(result.status == status for result in results)
        count(f"quality_{status}", found, tenant=scan.tenant.id, mode=scan.mode)


def _count_success(scan: Scan, facts: ScanFacts) -> None:
    tags = {"tenant": scan.tenant.id, "mode": scan.mode}
    count("scans_succeeded", 1, **tags)
    timed("scan_duration", facts["seconds"], **tags)
    gauge("freshness_s", facts["freshness_s"], tenant=scan.tenant.id)
    if facts["deals_live"] is not None:
        gauge("deals_live", facts["deals_live"], tenant=scan.tenant.id)


def _raise_if_blocked(scan: Scan, results: list[CheckResult]) -> None:
    failed = [result for result in results if result.status == "failed"]
    if failed:
        raise QualityError(
            f"{len(failed)} of {len(results)} quality checks failed in scan {scan.id}: "
            f"{'; '.join(map(str, failed))}.",
            tenant_id=scan.tenant.id,
            remedy="The rows stay for you to look at; the scan does not count as successful.",
        )
