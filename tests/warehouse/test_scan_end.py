from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from include.errors import ScanKilledError
from include.pipeline.validate_token import end_abandoned_scans
from include.warehouse import connection as connection_module
from include.warehouse.connection import Warehouse
from include.warehouse.fencing import TenantLease
from include.warehouse.scans import (
    EndedRun,
    OpenScan,
    ScanLog,
    end_scan,
    end_scans_of_ended_runs,
    open_scans,
)
from tests.support.scans import attempt, scan, scan_row
from tests.support.status_rows import add_scan

DAG = "hubspot_deals__acme"
ENDED_AT = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=40)
OPEN_STATES = ("validating", "extracting", "checking", "waiting")


def found(warehouse: Warehouse) -> list[OpenScan]:
    with warehouse.connect() as connection:
        return open_scans(connection, [DAG])


def all_ended(
    runs: Collection[tuple[str, str]],
) -> Mapping[tuple[str, str], EndedRun]:
    return dict.fromkeys(runs, EndedRun("failed", ENDED_AT))


def rows(warehouse: Warehouse) -> dict[str, tuple[str, datetime | None, int]]:
    with psycopg.connect(**warehouse.parameters) as connection:
        return {
            scan_id: (state, finished_at, attempt)
            for scan_id, state, finished_at, attempt in connection.execute(
                f"select scan_id, state, finished_at, attempt from {warehouse.schema}.scans"
            )
        }


def test_every_scan_whose_run_has_ended_is_failed_with_the_end_of_its_run(
    warehouse: Warehouse,
) -> None:
    day = timedelta(days=1)
    dead = [
        add_scan(warehouse, "acme", number, state=state, age=day)
        for number, state in enumerate(OPEN_STATES)
    ]
    alive = add_scan(warehouse, "acme", 10, state="extracting", age=day)
    over = [
        add_scan(warehouse, "acme", 20 + number, state=state, age=day)
        for number, state in enumerate(("succeeded", "failed", "cancelled"))
    ]
    before = rows(warehouse)

    def ended(runs: Collection[tuple[str, str]]) -> dict[tuple[str, str], EndedRun]:
        of_alive = next(scan.run for scan in found(warehouse) if scan.scan_id == alive)
        return {run: EndedRun("success", ENDED_AT) for run in runs if run != of_alive}

    assert end_scans_of_ended_runs(warehouse, found(warehouse), ended)

    after = rows(warehouse)
    assert {after[scan_id][:2] for scan_id in dead} == {("failed", ENDED_AT)}
    assert all(after[scan_id][2] == before[scan_id][2] + 1 for scan_id in dead)
    assert all(after[scan_id] == before[scan_id] for scan_id in (alive, *over))


@pytest.mark.parametrize(
    ("ended_at", "finished_at"),
    [
        pytest.param(ENDED_AT, ENDED_AT, id="the run's"),
        pytest.param(None, None, id="not known: now"),
        pytest.param(datetime.now(UTC) + timedelta(days=1), None, id="not in the future"),
        pytest.param(datetime(2020, 1, 1, tzinfo=UTC), "started_at", id="not before it began"),
    ],
)
def test_a_scan_that_was_ended_for_it_ends_when_its_run_did(
    warehouse: Warehouse, ended_at: datetime | None, finished_at: datetime | str | None
) -> None:
    add_scan(warehouse, "acme", 1, state="extracting", age=timedelta(days=1))
    before = datetime.now(UTC) - timedelta(seconds=1)

    end_scans_of_ended_runs(
        warehouse, found(warehouse), lambda runs: dict.fromkeys(runs, EndedRun("failed", ended_at))
    )

    with psycopg.connect(**warehouse.parameters) as connection:
        row = connection.execute(
            f"select started_at, finished_at, now() from {warehouse.schema}.scans"
        ).fetchone()
    assert row
    if isinstance(finished_at, datetime):
        assert row[1] == finished_at
    elif finished_at:
        assert row[1] == row[0]
    else:
        assert before < row[1] < row[2]


def test_a_scan_that_began_anew_after_it_was_looked_at_is_left_alone(warehouse: Warehouse) -> None:
    what = scan()
    attempt(warehouse, what)
    seen = found(warehouse)
    log = ScanLog(warehouse, what).next_attempt()

    end_scans_of_ended_runs(warehouse, seen, all_ended)

    assert scan_row(warehouse, what)["attempt"] == log.attempt
    assert scan_row(warehouse, what)["state"] != "failed"


def test_a_task_that_went_on_after_it_was_looked_at_is_left_alone(warehouse: Warehouse) -> None:
    what = scan()
    log = attempt(warehouse, what)
    seen = found(warehouse)
    log.set(state="checking")

    end_scans_of_ended_runs(warehouse, seen, all_ended)

    assert scan_row(warehouse, what)["state"] == "checking"


def test_a_scan_whose_row_a_lost_machine_has_locked_does_not_hold_up_the_others(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    # an error soon, should it wait for the lock
    monkeypatch.setitem(connection_module._OPTIONS, "lock_timeout", "100ms")
    locked, other = (add_scan(warehouse, "acme", n, state="extracting") for n in (1, 2))
    with psycopg.connect(**warehouse.parameters) as lost:
        # as the trigger `refuse_outdated` does
        lost.execute(f"select from {warehouse.schema}.scans where scan_id = %s for share", [locked])

        end_scans_of_ended_runs(warehouse, found(warehouse), all_ended)
        states = {scan_id: state for scan_id, (state, *_) in rows(warehouse).items()}

    assert states == {locked: "extracting", other: "failed"}


def test_airflow_is_not_asked_when_no_scan_is_open(warehouse: Warehouse) -> None:
    add_scan(warehouse, "acme", 1, state="succeeded")

    def never(runs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], EndedRun]:
        raise AssertionError(runs)

    assert not end_scans_of_ended_runs(warehouse, found(warehouse), never)


def test_ending_a_scan_frees_its_tenant(warehouse: Warehouse) -> None:
    log = attempt(warehouse, scan())
    assert log.warehouse.attempt
    assert TenantLease(log.warehouse, "acme").take()

    end_scans_of_ended_runs(warehouse, found(warehouse), all_ended)

    other = attempt(warehouse, scan("manual__2"))
    assert other.warehouse.attempt
    assert TenantLease(other.warehouse, "acme").take()


def test_the_next_scan_of_the_tenant_ends_those_before_it_but_not_itself(
    warehouse: Warehouse,
) -> None:
    before, other = scan("manual__1"), scan("manual__1", tenant_id="globex")
    now = replace(scan("manual__2"))
    for what in (before, other, now):
        ScanLog(warehouse, what).open()

    end_abandoned_scans(warehouse, now, all_ended)

    assert scan_row(warehouse, before)["state"] == "failed"
    assert scan_row(warehouse, before)["error"].startswith("ScanKilledError")
    assert scan_row(warehouse, other)["state"] == "validating"
    assert scan_row(warehouse, now)["state"] == "validating"


def test_without_airflow_nothing_is_known_to_have_ended(warehouse: Warehouse) -> None:
    before = scan("manual__1")
    ScanLog(warehouse, before).open()

    end_abandoned_scans(warehouse, scan("manual__2"))

    assert scan_row(warehouse, before)["state"] == "validating"


def test_a_scan_that_succeeds_after_all_keeps_no_error(warehouse: Warehouse) -> None:
    """It was cleared while it was being ended."""
    what = scan()
    ScanLog(warehouse, what).open()
    with warehouse.connect() as connection:
        end_scan(connection, what.id, ScanKilledError("killed"))

    ScanLog(warehouse, what).succeed()

    row = scan_row(warehouse, what)
    assert (row["state"], row["error"], row["remedy"]) == ("succeeded", None, None)
