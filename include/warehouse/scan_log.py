"""A scan's row in `scans`, which tells how it went."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from include.errors import (
    ComeBackLaterError,
    HubSpotDealsError,
    OutdatedAttemptError,
    ScanCancelledError,
    TaskTimeoutError,
    TenantBusyError,
)
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.recorded_error import columns_of
from include.warehouse.rows import adapted, assignments

log = logging.getLogger(__name__)

#: How long the row's lock is waited for: writes of an earlier try hold it until they are committed.
WRITE_WAIT = "60s"


@dataclass(frozen=True)
class ScanLog:
    """Writes a scan's row.

    :param attempt: the try that writes; once a newer one has begun, nothing is written, and
        OutdatedAttemptError raised. None: any.
    """

    warehouse: Warehouse
    scan: Scan
    attempt: int | None = None

    def open(self) -> None:
        """Make the row, or make it as new when this run's first task runs again.

        Raises ScanCancelledError if the scan was cancelled after the run had begun: Airflow ends
        this task too. A run that is cleared after that begins anew.
        """
        tenant, window = self.scan.tenant, self.scan.window
        opened = self._execute(
            """
            insert into {scans} (scan_id, tenant_id, dag_id, run_id, mode, window_start, window_end,
                                 state, attempt)
            values (%s, %s, %s, %s, %s, %s, %s, 'validating', 1)
            on conflict (scan_id) do update
            set state = 'validating',
                mode = excluded.mode,
                window_start = excluded.window_start,
                window_end = excluded.window_end,
                attempt = {scans}.attempt + 1,
                started_at = now(),
                finished_at = null,
                error = null,
                remedy = null
            where {scans}.state <> 'cancelled'
               or {scans}.finished_at < coalesce(%s::timestamptz, 'infinity')
            returning attempt
            """,
            [
                self.scan.id,
                tenant.id,
                tenant.dag_id,
                self.scan.run_id,
                self.scan.mode,
                window.start if window else None,
                window.end if window else None,
                self.scan.run_started_at,
            ],
        )
        if not opened:
            raise ScanCancelledError(tenant_id=tenant.id)

    def next_attempt(self) -> "ScanLog":
        """Begin a new try: from now on, earlier ones can't write. Raises ScanCancelledError."""
        begun = self._execute(
            "update {scans} set attempt = attempt + 1 where scan_id = %s and state <> 'cancelled'"
            " returning attempt",
            [self.scan.id],
        )
        if not begun:
            with self.warehouse.connect(self.scan.tenant.id) as connection:
                self._refuse(connection)
        ((attempt,),) = begun
        warehouse = self.warehouse.as_attempt(self.scan.id, attempt)
        return replace(self, warehouse=warehouse, attempt=attempt)

    def begun(self) -> dict[str, Any] | None:
        """Return the row of an extraction that was begun and not finished, or None."""
        with self.warehouse.connect(self.scan.tenant.id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            return cursor.execute(
                sql.SQL(
                    "select * from {} where scan_id = %s and extraction_started_at is not null"
                    " and extraction_finished_at is null"
                ).format(sql.Identifier(self.warehouse.schema, "scans")),
                [self.scan.id],
            ).fetchone()

    def number_extraction(self, *, begins: bool) -> None:
        """Give this try a number above those of all extractions of the tenant before it.

        :param begins: it is the first try, or begins anew.
        """
        self._execute(
            """
            update {scans} as scan
            set last_extraction = next.number,
                first_extraction = case when %s then next.number else scan.first_extraction end
            from (
                select coalesce(max(last_extraction), 0) + 1 as number
                from {scans} where tenant_id = %s
            ) as next
            where scan.scan_id = %s
            """,
            [begins, self.scan.tenant.id, self.scan.id],
        )

    def set(self, **columns: Any) -> None:
        """Write columns of the row; dicts and lists become jsonb."""
        with self.warehouse.connect(self.scan.tenant.id) as connection:
            self.set_in(connection, **columns)

    def set_in(self, connection: psycopg.Connection, **columns: Any) -> None:
        """Write columns of the row as part of a transaction."""
        cursor = connection.execute(
            sql.SQL(
                "update {scans} set {assignments} where scan_id = %(scan_id)s"
                " and attempt = coalesce(%(as_attempt)s, attempt) and state <> 'cancelled'"
            ).format(
                scans=sql.Identifier(self.warehouse.schema, "scans"),
                assignments=assignments(columns),
            ),
            {**adapted(columns), "scan_id": self.scan.id, "as_attempt": self.attempt},
        )
        if not cursor.rowcount:
            self._refuse(connection)

    def succeed(self) -> None:
        with self.warehouse.connect(self.scan.tenant.id) as connection:
            cursor = connection.execute(
                sql.SQL(
                    "update {} set state = 'succeeded', finished_at = now(), error = null,"
                    " remedy = null"
                    " where scan_id = %s and state <> 'cancelled'"
                ).format(sql.Identifier(self.warehouse.schema, "scans")),
                [self.scan.id],
            )
            if not cursor.rowcount:
                self._refuse(connection)

    def _refuse(self, connection: psycopg.Connection) -> None:
        """Say why the row could not be written."""
        row = connection.execute(
            sql.SQL("select state from {} where scan_id = %s").format(
                sql.Identifier(self.warehouse.schema, "scans")
            ),
            [self.scan.id],
        ).fetchone()
        if row == ("cancelled",):
            raise ScanCancelledError(tenant_id=self.scan.tenant.id)
        if self.attempt is not None:
            raise OutdatedAttemptError(tenant_id=self.scan.tenant.id)

    @contextmanager
    def step(self, state: str) -> Iterator[None]:
        """Mark the scan as being in *state*.

        If the block raises, as failed, with the message; as waiting, if it shall go on later.
        Raises TaskTimeoutError in the place of Airflow's time-out, which is no Exception: nothing
        that handles failures would see it.
        """
        from airflow.sdk.exceptions import AirflowTaskTimeout

        self.set(state=state, error=None, remedy=None, finished_at=None)
        try:
            yield
        except ComeBackLaterError as exc:
            log.warning("%s", exc)
            self._record("waiting", exc)
            raise
        except AirflowTaskTimeout as exc:
            failure = TaskTimeoutError(
                f"the task was {state} for longer than task_timeout_s allows "
                f"({self.scan.tenant.task_timeout_s} s), and was ended.",
                tenant_id=self.scan.tenant.id,
                remedy="The task is retried, and goes on from its last checkpoint. If that takes "
                "as long, raise task_timeout_s in the tenants file.",
            )
            self._record("failed", failure)
            raise failure from exc
        except Exception as exc:
            self._record("failed", exc)
            raise

    def _record(self, state: str, exc: Exception) -> None:
        error, remedy = columns_of(exc)
        try:
            self._execute(
                "update {scans} set state = %s, error = %s, remedy = %s, "
                "finished_at = case when %s then now() end "
                "where scan_id = %s and attempt = coalesce(%s, attempt) and state <> 'cancelled'",
                [state, error, remedy, state == "failed", self.scan.id, self.attempt],
            )
        except HubSpotDealsError as also:
            log.error("the failure could not be written to the scan's row: %s", also)

    def _execute(
        self, statement: str, values: list[Any] | dict[str, Any], **parts: sql.Composable
    ) -> list[tuple[Any, ...]]:
        scans = sql.Identifier(self.warehouse.schema, "scans")
        with self.warehouse.connect(self.scan.tenant.id) as connection:
            connection.execute(sql.SQL("set local lock_timeout = {}").format(WRITE_WAIT))
            try:
                cursor = connection.execute(sql.SQL(statement).format(scans=scans, **parts), values)
            except psycopg.errors.LockNotAvailable as exc:
                raise TenantBusyError(
                    f"an earlier try of this scan is in the middle of a write for {WRITE_WAIT}.",
                    tenant_id=self.scan.tenant.id,
                    remedy="The task is retried; if it goes on, end that try's process, or its "
                    "session in PostgreSQL (pg_stat_activity shows it under hubspot_deals/…).",
                ) from exc
            return cursor.fetchall() if cursor.description else []
