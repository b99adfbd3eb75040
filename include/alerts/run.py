"""The DAG run that an event is about, as Airflow's different contexts describe it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from include.scan import SCAN_PAGE, scan_id

#: Set where an alert went out that PostgreSQL could not be told of.
TOLD_KEY = "told_without_the_warehouse"


@dataclass(frozen=True)
class Run:
    """A run, and the task of it that matters.

    :param reason: Airflow's word for why the run ended: task_failure, timed_out …
    :param state: the run's, where Airflow tells it; ``ended_at`` likewise.
    :param task_instance: Airflow's own object; None where a callback gets none.
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
        """Read a callback's context. After some failures it holds little more than the ids."""
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
        """Read what a deadline's callback is told: the run as Airflow's REST API shows it."""
        return cls(run["dag_id"], run["dag_run_id"], state=run.get("state"))

    @property
    def scan_id(self) -> str:
        return scan_id(self.dag_id, self.run_id)

    @property
    def links(self) -> dict[str, str]:
        """Where a person can look. Needs Airflow's `[api] base_url`."""
        from airflow.sdk.configuration import conf

        base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
        run = f"{base}/dags/{quote(self.dag_id)}/runs/{quote(self.run_id, safe='')}"
        log = f"{run}/tasks/{self.task_id}" if self.task_id else None
        if log and self.try_number:
            log += f"?try_number={self.try_number}"
        status = f"{base}{SCAN_PAGE}{self.scan_id}"
        return {"run": run, **({"log": log} if log else {}), "status": status}

    def is_going_on(self) -> bool:
        """Say whether the run was cleared meanwhile, so that a callback about its end is late."""
        if self.task_instance is None or self.reason != "task_failure":
            return False
        with contextlib.suppress(Exception):  # then nothing is known, and the callback is believed
            states = self.task_instance.get_task_states(dag_id=self.dag_id, run_ids=[self.run_id])
            of_run = states.get(self.run_id, {})
            return bool(of_run) and "failed" not in set(map(str, of_run.values()))
        return False

    def note_told(self) -> None:
        """Leave word for the run's other callback."""
        if self.task_instance is not None:
            with contextlib.suppress(Exception):  # then it is told twice
                self.task_instance.xcom_push(TOLD_KEY, True)

    def was_told(self) -> bool:
        if self.task_instance is None:
            return False
        with contextlib.suppress(Exception):  # then it is told, perhaps for the second time
            return bool(self.task_instance.xcom_pull(task_ids=self.task_id, key=TOLD_KEY))
        return False
