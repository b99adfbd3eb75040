"""Scans after the first in real Airflow: a pause, a backfill with runs in parallel, a window."""

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.e2e.conftest import Pipeline, dag_of, write_tenants
from tests.support.waiting import until

pytestmark = pytest.mark.e2e

DAILY = "0 3 * * *"
#: When the simulator's deals were modified: one an hour from 2025-01-16 on.
BACKFILL_FROM, BACKFILL_TO = datetime(2025, 1, 20, tzinfo=UTC), datetime(2025, 1, 23, tzinfo=UTC)


@pytest.fixture
def schedules(pipeline: Pipeline) -> Iterator[None]:
    """Leave the tenants file as it was found."""
    yield
    write_tenants(pipeline.stack.state_dir)


def object_rows(pipeline: Pipeline, tenant: str) -> list[dict[str, Any]]:
    return pipeline.query(
        "select object.*, scan.run_id, scan.state from scan_objects as object"
        " join scans as scan using (scan_id)"
        " where object.tenant_id = %s and object.object = 'deals' order by window_start",
        tenant,
    )


def set_schedule(pipeline: Pipeline, tenant: str) -> None:
    """Give the tenant a daily schedule, and wait until Airflow knows of it."""
    dag_id = dag_of(tenant)
    write_tenants(pipeline.stack.state_dir, **{tenant: DAILY})
    until(
        lambda: (pipeline.stack.api.dag(dag_id) or {}).get("next_dagrun_run_after"),
        f"Airflow knows the schedule of {dag_id}",
    )


@pytest.mark.usefixtures("schedules")
def test_a_schedule_paused_for_three_days_leaves_no_gap(pipeline: Pipeline) -> None:
    tenant, dag_id = "paused", dag_of("paused")
    pipeline.scan(tenant)
    pipeline.stack.api.call("PATCH", f"dags/{dag_id}", json={"is_paused": True})
    # The scan above was three days ago, and so was all that it knows.
    pipeline.query(
        "with scan as (update scans set extraction_started_at = extraction_started_at"
        " - interval '3 days' where tenant_id = %s returning scan_id)"
        " update scan_objects set watermark = watermark - interval '3 days'"
        " where scan_id in (select scan_id from scan) returning scan_id",
        tenant,
    )
    (first,) = object_rows(pipeline, tenant)
    account = pipeline.accounts[tenant]
    live = [deal for deal in account.truth() if not deal["archived"]]
    updated, archived, one, other = (int(deal["id"]) for deal in live[:4])
    account.update(updated, amount="4711")
    account.archive(archived)
    account.merge(one, other)
    set_schedule(pipeline, tenant)

    pipeline.stack.api.unpause(dag_id)
    run = until(
        lambda: next(
            (r for r in pipeline.stack.api.runs(dag_id) if r["run_type"] == "scheduled"), None
        ),
        "the scheduled run is there",
    )
    pipeline.require_success(tenant, run["dag_run_id"])

    second = next(row for row in object_rows(pipeline, tenant) if row["run_id"] != first["run_id"])
    extracted = pipeline.stack.api.xcom(dag_id, run["dag_run_id"], "extract_deals")
    assert second["mode"] == "incremental"
    assert second["window_start"] == first["watermark"]
    assert second["window_start"] < datetime.fromisoformat(run["data_interval_start"])
    assert extracted["deals_written"] == 3
    assert second["unexplained"] == 0
    assert pipeline.rows_of(tenant) == pipeline.truth_of(tenant)


@pytest.mark.usefixtures("schedules")
def test_a_backfill_of_three_days_with_runs_in_parallel(pipeline: Pipeline) -> None:
    tenant, dag_id = "backfilled", dag_of("backfilled")
    set_schedule(pipeline, tenant)
    until(lambda: create_backfill(pipeline, dag_id), "the API server sees the schedule")

    # With this the schedule's own run starts too, beside the three.
    pipeline.stack.api.unpause(dag_id)
    until(
        lambda: run_types(pipeline, dag_id) == {"backfill": 3, "scheduled": 1},
        "four runs are there",
    )
    runs = pipeline.stack.api.runs(dag_id)
    for run in runs:
        pipeline.require_success(tenant, run["dag_run_id"])

    assert_one_at_a_time(pipeline, dag_id, runs)
    rows = object_rows(pipeline, tenant)
    windows = [row for row in rows if row["mode"] == "window"]
    bounds = [row["window_start"] for row in windows] + [windows[-1]["window_end"]]
    assert bounds == [bounds[0] + timedelta(days=n) for n in range(4)]
    assert BACKFILL_FROM - timedelta(days=1) < bounds[0] <= BACKFILL_FROM + timedelta(days=1)
    truth = pipeline.accounts[tenant].truth()
    for row in windows:
        assert row["records_received"] == sum(
            deal["archived"]
            or row["window_start"] <= datetime.fromisoformat(deal["updatedAt"]) < row["window_end"]
            for deal in truth
        )
    assert all(row["watermark"] is None for row in windows)
    assert pipeline.rows_of(tenant) == pipeline.truth_of(tenant)


def create_backfill(pipeline: Pipeline, dag_id: str) -> bool:
    """Create it; False: the API server still has the DAG without its schedule in a cache."""
    body = {
        "dag_id": dag_id,
        "from_date": BACKFILL_FROM.isoformat(),
        "to_date": BACKFILL_TO.isoformat(),
        "max_active_runs": 5,
        "reprocess_behavior": "none",
        "run_backwards": False,
        "dag_run_conf": {},
    }
    try:
        pipeline.stack.api.call("POST", "backfills", json=body)
    except requests.HTTPError as exc:
        if "does not support backfills" not in exc.response.text:
            raise
        return False
    return True


def run_types(pipeline: Pipeline, dag_id: str) -> Counter[str]:
    return Counter(run["run_type"] for run in pipeline.stack.api.runs(dag_id))


def assert_one_at_a_time(pipeline: Pipeline, dag_id: str, runs: list[dict[str, Any]]) -> None:
    extractions = sorted(
        (task["start_date"], task["end_date"])
        for run in runs
        for task in pipeline.stack.api.tasks(dag_id, run["dag_run_id"])
        if task["task_id"] == "extract_deals"
    )
    assert len(extractions) == len(runs)
    for (_, ended), (started, _) in itertools.pairwise(extractions):
        assert ended <= started


def test_a_window_given_over_the_rest_api(pipeline: Pipeline) -> None:
    tenant, dag_id = "windowed", dag_of("windowed")
    conf = {"window_start": "2025-02-01T00:00:00Z", "window_end": "2025-02-02T00:00:00Z"}

    run_id = pipeline.stack.trigger(dag_id, conf)

    pipeline.require_success(tenant, run_id)
    expected = {
        deal["id"]
        for deal in pipeline.accounts[tenant].truth()
        if deal["archived"] or deal["updatedAt"].startswith("2025-02-01")
    }
    assert len(expected) > 60
    assert set(pipeline.rows_of(tenant)) == expected
    checked = pipeline.stack.api.xcom(dag_id, run_id, "check_quality")
    assert (checked["passed"], checked["failed"]) == (True, 0)


def test_a_scan_that_was_left_open_is_ended_by_the_next_one_with_the_end_of_its_run(
    pipeline: Pipeline,
) -> None:
    tenant, dag_id = "left_open", dag_of("left_open")
    window = {"window_start": "2024-01-01T00:00:00Z", "window_end": "2024-01-02T00:00:00Z"}
    left_open = pipeline.stack.trigger(dag_id, window)
    pipeline.require_success(tenant, left_open)
    pipeline.query(
        "update scans set state = 'extracting', finished_at = null where run_id = %s"
        " returning scan_id",
        left_open,
    )

    pipeline.require_success(tenant, pipeline.stack.trigger(dag_id, window))

    (scan,) = pipeline.query("select state, finished_at from scans where run_id = %s", left_open)
    (run,) = [r for r in pipeline.stack.api.runs(dag_id) if r["dag_run_id"] == left_open]
    assert scan == {"state": "failed", "finished_at": datetime.fromisoformat(run["end_date"])}
