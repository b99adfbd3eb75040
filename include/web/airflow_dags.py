"""What Airflow's own database knows of the tenants' DAGs and their runs."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select, tuple_

from include.scan import MODES, scan_id
from include.warehouse.scan_end import EndedRun

ACTIVE_STATES = ("queued", "running")
ENDED_STATES = ("success", "failed")
#: Active runs that are looked at; more of them are a backfill of years.
MAX_ACTIVE_RUNS = 5_000


@dataclass(frozen=True)
class Dag:
    """``next_run_at``: when Airflow makes the next scheduled run; None: never by itself."""

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


def first_of_each(runs: Iterable[ActiveRun]) -> dict[str, ActiveRun]:
    """Return DAG id → the run that is at work, or will be next."""
    found: dict[str, ActiveRun] = {}
    for run in runs:
        found.setdefault(run.dag_id, run)
    return found


def _mode(conf: Any) -> str:
    mode = conf.get("mode") if isinstance(conf, dict) else None
    return mode if mode in MODES else "auto"
