"""`LocalStack`: PostgreSQL and Airflow on this machine, started and stopped together.

with LocalStack(Path(".run"), airflow_port=5200, env=os.environ) as stack:
    run_id = stack.trigger("hubspot_deals__acme")
    assert stack.wait("hubspot_deals__acme", run_id, timeout_s=300) == "success"
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
import requests

from include.errors import TenantsFileError
from include.ops.local.airflow_api import FINAL_RUN_STATES, AirflowApi
from include.ops.local.credentials import Credentials, write_private
from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import PROJECT_ROOT, LocalError, Programs, Started, is_free
from include.tenants import load_tenants
from include.warehouse.connection import CONNECTION_VARIABLE

#: Makes "HubSpot" a connection type: include/airflow_provider.
PROVIDER_METADATA = PROJECT_ROOT / "include" / "airflow_provider" / "site"

#: Settings that the caller's environment may override.
DEFAULTS = {
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__API__WORKERS": "1",
    # A new or changed tenants file shows within seconds, not minutes.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
    # enables the Test button of the connection form, which runs in the API server
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SCARF_ANALYTICS": "false",
    # macOS kills forked children that use Objective-C, as Airflow's do
    "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    # then Arrow starts no thread at import: threads don't survive the fork of a task
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
#: Not `airflow standalone`: docs/adr/0010-local-stack.md.
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    # the api-server reads the logs from the same directory, so no log servers are needed
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}
#: For slow machines. A program that ends is an error immediately.
HEALTHY_TIMEOUT_S = 600
DAGS_TIMEOUT_S = 300
POLL_S = 0.5


Step = Callable[[str], AbstractContextManager[object]]


class LocalStack(Started):
    """Airflow on *airflow_port*, with all state in *state_dir*.

    *env* is the environment of all components and tasks. If it names no warehouse,
    ``AIRFLOW_CONN_WAREHOUSE`` is added, for the stack's PostgreSQL. *postgres_settings* are those
    of `EmbeddedPostgres`.
    """

    components: Collection[str] = COMPONENTS

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
        self.postgres = EmbeddedPostgres(self.state_dir, postgres_settings)
        self.credentials = Credentials.of(self.state_dir)
        self.url = f"http://localhost:{airflow_port}"
        self.api = AirflowApi(
            f"http://127.0.0.1:{airflow_port}",
            self.credentials.admin_user,
            self.credentials.admin_password,
        )
        self.env = dict(env)
        self._started_at = datetime.now(UTC)

    def start(self, step: Step = nullcontext) -> None:
        """Start everything and wait until Airflow is healthy. Raises LocalError.

        :param step: makes the context manager that each step runs in, from the step's name.
        """
        self.require_free_port()
        with step("PostgreSQL"):
            self.postgres.start()
        with step("Airflow's tables"):
            self.migrate()
        with step("Airflow (scheduler, DAG processor, triggerer, API)"):
            self.start_airflow()

    def stop(self) -> None:
        """Stop everything, the database last."""
        self.programs.stop()
        self.postgres.stop()

    def require_free_port(self) -> None:
        """Raise LocalError if a program of another stack listens on the port."""
        if not is_free(self.airflow_port) and not self.programs.listen_on(self.airflow_port):
            raise LocalError(
                f"Port {self.airflow_port}, which Airflow needs, is in use by another program.",
                f"Choose another port: AIRFLOW_PORT={self.airflow_port + 100} make demo (or make "
                "run), or set AIRFLOW_PORT in .env.",
            )

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Raise LocalError if a request to Airflow's API fails in spite of its retries."""
        try:
            yield
        except requests.RequestException as exc:
            self.programs.require_alive()
            raise LocalError(
                f"Airflow's API does not answer ({type(exc).__name__}): this machine may be too "
                "busy.",
                f"Try again; the logs are in {self.programs.logs}.",
            ) from exc

    @property
    def login(self) -> dict[str, str]:
        """The address of Airflow's UI and the login, to print."""
        login = f"{self.credentials.admin_user} / {self.credentials.admin_password}"
        return {"Airflow UI": self.url, "  log in as": login}

    @property
    def uses_embedded_warehouse(self) -> bool:
        """Whether *env* names no warehouse."""
        return not any(self.env.get(name) for name in ("DATABASE_URL", CONNECTION_VARIABLE))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of all components. PostgreSQL must be running, because of its port."""
        home = self.state_dir / "airflow"
        login = self.credentials
        passwords = home / "passwords.json"
        write_private(passwords, json.dumps({login.admin_user: login.admin_password}))
        given = dict(self.env)
        if self.uses_embedded_warehouse:
            given[CONNECTION_VARIABLE] = self.postgres.dsn("warehouse")
        # no proxy for requests between the components
        without_proxy = given.get("NO_PROXY") or given.get("no_proxy") or ""
        without_proxy = ",".join(filter(None, (without_proxy, "127.0.0.1", "localhost")))
        here = f"http://127.0.0.1:{self.airflow_port}"
        return {
            **DEFAULTS,
            **given,
            "AIRFLOW_HOME": str(home),
            # all components must be able to import `include`, for plugins and callbacks too
            "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), str(PROVIDER_METADATA)]),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "include.ops.local.executor.PreloadedLocalExecutor",
            "AIRFLOW__CORE__FERNET_KEY": login.fernet_key,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{here}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{login.admin_user}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.postgres.dsn("airflow").replace(
                "postgresql://", "postgresql+psycopg2://", 1
            ),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.airflow_port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": login.api_secret_key,
            "AIRFLOW__API_AUTH__JWT_SECRET": login.jwt_secret,
            "NO_PROXY": without_proxy,
            "no_proxy": without_proxy,
            # keeps /proc/<pid>/environ readable, by which `Programs` finds its processes
            "SPT_NOENV": "1",
        }

    def migrate(self) -> None:
        """Migrate Airflow's tables, unless the same packages have done so already."""
        packages = hashlib.sha256((PROJECT_ROOT / "requirements.txt").read_bytes()).hexdigest()
        # stored in the database, so that it is deleted with the tables
        with psycopg.connect(self.postgres.dsn("airflow"), autocommit=True) as connection:
            made_by = connection.execute(
                "select shobj_description(oid, 'pg_database') from pg_database"
                " where datname = current_database()"
            ).fetchone()
            if made_by != (packages,):
                problem = "Airflow could not create its tables"
                self.programs.run(
                    "db-migrate", ["airflow", "db", "migrate"], self.environment, problem
                )
                connection.execute(f"comment on database airflow is '{packages}'".encode())

    def start_airflow(self) -> None:
        """Start Airflow's components and wait until all are healthy. Raises LocalError."""
        self.make_pools()
        self._started_at = datetime.now(UTC)
        for name in self.components:
            command = [sys.executable, "-m", "airflow", *COMPONENTS[name]]
            self.programs.start(name, command, self.environment, PROJECT_ROOT)
        self.wait_until_healthy()

    def make_pools(self) -> None:
        """Create the pools of the tenants file: tasks whose pool is missing never start."""
        try:
            pools = load_tenants(self.env).pools
        except TenantsFileError:  # Airflow shows it, as an import error
            return
        if pools:
            problem = "Airflow could not create the pools of the tenants file"
            self.programs.run("pools", ["include.tenants", "pools"], self.environment, problem)

    def wait_until_healthy(self) -> None:
        def problem() -> str:
            return next((f"Airflow's {name} is not healthy" for name in self.api.unhealthy()), "")

        self._wait_while(problem, HEALTHY_TIMEOUT_S)

    def wait_for_dags(self, dag_ids: Collection[str], timeout_s: float = DAGS_TIMEOUT_S) -> None:
        """Wait until every DAG has been parsed since this start. Raises LocalError."""
        waited_for = list(dag_ids)

        def problem() -> str:
            errors = [
                error
                for error in self.api.import_errors()
                if datetime.fromisoformat(error["timestamp"]) > self._started_at
            ]
            before = len(waited_for)
            waited_for[:] = [dag_id for dag_id in waited_for if not self._is_parsed(dag_id)]
            if errors and before == len(waited_for):
                text = "\n".join(error["stack_trace"] for error in errors)
                raise LocalError(f"Airflow can't import {errors[0]['filename']}:\n{text}")
            return f"DAG {waited_for[0]} does not appear" if waited_for else ""

        self._wait_while(problem, timeout_s)

    def fail_interrupted_runs(self) -> None:
        """Fail the runs that an earlier stop interrupted.

        Airflow would wait five minutes for their tasks and, with max_active_runs=1, delay the next
        run.
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
        state = ""

        def problem() -> str:
            nonlocal state
            state = self.api.run(dag_id, run_id)["state"]
            return "" if state in FINAL_RUN_STATES else f"Run {run_id} of {dag_id} is {state}"

        self._wait_while(problem, timeout_s)
        return state

    def _wait_while(self, problem: Callable[[], str], timeout_s: float) -> None:
        """Wait until *problem* returns "". Raises LocalError, at once if a program has ended."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.programs.require_alive()
            try:
                what = problem()
            except requests.RequestException as exc:
                what = f"Airflow's API fails ({exc})"
            if not what:
                return
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{what} after {timeout_s:.0f} s.", f"The logs are in {self.programs.logs}."
                )
            time.sleep(POLL_S)

    def _is_parsed(self, dag_id: str) -> bool:
        dag = self.api.dag(dag_id)
        if dag is None or dag["is_stale"] or not dag["last_parsed_time"]:
            return False
        return datetime.fromisoformat(dag["last_parsed_time"]) > self._started_at
