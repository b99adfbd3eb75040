from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.errors import (
    LoadError,
    OutdatedAttemptError,
    TenantBusyError,
    WarehouseUnavailableError,
)
from include.warehouse import fencing
from include.warehouse.connection import Warehouse
from include.warehouse.fencing import STAGING_SLOTS, tenant_lease
from include.warehouse.scans import CancelledRun, cancel, end_scan
from tests.support.scans import attempt, query, scan
from tests.support.waiting import until

FIRST, SECOND = scan("1"), scan("2")
OF_GLOBEX = scan(tenant_id="globex")


def left_to_itself(warehouse: Warehouse) -> Warehouse:
    """The first scan's try, killed while it held the tenant."""
    ours = attempt(warehouse, FIRST).warehouse
    held = tenant_lease(ours, "acme")
    with pytest.MonkeyPatch.context() as patched:
        # a process that is killed gives nothing back
        patched.setattr(fencing.TenantLease, "release", lambda _: None)
        with held:
            pass
    return ours


def run_out(warehouse: Warehouse) -> None:
    """Let all leases be as old as if their holders had been silent for long."""
    query(warehouse, "update tenant_leases set expires_at = now() returning 1")


def leases(warehouse: Warehouse) -> list[tuple[str, int]]:
    rows = query(warehouse, "select scan_id, attempt from tenant_leases")
    return [(row["scan_id"], row["attempt"]) for row in rows]


def test_a_second_run_of_a_tenant_is_turned_away_after_its_wait(warehouse: Warehouse) -> None:
    first, second = (attempt(warehouse, one).warehouse for one in (FIRST, SECOND))

    with (
        tenant_lease(first, "acme"),
        pytest.raises(TenantBusyError, match="tenant acme: another run still holds"),
        tenant_lease(second, "acme", wait_s=0.05),
    ):
        pass


def test_another_tenant_is_not_held_up(warehouse: Warehouse) -> None:
    first, other = (attempt(warehouse, one).warehouse for one in (FIRST, OF_GLOBEX))

    with tenant_lease(first, "acme"), tenant_lease(other, "globex", wait_s=0.0) as lock:
        assert lock is not None


def test_who_waits_gets_the_tenant_once_it_is_free(warehouse: Warehouse) -> None:
    first, second = (attempt(warehouse, one).warehouse for one in (FIRST, SECOND))
    with ExitStack() as held:
        held.enter_context(tenant_lease(first, "acme"))

        with tenant_lease(second, "acme", sleep=lambda _: held.close()):
            assert leases(warehouse) == [(SECOND.id, 2)]


def test_the_tenant_is_free_after_an_error(warehouse: Warehouse) -> None:
    first, second = (attempt(warehouse, one).warehouse for one in (FIRST, SECOND))
    with pytest.raises(ZeroDivisionError), tenant_lease(first, "acme"):
        _ = 1 / 0

    with tenant_lease(second, "acme", wait_s=0.0) as lock:
        assert lock is not None


def test_no_connection_is_held_with_the_tenant(warehouse: Warehouse) -> None:
    ours = attempt(warehouse, FIRST).warehouse

    def sessions() -> list[Any]:
        return query(
            warehouse,
            "select pid from pg_stat_activity where application_name = %s",
            ours.parameters["application_name"],
        )

    with tenant_lease(ours, "acme"):
        # PostgreSQL shows a session for a moment longer than its client has it
        until(lambda: not sessions(), "no session is left", timeout_s=30.0)


def test_the_next_try_of_a_scan_takes_the_tenant_over_at_once(warehouse: Warehouse) -> None:
    left_to_itself(warehouse)
    retry = attempt(warehouse, FIRST).warehouse

    with tenant_lease(retry, "acme", wait_s=0.0) as lock:
        assert lock is not None


def test_a_try_that_was_outdated_while_it_waited_does_not_take_the_tenant(
    warehouse: Warehouse,
) -> None:
    log = attempt(warehouse, FIRST)
    newer = log.next_attempt()

    with (
        tenant_lease(newer.warehouse, "acme"),
        pytest.raises(OutdatedAttemptError),
        tenant_lease(log.warehouse, "acme"),
    ):
        pass


def test_another_scan_waits_for_a_killed_one_until_its_lease_has_run_out(
    warehouse: Warehouse,
) -> None:
    left_to_itself(warehouse)
    second = attempt(warehouse, SECOND).warehouse

    with (
        pytest.raises(TenantBusyError),
        tenant_lease(second, "acme", wait_s=0.05),
    ):
        pass
    run_out(warehouse)

    with tenant_lease(second, "acme", wait_s=0.0):
        assert leases(warehouse) == [(SECOND.id, 2)]


def test_a_try_whose_tenant_another_scan_has_taken_writes_nothing_more(
    warehouse: Warehouse,
) -> None:
    sleeper = left_to_itself(warehouse)
    run_out(warehouse)
    second = attempt(warehouse, SECOND).warehouse

    with tenant_lease(second, "acme"):
        pass

    with pytest.raises(OutdatedAttemptError), sleeper.connect() as connection:
        connection.execute(f"delete from {warehouse.schema}.deals")


def test_an_expired_lease_stays_valid_until_another_scan_claims_it(warehouse: Warehouse) -> None:
    ours = attempt(warehouse, FIRST).warehouse
    with tenant_lease(ours, "acme") as lock:
        run_out(warehouse)

        with lock.staging_slot(), ours.connect() as connection:
            connection.execute(f"delete from {warehouse.schema}.deals")

    assert leases(warehouse) == []


def test_a_lease_is_renewed_while_it_is_held(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fencing, "RENEWED_EVERY_S", 0.01)

    with tenant_lease(attempt(warehouse, FIRST).warehouse, "acme"):
        run_out(warehouse)
        until(
            lambda: query(warehouse, "select 1 from tenant_leases where expires_at > now()"),
            "the lease is renewed",
            timeout_s=10,
        )


def test_a_scan_in_the_middle_of_a_transaction_is_not_taken_over(warehouse: Warehouse) -> None:
    """What it has written already could come later than what the other scan writes."""
    sleeper = left_to_itself(warehouse)
    run_out(warehouse)
    second = attempt(warehouse, SECOND).warehouse
    with sleeper.connect() as connection:
        connection.execute(
            f"update {warehouse.schema}.scans set pages = 1 where scan_id = %s", [FIRST.id]
        )

        with pytest.raises(TenantBusyError), tenant_lease(second, "acme", wait_s=0.0):
            pass

    with tenant_lease(second, "acme", wait_s=0.0):
        assert leases(warehouse) == [(SECOND.id, 2)]


def test_ending_a_scan_frees_its_tenant(warehouse: Warehouse) -> None:
    left_to_itself(warehouse)

    with warehouse.connect() as connection:
        end_scan(connection, FIRST.id, TenantBusyError("it was killed"))

    assert leases(warehouse) == []


def test_whoever_cancels_a_scan_frees_its_tenant(warehouse: Warehouse) -> None:
    left_to_itself(warehouse)

    cancel(warehouse, CancelledRun(FIRST.id, "acme", "dag", FIRST.run_id, "auto"))

    assert leases(warehouse) == []


def test_loads_at_once_get_different_slots(warehouse: Warehouse) -> None:
    ours, theirs = (attempt(warehouse, one).warehouse for one in (FIRST, OF_GLOBEX))

    with (
        tenant_lease(ours, "acme") as first,
        tenant_lease(theirs, "globex") as second,
        first.staging_slot() as one,
        second.staging_slot() as other,
    ):
        assert one != other
        assert {one, other} <= set(range(1, STAGING_SLOTS + 1))


def test_a_slot_is_never_given_to_two_loads(warehouse: Warehouse) -> None:
    def load(n: int) -> None:
        tenant_id = f"tenant_{n}"
        ours = attempt(warehouse, scan(tenant_id=tenant_id)).warehouse
        with ours.keeping_connections() as kept, tenant_lease(kept, tenant_id) as lock:
            for _ in range(40):
                # raises if another scan has taken it meanwhile
                with lock.staging_slot(sleep=lambda _: None):
                    pass

    with ThreadPoolExecutor(STAGING_SLOTS + 2) as executor:
        assert list(executor.map(load, range(STAGING_SLOTS + 2)))


def test_a_tenant_gets_its_usual_slot_again(warehouse: Warehouse) -> None:
    with tenant_lease(attempt(warehouse, FIRST).warehouse, "acme") as lock:
        with lock.staging_slot() as slot:
            pass

        with lock.staging_slot() as again:
            assert again == slot


def test_a_load_waits_until_one_of_the_slots_is_free(warehouse: Warehouse) -> None:
    with ExitStack() as held:
        for n in range(STAGING_SLOTS):
            tenant_id = f"tenant_{n}"
            other = attempt(warehouse, scan(tenant_id=tenant_id)).warehouse
            lock = held.enter_context(tenant_lease(other, tenant_id))
            last = held.enter_context(ExitStack())
            slot = last.enter_context(lock.staging_slot())
        ours = held.enter_context(tenant_lease(attempt(warehouse, FIRST).warehouse, "acme"))

        with ours.staging_slot(sleep=lambda _: last.close()) as ours_now:
            assert ours_now == slot


def test_a_killed_load_keeps_its_slot_no_longer_than_its_scan_the_tenant(
    warehouse: Warehouse,
) -> None:
    killed = left_to_itself(warehouse)
    query(
        warehouse,
        "update staging_slots set writer = %s returning 1",
        killed.parameters["application_name"],
    )

    with (
        tenant_lease(attempt(warehouse, FIRST).warehouse, "acme") as lock,
        lock.staging_slot() as slot,
    ):
        assert slot


def test_a_slot_into_whose_tables_somebody_still_writes_is_not_free(warehouse: Warehouse) -> None:
    with tenant_lease(attempt(warehouse, FIRST).warehouse, "acme") as lock:
        with lock.staging_slot() as usual:
            pass
        with warehouse.connect() as stopped:
            staging = sql.Identifier(f"{warehouse.schema}_stg_slot{usual}", "deals")
            stopped.execute(sql.SQL("lock table {} in row exclusive mode").format(staging))

            with lock.staging_slot() as slot:
                assert slot != usual


def test_a_load_that_lost_its_slot_before_its_end_does_not_count(warehouse: Warehouse) -> None:
    """Between COPY and MERGE another load may have emptied the tables."""
    ours, theirs = (attempt(warehouse, one).warehouse for one in (FIRST, OF_GLOBEX))

    with (
        tenant_lease(ours, "acme") as lock,
        pytest.raises(LoadError, match="another load has taken its staging slot"),
        lock.staging_slot() as slot,
    ):
        query(
            warehouse,
            "update staging_slots set writer = %s where slot = %s returning 1",
            theirs.parameters["application_name"],
            slot,
        )


def lose_slots_and_fail(warehouse: Warehouse) -> None:
    query(warehouse, "update staging_slots set writer = null returning 1")
    query(warehouse, "select 1/0")


def test_a_dump_of_the_database_is_not_waited_for_without_bound(
    warehouse: Warehouse, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fencing, "SLOT_WAIT_S", 0)
    tables = ", ".join(
        f"{warehouse.schema}_stg_slot{slot}.deals" for slot in range(1, STAGING_SLOTS + 1)
    )
    with (
        psycopg.connect(database_url) as dump,
        tenant_lease(attempt(warehouse, FIRST).warehouse, "acme") as lock,
    ):
        dump.execute(f"lock table {tables} in access share mode")

        with pytest.raises(WarehouseUnavailableError, match="no staging slot was free"):  # noqa: SIM117
            with lock.staging_slot(lambda _: None):
                pass


def test_an_error_of_a_load_is_told_whether_or_not_the_slot_is_still_ours(
    warehouse: Warehouse,
) -> None:
    with (
        tenant_lease(attempt(warehouse, FIRST).warehouse, "acme") as lock,
        pytest.raises(LoadError, match="22012"),
        lock.staging_slot(),
    ):
        lose_slots_and_fail(warehouse)
