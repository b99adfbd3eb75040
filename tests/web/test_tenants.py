from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.warehouse.connection import Warehouse
from include.web.airflow import Dag
from include.web.models import DailyQuota, Incident, Quality, TenantStatus
from include.web.tenants import tenant_history, tenant_state, tenant_statuses
from tests.support.status_rows import add_check, add_scan, insert, run_of

COUNTED = {"live_rows": 100, "portal_live": 100, "records_archived": 4}


def test_a_tenant_that_was_never_scanned_is_there_with_nothing_known(warehouse: Warehouse) -> None:
    assert tenant_statuses(warehouse, ["acme"]) == {"acme": TenantStatus()}


def test_every_tenant_asked_for_has_its_own_figures(warehouse: Warehouse) -> None:
    insert(warehouse, "tenants", {"tenant_id": "acme", "portal_id": 17, "bound_by_scan_id": "x"})
    add_scan(warehouse, "acme", deals=COUNTED)
    add_scan(warehouse, "globex", deals={**COUNTED, "live_rows": 7})

    statuses = tenant_statuses(warehouse, ["acme", "globex", "initech"])

    assert {name: status.deals_live for name, status in statuses.items()} == {
        "acme": 100,
        "globex": 7,
        "initech": None,
    }
    assert statuses["acme"].portal_id == 17


def test_what_failed_last_does_not_hide_what_succeeded_before(warehouse: Warehouse) -> None:
    add_scan(warehouse, "acme", 1, age=timedelta(hours=5), deals=COUNTED)
    add_scan(warehouse, "acme", 2, age=timedelta(hours=1), state="failed", deals={})

    status = tenant_statuses(warehouse, ["acme"])["acme"]

    assert status.last_scan is not None
    assert status.last_scan.run_id == "manual__2"
    assert status.last_ended_state == "failed"
    assert (status.deals_live, status.deals_archived) == (100, 4)
    assert status.freshness_s is not None
    assert 17_990 < status.freshness_s < 18_060


def test_a_scan_that_resumed_is_as_fresh_as_its_first_records(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    add_scan(
        warehouse,
        "acme",
        age=timedelta(minutes=5),
        extraction_started_at=now - timedelta(days=1),
    )
    add_scan(warehouse, "acme", 2, state="extracting", started_at=now)

    freshness_s = tenant_statuses(warehouse, ["acme"])["acme"].freshness_s
    history = tenant_history(warehouse, "acme")

    assert freshness_s == pytest.approx(86_400, abs=60)
    assert [entry.freshness_s for entry in history] == [None, pytest.approx(86_400, abs=1)]


def test_a_cancelled_scan_neither_fails_nor_succeeds(warehouse: Warehouse) -> None:
    add_scan(warehouse, "acme", 1, age=timedelta(hours=5))
    add_scan(warehouse, "acme", 2, age=timedelta(hours=1), state="cancelled")

    assert tenant_statuses(warehouse, ["acme"])["acme"].last_ended_state == "succeeded"


def test_a_window_counted_nothing_and_is_passed_over(warehouse: Warehouse) -> None:
    add_scan(warehouse, "acme", 1, age=timedelta(hours=5), deals=COUNTED)
    now = datetime.now(UTC)
    window = {"window_start": now - timedelta(days=9), "window_end": now - timedelta(days=8)}
    add_scan(warehouse, "acme", 2, deals={"mode": "window", "records_archived": 1}, **window)

    status = tenant_statuses(warehouse, ["acme"])["acme"]
    assert status.deals_live == 100
    assert status.freshness_s is not None
    assert status.freshness_s > 17_990


def test_quality_is_of_the_last_scan_that_was_checked(warehouse: Warehouse) -> None:
    for number, status in ((1, "failed"), (2, "passed")):
        add_scan(warehouse, "acme", number, age=timedelta(hours=9 - number))
        add_check(warehouse, "acme", number, "one", status)
        add_check(warehouse, "acme", number, "two", "no_rows")
    add_scan(warehouse, "acme", 3, state="extracting", age=timedelta(minutes=1))

    quality = tenant_statuses(warehouse, ["acme"])["acme"].quality

    assert quality == Quality(scan_id=run_of("acme", 2)[0], passed=1, warned=0, failed=0, no_rows=1)


def test_the_quota_used_is_forgotten_when_its_day_ends(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    quota: dict[str, Any] = {"quota_limit": 1_000, "quota_remaining": 900}
    add_scan(warehouse, "acme", quota_resets_at=now + timedelta(hours=1), **quota)
    add_scan(warehouse, "globex", quota_resets_at=now - timedelta(hours=1), **quota)
    add_scan(warehouse, "initech")

    statuses = tenant_statuses(warehouse, ["acme", "globex", "initech"])

    assert [statuses[name].quota for name in ("acme", "globex", "initech")] == [
        DailyQuota(used_today=100, daily_limit=1_000),
        DailyQuota(used_today=None, daily_limit=1_000),
        None,
    ]


def test_the_incident_that_is_open_is_shown_and_a_failure_before_a_warning(
    warehouse: Warehouse,
) -> None:
    common = {
        "tenant_id": "acme",
        "scan_ids": [run_of("acme", 1)[0]],
        "said": "x",
        "cause": "y",
    }
    opened = datetime(2026, 1, 1, tzinfo=UTC)
    for kind, error_type, closed_at in (
        ("warning", "Warning", None),
        ("failure", "TokenRejectedError", None),
        ("quality", "QualityError", opened),
    ):
        row = {"kind": kind, "error_type": error_type, "opened_at": opened, "closed_at": closed_at}
        insert(warehouse, "incidents", {**common, **row})

    assert tenant_statuses(warehouse, ["acme"])["acme"].incident == Incident(
        kind="failure", since=opened, error_type="TokenRejectedError", scan_id=None
    )


def test_a_missed_deadline_makes_a_tenant_late_although_a_newer_incident_is_shown(
    warehouse: Warehouse,
) -> None:
    now = datetime.now(UTC)
    for kind, age in (("deadline", 2), ("quota", 1)):
        row = {"kind": kind, "error_type": "x", "cause": kind, "said": "x", "scan_ids": []}
        opened_at = now - timedelta(hours=age)
        insert(warehouse, "incidents", {"tenant_id": "acme", "opened_at": opened_at, **row})

    status = tenant_statuses(warehouse, ["acme"])["acme"]

    assert status.incident is not None
    assert status.incident.kind == "quota"
    assert tenant_state(Dag(is_paused=False, next_run_at=None), None, status, now) == "late"


def test_an_incident_names_its_own_scan_not_the_one_that_runs_now(warehouse: Warehouse) -> None:
    failed = [add_scan(warehouse, "acme", number, state="failed") for number in (1, 2)]
    add_scan(warehouse, "acme", 3, state="extracting", age=timedelta())
    row = {"tenant_id": "acme", "kind": "failure", "error_type": "TokenRejectedError"}
    insert(warehouse, "incidents", {**row, "cause": "x", "said": "y", "scan_ids": failed})

    incident = tenant_statuses(warehouse, ["acme"])["acme"].incident

    assert incident is not None
    assert incident.scan_id == failed[1]


def test_a_history_ends_with_the_newest_and_tells_how_deals_were_read(
    warehouse: Warehouse,
) -> None:
    for number in range(65):
        add_scan(warehouse, "acme", number, age=timedelta(hours=100 - number), deals={})

    history = tenant_history(warehouse, "acme")

    assert len(history) == 60
    assert history[-1].scan_id == run_of("acme", 64)[0]
    assert history[0].started_at < history[-1].started_at
    assert {entry.mode for entry in history} == {"full"}
