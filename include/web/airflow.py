"""What Airflow knows of the tenants' DAGs and runs, and its public REST API, asked in process.

Requests carry the caller's credentials, so that Airflow's permission checks, its validation and its
audit log hold for what is done here too.
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
from sqlalchemy import func, select, tuple_

from include.scan import MODES, scan_id
from include.warehouse.connection import Warehouse
from include.warehouse.scans import EndedRun, end_scans_of_ended_runs, open_scans
from include.web.problems import Code, Problem
from include.web.warehouse import reading

TIMEOUT_S = 60
#: Who is asking, and from where: Airflow's access control and audit log use these headers.
_PASSED_ON = ("authorization", "cookie", "user-agent", "x-forwarded-for")
_REFUSALS = {
    401: (Code.UNAUTHENTICATED, "Airflow does not accept this login any more."),
    403: (Code.FORBIDDEN, "Airflow does not let you do this."),
    404: (Code.NOT_FOUND, "Airflow does not know this DAG or run."),
}

ACTIVE_STATES = ("queued", "running")
ENDED_STATES = ("success", "failed")
#: Active runs that are looked at; more of them are a backfill of years.
MAX_ACTIVE_RUNS = 5_000


async def trigger_run(
    request: Request, dag_id: str, run_id: str, conf: dict[str, Any], note: str
) -> None:
    """Have Airflow make a run. Raises Problem."""
    body = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": note}
    await _send(request, "POST", f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns", body)


async def fail_run(request: Request, dag_id: str, run_id: str, note: str) -> None:
    """Have Airflow end a run, its tasks included. Raises Problem."""
    path = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
    await _send(request, "PATCH", path, {"state": "failed", "note": note})


async def clear_failed_tasks(request: Request, dag_id: str, run_id: str) -> None:
    """Have Airflow run the failed tasks of a run again, and those after them. Raises Problem."""
    body = {"dag_run_id": run_id, "only_failed": True, "dry_run": False, "reset_dag_runs": True}
    await _send(request, "POST", f"/api/v2/dags/{quote(dag_id, safe='')}/clearTaskInstances", body)


async def _send(request: Request, method: str, path: str, body: dict[str, Any]) -> None:
    # the app that serves this request; it is not complete yet when this module is imported
    from airflow.api_fastapi.main import app

    client = request.client
    transport = httpx.ASGITransport(app, client=(client.host, client.port) if client else ("", 0))
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    async with httpx.AsyncClient(
        transport=transport, base_url=str(request.base_url.replace(path="/")), timeout=TIMEOUT_S
    ) as airflow:
        answer = await airflow.request(method, path, json=body, headers=headers)
    if not answer.is_error:
        return
    if refusal := _REFUSALS.get(answer.status_code):
        raise Problem(*refusal)
    detail = _detail(answer)
    if answer.status_code in (400, 422):
        raise Problem(Code.INVALID_REQUEST, f"Airflow refuses: {detail}")
    raise Problem(
        Code.AIRFLOW_REFUSED,
        f"Airflow answered {answer.status_code}: {detail}",
        remedy="Look at the API server's log, then ask again.",
    )


def _detail(answer: httpx.Response) -> str:
    """Return Airflow's reason as a sentence, if it gives one."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return "nothing more"
    if isinstance(detail, list):  # of FastAPI: what is wrong, without the values
        detail = "; ".join(str(part.get("msg")) for part in detail if isinstance(part, dict))
    return str(detail)[:500]


@dataclass(frozen=True)
class Dag:
    """``next_run_at``: when Airflow makes the next scheduled run; None: only if it is triggered."""

    is_paused: bool
    next_run_at: datetime | None


@dataclass(frozen=True)
class ActiveRun:
    """A run that has not ended. ``state``: queued or running. ``since``: when it was asked for."""

    dag_id: str
    run_id: str
    state: str
    mode: str
    since: datetime

    @property
    def scan_id(self) -> str:
        return scan_id(self.dag_id, self.run_id)


def dags(dag_ids: Collection[str]) -> dict[str, Dag]:
    """Return those of the DAGs that Airflow knows."""
    statement = select(
        DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after, DagModel.is_stale
    ).where(DagModel.dag_id.in_(list(dag_ids)))
    with create_session() as session:
        rows = session.execute(statement).all()
    return {
        dag_id: Dag(is_paused, None if is_paused or is_stale else next_run_at)
        for dag_id, is_paused, next_run_at, is_stale in rows
    }


def active_runs(dag_ids: Collection[str]) -> list[ActiveRun]:
    """Return the runs of these DAGs that have not ended: running ones first, then the oldest."""
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
    mode = conf.get("mode") if isinstance(conf, dict) else None
    return mode if mode in MODES else "auto"


def run_facts(dag_id: str, run_id: str) -> tuple[datetime | None, int | None]:
    """Return when a run was queued, and the tries of the task that needed most; None: unknown."""
    of_run = (TaskInstance.dag_id == DagRun.dag_id) & (TaskInstance.run_id == DagRun.run_id)
    statement = (
        select(DagRun.queued_at, func.max(TaskInstance.try_number))
        .outerjoin(TaskInstance, of_run)
        .where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        .group_by(DagRun.queued_at)
    )
    with create_session() as session:
        found = session.execute(statement).first()
    return (found[0], found[1]) if found else (None, None)


def ended_runs(runs: Collection[tuple[str, str]]) -> dict[tuple[str, str], EndedRun]:
    """Return those of the runs, (DAG id, run id), that have ended."""
    statement = select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.end_date).where(
        DagRun.state.in_(ENDED_STATES), tuple_(DagRun.dag_id, DagRun.run_id).in_(list(runs))
    )
    with create_session() as session:
        rows = session.execute(statement).all()
    return {
        (dag_id, run_id): EndedRun(str(state), ended_at) for dag_id, run_id, state, ended_at in rows
    }


def mark_orphaned_scans_failed(warehouse: Warehouse, dag_ids: Collection[str]) -> None:
    """End the rows of those of these DAGs' scans whose runs have ended.

    Raises what `include.web.warehouse.reading` does.
    """
    with reading(warehouse) as connection:
        scans = open_scans(connection, dag_ids)
    end_scans_of_ended_runs(warehouse, scans, ended_runs)
