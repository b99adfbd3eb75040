"""A scan's row in `scans`: the one place that writes its state.

| to | from | when |
| --- | --- | --- |
| validating | no row; any (cancelled: if cleared later) | validate_token begins: `open` |
| extracting, checking | any but cancelled | extract_deals, check_quality begins: `step` |
| waiting | extracting, … | the task stops until HubSpot's limit or account allows more: `step` |
| failed | extracting, … | the task raises: `step`; the run ended without it: `end_scan` |
| succeeded | checking | no blocking quality check failed: `succeed` |
| cancelled | no row; any | a person cancels the scan; its tries write nothing more: `cancel` |

Each change names the try (`attempt`) that makes it; a change by an earlier try is refused.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, cast

import psycopg
from psycopg.rows import class_row, dict_row

from include.errors import (
    ComeBackLaterError,
    HubSpotDealsError,
    OutdatedAttemptError,
    ScanCancelledError,
    ScanKilledError,
    ScanRequestError,
    TaskTimeoutError,
    TenantBusyError,
    naming_tenant,
)
from include.scan import Scan
from include.warehouse.connection import Warehouse, WarehouseConnection
from include.warehouse.errors import columns_of
from include.warehouse.fencing import free_tenant
from include.warehouse.rows import adapted, assignments

log = logging.getLogger(__name__)

#: How long to wait for the row's lock: an earlier try holds it until its write is committed.
WRITE_WAIT = "60s"
#: Outside of tasks: a page gives up after 20 s, and Airflow ends a callback's process after
#: 20 or 50 s, without an alert.
BRIEF_WAIT = "10s"
#: PostgreSQL's input for the start of the transaction, by its own clock.
_NOW = "now"


@dataclass(frozen=True)
class ScanLog:
    """Writes a scan's row.

    :param attempt: the try that writes. Once a newer one has begun, writes are refused with
        OutdatedAttemptError. None: any try.
    """

    warehouse: Warehouse
    scan: Scan
    attempt: int | None = None

    def open(self) -> None:
        """Insert the row, or reset it when the first task of this run starts again.

        Raises ScanCancelledError if the scan was cancelled after the run had started: Airflow ends
        this task too. A run that is cleared later starts over.
        """
        tenant, window = self.scan.tenant, self.scan.window
        opened = self._write(
            """
            insert into {scans} as scan (scan_id, tenant_id, dag_id, run_id, mode, window_start,
                                         window_end, state, attempt)
            values (%s, %s, %s, %s, %s, %s, %s, 'validating', 1)
            on conflict (scan_id) do update
            set state = 'validating',
                mode = excluded.mode,
                window_start = excluded.window_start,
                window_end = excluded.window_end,
                attempt = scan.attempt + 1,
                started_at = now(),
                finished_at = null,
                error = null,
                remedy = null
            where scan.state <> 'cancelled'
               or scan.finished_at < coalesce(%s::timestamptz, 'infinity')
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
        """Begin a new try: writes of earlier ones are refused.

        Raises ScanCancelledError, and ScanRequestError if the scan has no row.
        """
        begun = self._write(
            "update {scans} set attempt = attempt + 1 where scan_id = %s and state <> 'cancelled'"
            " returning attempt",
            [self.scan.id],
        )
        if not begun:
            with self.warehouse.connect() as connection:
                self._refuse(connection)
        ((attempt,),) = begun
        warehouse = self.warehouse.as_attempt(self.scan.id, attempt)
        return replace(self, warehouse=warehouse, attempt=attempt)

    def newest_attempt(self) -> "ScanLog":
        """Continue the newest try, without fencing it. Raises ScanRequestError without a row."""
        statement = "select attempt from {scans} where scan_id = %s"
        rows = self.warehouse.rows(statement, [self.scan.id])
        if not rows:
            raise self._no_row()
        return replace(self, attempt=rows[0][0])

    def begun(self) -> dict[str, Any] | None:
        """Return the row if its extraction has begun and not finished, else None."""
        rows = self.warehouse.rows(
            "select * from {scans} where scan_id = %s and extraction_started_at is not null"
            " and extraction_finished_at is null",
            [self.scan.id],
            row_factory=dict_row,
        )
        return rows[0] if rows else None

    def number_extraction(self, *, begins: bool) -> None:
        """Give this try a number above those of all earlier extractions of the tenant.

        :param begins: the extraction starts; False: it resumes.
        """
        self._write(
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
        """Write columns of the row; dicts and lists become jsonb. Raises TenantBusyError."""
        with self._transaction() as connection:
            self.set_in(connection, **columns)

    def set_in(self, connection: WarehouseConnection, **columns: Any) -> None:
        """Write columns of the row as part of a transaction."""
        changed = connection.run(
            "update {scans} set {assignments} where scan_id = %(scan_id)s"
            " and attempt = coalesce(%(as_attempt)s, attempt) and state <> 'cancelled'",
            {**adapted(columns), "scan_id": self.scan.id, "as_attempt": self.attempt},
            {"assignments": assignments(columns)},
        )
        if not changed.rowcount:
            self._refuse(connection)

    def succeed(self) -> None:
        self.set(state="succeeded", finished_at=_NOW, error=None, remedy=None)

    def _refuse(self, connection: WarehouseConnection) -> None:
        """Raise the reason why the row could not be written."""
        statement = "select state from {scans} where scan_id = %s"
        row = connection.run(statement, [self.scan.id]).fetchone()
        if row is None:
            raise self._no_row()
        if row == ("cancelled",):
            raise ScanCancelledError(tenant_id=self.scan.tenant.id)
        if self.attempt is not None:
            raise OutdatedAttemptError(tenant_id=self.scan.tenant.id)

    def _no_row(self) -> ScanRequestError:
        return ScanRequestError(
            f"the warehouse has no row of scan {self.scan.id}: validate_token has not run, the row "
            "was deleted, or the warehouse is another one.",
            tenant_id=self.scan.tenant.id,
            remedy="Clear all tasks of the run, or trigger a new one.",
        )

    @contextmanager
    def step(self, state: str) -> Iterator[None]:
        """Set the scan's state for the block.

        If the block raises, the state becomes failed, with the message, or waiting, if the error
        says when to come back. Raises TaskTimeoutError in place of Airflow's timeout, which is not
        an Exception, so that code that handles failures sees it.
        """
        from airflow.sdk.exceptions import AirflowTaskTimeout

        self.set(state=state, error=None, remedy=None, finished_at=None)
        try:
            with naming_tenant(self.scan.tenant.id):
                yield
        except ComeBackLaterError as exc:
            log.warning("%s", exc)
            self._record("waiting", exc)
            raise
        except AirflowTaskTimeout as exc:
            failure = TaskTimeoutError(
                f"the task was {state} for longer than task_timeout_s allows "
                f"({self.scan.tenant.task_timeout_s} s), and was stopped.",
                tenant_id=self.scan.tenant.id,
                remedy="It resumes from its last checkpoint. If it takes too long again, raise "
                "task_timeout_s in the tenants file.",
            )
            self._record("failed", failure)
            raise failure from exc
        except Exception as exc:
            self._record("failed", exc)
            raise

    def _record(self, state: str, exc: Exception) -> None:
        error, remedy = columns_of(exc)
        finished_at = _NOW if state == "failed" else None
        try:
            self.set(state=state, error=error, remedy=remedy, finished_at=finished_at)
        except HubSpotDealsError as also:
            log.error("could not write the failure to the scan's row: %s", also)

    def _write(self, statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
        with self._transaction() as connection:
            cursor = connection.run(statement, values)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _transaction(self) -> Iterator[WarehouseConnection]:
        """Yield a connection that waits for the row's lock at most WRITE_WAIT."""
        with self.warehouse.connect() as connection:
            connection.execute("select set_config('lock_timeout', %s, true)", [WRITE_WAIT])
            try:
                yield connection
            except psycopg.errors.LockNotAvailable as exc:
                raise TenantBusyError(
                    f"an earlier try of this scan has locked its row for more than {WRITE_WAIT}.",
                    remedy="If this continues, end that try's process, or its "
                    "session in PostgreSQL (application_name hubspot_deals/… in pg_stat_activity).",
                ) from exc


def wait_briefly(connection: WarehouseConnection) -> None:
    """Let the rest of the transaction wait for a lock at most BRIEF_WAIT.

    A machine that is lost in the middle of a write can leave the scan's row locked for hours.
    """
    connection.execute("select set_config('lock_timeout', %s, true)", [BRIEF_WAIT])


#: States in which a scan is over.
FINAL_STATES = ("succeeded", "failed", "cancelled")


class OpenScan(NamedTuple):
    """A scan that was in no final state when it was read."""

    scan_id: str
    tenant_id: str
    dag_id: str
    run_id: str
    state: str
    attempt: int

    @property
    def run(self) -> tuple[str, str]:
        return self.dag_id, self.run_id


class EndedRun(NamedTuple):
    """A DAG run that is over. ``state``: Airflow's, success or failed."""

    state: str
    ended_at: datetime | None


#: Runs as (DAG id, run id) → those of them that have ended.
FindEndedRuns = Callable[[Collection[tuple[str, str]]], Mapping[tuple[str, str], EndedRun]]


def open_scans(connection: WarehouseConnection, dag_ids: Collection[str]) -> list[OpenScan]:
    """Return the scans of these DAGs that are in no final state."""
    # the condition of the index scans_open
    return connection.run(
        "select scan_id, tenant_id, dag_id, run_id, state, attempt from {scans}"
        " where dag_id = any(%s) and state not in ('succeeded', 'failed', 'cancelled')",
        [list(dag_ids)],
        row_factory=class_row(OpenScan),
    ).fetchall()


def end_scans_of_ended_runs(
    warehouse: Warehouse, scans: Iterable[OpenScan], ended_runs: FindEndedRuns
) -> bool:
    """Set the scans whose runs have ended to failed; return whether there were any.

    Read the scans before their runs: a run that is cleared in between changes its scan's row, which
    is then not touched. Neither is a scan whose run Airflow does not know, or whose row is locked:
    one scan must not hold up the status page of all tenants.
    """
    by_run = {scan.run: scan for scan in scans}
    ended = ended_runs(by_run.keys()) if by_run else {}
    for run, end in ended.items():
        scan = by_run[run]
        killed = ScanKilledError(
            f"Airflow has ended the run ({end.state}), but the scan was not finished: the run was"
            f" marked as {end.state} by hand, or its process was killed.",
            tenant_id=scan.tenant_id,
            remedy="Clear the run's last task that ran: it resumes from the last checkpoint. Or"
            " start another scan.",
        )
        with naming_tenant(scan.tenant_id), warehouse.connect() as connection:
            end_scan(connection, scan.scan_id, killed, ended_at=end.ended_at, seen=scan)
    return bool(ended)


def end_scan(
    connection: WarehouseConnection,
    scan_id: str,
    error: Exception,
    *,
    ended_at: datetime | None = None,
    seen: OpenScan | None = None,
) -> bool:
    """Set a scan that is in no final state to failed; return False if it is in one.

    Its attempt is incremented, so a process that is still running can no longer write, and its
    tenant is free for the next scan.

    :param ended_at: when its run ended; None: now.
    :param seen: an earlier state of the row; if the row has changed, or another session has locked
        it, False is returned.
    """
    if seen:
        free = "select from {scans} where scan_id = %s for no key update skip locked"
        if not connection.run(free, [scan_id]).rowcount:
            return False
    recorded, remedy = columns_of(error)
    ended = connection.run(
        """
        update {scans} set
            state = 'failed',
            finished_at = greatest(started_at, least(coalesce(%(ended_at)s, now()), now())),
            error = %(error)s,
            remedy = %(remedy)s,
            attempt = attempt + 1
        where scan_id = %(scan_id)s and state <> all (%(final)s)
          and (%(seen_attempt)s::integer is null
               or (attempt = %(seen_attempt)s and state = %(seen_state)s))
        """,
        {
            "error": recorded,
            "remedy": remedy,
            "ended_at": ended_at,
            "scan_id": scan_id,
            "final": list(FINAL_STATES),
            "seen_attempt": seen and seen.attempt,
            "seen_state": seen and seen.state,
        },
    ).rowcount
    if ended:
        free_tenant(connection, scan_id)
    return bool(ended)


@dataclass(frozen=True)
class CancelledRun:
    """The run of a scan to be cancelled; one that is still queued in Airflow has no row yet."""

    scan_id: str
    tenant_id: str
    dag_id: str
    run_id: str
    mode: str


def cancel(warehouse: Warehouse, run: CancelledRun) -> None:
    """Set the scan to cancelled from any state, outdate its tries, and free the tenant.

    Can be repeated. Raises WarehouseUnavailableError if the row stays locked for BRIEF_WAIT.
    """
    with naming_tenant(run.tenant_id), warehouse.connect() as connection:
        wait_briefly(connection)
        connection.run(
            """
            insert into {scans} as scan (scan_id, tenant_id, dag_id, run_id, mode, state,
                                         attempt, finished_at)
            values (%s, %s, %s, %s, %s, 'cancelled', 1, now())
            on conflict (scan_id) do update
            set state = 'cancelled',
                attempt = scan.attempt + 1,
                finished_at = now(),
                error = null,
                remedy = null
            """,
            [run.scan_id, run.tenant_id, run.dag_id, run.run_id, run.mode],
        )
        free_tenant(connection, run.scan_id)


class ScanFacts(TypedDict):
    """Times are ISO 8601 in UTC, or None. ``mode``: how deals were read, not the requested mode.

    ``freshness_s``: seconds since the extraction started, so the rows are at most this old.
    """

    scan_id: str
    tenant: str
    run_id: str
    portal_id: int | None
    mode: str | None
    window_start: str | None
    window_end: str | None
    deals_received: int
    deals_written: int
    deals_archived: int
    deals_live: int | None
    warnings: int
    seconds: float
    freshness_s: float


def scan_facts(warehouse: Warehouse, scan: Scan) -> ScanFacts:
    """Read the facts of a scan from its rows."""
    (facts,) = warehouse.rows(
        """
        select
            scan.scan_id, scan.tenant_id as tenant, scan.run_id, scan.portal_id,
            deals.mode,
            to_char(deals.window_start at time zone 'UTC', %(iso_8601)s) as window_start,
            to_char(deals.window_end at time zone 'UTC', %(iso_8601)s) as window_end,
            coalesce(deals.records_received, 0) as deals_received,
            coalesce(deals.rows_written, 0) as deals_written,
            coalesce(deals.records_archived, 0) as deals_archived,
            deals.live_rows as deals_live,
            jsonb_array_length(scan.warnings) as warnings,
            extract(epoch from now() - scan.started_at)::float8 as seconds,
            extract(epoch from now() - coalesce(scan.extraction_started_at,
                                                scan.started_at))::float8 as freshness_s
        from {scans} as scan
        left join {scan_objects} as deals
            on deals.scan_id = scan.scan_id and deals.object = 'deals'
        where scan.scan_id = %(scan_id)s
        """,
        {"scan_id": scan.id, "iso_8601": 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'},
        row_factory=dict_row,
    )
    return cast(ScanFacts, facts)


@dataclass(frozen=True)
class Freshness:
    """When a tenant's reference data ("owners", "properties:deals" …) were last read completely."""

    warehouse: Warehouse
    tenant_id: str

    def is_fresh(self, what: str, max_age_s: float) -> bool:
        """Return whether it was read less than *max_age_s* ago.

        A time in the future is no proof: PostgreSQL's clock was ahead, and has been corrected.
        """
        rows = self.warehouse.rows(
            "select from {freshness} where _tenant_id = %s and what = %s"
            " and read_at > now() - make_interval(secs => %s) and read_at <= now()",
            [self.tenant_id, what, max_age_s],
        )
        return bool(rows)

    def is_known(self, what: str) -> bool:
        """Return whether it was ever read completely, and not forgotten since."""
        rows = self.warehouse.rows(
            "select from {freshness} where _tenant_id = %s and what = %s", [self.tenant_id, what]
        )
        return bool(rows)

    def forget(self, what: str) -> None:
        """Record that it is no longer known completely."""
        self.warehouse.change(
            "delete from {freshness} where _tenant_id = %s and what = %s", [self.tenant_id, what]
        )

    def forget_others(self, prefix: str, but: Iterable[str]) -> None:
        """Forget all that begins with *prefix*, except the names *but* after it."""
        self.warehouse.change(
            "delete from {freshness} where _tenant_id = %s and starts_with(what, %s)"
            " and what <> all (%s)",
            [self.tenant_id, prefix, [f"{prefix}{name}" for name in but]],
        )

    def note(self, what: str) -> None:
        """Record that it has just been read, and stored, completely."""
        self.warehouse.change(
            "insert into {freshness} (_tenant_id, what, read_at) values (%s, %s, now())"
            " on conflict (_tenant_id, what) do update set read_at = excluded.read_at",
            [self.tenant_id, what],
        )
