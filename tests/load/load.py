"""A load: the topology with many tenants, and rounds in which each of them is scanned."""

import json
import sys
import time
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from include.ops.local.processes import Started
from tests.load.accounts import Accounts, served
from tests.load.figures import Round
from tests.load.usage import Usage
from tests.ops.compose.topology import Topology
from tests.support.pgbouncer import PgBouncer

POLL_S = 2.0
SAMPLED_EVERY_S = 10.0
ROUND_TIMEOUT_S = 3_600.0
WAREHOUSE = "warehouse"


class Load(Started):
    """Everything that a load needs, running, until the block ends."""

    schema = "hubspot_deals"

    def __init__(self, folder: Path, tenants: int, deals: int, options: Namespace) -> None:
        self._folder = folder
        self._tenants = [f"tenant_{number:05d}" for number in range(tenants)]
        self._deals = deals
        self._options = options
        self._open = ExitStack()
        self.accounts: Accounts
        self.usage: Usage

    @property
    def warehouse_url(self) -> str:
        return self._topology.dsn(WAREHOUSE)

    def round(self, name: str) -> Round:
        """Start a scan of every tenant at once, and wait until all have ended."""
        before, asked_before = self.usage.cpu_s(), self.accounts.requests()
        started = time.monotonic()
        api = self._topology.api
        runs = {tenant: api.trigger(dag_of(tenant)) for tenant in self._tenants}
        self._wait(name, len(runs), started)
        wall_s = time.monotonic() - started
        after, asked = self.usage.cpu_s(), self.accounts.requests()
        states = [api.run(dag_of(tenant), run_id)["state"] for tenant, run_id in runs.items()]
        return Round(
            name=name,
            scans=len(runs),
            failed=sum(state != "success" for state in states),
            wall_s=wall_s,
            cpu_s={program: after[program] - before[program] for program in after},
            requests=asked[0] - asked_before[0],
            throttled=asked[1] - asked_before[1],
        )

    def start(self) -> None:
        accounts, simulator_pid = self._open.enter_context(
            served(self._folder, self._tenants, self._deals)
        )
        self.accounts = accounts
        self._topology = Topology(
            self._folder / "topology",
            workers=self._options.workers,
            profile="dev",
            variables={"WORKER_CONCURRENCY": str(self._options.concurrency)},
            env={
                **accounts.connections,
                "HUBSPOT_DEALS_TENANTS_FILE": str(self._tenants_file()),
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
                **dict(setting.split("=", 1) for setting in self._options.env),
            },
        )
        self._open.enter_context(self._topology)
        pooler = self._open.enter_context(
            PgBouncer(self._topology.secrets()["warehouse_url"], self._options.pool)
        )
        self._topology.api.save_connection("warehouse", connection_to(pooler.url))
        self._wait_for_dags()
        pids = {_called(one.name): one.pid for one in self._topology.programs.on_record()}
        pids |= {"simulator": simulator_pid, "pgbouncer": pooler.pid}
        pids["postgres"] = self._topology.postgres.pid
        self.usage = Usage(pids, self._topology.dsn("postgres"))

    def stop(self) -> None:
        self._open.close()

    def _tenants_file(self) -> Path:
        entries = [{"id": tenant, "schedule": None} for tenant in self._tenants]
        file = self._folder / "tenants.json"
        file.write_text(json.dumps({"tenants": entries}))
        return file

    def _wait_for_dags(self) -> None:
        api = self._topology.api
        missing = set(self._tenants)

        def all_there() -> bool:
            for tenant in sorted(missing):
                if api.dag(dag_of(tenant)) is None:
                    return False
                api.unpause(dag_of(tenant))
                missing.discard(tenant)
            return True

        self._topology.wait_until(all_there, "DAGs of all tenants", 300)

    def _wait(self, name: str, runs: int, started: float) -> None:
        sampled = 0.0
        api, path = self._topology.api, "dags/~/dagRuns?state=queued&state=running&limit=1"
        while left := api.call("GET", path)["total_entries"]:
            now = time.monotonic()
            if now - started > ROUND_TIMEOUT_S:
                raise TimeoutError(f"{name}: {left} of {runs} runs have not ended")
            if now - sampled >= SAMPLED_EVERY_S:
                self.usage.sample()
                sampled = now
                say(f"{name}: {runs - left} of {runs} after {now - started:.0f} s")
            time.sleep(POLL_S)


def dag_of(tenant: str) -> str:
    return f"hubspot_deals__{tenant}"


def connection_to(url: str) -> dict[str, Any]:
    """Return the Airflow connection that a PostgreSQL URL stands for."""
    parts = conninfo_to_dict(url)
    return {
        "conn_type": "postgres",
        "host": parts["host"],
        "port": int(str(parts["port"])),
        "login": parts["user"],
        "password": parts["password"],
        "schema": parts["dbname"],
    }


def _called(program: str) -> str:
    return "apiserver" if program.startswith("airflow-apiserver") else program


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
