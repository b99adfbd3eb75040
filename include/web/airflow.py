"""The tenants' DAGs and runs in Airflow's database, and calls of Airflow's REST API.

The REST API is called within the process with the user's credentials, so that Airflow checks
permissions, validates, and writes its audit log.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from fastapi import Request
from sqlalchemy import select, tuple_

from include.scan import MODES, scan_id
from include.warehouse.connection import Warehouse
from include.warehouse.scans import EndedRun, end_scans_of_ended_runs, open_scans
from include.web.problems import Code, Problem
from include.web.warehouse import WarehouseEmptyError, reading

TIMEOUT_S = 60
#: Airflow's access control and audit log use these headers.
_FORWARDED = ("authorization", "cookie", "user-agent", "x-forwarded-for")
_REFUSALS = {
    401: Problem(
        Code.UNAUTHENTICATED, "Airflow no longer accepts this login.", remedy="Sign in again."
    ),
    403: Problem(Code.FORBIDDEN, "Airflow does not allow you to do this."),
    404: Problem(
        Code.NOT_FOUND,
        "Airflow does not know this DAG or run.",
        remedy="If the run was deleted, start a new scan. If the tenant is new, wait until Airflow "
        "has read the tenants file.",
    ),
}

ACTIVE_STATES = ("queued", "running")
ENDED_STATES = ("success", "failed")
#: Of tasks.
FAILED_STATES = ("failed", "up_for_retry")
#: Further active runs, as of a backfill of years, are ignored.
MAX_ACTIVE_RUNS = 5_000


async def trigger_run(
    request: Request, dag_id: str, run_id: str, conf: dict[str, Any], note: str
) -> None:
    """Create a run. Raises Problem."""
    body = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": note}
    await _send(request, "POST", f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns", body)


async def fail_run(request: Request, dag_id: str, run_id: str, note: str) -> None:
    """Mark a run as failed, which ends its tasks. Raises Problem."""
    path = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
    await _send(request, "PATCH", path, {"state": "failed", "note": note})


async def clear_tasks(
    request: Request, dag_id: str, run_id: str, task_ids: Collection[str]
) -> None:
    """Clear tasks of a run and those downstream of them. Raises Problem."""
    body = {
        "dag_run_id": run_id,
        "task_ids": list(task_ids),
        "include_downstream": True,
        "only_failed": False,
        "dry_run": False,
        "reset_dag_runs": True,
    }
    await _send(request, "POST", f"/api/v2/dags/{quote(dag_id, safe='')}/clearTaskInstances", body)


async def _send(request: Request, method: str, path: str, body: dict[str, Any]) -> None:
    # this process's app, which is incomplete while this module is imported
    from airflow.api_fastapi.main import app

    client = request.client
    transport = httpx.ASGITransport(app, client=(client.host, client.port) if client else ("", 0))
    headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
    async with httpx.AsyncClient(
        transport=transport, base_url=str(request.base_url.replace(path="/")), timeout=TIMEOUT_S
    ) as airflow:
        answer = await airflow.request(method, path, json=body, headers=headers)
    if not answer.is_error:
        return
    if refusal := _REFUSALS.get(answer.status_code):
        raise refusal
    detail = _detail(answer)
    if answer.status_code in (400, 422):
        raise Problem(Code.INVALID_REQUEST, f"Airflow refused the request: {detail}")
    raise Problem(
        Code.AIRFLOW_REFUSED,
        f"Airflow answered {answer.status_code}: {detail}",
        remedy="Look at the API server's log, then repeat the request.",
    )


def _detail(answer: httpx.Response) -> str:
    """Return the reason in Airflow's response."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return "no reason given"
    if isinstance(detail, list):  # FastAPI's errors; `msg` does not quote the value
        detail = "; ".join(str(part.get("msg")) for part in detail if isinstance(part, dict))
    return str(detail)[:500]


@dataclass(frozen=True)
class Dag:
    """``next_run_at``: when Airflow creates the next scheduled run; None: no run is scheduled.

    ``is_stale``: Airflow no longer finds it in the DAG files, and starts no run and no task of it.
    """

    is_paused: bool
    next_run_at: datetime | None
    is_stale: bool = False


@dataclass(frozen=True)
class ActiveRun:
    """A run in `ACTIVE_STATES`. ``since``: when it was requested."""

    dag_id: str
    run_id: str
    state: str
    mode: str
    since: datetime

    @property
    def scan_id(self) -> str:
        return scan_id(self.dag_id, self.run_id)


def dags(dag_ids: Collection[str]) -> dict[str, Dag]:
    """Return the DAGs with these ids that Airflow knows."""
    statement = select(
        DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after, DagModel.is_stale
    ).where(DagModel.dag_id.in_(list(dag_ids)))
    with create_session() as session:
        rows = session.execute(statement).all()
    return {
        dag_id: Dag(is_paused, None if is_paused else next_run_at, is_stale)
        for dag_id, is_paused, next_run_at, is_stale in rows
    }


def active_runs(dag_ids: Collection[str]) -> list[ActiveRun]:
    """Return active runs of these DAGs: first those that are running, each oldest first."""
    statement = (
        select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.conf, DagRun.queued_at,
               DagRun.run_after)
        .where(DagRun.state.in_(ACTIVE_STATES), DagRun.dag_id.in_(list(dag_ids)))
        .order_by(DagRun.id)
        .limit(MAX_ACTIVE_RUNS)
    )  # fmt: skip
    with create_session() as session:
        rows = session.execute(statement).all()
    runs = [
        ActiveRun(dag_id, run_id, str(state), _mode(conf), (queued_at or after).astimezone(UTC))
        for dag_id, run_id, state, conf, queued_at, after in rows
    ]
    return sorted(runs, key=lambda run: run.state != "running")


def _mode(conf: Any) -> str:
    params = conf if isinstance(conf, dict) else {}
    if params.get("rewrite_rows"):
        return "full"
    mode = params.get("mode")
    return mode if mode in MODES else "auto"


@dataclass(frozen=True)
class RunFacts:
    """``tries``: the highest try number of its tasks. ``failed``: those that have failed."""

    queued_at: datetime | None = None
    tries: int | None = None
    failed: frozenset[str] = frozenset()


def run_facts(dag_id: str, run_id: str) -> RunFacts:
    """Return what is known of a run, None for what is not: Airflow may have deleted it."""
    of_run = (TaskInstance.dag_id == DagRun.dag_id) & (TaskInstance.run_id == DagRun.run_id)
    statement = (
        select(DagRun.queued_at, TaskInstance.try_number, TaskInstance.task_id, TaskInstance.state)
        .outerjoin(TaskInstance, of_run)
        .where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    )
    with create_session() as session:
        rows = session.execute(statement).all()
    if not rows:
        return RunFacts()
    return RunFacts(
        queued_at=rows[0].queued_at,
        tries=max((row.try_number for row in rows if row.task_id), default=None),
        failed=frozenset(row.task_id for row in rows if row.state in FAILED_STATES),
    )


def unsuccessful_tasks(dag_id: str, run_id: str) -> set[str]:
    """Return the tasks of a run that have not succeeded."""
    statement = select(TaskInstance.task_id).where(
        TaskInstance.dag_id == dag_id,
        TaskInstance.run_id == run_id,
        TaskInstance.state.is_distinct_from("success"),
    )
    with create_session() as session:
        return set(session.scalars(statement))


def ended_runs(runs: Collection[tuple[str, str]]) -> dict[tuple[str, str], EndedRun]:
    """Return the runs that have ended, by DAG id and run id."""
    statement = select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.end_date).where(
        DagRun.state.in_(ENDED_STATES), tuple_(DagRun.dag_id, DagRun.run_id).in_(list(runs))
    )
    with create_session() as session:
        rows = session.execute(statement).all()
    return {
        (dag_id, run_id): EndedRun(str(state), ended_at) for dag_id, run_id, state, ended_at in rows
    }


def mark_orphaned_scans_failed(warehouse: Warehouse, dag_ids: Collection[str]) -> None:
    """Mark open scans of these DAGs as failed if their runs have ended. Raises like `fetch`."""
    try:
        with reading(warehouse) as connection:
            scans = open_scans(connection, dag_ids)
    except WarehouseEmptyError:
        return
    end_scans_of_ended_runs(warehouse, scans, ended_runs)
