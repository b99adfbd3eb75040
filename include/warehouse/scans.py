"""A scan's row in `scans`: the one place that writes its state.

| to | from | when |
| --- | --- | --- |
| validating | no row; any (cancelled: if cleared later) | validate_token begins: `open` |
| extracting, checking | any but cancelled | extract_deals, check_quality begins: `step` |
| waiting | extracting, … | the task stops until HubSpot's limit or account allows more: `step` |
| failed | extracting, … | the task raises: `step`; its run ended, and no task said so: `end_scan` |
| succeeded | checking | no blocking quality check failed: `succeed` |
| cancelled | no row; any | a person cancels the scan; its tries write nothing more: `cancel` |

Each change names the try (`attempt`) that makes it; that of an earlier try is refused.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, cast

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from include.errors import (
    ComeBackLaterError,
    HubSpotDealsError,
    OutdatedAttemptError,
    ScanCancelledError,
    ScanKilledError,
    TaskTimeoutError,
    TenantBusyError,
)
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.errors import columns_of
from include.warehouse.fencing import free_tenant
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


#: States in which a scan is over.
FINAL_STATES = ("succeeded", "failed", "cancelled")


class OpenScan(NamedTuple):
    """A scan in no final state, as it was when it was looked at."""

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
    """A run of Airflow's that is over. ``state``: Airflow's word, success or failed."""

    state: str
    ended_at: datetime | None


#: Runs as (DAG id, run id) → those of them that have ended.
FindEndedRuns = Callable[[Collection[tuple[str, str]]], Mapping[tuple[str, str], EndedRun]]


def open_scans(
    connection: psycopg.Connection, schema: str, dag_ids: Collection[str]
) -> list[OpenScan]:
    """Return the scans of these DAGs that are in no final state."""
    # the states as in the index scans_open
    statement = sql.SQL(
        "select scan_id, tenant_id, dag_id, run_id, state, attempt from {}"
        " where dag_id = any(%s) and state not in ('succeeded', 'failed', 'cancelled')"
    ).format(sql.Identifier(schema, "scans"))
    cursor = connection.cursor(row_factory=class_row(OpenScan))
    return cursor.execute(statement, [list(dag_ids)]).fetchall()


def end_scans_of_ended_runs(
    warehouse: Warehouse, scans: Iterable[OpenScan], ended_runs: FindEndedRuns
) -> bool:
    """Set those of the scans whose runs have ended to failed; True: there were some.

    The scans must have been read before their runs are: a run that is cleared in between changes
    its scan's row, which is left alone then. So is a scan whose run Airflow does not know.
    """
    by_run = {scan.run: scan for scan in scans}
    ended = ended_runs(by_run.keys()) if by_run else {}
    for run, how in ended.items():
        scan = by_run[run]
        with warehouse.connect(scan.tenant_id) as connection:
            end_scan(
                connection,
                warehouse.schema,
                scan.scan_id,
                _without_a_word(scan.tenant_id, how.state),
                ended_at=how.ended_at,
                seen=scan,
            )
    return bool(ended)


def end_scan(
    connection: psycopg.Connection,
    schema: str,
    scan_id: str,
    error: HubSpotDealsError,
    *,
    ended_at: datetime | None = None,
    seen: OpenScan | None = None,
) -> bool:
    """Set a scan that is in no final state to failed; False: it is in one.

    Its attempt is raised: should its process live on, it can't write any more, and the tenant is
    free for the next scan.

    :param ended_at: when its run ended; None: just now.
    :param seen: what the row must still be; False is returned if it is not.
    """
    cursor = connection.execute(
        sql.SQL(
            """
            update {} set
                state = 'failed',
                finished_at = greatest(started_at, least(coalesce(%(ended_at)s, now()), now())),
                error = %(error)s,
                remedy = %(remedy)s,
                attempt = attempt + 1
            where scan_id = %(scan_id)s and state <> all (%(final)s)
              and (%(seen_attempt)s::integer is null
                   or (attempt = %(seen_attempt)s and state = %(seen_state)s))
            """
        ).format(sql.Identifier(schema, "scans")),
        {
            **dict(zip(("error", "remedy"), columns_of(error), strict=True)),
            "ended_at": ended_at,
            "scan_id": scan_id,
            "final": list(FINAL_STATES),
            "seen_attempt": seen and seen.attempt,
            "seen_state": seen and seen.state,
        },
    )
    if not cursor.rowcount:
        return False
    free_tenant(connection, schema, scan_id)
    return True


def _without_a_word(tenant_id: str, state: str) -> ScanKilledError:
    return ScanKilledError(
        f"Airflow has ended the run ({state}), but the scan was not done: a person marked the run"
        " so, or its process was killed.",
        tenant_id=tenant_id,
        remedy="Clear the run's last task that worked: it goes on from the last checkpoint. Or"
        " start another scan.",
    )


@dataclass(frozen=True)
class CancelledRun:
    """Whose scan it is; a run that was still in Airflow's queue has no row yet."""

    scan_id: str
    tenant_id: str
    dag_id: str
    run_id: str
    mode: str


def cancel(warehouse: Warehouse, run: CancelledRun) -> None:
    """Set the scan's state to cancelled, whatever it was, make its tries outdated, free the tenant.

    Twice is as good as once.
    """
    with warehouse.connect(run.tenant_id) as connection:
        connection.execute(
            sql.SQL(
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
                """
            ).format(scans=sql.Identifier(warehouse.schema, "scans")),
            [run.scan_id, run.tenant_id, run.dag_id, run.run_id, run.mode],
        )
        free_tenant(connection, warehouse.schema, run.scan_id)


class ScanFacts(TypedDict):
    """Times are ISO 8601 in UTC, or None. ``mode``: how deals were read, not what was asked for.

    ``freshness_s``: how long ago HubSpot was asked, and so how old the rows are at most.
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
    """Read them from the scan's rows."""
    with warehouse.connect(scan.tenant.id) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        row = cursor.execute(
            sql.SQL(
                """
                select
                    scan.scan_id, scan.tenant_id as tenant, scan.run_id, scan.portal_id,
                    deals.mode,
                    to_char(deals.window_start at time zone 'UTC', {iso_8601}) as window_start,
                    to_char(deals.window_end at time zone 'UTC', {iso_8601}) as window_end,
                    coalesce(deals.records_received, 0) as deals_received,
                    coalesce(deals.rows_written, 0) as deals_written,
                    coalesce(deals.records_archived, 0) as deals_archived,
                    deals.warehouse_live as deals_live,
                    jsonb_array_length(scan.warnings) as warnings,
                    extract(epoch from now() - scan.started_at)::float8 as seconds,
                    extract(epoch from now() - coalesce(scan.extraction_started_at,
                                                        scan.started_at))::float8 as freshness_s
                from {scans} as scan
                left join {scan_objects} as deals
                    on deals.scan_id = scan.scan_id and deals.object = 'deals'
                where scan.scan_id = %s
                """
            ).format(
                iso_8601=sql.Literal('YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                scans=sql.Identifier(warehouse.schema, "scans"),
                scan_objects=sql.Identifier(warehouse.schema, "scan_objects"),
            ),
            [scan.id],
        ).fetchone()
    if row is None:
        raise LookupError(f"scan {scan.id} has no row in scans")
    return cast(ScanFacts, row)


class Freshness:
    """Of one tenant. ``what`` is read as a whole: "owners", "properties:deals" …"""

    def __init__(self, warehouse: Warehouse, tenant_id: str) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._table = sql.Identifier(warehouse.schema, "freshness")

    def is_fresh(self, what: str, max_age_s: float) -> bool:
        """Return whether it was read less than *max_age_s* ago."""
        with self._warehouse.connect(self._tenant_id) as connection:
            row = connection.execute(
                sql.SQL(
                    "select from {} where _tenant_id = %s and what = %s"
                    " and read_at > now() - make_interval(secs => %s)"
                ).format(self._table),
                [self._tenant_id, what, max_age_s],
            ).fetchone()
        return row is not None

    def note(self, what: str) -> None:
        """It has just been read, and stored, whole."""
        with self._warehouse.connect(self._tenant_id) as connection:
            connection.execute(
                sql.SQL(
                    "insert into {} (_tenant_id, what, read_at) values (%s, %s, now())"
                    " on conflict (_tenant_id, what) do update set read_at = excluded.read_at"
                ).format(self._table),
                [self._tenant_id, what],
            )
