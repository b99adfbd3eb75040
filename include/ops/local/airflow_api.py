"""The part of Airflow's REST API that the local stack and its tests need."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

TIMEOUT_S = 30
#: A busy machine answers late. All requests of `AirflowApi` can be repeated, because it chooses the
#: ids of runs. Refused connections are not retried here: the caller repeats its request.
RETRY = Retry(
    total=5,
    connect=0,
    backoff_factor=0.5,
    status_forcelist=(500, 502, 503, 504),
    allowed_methods=None,
    raise_on_status=False,
)
NOT_FOUND = 404
CONFLICT = 409
#: Airflow's largest page.
PAGE_SIZE = 100

#: A DAG run in one of these has ended.
FINAL_RUN_STATES = frozenset({"success", "failed"})


class AirflowApi:
    """A client of one Airflow, logged in at the first request.

    Each method raises requests.RequestException.
    """

    def __init__(self, base_url: str, user: str, password: str) -> None:
        self._base_url = base_url
        self._login = {"username": user, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between us and 127.0.0.1
        self._session.mount("http://", HTTPAdapter(max_retries=RETRY))

    def token(self) -> str:
        """Log in; return a token."""
        url = f"{self._base_url}/auth/token"
        answer = self._session.post(url, json=self._login, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def unhealthy(self) -> list[str]:
        """Return the components that are not healthy."""
        components = self.call("GET", "monitor/health").items()
        return [name for name, of in components if of["status"] not in ("healthy", None)]

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return a DAG, None if Airflow does not know it."""
        answer = self._send("GET", f"dags/{dag_id}")
        return None if answer.status_code == NOT_FOUND else dict(_content(answer))

    def import_errors(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "importErrors")["import_errors"])

    def save_connection(self, connection_id: str, fields: dict[str, Any]) -> None:
        """Create or change a connection that is stored in Airflow."""
        body = {"connection_id": connection_id, **fields}
        answer = self._send("POST", "connections", json=body)
        if answer.status_code == CONFLICT:
            answer = self._send("PATCH", f"connections/{connection_id}", json=body)
        answer.raise_for_status()

    def unpause(self, dag_id: str) -> None:
        self.call("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def runs(self, dag_id: str, order_by: str = "run_after") -> list[dict[str, Any]]:
        """Return a page of a DAG's runs, the oldest first."""
        path = f"dags/{dag_id}/dagRuns?order_by={order_by}&limit={PAGE_SIZE}"
        return list(self.call("GET", path)["dag_runs"])

    def newest_run(self, dag_id: str) -> dict[str, Any] | None:
        return next(iter(self.runs(dag_id, order_by="-run_after")), None)

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        run_id = f"manual__{datetime.now(UTC).isoformat()}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        answer = self._send("POST", f"dags/{dag_id}/dagRuns", json=body)
        # a conflict means that the response to an earlier request was lost
        if answer.status_code != CONFLICT:
            answer.raise_for_status()
        return run_id

    def unfinished_runs(self) -> list[dict[str, Any]]:
        """Return the runs of all DAGs that are queued or running."""
        path = f"dags/~/dagRuns?state=queued&state=running&limit={PAGE_SIZE}"
        runs: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", f"{path}&offset={len(runs)}")["dag_runs"]
            runs += page
            if len(page) < PAGE_SIZE:
                return runs

    def fail(self, dag_id: str, run_id: str) -> None:
        """End a run as failed, with its tasks."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}"))

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances, in the order in which they can run."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances?order_by=start_date"
        return list(self.call("GET", path)["task_instances"])

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
        content = self.call("GET", f"{path}?full_content=true")["content"]
        return [event if isinstance(event, dict) else {"event": event} for event in content]

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request below /api/v2; return the answer's JSON."""
        return _content(self._send(method, path, **options))

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        if "Authorization" not in self._session.headers:
            self._session.headers["Authorization"] = f"Bearer {self.token()}"
        url = f"{self._base_url}/api/v2/{path}"
        return self._session.request(method, url, timeout=TIMEOUT_S, **options)


def errors_in(events: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the exceptions of a task's log, as `Type: message`."""
    for event in events:
        for detail in event.get("error_detail") or ():
            yield f"{detail['exc_type']}: {detail['exc_value']}"


def _content(answer: requests.Response) -> Any:
    answer.raise_for_status()
    return answer.json()
