"""Airflow's REST API, as far as the local stack and its tests need it."""

from collections.abc import Iterator
from typing import Any

import requests

TIMEOUT_S = 30
NOT_FOUND = 404
UNAUTHORIZED = 401
CONFLICT = 409
#: As many as Airflow has on a page at most.
PAGE_SIZE = 100
_UNFINISHED = "dags/~/dagRuns?state=queued&state=running"


#: A DAG run in one of these has ended.
FINAL_RUN_STATES = frozenset({"success", "failed"})


class AirflowApi:
    """A client of one Airflow, logged in at the first request."""

    def __init__(self, base_url: str, user: str, password: str) -> None:
        self._base_url = base_url
        self._login = {"username": user, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between us and 127.0.0.1

    def token(self) -> str:
        """Log in; return what later requests are authorized with."""
        answer = self._session.post(
            f"{self._base_url}/auth/token", json=self._login, timeout=TIMEOUT_S
        )
        token: str = _content(answer)["access_token"]
        return token

    def unhealthy(self) -> list[str]:
        """Return the components that are not healthy; all of them while there is no answer."""
        try:
            answer = self._session.get(f"{self._base_url}/api/v2/monitor/health", timeout=TIMEOUT_S)
        except requests.ConnectionError:
            return ["api-server"]
        if not answer.ok:
            return ["api-server"]
        return [name for name, of in answer.json().items() if of["status"] not in ("healthy", None)]

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return what Airflow knows of a DAG, None if nothing."""
        answer = self._send("GET", f"dags/{dag_id}")
        return None if answer.status_code == NOT_FOUND else _content(answer)

    def import_errors(self) -> list[dict[str, Any]]:
        errors: list[dict[str, Any]] = self._get("importErrors")["import_errors"]
        return errors

    def save_connection(self, connection_id: str, fields: dict[str, Any]) -> None:
        """Make a connection in Airflow's own store, or give it other values."""
        body = {"connection_id": connection_id, **fields}
        answer = self._send("POST", "connections", json=body)
        if answer.status_code == CONFLICT:
            answer = self._send("PATCH", f"connections/{connection_id}", json=body)
        _content(answer)

    def unpause(self, dag_id: str) -> None:
        _content(self._send("PATCH", f"dags/{dag_id}", json={"is_paused": False}))

    def pause(self, dag_id: str) -> None:
        _content(self._send("PATCH", f"dags/{dag_id}", json={"is_paused": True}))

    def create_backfill(
        self, dag_id: str, from_date: str, to_date: str, max_active_runs: int
    ) -> None:
        """Have a run made for every data interval that starts between two dates."""
        body = {
            "dag_id": dag_id,
            "from_date": from_date,
            "to_date": to_date,
            "max_active_runs": max_active_runs,
            "reprocess_behavior": "none",
            "run_backwards": False,
            "dag_run_conf": {},
        }
        _content(self._send("POST", "backfills", json=body))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return a DAG's runs, the oldest first."""
        path = f"dags/{dag_id}/dagRuns?order_by=run_after&limit={PAGE_SIZE}"
        runs: list[dict[str, Any]] = self._get(path)["dag_runs"]
        return runs

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        body = {"logical_date": None, "conf": conf or {}}
        run_id: str = _content(self._send("POST", f"dags/{dag_id}/dagRuns", json=body))[
            "dag_run_id"
        ]
        return run_id

    def newest_run(self, dag_id: str) -> dict[str, Any] | None:
        runs = self._get(f"dags/{dag_id}/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
        return runs[0] if runs else None

    def unfinished_runs(self) -> list[dict[str, Any]]:
        """Return the runs of all DAGs that are queued or running."""
        runs: list[dict[str, Any]] = []
        while True:
            page = self._get(f"{_UNFINISHED}&limit={PAGE_SIZE}&offset={len(runs)}")["dag_runs"]
            runs += page
            if len(page) < PAGE_SIZE:
                return runs

    def count_unfinished_runs(self) -> int:
        return int(self._get(f"{_UNFINISHED}&limit=1")["total_entries"])

    def fail(self, dag_id: str, run_id: str) -> None:
        """End a run as failed, with its tasks."""
        path = f"dags/{dag_id}/dagRuns/{run_id}"
        _content(self._send("PATCH", path, json={"state": "failed"}))

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return self._get(f"dags/{dag_id}/dagRuns/{run_id}")

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances, in the order in which they can run."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances?order_by=start_date"
        instances: list[dict[str, Any]] = self._get(path)["task_instances"]
        return instances

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned, None if it returned nothing."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        answer = self._send("GET", path)
        return None if answer.status_code == NOT_FOUND else _content(answer)["value"]

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int
    ) -> list[dict[str, Any]]:
        """Return the log of one try as structured events."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self._get(f"{path}?full_content=true")["content"]
        return [event if isinstance(event, dict) else {"event": event} for event in content]

    def _get(self, path: str) -> dict[str, Any]:
        return _content(self._send("GET", path))

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        if "Authorization" not in self._session.headers:
            self._log_in()
        url = f"{self._base_url}/api/v2/{path}"
        answer = self._session.request(method, url, timeout=TIMEOUT_S, **options)
        if answer.status_code == UNAUTHORIZED:  # the login of a day ago
            self._log_in()
            answer = self._session.request(method, url, timeout=TIMEOUT_S, **options)
        return answer

    def _log_in(self) -> None:
        self._session.headers["Authorization"] = f"Bearer {self.token()}"


def errors_in(events: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the exceptions that a task's log shows, as `Type: message`."""
    for event in events:
        for detail in event.get("error_detail") or ():
            yield f"{detail['exc_type']}: {detail['exc_value']}"


def _content(answer: requests.Response) -> dict[str, Any]:
    answer.raise_for_status()
    content: dict[str, Any] = answer.json()
    return content
