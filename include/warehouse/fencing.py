"""Which try of which scan may read and write a tenant's rows, and load through a staging slot.

Leases are rows with a time of PostgreSQL's clock, not locks of a session: no connection has to be
kept for them. The triggers `fence` of the migrations refuse writes of a try that a newer one has
replaced; they compare `application_name` with `scans.attempt`.
docs/how-scans-work.md#leases-and-slots
"""

import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from include.errors import (
    HubSpotDealsError,
    LoadError,
    OutdatedAttemptError,
    TenantBusyError,
    WarehouseUnavailableError,
)
from include.warehouse.connection import Attempt, Warehouse

log = logging.getLogger(__name__)

#: Of a holder that is heard of no more, others may take the tenant after so long.
LEASE_S = 90
RENEWED_EVERY_S = 20
_OURS = sql.SQL("tenant_id = %(tenant_id)s and scan_id = %(scan_id)s and attempt = %(attempt)s")


@dataclass(frozen=True)
class TenantLease:
    """Each statement is a transaction: a process stopped between two of them blocks no other."""

    warehouse: Warehouse
    tenant_id: str
    attempt: Attempt

    def take(self) -> bool:
        """Say whether the tenant is ours now: it was free, an earlier try's, or given up.

        Another scan's try that gave it up becomes outdated: should it wake up, it can't write.
        Raises OutdatedAttemptError if our own try is.
        """
        return self._changes_it(
            """
            with given_up as (
                select scan.scan_id
                from {leases} as lease join {scans} as scan using (scan_id)
                where lease.tenant_id = %(tenant_id)s and lease.scan_id <> %(scan_id)s
                  and lease.expires_at <= now()
                -- one that is stopped in the middle of a transaction keeps its row: not now, then
                for update skip locked
            ), outdated as (
                update {scans} set attempt = attempt + 1
                where scan_id in (select scan_id from given_up)
                returning scan_id
            )
            insert into {leases} as lease (tenant_id, scan_id, attempt, expires_at)
            values (%(tenant_id)s, %(scan_id)s, %(attempt)s, now() + %(lease)s::interval)
            on conflict (tenant_id) do update
            set scan_id = excluded.scan_id,
                attempt = excluded.attempt,
                expires_at = excluded.expires_at
            where (lease.scan_id = excluded.scan_id and lease.attempt <= excluded.attempt)
               or lease.scan_id in (select scan_id from outdated)
            """
        )

    def renew(self) -> bool:
        """Say whether the tenant is still ours, and for how long again."""
        return self._changes_it(
            "update {leases} set expires_at = now() + %(lease)s::interval where {ours}"
        )

    def release(self) -> None:
        """Free the tenant, if it is still ours. That it can't be is no failure: time frees it."""
        try:
            self._changes_it("delete from {leases} where {ours}")
        except HubSpotDealsError as exc:
            log.warning("the tenant's lease is not given back, but runs out: %s", exc)

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Have a thread renew it until the block ends."""
        ended = threading.Event()
        thread = threading.Thread(target=self._renew_until, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _renew_until(self, ended: threading.Event) -> None:
        while not ended.wait(RENEWED_EVERY_S):
            try:
                if not self.renew():
                    break
            except OutdatedAttemptError:
                break
            except HubSpotDealsError as exc:
                log.warning("the tenant's lease is not renewed for now: %s", exc)
        else:
            return
        # Nothing else to do: whatever this try still writes is refused.
        log.warning("tenant %s: another try has taken the lease", self.tenant_id)

    def _changes_it(self, statement: str) -> bool:
        schema = self.warehouse.schema
        with self.warehouse.connect(self.tenant_id, autocommit=True) as connection:
            cursor = connection.execute(
                sql.SQL(statement).format(
                    leases=sql.Identifier(schema, "tenant_leases"),
                    scans=sql.Identifier(schema, "scans"),
                    ours=_OURS,
                ),
                {
                    "tenant_id": self.tenant_id,
                    "scan_id": self.attempt.scan_id,
                    "attempt": self.attempt.number,
                    "lease": f"{LEASE_S} seconds",
                },
            )
            return cursor.rowcount > 0


def free_tenant(connection: psycopg.Connection, schema: str, scan_id: str) -> None:
    """Take a scan's lease away, and with it its staging slot."""
    connection.execute(
        sql.SQL("delete from {} where scan_id = %s").format(
            sql.Identifier(schema, "tenant_leases")
        ),
        [scan_id],
    )


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

        Its tables take rows from no other try. Raises LoadError if another has taken it before the
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
def tenant_lease(
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

    Raises WarehouseUnavailableError if another one takes too long.
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
