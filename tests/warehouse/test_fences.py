"""What an outdated try of a scan may not do, whatever it believes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

from include.errors import LoadError, OutdatedAttemptError, TenantBusyError
from include.warehouse import scans
from include.warehouse.connection import Warehouse
from include.warehouse.scans import ScanLog
from tests.support.scans import scan
from tests.support.waiting import until

SCAN = scan()
FENCED = (
    "accounts",
    "associations",
    "deals",
    "freshness",
    "history_reads",
    "owners",
    "pipeline_stages",
    "pipelines",
    "property_definitions",
    "property_history",
    "records",
    "roles",
    "scan_chunks",
    "scan_objects",
    "teams",
    "users",
)


@pytest.fixture
def attempt(warehouse: Warehouse) -> ScanLog:
    """The newest try of a scan."""
    log = ScanLog(warehouse, SCAN)
    log.open()
    return log.next_attempt()


def delete_all(warehouse: Warehouse, table: str) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            sql.SQL("delete from {}").format(sql.Identifier(warehouse.schema, table))
        )


@pytest.mark.parametrize("table", FENCED)
def test_an_outdated_try_cannot_write_to_any_table_of_a_scan(
    attempt: ScanLog, warehouse: Warehouse, table: str
) -> None:
    delete_all(attempt.warehouse, table)
    attempt.next_attempt()

    with pytest.raises(OutdatedAttemptError):
        delete_all(attempt.warehouse, table)


def test_a_run_that_is_cleared_outdates_the_try_that_lives_on(
    attempt: ScanLog, warehouse: Warehouse
) -> None:
    delete_all(attempt.warehouse, "deals")
    ScanLog(warehouse, SCAN).open()

    with pytest.raises(OutdatedAttemptError):
        delete_all(attempt.warehouse, "deals")


def test_every_table_that_a_scan_fills_is_fenced(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        rows = connection.execute(
            "select relname from pg_trigger join pg_class on pg_class.oid = tgrelid"
            " where tgname = 'refuse_outdated' and relnamespace = %s::regnamespace",
            [warehouse.schema],
        ).fetchall()

    # who takes a tenant's lease is refused, too: tests/warehouse/test_locks.py
    assert sorted(name for (name,) in rows) == sorted([*FENCED, "tenant_leases"])


def test_an_outdated_try_cannot_write_to_its_own_row(attempt: ScanLog) -> None:
    newer = attempt.next_attempt()
    newer.set(pages=5)

    with pytest.raises(OutdatedAttemptError):
        attempt.set(pages=9)

    assert (newer.begun() or {"pages": 5})["pages"] == 5


def test_a_person_may_write_whatever_tries_there_are(
    attempt: ScanLog, warehouse: Warehouse
) -> None:
    attempt.next_attempt()

    delete_all(warehouse, "deals")


def test_a_try_is_named_in_its_connections(attempt: ScanLog) -> None:
    with attempt.warehouse.connect() as connection:
        row = connection.execute("select current_setting('application_name')").fetchone()

    assert row == (f"hubspot_deals/{SCAN.id}/{attempt.attempt}",)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into {} default values",
        "delete from {}",
        "truncate {}",
    ],
)
def test_a_staging_slot_that_somebody_else_took_is_out_of_reach(
    attempt: ScanLog, warehouse: Warehouse, statement: str
) -> None:
    taken_over(warehouse)
    staging = sql.Identifier(f"{warehouse.schema}_stg_slot1", "deals")

    with pytest.raises(OutdatedAttemptError):
        execute(attempt.warehouse, sql.SQL(statement).format(staging))


def execute(warehouse: Warehouse, statement: sql.Composed) -> None:
    with warehouse.connect() as connection:
        connection.execute(statement)


def taken_over(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(f"update {warehouse.schema}.staging_slots set writer = 'somebody else'")


def test_connections_that_are_kept_are_used_again_and_those_with_errors_are_not(
    warehouse: Warehouse,
) -> None:
    def backend(warehouse: Warehouse, also: Callable[[psycopg.Connection], object] = id) -> int:
        with warehouse.connect() as connection:
            also(connection)
            return connection.info.backend_pid

    with warehouse.keeping_connections() as keeping:
        first = backend(keeping)
        assert backend(keeping) == first
        with pytest.raises(LoadError, match="22012"):
            backend(keeping, lambda connection: connection.execute("select 1/0"))
        assert backend(keeping) != first


def test_connections_that_are_kept_are_not_those_of_a_try(warehouse: Warehouse) -> None:
    with warehouse.keeping_connections() as keeping:
        with keeping.connect():
            pass
        with keeping.as_attempt("a-scan", 3).connect() as connection:
            name = connection.info.get_parameters()["application_name"]

    assert name == "hubspot_deals/a-scan/3"


def test_a_new_try_waits_for_what_an_earlier_one_is_writing(
    attempt: ScanLog, warehouse: Warehouse
) -> None:
    with ThreadPoolExecutor() as executor:
        with attempt.warehouse.connect() as connection:
            connection.execute(
                sql.SQL("delete from {}").format(sql.Identifier(warehouse.schema, "deals"))
            )
            newer = executor.submit(attempt.next_attempt)
            until(lambda: waits_for_a_lock(warehouse), "the new try waits", timeout_s=30.0)
            assert not newer.done()

        assert newer.result().attempt == (attempt.attempt or 0) + 1


@pytest.mark.parametrize(
    "write", [ScanLog.next_attempt, ScanLog.succeed], ids=["next_attempt", "succeed"]
)
def test_a_write_does_not_wait_for_ever(
    attempt: ScanLog,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[ScanLog], object],
) -> None:
    monkeypatch.setattr(scans, "WRITE_WAIT", "10ms")
    with attempt.warehouse.connect() as connection:
        connection.execute(
            sql.SQL("delete from {}").format(sql.Identifier(warehouse.schema, "deals"))
        )

        with pytest.raises(TenantBusyError, match="has locked its row"):
            write(attempt)


def waits_for_a_lock(warehouse: Warehouse) -> bool:
    with warehouse.connect() as connection:
        waiting = connection.execute(
            "select from pg_stat_activity where wait_event_type = 'Lock' and query like %s",
            [f'%update "{warehouse.schema}"."scans"%'],
        )
        return waiting.fetchone() is not None
