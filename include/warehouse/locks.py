"""One extraction per tenant, one load per staging slot, one start of a tenant's scan at a time.

None of it needs a session that lasts. docs/how-scans-work.md#leases-and-slots
"""

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from include.errors import (
    HubSpotDealsError,
    LoadError,
    TenantBusyError,
    WarehouseUnavailableError,
)
from include.warehouse.connection import Attempt, Warehouse
from include.warehouse.lease import TenantLease

#: Staging schemas made by the first migration; as many loads can run at once.
STAGING_SLOTS = 8
#: How long to wait for another run of the tenant: longer than a lease, so one that died is waited
#: out.
TENANT_WAIT_S = 120
TENANT_POLL_S = 1.0
#: A load takes a slot for a second or so. A pg_dump holds all of them until it ends.
SLOT_WAIT_S = 1_800
SLOT_POLL_S = 0.25
START_TIMEOUT = "20s"


class TenantLock:
    """Held by one run of a tenant from before it reads until after it wrote."""

    def __init__(self, warehouse: Warehouse, tenant_id: str, attempt: Attempt) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._parameters = {
            "writer": attempt.writer,
            "slots": STAGING_SLOTS,
            "first": zlib.crc32(tenant_id.encode()) % STAGING_SLOTS + 1,
            "staging": f"{warehouse.schema}_stg_slot",
        }

    @contextmanager
    def staging_slot(self, sleep: Callable[[float], object] = time.sleep) -> Iterator[int]:
        """Yield the number (1 …) of a staging slot that is ours until the block ends.

        Its tables take rows from nobody else. Raises LoadError if somebody has taken it before the
        end, because our lease had run out: then rows of ours may be lost; and
        WarehouseUnavailableError if none is free for SLOT_WAIT_S.
        """
        give_up_at = time.monotonic() + SLOT_WAIT_S
        while (slot := self._take_slot()) is None:
            if time.monotonic() > give_up_at:
                raise WarehouseUnavailableError(
                    f"no staging slot was free for {SLOT_WAIT_S / 60:.0f} minutes.",
                    tenant_id=self._tenant_id,
                    remedy="The task is retried. If it goes on: look whether a pg_dump, or another "
                    "session, holds the tables of the staging schemas.",
                )
            sleep(SLOT_POLL_S)
        try:
            yield slot
        except BaseException:
            # if it can't be: it is free once the lease is not ours any more
            with suppress(HubSpotDealsError):
                self._give_back(slot)
            raise
        if not self._give_back(slot):
            raise LoadError(
                "a chunk took so long that another load has taken its staging slot.",
                tenant_id=self._tenant_id,
                remedy="The task is retried, and loads the chunk again.",
            )

    def _take_slot(self) -> int | None:
        """Take the tenant's usual slot or, if that is not free, the next one."""
        return self._change(
            """
            with free as materialized (
                select slot, writer from {slots} as candidate
                where not exists (
                    select from {leases} as lease
                    where lease.writer = candidate.writer and lease.expires_at > now()
                )
                -- a process that is stopped in the middle of a COPY: who emptied the table would
                -- wait for it
                and not exists (
                    select from pg_locks as lock
                    join pg_class as class on class.oid = lock.relation
                    join pg_namespace as schema on schema.oid = class.relnamespace
                    where lock.locktype = 'relation'
                      and lock.database = (
                          select oid from pg_database where datname = current_database()
                      )
                      and schema.nspname = %(staging)s || candidate.slot
                )
                order by (slot - %(first)s + %(slots)s) %% %(slots)s
                limit 1
            )
            update {slots} as slot set writer = %(writer)s
            from free
            where slot.slot = free.slot
              -- of several who find it free one is the first
              and slot.writer is not distinct from free.writer
            returning slot.slot
            """
        )

    def _give_back(self, slot: int) -> bool:
        """Say whether the slot was still ours."""
        given = self._change(
            "update {slots} set writer = null where slot = %(slot)s and writer = %(writer)s"
            " returning slot",
            slot=slot,
        )
        return given is not None

    def _change(self, statement: str, **parameters: int) -> int | None:
        schema = self._warehouse.schema
        with self._warehouse.connect(self._tenant_id, autocommit=True) as connection:
            row = connection.execute(
                sql.SQL(statement).format(
                    slots=sql.Identifier(schema, "staging_slots"),
                    leases=sql.Identifier(schema, "tenant_leases"),
                ),
                {**self._parameters, **parameters},
            ).fetchone()
        return int(row[0]) if row else None


def lock(connection: psycopg.Connection, schema: str, name: str) -> None:
    """Be the only one to hold *name* until the transaction ends.

    A row lock, because a role that only reads can't take it; any role can take advisory locks.
    """
    connection.execute(
        sql.SQL(
            "insert into {} (name) values (%s)"
            " on conflict (name) do update set name = excluded.name"
        ).format(sql.Identifier(schema, "locks")),
        [name],
    )


@contextmanager
def hold_tenant(
    warehouse: Warehouse,
    tenant_id: str,
    wait_s: float = TENANT_WAIT_S,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[TenantLock]:
    """Hold a tenant for the length of the block. Raises TenantBusyError after *wait_s*.

    :param warehouse: of a try of a scan: `Warehouse.as_attempt`.
    """
    if warehouse.attempt is None:
        raise ValueError("only a try of a scan can hold a tenant")
    lease = TenantLease(warehouse, tenant_id, warehouse.attempt)
    _take(lease, wait_s, sleep)
    try:
        with lease.renewed():
            yield TenantLock(warehouse, tenant_id, warehouse.attempt)
    finally:
        lease.release()


def _take(lease: TenantLease, wait_s: float, sleep: Callable[[float], object]) -> None:
    give_up_at = time.monotonic() + wait_s
    while not lease.take():
        left_s = give_up_at - time.monotonic()
        if left_s <= 0:
            raise TenantBusyError(
                f"another run still holds this tenant after {wait_s:.0f} s.",
                tenant_id=lease.tenant_id,
                remedy="The task is retried; to stop the other run, fail it in the Airflow UI.",
            )
        sleep(min(TENANT_POLL_S, left_s))


@contextmanager
def starting(warehouse: Warehouse, tenant_id: str) -> Iterator[None]:
    """Be the only one who starts a scan of the tenant, until the block ends.

    Raises WarehouseUnavailableError if somebody else takes too long about it.
    """
    with warehouse.connect(tenant_id) as connection:
        connection.execute(sql.SQL("set local lock_timeout = {}").format(START_TIMEOUT))
        name = f"start:{tenant_id}"
        try:
            with connection.transaction():
                lock(connection, warehouse.schema, name)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            # the scan that is started makes the tables
            key = "select pg_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))"
            connection.execute(key, [f"{warehouse.schema}:{name}"])
        yield
