"""Which try of which scan may read and write a tenant's rows, and load through a staging slot.

Leases and slots are rows, not locks of a session: they need no open connection, and work behind a
pooler. A lease expires by PostgreSQL's clock. The triggers `refuse_outdated` and `refuse_strangers`
(migrations/0001_first_schema.sql) compare `application_name`, which names scan and try, with
`scans.attempt` and `staging_slots.writer`: they refuse writes of a try that a newer one has
replaced. docs/how-scans-work.md#leases-and-slots
"""

import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from include.errors import (
    HubSpotDealsError,
    LoadError,
    OutdatedAttemptError,
    TenantBusyError,
    WarehouseUnavailableError,
    naming_tenant,
)
from include.warehouse.connection import Warehouse, WarehouseConnection

log = logging.getLogger(__name__)

#: A lease expires this long after its last renewal.
LEASE_S = 90
RENEWED_EVERY_S = 20
#: How long to wait for another run of the tenant: longer than the lease of a dead run lasts.
TENANT_WAIT_S = 120
TENANT_POLL_S = 1.0
#: Staging schemas of the first migration: the number of loads that can run at the same time.
STAGING_SLOTS = 8
#: A load needs a slot for about a second. A pg_dump blocks all of them until it ends.
SLOT_WAIT_S = 1_800
SLOT_POLL_S = 0.25
START_TIMEOUT = "20s"


class TenantLease:
    """A tenant's lease, which one try of a scan holds while it reads and writes.

    Each statement is a transaction: a process that is stopped between two of them blocks no other.

    :param warehouse: of a try of a scan: `Warehouse.as_attempt`.
    """

    def __init__(self, warehouse: Warehouse, tenant_id: str) -> None:
        if warehouse.attempt is None:
            raise ValueError("only a try of a scan can hold a lease")
        self.tenant_id = tenant_id
        self._warehouse = warehouse
        self._parameters = {
            "tenant_id": tenant_id,
            "scan_id": warehouse.attempt.scan_id,
            "attempt": warehouse.attempt.number,
            "writer": warehouse.attempt.writer,
            "lease": f"{LEASE_S} seconds",
            "slots": STAGING_SLOTS,
            "usual_slot": zlib.crc32(tenant_id.encode()) % STAGING_SLOTS + 1,
            "staging": f"{warehouse.schema}_stg_slot",
        }

    def take(self) -> bool:
        """Take the lease if it is free, expired, or held by an earlier try of this scan.

        Returns whether it is ours. If it had expired, the try that held it becomes outdated: if its
        process resumes, it cannot write. Raises OutdatedAttemptError if this try is outdated.
        """
        return self._changes_it(
            """
            with given_up as (
                select scan.scan_id
                from {tenant_leases} as lease join {scans} as scan using (scan_id)
                where lease.tenant_id = %(tenant_id)s and lease.scan_id <> %(scan_id)s
                  and lease.expires_at <= now()
                -- a process that is stopped in a transaction has locked its row: try again later
                for update skip locked
            ), outdated as (
                update {scans} set attempt = attempt + 1
                where scan_id in (select scan_id from given_up)
                returning scan_id
            )
            insert into {tenant_leases} as lease (tenant_id, scan_id, attempt, expires_at)
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
        """Extend the lease; return False if it is not ours any more."""
        return self._changes_it(
            "update {tenant_leases} set expires_at = now() + %(lease)s::interval"
            " where tenant_id = %(tenant_id)s and writer = %(writer)s"
        )

    def release(self) -> None:
        """Release the lease if it is still ours. A failure is only logged: the lease expires."""
        try:
            self._changes_it(
                "delete from {tenant_leases}"
                " where tenant_id = %(tenant_id)s and writer = %(writer)s"
            )
        except HubSpotDealsError as exc:
            log.warning("could not release the tenant's lease, which will expire: %s", exc)

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease in a thread until the block ends."""
        ended = threading.Event()
        thread = threading.Thread(target=self._renew_until, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _renew_until(self, ended: threading.Event) -> None:
        is_ours = True
        while is_ours and not ended.wait(RENEWED_EVERY_S):
            try:
                is_ours = self.renew()
            except OutdatedAttemptError:
                is_ours = False
            except HubSpotDealsError as exc:
                log.warning("could not renew the tenant's lease; trying again: %s", exc)
        if not is_ours:
            # The triggers refuse all further writes of this try.
            log.warning("tenant %s: another try has taken the lease", self.tenant_id)

    @contextmanager
    def staging_slot(self, sleep: Callable[[float], object] = time.sleep) -> Iterator[int]:
        """Yield the number (1 …) of a staging slot that no other try writes to during the block.

        Raises WarehouseUnavailableError if none is free for SLOT_WAIT_S, and LoadError if our lease
        expired and another try took the slot before the end: rows may then be lost.
        """
        give_up_at = time.monotonic() + SLOT_WAIT_S
        while (slot := self._take_slot()) is None:
            if time.monotonic() > give_up_at:
                raise WarehouseUnavailableError(
                    f"no staging slot was free for {SLOT_WAIT_S / 60:.0f} minutes.",
                    tenant_id=self.tenant_id,
                    remedy="If this continues, check whether a pg_dump or "
                    "another session locks the tables of the staging schemas.",
                )
            sleep(SLOT_POLL_S)
        try:
            yield slot
        except BaseException:
            # If this fails too, the slot is free once the lease has expired.
            with suppress(HubSpotDealsError):
                self._release_slot(slot)
            raise
        if not self._release_slot(slot):
            raise LoadError(
                "a chunk took so long that another load has taken its staging slot.",
                tenant_id=self.tenant_id,
                remedy="It loads the chunk again.",
            )

    def _take_slot(self) -> int | None:
        """Take the tenant's usual slot or, if that is not free, the next one."""
        with self._warehouse.connect(autocommit=True) as connection:
            row = connection.run(_TAKE_SLOT, self._parameters).fetchone()
        return int(row[0]) if row else None

    def _release_slot(self, slot: int) -> bool:
        """Release a slot; return whether it was still ours."""
        return self._changes_it(
            "update {staging_slots} set writer = null where slot = %(slot)s"
            " and writer = %(writer)s",
            slot=slot,
        )

    def _changes_it(self, statement: str, **parameters: Any) -> bool:
        with self._warehouse.connect(autocommit=True) as connection:
            return connection.run(statement, {**self._parameters, **parameters}).rowcount > 0


_TAKE_SLOT = """
    with free as materialized (
        select slot, writer from {staging_slots} as candidate
        where not exists (
            select from {tenant_leases} as lease
            where lease.writer = candidate.writer and lease.expires_at > now()
        )
        -- a process that is stopped in the middle of a COPY still locks the table, and emptying it
        -- would wait for that process
        and not exists (
            select from pg_locks as lock
            join pg_class as class on class.oid = lock.relation
            join pg_namespace as schema on schema.oid = class.relnamespace
            where lock.locktype = 'relation'
              and lock.database = (select oid from pg_database where datname = current_database())
              and schema.nspname = %(staging)s || candidate.slot
        )
        order by (slot - %(usual_slot)s + %(slots)s) %% %(slots)s
        limit 1
    )
    update {staging_slots} as slot set writer = %(writer)s
    from free
    where slot.slot = free.slot
      -- of several tries that find it free, one takes it
      and slot.writer is not distinct from free.writer
    returning slot.slot
"""


@contextmanager
def tenant_lease(
    warehouse: Warehouse,
    tenant_id: str,
    wait_s: float = TENANT_WAIT_S,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[TenantLease]:
    """Hold a tenant's lease during the block. Raises TenantBusyError after *wait_s*."""
    lease = TenantLease(warehouse, tenant_id)
    give_up_at = time.monotonic() + wait_s
    while not lease.take():
        left_s = give_up_at - time.monotonic()
        if left_s <= 0:
            raise TenantBusyError(
                f"another run still holds this tenant's lease after {wait_s:.0f} s.",
                tenant_id=tenant_id,
                remedy="To stop the other run, fail it in the Airflow UI.",
            )
        sleep(min(TENANT_POLL_S, left_s))
    try:
        with lease.renewed():
            yield lease
    finally:
        lease.release()


def free_tenant(connection: WarehouseConnection, scan_id: str) -> None:
    """Delete a scan's lease, which frees its staging slot too."""
    connection.run("delete from {tenant_leases} where scan_id = %s", [scan_id])


def lock(connection: WarehouseConnection, name: str) -> None:
    """Hold the lock *name* until the transaction ends; other processes wait for it.

    It is a row lock, because a role that only reads cannot take it; any role can take advisory
    locks.
    """
    connection.run(
        "insert into {locks} (name) values (%s) on conflict (name) do update"
        " set name = excluded.name",
        [name],
    )


@contextmanager
def start_lock(warehouse: Warehouse, tenant_id: str) -> Iterator[None]:
    """Let one process at a time start a scan of the tenant.

    Raises WarehouseUnavailableError if another one takes longer than START_TIMEOUT.
    """
    with naming_tenant(tenant_id), warehouse.connect() as connection:
        connection.execute("select set_config('lock_timeout', %s, true)", [START_TIMEOUT])
        name = f"start:{tenant_id}"
        try:
            with connection.transaction():
                lock(connection, name)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            # The tables do not exist before the first scan.
            key = "select pg_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))"
            connection.execute(key, [f"{warehouse.schema}:{name}"])
        yield
