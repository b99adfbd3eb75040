import psycopg
import pytest

from include.errors import TenantBusyError
from include.warehouse.connection import Warehouse
from include.warehouse.locks import STAGING_SLOTS, hold_tenant, lock_key


def test_a_second_run_of_a_tenant_is_turned_away_after_its_wait(warehouse: Warehouse) -> None:
    with (
        hold_tenant(warehouse, "acme"),
        pytest.raises(TenantBusyError, match="tenant acme: another run still holds"),
        hold_tenant(warehouse, "acme", wait_s=0.05),
    ):
        pass


def test_another_tenant_is_not_held_up(warehouse: Warehouse) -> None:
    with hold_tenant(warehouse, "acme"), hold_tenant(warehouse, "globex", wait_s=0.05) as lock:
        assert lock is not None


def test_the_same_tenant_in_another_schema_is_not_held_up(
    warehouse: Warehouse, database_url: str
) -> None:
    other = Warehouse.from_url(database_url, "another_schema")

    with hold_tenant(warehouse, "acme"), hold_tenant(other, "acme", wait_s=0.05) as lock:
        assert lock is not None


def test_a_lock_dies_with_its_session(warehouse: Warehouse) -> None:
    with pytest.raises(Exception, match="terminating"), hold_tenant(warehouse, "acme") as lock:  # noqa: PT012
        with warehouse.connect() as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_locks "
                "where locktype = 'advisory' and ((classid::bigint << 32) | objid::bigint) = %s",
                [lock_key(f"{warehouse.schema}:tenant:acme")],
            )
        with lock.staging_slot():
            pass

    with hold_tenant(warehouse, "acme", wait_s=5) as again:
        assert again is not None


def test_loads_at_once_get_different_slots(warehouse: Warehouse) -> None:
    with (
        hold_tenant(warehouse, "acme") as first,
        hold_tenant(warehouse, "globex") as second,
        first.staging_slot() as one,
        second.staging_slot() as other,
    ):
        assert one != other
        assert {one, other} <= set(range(1, STAGING_SLOTS + 1))


def test_a_slot_is_free_again_afterwards(warehouse: Warehouse, database_url: str) -> None:
    with hold_tenant(warehouse, "acme") as lock, lock.staging_slot() as slot:
        pass

    with psycopg.connect(database_url) as connection:
        key = lock_key(f"{warehouse.schema}:slot:{slot}")
        assert connection.execute("select pg_try_advisory_lock(%s)", [key]).fetchone() == (True,)
