"""Airflow as four plain processes, and the part of its REST API that the local stack uses."""

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests

PROJECT_ROOT = Path(__file__).parent.parent.parent
COMPONENTS = {
    "api-server": ("api-server",),
    # Log servers are for workers on other machines; here the API server reads the files.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
ADMIN = "admin"
HEALTHY_TIMEOUT_S = 180
FINISHED_STATES = ("success", "failed")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *arguments]


def environment(home: Path, database_url: str, port: int) -> dict[str, str]:
    """Return the environment of every Airflow process of a stack.

    Secrets are made once and kept in *home*, so that sessions outlive a restart.
    """
    kept = _secrets(home)
    url = f"http://localhost:{port}"
    settings = {
        "CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
        "CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__FERNET_KEY": kept["fernet_key"],
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "API__PORT": str(port),
        "API__HOST": "127.0.0.1",
        "API__WORKERS": "1",
        "API__BASE_URL": url,
        "API__SECRET_KEY": kept["api_secret_key"],
        "API_AUTH__JWT_SECRET": kept["jwt_secret"],
        "DATABASE__SQL_ALCHEMY_CONN": database_url.replace(
            "postgresql://", "postgresql+psycopg2://"
        ),
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
    }
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": str(PROJECT_ROOT),
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
    }


def admin_password(home: Path) -> str:
    password: str = json.loads((home / "passwords.json").read_text())[ADMIN]
    return password


def _secrets(home: Path) -> dict[str, str]:
    file = home / "secrets.json"
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True)
        _write_private(home / "passwords.json", {ADMIN: secrets.token_urlsafe(9)})
        _write_private(
            file,
            {
                "fernet_key": _fernet_key(),
                "api_secret_key": secrets.token_urlsafe(32),
                "jwt_secret": secrets.token_urlsafe(48),
            },
        )
    kept: dict[str, str] = json.loads(file.read_text())
    return kept


def _fernet_key() -> str:
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def _write_private(path: Path, content: dict[str, str]) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(content))


class AirflowApi:
    """Airflow's REST API, signed in as the local admin."""

    def __init__(self, port: int, password: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._password = password
        self._session = requests.Session()
        self._session.trust_env = False

    def unhealthy_parts(self) -> list[str]:
        """Return what is not up yet; all of it while the API server does not answer."""
        try:
            health = self._session.get(f"{self._url}/api/v2/monitor/health", timeout=5)
            health.raise_for_status()
        except requests.RequestException:
            return ["API server"]
        return [name for name, part in health.json().items() if part["status"] != "healthy"]

    def sign_in(self) -> None:
        answer = self._session.post(
            f"{self._url}/auth/token",
            json={"username": ADMIN, "password": self._password},
            timeout=30,
        )
        answer.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self._get("dags", limit=1000)["dags"]}

    def import_errors(self) -> list[str]:
        return [error["stack_trace"] for error in self._get("importErrors")["import_errors"]]

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Unpause a DAG and start a run of it now; return the run id."""
        self._send("PATCH", f"dags/{dag_id}", {"is_paused": False})
        run = self._send(
            "POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf or {})}
        )
        run_id: str = run["dag_run_id"]
        return run_id

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return self._get(f"dags/{dag_id}/dagRuns/{run_id}")

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return the state of each task of a run, by task id; "" before it has one."""
        instances = self._get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return {task["task_id"]: task["state"] or "" for task in instances["task_instances"]}

    def tries(self, dag_id: str, run_id: str, task_id: str) -> int:
        instance = self._get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        number: int = instance["try_number"]
        return number

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return what a task handed on."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        value: dict[str, Any] = self._get(path)["value"]
        return value

    def log_lines(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[str]:
        """Return the messages of a task's log, one a line."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self._get(path, full_content="true")["content"]
        return [_message(entry) for entry in content]

    def wait(
        self, dag_id: str, run_id: str, timeout_s: float, poll: Callable[[], None] | None = None
    ) -> str:
        """Return the state in which a run ended. Raises TimeoutError."""
        for _ in until(timeout_s, f"run {run_id} of {dag_id}"):
            if poll:
                poll()
            state: str = self.run(dag_id, run_id)["state"]
            if state in FINISHED_STATES:
                break
        return state

    def _get(self, path: str, **query: Any) -> Any:
        return self._checked(
            self._session.get(f"{self._url}/api/v2/{path}", params=query, timeout=60)
        )

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        return self._checked(
            self._session.request(method, f"{self._url}/api/v2/{path}", json=body, timeout=60)
        )

    @staticmethod
    def _checked(answer: requests.Response) -> Any:
        if not answer.ok:
            raise RuntimeError(
                f"Airflow answered {answer.status_code} to {answer.request.method} "
                f"{answer.request.path_url}: {answer.text[:500]}"
            )
        return answer.json()


def _message(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    causes = [
        f"{error['exc_type']}: {error['exc_value']}" for error in entry.get("error_detail") or []
    ]
    return " ".join([str(entry.get("event", "")), *causes])


def until(timeout_s: float, what: str, every_s: float = 0.5) -> Iterator[None]:
    """Yield again and again, a moment apart, until the caller leaves. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        yield
        time.sleep(every_s)
    raise TimeoutError(f"{what} was not done after {timeout_s:.0f} s")
