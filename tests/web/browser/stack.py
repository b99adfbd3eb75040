"""Airflow as far as the page needs it: its API server, real DAGs of a few tenants, and a warehouse.

There is no scheduler: runs that are started stay queued, and nothing changes.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg

from include.ops.local.credentials import without_user_settings
from include.ops.local.processes import free_port
from include.ops.local.stack import LocalStack
from include.warehouse.connection import DEFAULT_SCHEMA, Warehouse
from include.warehouse.migrations import migrate
from tests.support.databases import WITHOUT_DURABILITY
from tests.web.browser.auth import LIMITED_USER

#: Their DAGs are parsed; all others are only known by name.
REAL_TENANTS = ("acme", "globex", "initech")
LIMITED_PASSWORD = "limited"
#: Its DAG is paused.
PAUSED = "stark"
PARSED_TIMEOUT_S = 240
STOP_TIMEOUT_S = 30


class PageStack(LocalStack):
    """The stack with the users of these tests, and without what runs tasks."""

    components = ("api-server", "dag-processor")

    @property
    def environment(self) -> dict[str, str]:
        environment = super().environment
        passwords = self.state_dir / "passwords.json"
        passwords.write_text(
            json.dumps(
                {
                    self.credentials.admin_user: self.credentials.admin_password,
                    LIMITED_USER: LIMITED_PASSWORD,
                }
            )
        )
        return environment | {
            "AIRFLOW__CORE__AUTH_MANAGER": "tests.web.browser.auth.DagByDagAuthManager",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.credentials.admin_user}:admin,"
            f"{LIMITED_USER}:op",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse.from_url(self.postgres.dsn("warehouse"), DEFAULT_SCHEMA)

    def wait_until_healthy(self) -> None:
        self.wait_for_dags([dag_of(tenant) for tenant in REAL_TENANTS], PARSED_TIMEOUT_S)

    def know_by_name(self, tenants: Sequence[str]) -> None:
        """Add tenants whose DAGs Airflow lists, though it has never parsed them."""
        for program in self.programs.running():
            if program.name == "dag-processor" and (process := program.process):
                # It would parse them all, and take so long that DAGs count as stale. On a busy
                # machine it can miss the signal.
                process.terminate()
                try:
                    process.wait(STOP_TIMEOUT_S)
                except psutil.TimeoutExpired:
                    process.kill()
                    process.wait(STOP_TIMEOUT_S)
        write_tenants(self.state_dir, (*REAL_TENANTS, *tenants))
        with psycopg.connect(self.postgres.dsn("airflow")) as connection:
            connection.execute(
                "insert into dag select (jsonb_populate_record(dag, jsonb_build_object('dag_id',"
                " 'hubspot_deals__' || id))).* from dag, unnest(%s::text[]) as id"
                " where dag_id = %s",
                [list(tenants), dag_of(REAL_TENANTS[0])],
            )
            # no scheduler does so
            connection.execute(
                "update dag set is_paused = dag_id = %s, next_dagrun_create_after ="
                " date_trunc('day', now()) + interval '27 hours'",
                [dag_of(PAUSED)],
            )


def new_stack(state_dir: Path) -> PageStack:
    """Return a stack to be started; its warehouse has all tables and no rows once it runs."""
    write_tenants(state_dir, REAL_TENANTS)
    env = {
        **without_user_settings(os.environ),
        "HUBSPOT_DEALS_TENANTS_FILE": str(state_dir / "tenants.yaml"),
    }
    return PageStack(state_dir, free_port(), env, WITHOUT_DURABILITY)


def start(stack: PageStack, tenants: Sequence[str]) -> None:
    """Start the stack, with *tenants* besides the real ones."""
    stack.start()
    migrate(stack.warehouse)
    stack.know_by_name(tenants)


def dag_of(tenant: str) -> str:
    return f"hubspot_deals__{tenant}"


def write_tenants(state_dir: Path, tenants: Sequence[str]) -> None:
    entries = [{"id": tenant, "schedule": "0 3 * * *"} for tenant in tenants]
    # JSON is YAML
    (state_dir / "tenants.yaml").write_text(json.dumps({"tenants": entries}))
