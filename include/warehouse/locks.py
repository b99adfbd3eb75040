"""Advisory locks: one extraction per tenant, one load per staging slot.

All of them belong to one database session, so they are freed when the process dies.
"""

import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from include.errors import TenantBusyError
from include.warehouse.connection import Warehouse

#: Staging schemas made by the first migration; as many loads can run at once.
STAGING_SLOTS = 8
#: How long to wait for another run of the tenant. A task whose supervisor was killed goes on beside
#: its retry for up to half a minute or so.
TENANT_WAIT_S = 120
START_TIMEOUT = "20s"


class TenantLock:
    """Held by one run of a tenant from before it reads until after it wrote."""

    def __init__(self, connection: psycopg.Connection, schema: str, tenant_id: str) -> None:
        self._connection = connection
        self._writer = connection.info.get_parameters().get("application_name")
        self._schema = schema
        self._first_slot = zlib.crc32(tenant_id.encode()) % STAGING_SLOTS

    @contextmanager
    def staging_slot(self) -> Iterator[int]:
        """Yield the number (1 …) of a staging slot that is ours until the block ends.

        Its tables take rows from nobody else, even if we lose the lock without knowing it.

        Raises an OperationalError when the session, and with it the tenant's lock, is gone.
        """
        slot = self._take_slot()
        try:
            self._connection.execute(
                sql.SQL("update {} set writer = %s where slot = %s").format(
                    sql.Identifier(self._schema, "staging_slots")
                ),
                [self._writer, slot],
            )
            yield slot
        finally:
            self._connection.execute("select pg_advisory_unlock(%s)", [self._key(slot)])

    def _take_slot(self) -> int:
        slots = [(self._first_slot + n) % STAGING_SLOTS + 1 for n in range(STAGING_SLOTS)]
        for slot in slots:
            if self._scalar("select pg_try_advisory_lock(%s)", self._key(slot)):
                return slot
        self._connection.execute("select pg_advisory_lock(%s)", [self._key(slots[0])])
        return slots[0]

    def _key(self, slot: int) -> int:
        return lock_key(f"{self._schema}:slot:{slot}")

    def _scalar(self, statement: str, key: int) -> bool:
        row = self._connection.execute(statement, [key]).fetchone()
        return bool(row and row[0])


def lock_key(name: str) -> int:
    """Return a signed 64-bit key for pg_advisory_lock."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@contextmanager
def hold_tenant(
    warehouse: Warehouse, tenant_id: str, wait_s: float = TENANT_WAIT_S
) -> Iterator[TenantLock]:
    """Hold a tenant's lock for the length of the block. Raises TenantBusyError after *wait_s*."""
    with warehouse.connect(tenant_id, autocommit=True) as connection:
        connection.execute(
            "select set_config('lock_timeout', %s, false)", [f"{int(wait_s * 1000)}ms"]
        )
        try:
            connection.execute(
                "select pg_advisory_lock(%s)", [lock_key(f"{warehouse.schema}:tenant:{tenant_id}")]
            )
        except psycopg.errors.LockNotAvailable:
            raise TenantBusyError(
                f"another run still holds this tenant after {wait_s:.0f} s.",
                tenant_id=tenant_id,
                remedy="The task is retried; to stop the other run, fail it in the Airflow UI.",
            ) from None
        connection.execute("set lock_timeout = 0")
        yield TenantLock(connection, warehouse.schema, tenant_id)


@contextmanager
def starting(warehouse: Warehouse, tenant_id: str) -> Iterator[None]:
    """Be the only one who starts a scan of the tenant, until the block ends.

    Raises WarehouseUnavailableError if somebody else takes too long about it.
    """
    with warehouse.connect(tenant_id) as connection:
        connection.execute(sql.SQL("set local lock_timeout = {}").format(START_TIMEOUT))
        key = lock_key(f"{warehouse.schema}:start:{tenant_id}")
        connection.execute("select pg_advisory_xact_lock(%s)", [key])
        yield
