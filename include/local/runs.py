"""Runs of tenants' DAGs: started together, followed to their end, with what came out of them."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from include.local.airflow_api import errors_in
from include.local.stack import FINAL_STATES, LocalStack
from include.tenants import Tenant

TASKS = ("validate_token", "extract_deals", "check_quality")
POLL_S = 1.0
SCHEDULED_RUN_TIMEOUT_S = 60


@dataclass
class Run:
    """One run of one tenant's DAG, as far as it has got."""

    tenant_id: str
    dag_id: str
    run_id: str
    started_at: float = field(default_factory=time.monotonic)
    state: str = "queued"
    tasks: dict[str, str] = field(default_factory=dict)
    duration_s: float = 0.0
    extracted: dict[str, Any] = field(default_factory=dict)
    checked: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def ended(self) -> bool:
        return self.state in FINAL_STATES


@dataclass(frozen=True)
class Change:
    """A task of a run has got into another state; ``error`` tells why, if that is a bad one."""

    run: Run
    task_id: str
    state: str
    error: str = ""


def start_run(stack: LocalStack, tenant: Tenant) -> Run:
    """Start a scan of *tenant*, or take the one that its schedule starts at this moment.

    A DAG that is unpaused for the first time runs its last interval at once: another run beside it
    would read the whole account twice.
    """
    dag = stack.api.dag(tenant.dag_id) or {}
    due = dag.get("next_dagrun_run_after")
    if dag.get("is_paused") and due and datetime.fromisoformat(due) <= datetime.now(UTC):
        stack.api.unpause(tenant.dag_id)
        return Run(tenant.id, tenant.dag_id, _scheduled_run(stack, tenant.dag_id))
    return Run(tenant.id, tenant.dag_id, stack.trigger(tenant.dag_id))


def follow(stack: LocalStack, runs: Iterable[Run]) -> Iterator[Change]:
    """Yield each change of a task's state until all runs have ended, and fill in the runs."""
    going = list(runs)
    while going:
        stack.programs.require_alive()
        for run in going:
            # Asked first: when the run has ended, the tasks' states read next are the last ones.
            state = stack.api.run(run.dag_id, run.run_id)["state"]
            yield from _changes(stack, run)
            run.state = state
            if run.ended:
                _finish(stack, run)
        going = [run for run in going if not run.ended]
        if going:
            time.sleep(POLL_S)


def _scheduled_run(stack: LocalStack, dag_id: str) -> str:
    deadline = time.monotonic() + SCHEDULED_RUN_TIMEOUT_S
    while time.monotonic() < deadline:
        if run := stack.api.newest_run(dag_id):
            run_id: str = run["dag_run_id"]
            return run_id
        time.sleep(POLL_S)
    return stack.trigger(dag_id)


def _changes(stack: LocalStack, run: Run) -> Iterator[Change]:
    for task in stack.api.tasks(run.dag_id, run.run_id):
        task_id, state = task["task_id"], task["state"] or "waiting"
        if state == run.tasks.get(task_id, "waiting"):
            continue
        run.tasks[task_id] = state
        error = ""
        if state in ("failed", "up_for_retry"):
            error = run.error = _error(stack, run, task)
        yield Change(run, task_id, state, error)


def _error(stack: LocalStack, run: Run, task: dict[str, Any]) -> str:
    """Return the last exception in the log of a failed try, in full."""
    events = stack.api.task_log(run.dag_id, run.run_id, task["task_id"], task["try_number"])
    messages = list(errors_in(events)) or [str(event.get("event")) for event in events[-10:]]
    return messages[-1] if messages else "its log is empty"


def _finish(stack: LocalStack, run: Run) -> None:
    run.duration_s = time.monotonic() - run.started_at
    run.extracted = stack.xcom(run.dag_id, run.run_id, "extract_deals") or {}
    run.checked = stack.xcom(run.dag_id, run.run_id, "check_quality") or {}
