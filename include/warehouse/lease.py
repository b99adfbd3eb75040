"""A tenant's lease: which try of a scan reads and writes the tenant's rows, and until when.

A row, not a lock of a session: no connection has to be kept for it. Time is PostgreSQL's alone.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from include.errors import HubSpotDealsError, OutdatedAttemptError
from include.warehouse.connection import Attempt, Warehouse

log = logging.getLogger(__name__)

#: Of a holder that is heard of no more, others may take the tenant after so long.
LEASE_S = 90
RENEWED_EVERY_S = 20
_OURS = sql.SQL("tenant_id = %(tenant_id)s and scan_id = %(scan_id)s and attempt = %(attempt)s")


@dataclass(frozen=True)
class TenantLease:
    """Each statement is a transaction: whoever is stopped between two of them holds up nobody."""

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
