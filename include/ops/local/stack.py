"""`LocalStack`: PostgreSQL and Airflow on this machine, as one thing to start, use and stop.

with LocalStack(Path(".run"), airflow_port=5200, env=os.environ) as stack:
    run_id = stack.trigger("hubspot_deals__acme")
    assert stack.wait("hubspot_deals__acme", run_id, timeout_s=300) == "success"
"""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
import requests

from include.errors import TenantsFileError
from include.ops.local.airflow_api import FINAL_RUN_STATES, AirflowApi, errors_in
from include.ops.local.credentials import Credentials, write_private
from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import PROJECT_ROOT, LocalError, Programs, Started, is_free, python
from include.tenants import load_tenants

#: Makes "HubSpot" a connection type: include/airflow_provider.
PROVIDER_METADATA = PROJECT_ROOT / "include" / "airflow_provider" / "site"

#: Settings that the caller's environment may override.
DEFAULTS = {
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__API__WORKERS": "1",
    # A new or changed tenants file shows within seconds, not minutes.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
    # The Test button of the connection form: tokens are judged by the API server.
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SCARF_ANALYTICS": "false",
    # macOS kills forked children that touch Objective-C, as Airflow's would.
    "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    # Arrow then starts no thread when it is imported: threads don't survive the fork of a task.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


def airflow_environment(
    base: Mapping[str, str],
    state_dir: Path,
    port: int,
    metadata_url: str,
    credentials: Credentials,
) -> dict[str, str]:
    """Return *base* with everything that makes Airflow run from this checkout on *port*."""
    home = state_dir / "airflow"
    passwords = home / "passwords.json"
    write_private(passwords, json.dumps({credentials.admin_user: credentials.admin_password}))
    here = f"http://127.0.0.1:{port}"
    return {
        **DEFAULTS,
        **base,
        "AIRFLOW_HOME": str(home),
        # `include` has to be importable in every component, plugins and callbacks too.
        "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), str(PROVIDER_METADATA)]),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "include.ops.local.executor.PreloadedLocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": credentials.fernet_key,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{here}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{credentials.admin_user}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_url.replace(
            "postgresql://", "postgresql+psycopg2://", 1
        ),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__API__SECRET_KEY": credentials.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": credentials.jwt_secret,
        # The components talk to each other on this machine; a proxy would only be in the way.
        "NO_PROXY": _without_proxy(base),
        "no_proxy": _without_proxy(base),
        # Keeps /proc/<pid>/environ readable: include.ops.local.processes finds its own by it.
        "SPT_NOENV": "1",
    }


def _without_proxy(base: Mapping[str, str]) -> str:
    present = base.get("NO_PROXY") or base.get("no_proxy") or ""
    return ",".join(filter(None, (present, "127.0.0.1", "localhost")))


COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    # The api-server reads the logs from the same directory: no servers for them are needed.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}
HEALTHY_TIMEOUT_S = 240
DAGS_TIMEOUT_S = 120
POLL_S = 0.5


class LocalStack(Started):
    """Airflow on *airflow_port* with all state below *state_dir*.

    *env* is the environment of every component and task. ``AIRFLOW_CONN_WAREHOUSE`` is added to it,
    leading to the stack's own PostgreSQL, unless *env* names a warehouse. *postgres_settings* are
    those of `EmbeddedPostgres`.
    """

    def __init__(
        self,
        state_dir: Path,
        airflow_port: int,
        env: Mapping[str, str],
        postgres_settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.state_dir = state_dir.resolve()
        self.airflow_port = airflow_port
        self.programs = Programs(self.state_dir)
        self.postgres = EmbeddedPostgres(self.state_dir, settings=postgres_settings)
        self.credentials = Credentials.of(self.state_dir)
        self.url = f"http://localhost:{airflow_port}"
        self.api = AirflowApi(
            f"http://127.0.0.1:{airflow_port}",
            self.credentials.admin_user,
            self.credentials.admin_password,
        )
        self.env = dict(env)
        self._started_at = datetime.now(UTC)

    def start(self) -> None:
        """Start everything and wait until Airflow is healthy. Raises LocalError."""
        self.require_free_port()
        self.start_postgres()
        self.migrate()
        self.start_airflow()
        self.wait_until_healthy()

    def stop(self) -> None:
        """Stop everything, the database last."""
        self.programs.stop()
        self.postgres.stop()

    def require_free_port(self) -> None:
        if not is_free(self.airflow_port):
            raise LocalError(
                f"Port {self.airflow_port} is in use by another program, so Airflow can't have it.",
                f"Choose another one: AIRFLOW_PORT={self.airflow_port + 100} make demo"
                " (or write AIRFLOW_PORT into .env).",
            )

    def start_postgres(self) -> None:
        self.postgres.start()

    @property
    def uses_embedded_warehouse(self) -> bool:
        """Whether *env* names no warehouse of its own."""
        return not any(self.env.get(name) for name in ("DATABASE_URL", "AIRFLOW_CONN_WAREHOUSE"))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every component. Needs PostgreSQL's port: start that first."""
        embedded = {"AIRFLOW_CONN_WAREHOUSE": self.postgres.dsn("warehouse")}
        return airflow_environment(
            {**self.env, **(embedded if self.uses_embedded_warehouse else {})},
            self.state_dir,
            self.airflow_port,
            self.postgres.dsn("airflow"),
            self.credentials,
        )

    def migrate(self) -> bool:
        """Bring Airflow's tables up to date; False: they were made by the same packages already."""
        packages = hashlib.sha256((PROJECT_ROOT / "requirements.txt").read_bytes()).hexdigest()
        # Kept in the database itself, so that it can't outlive the tables.
        with psycopg.connect(self.postgres.dsn("airflow"), autocommit=True) as connection:
            made_by = connection.execute(
                "select shobj_description(oid, 'pg_database') from pg_database"
                " where datname = current_database()"
            ).fetchone()
            if made_by == (packages,):
                return False
            self._run_migration()
            connection.execute(f"comment on database airflow is '{packages}'".encode())
            return True

    def _run_migration(self) -> None:
        self._run_once(
            "db-migrate", "Airflow could not create its tables", "airflow", "db", "migrate"
        )

    def make_pools(self) -> None:
        """Have Airflow know the pools of the tenants file: tasks of a missing one never start."""
        try:
            pools = load_tenants(self.env).pools
        except TenantsFileError:  # Airflow shows it, as an import error
            return
        if pools:
            problem = "Airflow could not make the pools of the tenants file"
            self._run_once("pools", problem, "include.tenants", "pools")

    def _run_once(self, name: str, problem: str, *module: str) -> None:
        """Run a Python module to its end, its output in the log *name*. Raises LocalError."""
        log = self.programs.log_of(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            done = subprocess.run(
                python("-m", *module),
                env=self.environment,
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise LocalError(
                f"{problem}.\n{self.programs.last_lines(name)}\n",
                f"The whole log is {log}.",
            )

    def start_airflow(self) -> None:
        self.make_pools()
        self._started_at = datetime.now(UTC)
        for name, arguments in COMPONENTS.items():
            command = python("-m", "airflow", *arguments)
            self.programs.start(name, command, self.environment, PROJECT_ROOT)

    def wait_until_healthy(self, timeout_s: float = HEALTHY_TIMEOUT_S) -> None:
        missing: list[str] = []

        def healthy() -> bool:
            missing[:] = self.api.unhealthy()
            return not missing

        self._wait_until(healthy, timeout_s, lambda: f"Airflow's {missing[0]} is not healthy")

    def wait_for_dags(self, dag_ids: Collection[str], timeout_s: float = DAGS_TIMEOUT_S) -> None:
        """Wait until every DAG has been parsed since this start. Raises LocalError."""
        waited_for = list(dag_ids)

        def known() -> bool:
            self._require_importable(waited_for)
            waited_for[:] = [dag_id for dag_id in waited_for if not self._is_parsed(dag_id)]
            return not waited_for

        self._wait_until(known, timeout_s, lambda: f"DAG {waited_for[0]} does not appear")

    def fail_interrupted_runs(self) -> None:
        """Fail the runs that an earlier stop cut short.

        Airflow would wait five minutes for their tasks, and with max_active_runs=1 the next run
        would wait with it.
        """
        for run in self.api.unfinished_runs():
            if datetime.fromisoformat(run["queued_at"]) < self._started_at:
                self.api.fail(run["dag_id"], run["dag_run_id"])

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Unpause the DAG, start a run, return the run's id."""
        self.api.unpause(dag_id)
        return self.api.trigger(dag_id, conf)

    def wait(self, dag_id: str, run_id: str, timeout_s: float) -> str:
        """Wait for the end of a run and return its state: success or failed."""
        states: list[str] = [""]

        def ended() -> bool:
            states[0] = self.api.run(dag_id, run_id)["state"]
            return states[0] in FINAL_RUN_STATES

        self._wait_until(ended, timeout_s, lambda: f"Run {run_id} of {dag_id} is {states[0]}")
        return states[0]

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task of the run returned."""
        return self.api.xcom(dag_id, run_id, task_id)

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of one try as text, exceptions included."""
        events = self.api.task_log(dag_id, run_id, task_id, try_number)
        return "\n".join([*(str(event.get("event")) for event in events), *errors_in(events)])

    def _is_parsed(self, dag_id: str) -> bool:
        dag = self.api.dag(dag_id)
        if dag is None or dag["is_stale"] or not dag["last_parsed_time"]:
            return False
        return datetime.fromisoformat(dag["last_parsed_time"]) > self._started_at

    def _require_importable(self, dag_ids: Collection[str]) -> None:
        errors = [
            error
            for error in self.api.import_errors()
            if datetime.fromisoformat(error["timestamp"]) > self._started_at
        ]
        if errors and not any(self._is_parsed(dag_id) for dag_id in dag_ids):
            text = "\n".join(error["stack_trace"] for error in errors)
            raise LocalError(f"Airflow can't import {errors[0]['filename']}:\n{text}")

    def _wait_until(
        self, reached: Callable[[], bool], timeout_s: float, problem: Callable[[], str]
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            self.programs.require_alive()
            try:
                if reached():
                    return
            except requests.RequestException as exc:
                if time.monotonic() > deadline:
                    raise LocalError(f"Airflow's API fails: {exc}.") from exc
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{problem()} after {timeout_s:.0f} s.",
                    f"The logs are in {self.programs.logs}.",
                )
            time.sleep(POLL_S)
