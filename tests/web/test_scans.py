from datetime import UTC, datetime, timedelta

import pytest

from include.warehouse.connection import Warehouse
from include.warehouse.scans import CancelledRun
from include.web.airflow import ActiveRun
from include.web.models import ScanSummary
from include.web.scans import (
    find_scan,
    heading_of,
    list_scans,
    queued_scan,
    record_cancelled,
    states_of,
)
from include.web.warehouse import WarehouseEmptyError, WarehouseNotReadyError
from tests.support.scans import query
from tests.support.status_rows import add_check, add_object, add_scan, run_of

DAGS = ["hubspot_deals__acme", "hubspot_deals__globex"]


def test_scans_come_newest_first_and_pages_join_without_gap(warehouse: Warehouse) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    # several of one moment: the order must be a total one
    for number in range(20):
        add_scan(warehouse, "acme", number, started_at=moment + timedelta(hours=number // 5))

    seen, cursor = [], None
    while True:
        page = list_scans(warehouse, DAGS, limit=3, cursor=cursor)
        seen += page.scans
        cursor = page.next_cursor
        if cursor is None:
            break

    starts = [scan.started_at for scan in seen]
    assert len({scan.scan_id for scan in seen}) == len(seen) == 20
    assert starts == sorted(starts, reverse=True)


def test_scans_that_begin_while_one_turns_pages_do_not_move_them(warehouse: Warehouse) -> None:
    for number in range(4):
        add_scan(warehouse, "acme", number, age=timedelta(hours=number + 1))
    first = list_scans(warehouse, DAGS, limit=2)

    add_scan(warehouse, "acme", 99, age=timedelta())
    second = list_scans(warehouse, DAGS, limit=2, cursor=first.next_cursor)

    assert [scan.run_id for scan in second.scans] == ["manual__2", "manual__3"]


@pytest.mark.parametrize("queued_for", [timedelta(minutes=30), timedelta(hours=5)])
def test_a_queued_scan_that_begins_while_one_turns_pages_is_not_lost(
    warehouse: Warehouse, queued_for: timedelta
) -> None:
    for number in range(3):
        add_scan(warehouse, "acme", number, age=timedelta(hours=number + 1))
    queued = [queued_summary("acme", number, queued_for) for number in (8, 9)]
    first = list_scans(warehouse, DAGS, limit=1, queued=queued)

    add_scan(warehouse, "acme", 8, state="validating", age=timedelta())
    rest = list_scans(warehouse, DAGS, cursor=first.next_cursor, queued=queued[1:])

    seen = {scan.run_id for scan in [*first.scans, *rest.scans]}
    assert seen == {f"manual__{number}" for number in (0, 1, 2, 8, 9)}


def test_a_scan_that_begins_between_the_two_queries_is_listed_once(warehouse: Warehouse) -> None:
    queued = [queued_summary("acme", 1, timedelta(minutes=1))]
    add_scan(warehouse, "acme", 1, state="validating", age=timedelta())

    (scan,) = list_scans(warehouse, DAGS, queued=queued).scans

    assert scan.state == "validating"


def queued_summary(tenant: str, number: int, queued_for: timedelta) -> ScanSummary:
    _, dag_id, run_id = run_of(tenant, number)
    run = ActiveRun(dag_id, run_id, "queued", "auto", datetime.now(UTC) - queued_for)
    row = dict(queued_scan(run, tenant))
    return ScanSummary.model_validate({**row, "warnings": 0, "error": None})


def test_only_scans_of_the_dags_asked_for_are_listed(warehouse: Warehouse) -> None:
    add_scan(warehouse, "acme")
    add_scan(warehouse, "globex")

    assert [s.tenant for s in list_scans(warehouse, DAGS[:1]).scans] == ["acme"]
    assert list_scans(warehouse, []).scans == []


def test_a_summary_tells_class_of_error_warnings_and_seconds(warehouse: Warehouse) -> None:
    add_scan(
        warehouse,
        "acme",
        state="failed",
        error="KeyError, see the log",
        warnings=["one", "two"],
        took=timedelta(seconds=90),
        deals={"records_received": 5, "rows_written": 4},
    )

    (scan,) = list_scans(warehouse, DAGS).scans

    assert (scan.error_type, scan.warnings, scan.seconds) == ("KeyError", 2, 90.0)
    assert (scan.deals_received, scan.deals_written) == (5, 4)


def test_times_are_utc_whatever_the_server_says(warehouse: Warehouse) -> None:
    add_scan(warehouse, "acme", started_at=datetime(2026, 7, 1, 12, tzinfo=UTC))
    with warehouse.connect() as connection:
        connection.execute("set time zone 'America/St_Johns'")

    (scan,) = list_scans(warehouse, DAGS).scans

    assert scan.started_at.isoformat() == "2026-07-01T12:00:00+00:00"


def test_a_scan_comes_with_objects_deals_first_and_checks_worst_first(
    warehouse: Warehouse,
) -> None:
    scan_id = add_scan(warehouse, "acme", deals={"expected": 10})
    add_object(warehouse, "acme", 1, "contacts")
    add_check(warehouse, "acme", 1, "a_good_one", "passed")
    add_check(warehouse, "acme", 1, "z_bad_one", "failed", severity="block")

    scan = find_scan(warehouse, scan_id)

    assert scan is not None
    assert [part.object for part in scan.objects] == ["deals", "contacts"]
    assert [check.check for check in scan.quality] == ["z_bad_one", "a_good_one"]
    assert scan.objects[0].expected == 10


@pytest.mark.parametrize(
    ("slow_chunk", "why"), [(1, "the first chunks are forgotten"), (7, "the scan waited")]
)
def test_the_rate_is_that_of_most_of_the_last_checkpoints(
    warehouse: Warehouse, slow_chunk: int, why: str
) -> None:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    scan_id = add_scan(warehouse, "acme", state="extracting", extraction_started_at=started)
    query(
        warehouse,
        "insert into scan_chunks (scan_id, object, chunk, ids, hashes, modified_at, loaded_at)"
        " select %s, 'deals', n, array_fill(n::bigint, array[500]), '{}', '{}', %s::timestamptz"
        " + n * interval '10 s' + case when n >= %s then interval '1 day' else '0' end"
        " from generate_series(1, 8) as n returning chunk",
        scan_id,
        started,
        slow_chunk,
    )

    scan = find_scan(warehouse, scan_id)

    assert scan is not None
    assert scan.records_per_s == 50, why


def test_a_scan_without_chunks_has_no_rate(warehouse: Warehouse) -> None:
    scan = find_scan(warehouse, add_scan(warehouse, "acme", state="extracting"))

    assert scan is not None
    assert scan.records_per_s is None


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            "TokenRejectedError: tenant acme: HubSpot refused the token (401). Rotate it. See …",
            "HubSpot refused the token (401).",
        ),
        (
            "DailyLimitError: 225,014 of HubSpot's 250,000 requests are used up.",
            "225,014 of HubSpot's 250,000 requests are used up.",
        ),
        (
            "ContractError: tenant acme: version 3.5 of the answer: unknown",
            "version 3.5 of the answer: unknown",
        ),
    ],
)
def test_a_list_shows_the_first_sentence_of_an_error(
    warehouse: Warehouse, error: str, shown: str
) -> None:
    add_scan(warehouse, "acme", 1, state="failed", error=error)

    (scan,) = list_scans(warehouse, DAGS).scans

    assert scan.error == shown


def test_an_unknown_scan_is_none(warehouse: Warehouse) -> None:
    assert find_scan(warehouse, run_of("acme", 5)[0]) is None
    assert find_scan(warehouse, "'; drop table scans; --") is None


def test_which_scans_have_a_row(warehouse: Warehouse) -> None:
    scan_id = add_scan(warehouse, "acme", 1, state="extracting")
    runs = [
        ActiveRun(*run_of("acme", number)[1:], "running", "auto", datetime.now(UTC))
        for number in (1, 2)
    ]

    assert states_of(warehouse, runs) == {scan_id: "extracting"}
    assert states_of(warehouse, []) == {}


def test_a_schema_without_tables_has_no_scans(empty_warehouse: Warehouse) -> None:
    assert list_scans(empty_warehouse, DAGS).scans == []
    assert find_scan(empty_warehouse, run_of("acme", 1)[0]) is None


def test_a_queued_scan_is_cancelled_before_there_are_tables(empty_warehouse: Warehouse) -> None:
    scan_id, dag_id, run_id = run_of("acme", 1)

    record_cancelled(empty_warehouse, CancelledRun(scan_id, "acme", dag_id, run_id, "auto"))


def test_a_schema_that_is_too_old_says_so(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(f"alter table {warehouse.schema}.scans drop column remedy")

    with pytest.raises(WarehouseNotReadyError) as raised:
        find_scan(warehouse, run_of("acme", 1)[0])

    assert not isinstance(raised.value, WarehouseEmptyError)


@pytest.mark.parametrize(
    ("check", "heading"),
    [
        pytest.param("deals_present", "deals_present", id="one of ours"),
        pytest.param("deals_have_an_owner", "quality-check-failed", id="one that a team added"),
    ],
)
def test_a_check_leads_to_its_heading_or_that_of_all_checks(check: str, heading: str) -> None:
    assert heading_of(check) == heading
