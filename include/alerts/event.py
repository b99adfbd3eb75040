"""What happened to a scan that people may want to be told of. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from include.errors import (
    ComeBackLaterError,
    DeadlineMissedError,
    HubSpotDealsError,
    QualityError,
    ScanKilledError,
)
from include.tenants.alerts import AlertKind
from include.warehouse.recorded_error import RecordedError

#: Airflow's word for why a run ended → ours.
_REASONS = {
    "timed_out": "The run took longer than its time-out, and Airflow ended it",
    "all_tasks_deadlocked": "No task of the run could go on, and Airflow ended it",
}


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong: what it is called, why, and what to do.

    ``cause``: troubles with the same cause are one incident.
    ``why`` and ``remedy`` are sentences; they hold no token and no property value.
    """

    kind: AlertKind
    error_type: str
    cause: str
    why: str
    remedy: str
    heading: str


def trouble_of(error: BaseException, failed_checks: Iterable[str] = ()) -> Trouble:
    """Return what an exception means. Messages of other libraries can hold rows: not used."""
    name = type(error).__name__
    if not isinstance(error, HubSpotDealsError):
        return _foreign(name)
    kind: AlertKind = "failure"
    cause = name
    if isinstance(error, QualityError):
        kind, cause = "quality", _cause_of_checks(failed_checks)
    elif isinstance(error, ComeBackLaterError):
        kind = "quota"
    elif isinstance(error, DeadlineMissedError):
        kind = "deadline"
    return Trouble(kind, name, cause, error.what, error.remedy, error.runbook_heading)


def trouble_on_record(text: str, remedy: str = "", failed_checks: Iterable[str] = ()) -> Trouble:
    """Return what the columns `error` and `remedy` of a scan's row mean."""
    found = RecordedError.of_columns(text, remedy)
    if not found.is_ours:
        return _foreign(found.type)
    quality = found.type == QualityError.__name__
    cause = _cause_of_checks(failed_checks) if quality else found.type
    heading = found.heading or HubSpotDealsError.runbook_heading
    kind: AlertKind = "quality" if quality else "failure"
    return Trouble(kind, found.type, cause, found.what, remedy, heading)


def _cause_of_checks(failed_checks: Iterable[str]) -> str:
    checks = ", ".join(sorted(failed_checks))
    return ": ".join(filter(None, [QualityError.__name__, checks]))


def killed(tenant_id: str, task_id: str | None, reason: str) -> ScanKilledError:
    """Return what is to be said of a scan whose task left no word of its own."""
    task = f"Task {task_id}" if task_id else "A task"
    why = _REASONS.get(
        reason,
        f"{task} ended without a word: its process or machine was killed (out of memory?), or a"
        " person marked it failed",
    )
    return ScanKilledError(
        f"{why}.",
        tenant_id=tenant_id,
        remedy="Look at the end of its log and at the worker's memory, then clear the task: it"
        " goes on from the last checkpoint.",
    )


def unknown(tenant_id: str, task_id: str | None) -> ScanKilledError:
    """Return what is to be said if nothing is known of a failed run but that it failed."""
    return ScanKilledError(
        f"{f'Task {task_id}' if task_id else 'A task'} failed before the scan began.",
        tenant_id=tenant_id,
        remedy="Read the task's log; its last lines say why.",
    )


def late(tenant_id: str, deadline_s: int | None) -> DeadlineMissedError:
    """Return what is to be said of a scan that is not done by its deadline."""
    within = f" within {deadline_s} s" if deadline_s else " by its deadline"
    return DeadlineMissedError(
        f"The scan is not done{within} (deadline_s). It goes on.",
        tenant_id=tenant_id,
        remedy="Look at its progress: it may wait for HubSpot, for a worker, or for another run.",
    )


def warned(checks: Iterable[str], sentences: Iterable[str]) -> Trouble:
    """Return the warnings of a scan that succeeded. Sentences of ours hold no property value."""
    names = ", ".join(sorted(checks))
    said = " ".join(sentences)
    return Trouble(
        "warning",
        "QualityWarning",
        f"QualityWarning: {names}",
        f"The scan succeeded with warnings: {names}.{f' {said}' if said else ''}",
        "Look at the scan's quality results.",
        "everything_wanted_was_read",
    )


def _foreign(name: str) -> Trouble:
    return Trouble(
        "failure",
        name,
        name,
        f"{name} was raised; its text is in the task's log only.",
        "Read the end of the task's log.",
        HubSpotDealsError.runbook_heading,
    )
