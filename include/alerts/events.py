"""Events that may be alerted, from an exception, a scan's row or a run."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from psycopg.rows import dict_row

from include.alerts.delivery import FIGURES
from include.errors import (
    ComeBackLaterError,
    DeadlineMissedError,
    HubSpotDealsError,
    QualityError,
    ScanKilledError,
    runbook_url,
)
from include.scan import SCAN_PAGE, scan_id
from include.tenants.model import AlertKind
from include.warehouse.connection import WarehouseConnection
from include.warehouse.errors import RecordedError
from include.warehouse.scans import FINAL_STATES

#: By Airflow's reason for the end of a run.
_REASONS = {
    "timed_out": "The run took longer than its time-out, so Airflow ended it",
    "all_tasks_deadlocked": "No task of the run could continue, so Airflow ended it",
}


@dataclass(frozen=True)
class AlertEvent:
    """Something that happened to a scan.

    ``cause``: events with the same cause belong to one incident.
    ``why`` and ``remedy`` are sentences without tokens and property values.
    """

    kind: AlertKind
    error_type: str
    cause: str
    why: str
    remedy: str
    heading: str


def event_from_exception(error: BaseException, failed_checks: Iterable[str] = ()) -> AlertEvent:
    """Return the event of an exception. Other libraries' messages can quote rows: left out."""
    name = type(error).__name__
    if not isinstance(error, HubSpotDealsError):
        return _foreign(name)
    kind: AlertKind = "failure"
    if isinstance(error, ComeBackLaterError):
        kind = "quota"
    elif isinstance(error, DeadlineMissedError):
        kind = "deadline"
    return _ours(kind, name, error.what, error.remedy, error.runbook_heading, failed_checks)


def event_from_row(text: str, remedy: str = "", failed_checks: Iterable[str] = ()) -> AlertEvent:
    """Return the event of a scan's row, from its columns `error` and `remedy`."""
    found = RecordedError.of_columns(text, remedy)
    if not found.is_ours:
        return _foreign(found.type)
    heading = found.heading or HubSpotDealsError.runbook_heading
    return _ours("failure", found.type, found.what, remedy, heading, failed_checks)


def _ours(
    kind: AlertKind, name: str, why: str, remedy: str, heading: str, failed_checks: Iterable[str]
) -> AlertEvent:
    cause = name
    if name == QualityError.__name__:
        kind = "quality"
        cause = ": ".join(filter(None, [name, ", ".join(sorted(failed_checks))]))
    return AlertEvent(kind, name, cause, why, remedy, heading)


def killed(task_id: str | None, reason: str) -> ScanKilledError:
    """Return the error of a scan whose task ended without an exception."""
    task = f"Task {task_id}" if task_id else "A task"
    why = _REASONS.get(
        reason,
        f"{task} ended without an error: its process or machine was killed (out of memory?), or a"
        " user marked it as failed",
    )
    return ScanKilledError(
        f"{why}.",
        remedy="Look at the end of its log and at the worker's memory, then clear the task. It"
        " continues from the last checkpoint.",
    )


def unknown(task_id: str | None) -> ScanKilledError:
    """Return the error of a failed run whose scan has no row."""
    return ScanKilledError(
        f"{f'Task {task_id}' if task_id else 'A task'} failed before the scan began.",
        remedy="Read the end of the task's log.",
    )


def unrecorded(task_id: str | None) -> ScanKilledError:
    """Return the error of a scan whose task failed while PostgreSQL could not record why."""
    return ScanKilledError(
        f"{f'Task {task_id}' if task_id else 'A task'} failed while PostgreSQL could not be used,"
        " so the reason was not recorded.",
        remedy="Read the end of the task's log, then clear the task.",
    )


def late(deadline_s: int | None) -> DeadlineMissedError:
    """Return the error of a scan that missed its deadline."""
    within = f" within {deadline_s} s" if deadline_s else " by its deadline"
    return DeadlineMissedError(
        f"The scan did not finish{within} (deadline_s). It continues.",
        remedy="Look at its progress: it may be waiting for HubSpot, for a worker, or for another"
        " run.",
    )


def warned(checks: Iterable[str], sentences: Iterable[str]) -> AlertEvent:
    """Return the event of a scan that succeeded with warnings.

    :param sentences: the column `warnings` of its row, without property values.
    """
    names = ", ".join(sorted(checks))
    return AlertEvent(
        "warning",
        "QualityWarning",
        f"QualityWarning: {names}",
        " ".join([f"The scan succeeded with warnings: {names}.", *sentences]),
        "Look at the scan's quality results.",
        "everything_wanted_was_read",
    )


def _foreign(name: str) -> AlertEvent:
    return AlertEvent(
        "failure",
        name,
        name,
        f"The task raised {name}. Only the task's log has its text, which can contain data.",
        "Read the end of the task's log.",
        HubSpotDealsError.runbook_heading,
    )


@dataclass(frozen=True)
class ScanRow:
    """The row of a scan, with its quality checks."""

    state: str
    error: str | None
    remedy: str | None
    warnings: list[str]
    figures: Mapping[str, int | float]
    #: Names of quality checks, by status.
    checks: Mapping[str, list[str]]

    @property
    def is_over(self) -> bool:
        return self.state in FINAL_STATES


def scan_row(connection: WarehouseConnection, scan_id: str) -> ScanRow | None:
    """Return the row of the scan, None if it has none."""
    row = connection.run(
        """
        select scan.state, scan.error, scan.remedy, scan.warnings,
            scan.pages, scan.requests, scan.throttled,
            deals.records_received as deals_received, deals.rows_written as deals_written,
            round(extract(
                epoch from coalesce(scan.finished_at, now()) - scan.started_at
            ))::integer as seconds,
            coalesce((
                select jsonb_object_agg(status, names) from (
                    select status, jsonb_agg(check_name order by check_name) as names
                    from {quality_results} where scan_id = scan.scan_id group by status
                ) as by_status
            ), '{{}}') as checks
        from {scans} as scan
        left join {scan_objects} as deals
            on deals.scan_id = scan.scan_id and deals.object = 'deals'
        where scan.scan_id = %s
        """,
        [scan_id],
        row_factory=dict_row,
    ).fetchone()
    if row is None:
        return None
    checks: Mapping[str, list[str]] = row.pop("checks")
    figures = {
        **{name: row[name] for name in FIGURES if row[name]},
        **{f"checks_{status}": len(names) for status, names in checks.items()},
    }
    return ScanRow(row["state"], row["error"], row["remedy"], row["warnings"], figures, checks)


#: XCom key: the number of the try whose failure the task's callback has alerted. Airflow deletes a
#: task's XComs when it starts again, so a try that never starts finds that of an earlier one.
ALERTED_KEY = "alerted_try"


@dataclass(frozen=True)
class Run:
    """A run and one of its tasks, as far as the context of a callback contains them.

    :param reason: why the run ended, in Airflow's words: task_failure, timed_out …
    """

    dag_id: str
    run_id: str
    task_id: str | None = None
    try_number: int | None = None
    reason: str = ""
    state: str | None = None
    ended_at: datetime | None = None
    error: BaseException | None = field(default=None, compare=False)
    task_instance: Any = field(default=None, compare=False, repr=False)

    @classmethod
    def of_context(cls, context: Mapping[str, Any]) -> "Run":
        """Read a callback's context. After some failures it contains little more than the ids."""
        ti = context.get("ti") or context.get("task_instance")
        run = context.get("dag_run")
        dag = context.get("dag")
        error = context.get("exception")
        return cls(
            dag_id=ti.dag_id if ti else dag.dag_id if dag else run.dag_id,  # type: ignore[union-attr]
            run_id=ti.run_id if ti else context.get("run_id") or run.run_id,  # type: ignore[union-attr]
            task_id=ti.task_id if ti else None,
            try_number=ti.try_number if ti else None,
            reason=str(context.get("reason") or ""),
            ended_at=getattr(run, "end_date", None),
            error=error if isinstance(error, BaseException) else None,
            task_instance=ti,
        )

    @classmethod
    def of_late_run(cls, run: Mapping[str, Any]) -> "Run":
        """Read a run from a deadline's context, which has the form of Airflow's REST API."""
        return cls(run["dag_id"], run["dag_run_id"], state=run.get("state"))

    @property
    def scan_id(self) -> str:
        return scan_id(self.dag_id, self.run_id)

    def links(self, heading: str) -> dict[str, str]:
        """Return the links of an alert. They begin with Airflow's `[api] base_url`."""
        from airflow.sdk.configuration import conf

        base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
        run = f"{base}/dags/{quote(self.dag_id)}/runs/{quote(self.run_id, safe='')}"
        links = {"run": run, "status": f"{base}{SCAN_PAGE}{self.scan_id}"}
        if self.task_id:
            query = f"?try_number={self.try_number}" if self.try_number else ""
            links["log"] = f"{run}/tasks/{self.task_id}{query}"
        if heading:
            links["runbook"] = runbook_url(base, heading)
        return links

    def is_going_on(self) -> bool:
        """Return whether the run has been cleared since, which makes the callback outdated."""
        if self.task_instance is None or self.reason != "task_failure":
            return False
        with contextlib.suppress(Exception):  # states unknown: treat the run as failed
            states = self.task_instance.get_task_states(dag_id=self.dag_id, run_ids=[self.run_id])
            of_run = states.get(self.run_id, {})
            return bool(of_run) and "failed" not in set(map(str, of_run.values()))
        return False

    def note_alerted(self) -> None:
        """Store that this try's failure was alerted, for the run's other callback.

        PostgreSQL may be down for either of them.
        """
        if self.task_instance is not None:
            with contextlib.suppress(Exception):  # the other callback then may send it again
                self.task_instance.xcom_push(ALERTED_KEY, self.try_number)

    def was_alerted(self) -> bool:
        """Return whether a callback has alerted this try's failure."""
        noted = None
        if self.task_instance is not None:
            with contextlib.suppress(Exception):  # the alert may then be sent twice
                noted = self.task_instance.xcom_pull(task_ids=self.task_id, key=ALERTED_KEY)
        return noted is not None and noted == self.try_number
