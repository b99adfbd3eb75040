"""Airflow's real API server with this project's plugin, once for each of two auth managers."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from include.ops.local.credentials import without_user_settings
from include.ops.local.processes import free_port
from tests.web.api.airflow_seed import PASSWORD, ROOT

START_TIMEOUT_S = 120
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
#: Tests start scans of acme and globex. initech is only looked at.
TENANTS = ("acme", "globex", "initech", "paused", "timed")


@dataclass
class Server:
    """One API server. ``log``: everything it has written."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]
    _tokens: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def base(self) -> str:
        return f"{self.url}/hubspot-deals"

    def token(self, user: str) -> str:
        if user not in self._tokens:
            body = {"username": user, "password": PASSWORD}
            answer = requests.post(f"{self.url}/auth/token", json=body, timeout=30)
            answer.raise_for_status()
            self._tokens[user] = answer.json()["access_token"]
        return self._tokens[user]

    def ask(
        self, method: str, path: str, user: str | None = "admin", **options: Any
    ) -> requests.Response:
        """Send a request; *user* None: without a token."""
        headers = dict(options.pop("headers", {}))
        if user is not None:
            headers["Authorization"] = f"Bearer {self.token(user)}"
        return requests.request(
            method, self.base + path, headers=headers, timeout=60, allow_redirects=False, **options
        )

    def get(self, path: str, user: str | None = "admin", **options: Any) -> requests.Response:
        return self.ask("GET", path, user, **options)

    def post(self, path: str, user: str | None = "admin", **options: Any) -> requests.Response:
        return self.ask("POST", path, user, **options)

    def airflow(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask Airflow's own API, as the administrator."""
        headers = {"Authorization": f"Bearer {self.token('admin')}"}
        return requests.request(
            method, f"{self.url}/api/v2{path}", headers=headers, timeout=60, **options
        )

    def is_up(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the API server ended:\n{self.log.read_text()[-3000:]}")
        try:
            return requests.get(f"{self.base}/health", timeout=5).ok
        except requests.ConnectionError:
            return False


def environment(folder: Path, metadata_url: str, **more: str) -> dict[str, str]:
    """Return what Airflow's processes share."""
    tenants = folder / "tenants.yaml"
    entries = [{"id": name, "schedule": None} for name in TENANTS if name != "timed"]
    tenants.write_text(json.dumps({"tenants": [*entries, {"id": "timed"}]}))
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({"admin": PASSWORD, "viewer": PASSWORD}))
    return {
        **without_user_settings(os.environ),
        "AIRFLOW_HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "HUBSPOT_DEALS_TENANTS_FILE": str(tenants),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_url.replace(
            "postgresql://", "postgresql+psycopg2://", 1
        ),
        "AIRFLOW__DATABASE__EXTERNAL_DB_MANAGERS": (
            "airflow.providers.fab.auth_manager.models.db.FABDBManager"
        ),
        "AIRFLOW__API__SECRET_KEY": "a-secret-key-of-the-tests",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a-jwt-secret-of-the-tests-that-is-long-enough-for-it",
        "AIRFLOW_API_APPS": "core",
        **more,
    }


def seed(env: Mapping[str, str], warehouse_url: str) -> None:
    command = [sys.executable, "-m", "tests.web.api.airflow_seed"]
    more = {"AIRFLOW__CORE__AUTH_MANAGER": FAB, "WAREHOUSE_URL": warehouse_url}
    done = subprocess.run(
        command, cwd=ROOT, env={**env, **more}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"Airflow's database can't be filled:\n{done.stderr[-3000:]}")


@contextmanager
def serving(folder: Path, env: Mapping[str, str]) -> Iterator[Server]:
    """Start a server; its user waits until it is up."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["-m", "uvicorn", "airflow.api_fastapi.main:app", "--port", str(port)]
    log = folder / f"api-server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command, "--host", "127.0.0.1"],
            cwd=ROOT,
            env={**env, "AIRFLOW__API__BASE_URL": url},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Server(url, log, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_up(*servers: Server) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    for server in servers:
        while not server.is_up():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{server.url} does not answer")
            time.sleep(0.2)
