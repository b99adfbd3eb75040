"""One Airflow with real processes and all that it talks to, for all tests of the three tasks.

Each tenant reads an account of its own, so that no test changes what another one reads.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from include.ops.local.airflow_api import errors_in
from include.ops.local.credentials import without_user_settings
from include.ops.local.demo_servers import connections
from include.ops.local.processes import free_port
from include.ops.local.stack import LocalStack
from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.support.databases import WITHOUT_DURABILITY
from tests.support.receivers import (
    Mailbox,
    Receiver,
    StatsD,
    receiving_mail,
    receiving_metrics,
    receiving_posts,
    smtp_connection,
)
from tests.support.truth import Deals, as_stored, present
from tests.support.waiting import TIMEOUT_S

TENANTS = ("acme", "globex", "initech")
#: A tenant whose token HubSpot has never seen.
STRANGER = "hooli"
NEVER_ISSUED = "pat-na1-never-issued"
#: Runs when an asset of acme, the first tenant, is updated.
REPORT = "example_deals_report"
DBT = "example_dbt"
EXAMPLES = (REPORT, DBT)

_CHANNELS = [{"smtp": {"to": ["ops@example.com"]}}, {"webhook": None}]
_WARNED: dict[str, Any] = {"retries": 0, "alerts": {"channels": _CHANNELS}}
_UNDELIVERED = {"smtp": {"to": ["ops@example.com"], "connection": "smtp_nowhere"}}
#: Tenant → keys of its entry in the tenants file.
ENTRIES: dict[str, dict[str, Any]] = {
    "acme": {},
    "globex": {},
    "initech": {},
    # no server takes these mails: they stay in the outbox
    STRANGER: {"retries": 0, "alerts": {"channels": [_UNDELIVERED]}},
    # of test_scans.py
    "paused": {},
    "backfilled": {},
    "windowed": {},
    "left_open": {},
    # of test_api.py
    "asked": {},
    # of test_alerts.py
    "rejected": _WARNED,
    "waiting": _WARNED,
    "killed": _WARNED,
    "late": {**_WARNED, "deadline_s": 3},
}


#: Tenant → its account: as those of the demo, but smaller, and generated ones.
ACCOUNTS: dict[str, dict[str, Any]] = {
    "globex": {"deals": 500, "archived": 60, "nasty": True, "cursor": "opaque"},
    "initech": {"deals": 120, "archived": 25, "property_count": 300, "filled": 40},
    "paused": {"deals": 200, "archived": 10},
    "backfilled": {"deals": 300, "archived": 10},
    "windowed": {"deals": 500, "archived": 50},
    "asked": {"deals": 1_000, "archived": 10},
}
OTHER_ACCOUNT: dict[str, Any] = {"deals": 5, "archived": 1}


def _accounts() -> dict[str, Portal]:
    accounts = {"acme": portals.getting_started()}
    for number, tenant in enumerate(ENTRIES):
        if tenant not in ("acme", STRANGER):
            portal_id, token = 3_000_000 + number, f"pat-na1-{uuid5(NAMESPACE_DNS, tenant)}"
            arguments = ACCOUNTS.get(tenant, OTHER_ACCOUNT)
            accounts[tenant] = portals.generated(portal_id, token, **arguments)
    return accounts


@dataclass(frozen=True)
class Pipeline:
    """The running stack, the accounts it reads by tenant, and the receivers of its messages.

    ``lineage``: what OpenLineage wrote, one event a line.
    """

    stack: LocalStack
    simulator: HubSpotSimulator
    accounts: dict[str, Portal]
    mailbox: Mailbox
    receiver: Receiver
    statsd: StatsD
    lineage: Path

    @property
    def tokens(self) -> list[str]:
        return [NEVER_ISSUED, *(account.tokens[0].text for account in self.accounts.values())]

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Send a request of a signed-in admin to Airflow's web server."""
        base = f"http://127.0.0.1:{self.stack.airflow_port}"
        headers = {"Authorization": f"Bearer {self.stack.api.token()}"}
        return requests.request(method, base + path, json=body, headers=headers, timeout=60)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.ok, answer.text
        return answer.json()

    def wait(self, tenant: str, run_id: str) -> str:
        """Wait for the end of a run and return its state: success or failed."""
        return self.stack.wait(dag_of(tenant), run_id, TIMEOUT_S)

    def require_success(self, tenant: str, run_id: str) -> None:
        assert self.wait(tenant, run_id) == "success", self.failure_of(tenant, run_id)

    def failure_of(self, tenant: str, run_id: str) -> str:
        """The logs of a run's tasks that did not succeed, for the report of a failed test."""
        dag_id = dag_of(tenant)
        return "\n".join(
            self.task_log(dag_id, run_id, task["task_id"], task["try_number"])
            for task in self.stack.api.tasks(dag_id, run_id)
            if task["state"] == "failed"
        )

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """The log of one try as text, exceptions included."""
        events = self.stack.api.task_log(dag_id, run_id, task_id, try_number)
        return "\n".join([*(str(event.get("event")) for event in events), *errors_in(events)])

    def scan(self, *tenants: str) -> dict[str, str]:
        """Scan the tenants at once, require success, return their run ids."""
        runs = {tenant: self.stack.trigger(dag_of(tenant)) for tenant in tenants}
        for tenant, run_id in runs.items():
            self.require_success(tenant, run_id)
        return runs

    def query(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run SQL in the warehouse."""
        with psycopg.connect(
            self.stack.postgres.dsn("warehouse"), options="-csearch_path=hubspot_deals"
        ) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            cursor.execute(statement, list(values) or None)
            return cursor.fetchall() if cursor.description else []

    def rows_of(self, tenant: str) -> Deals:
        with psycopg.connect(self.stack.postgres.dsn("warehouse")) as connection:
            return present(connection, "hubspot_deals", tenant)

    def truth_of(self, tenant: str) -> Deals:
        return as_stored(self.accounts[tenant].truth())


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    state_dir = tmp_path_factory.mktemp("stack")
    # what tasks write for the time they run is looked through as well
    (state_dir / "tmp").mkdir()
    write_tenants(state_dir)
    with ExitStack() as opened:
        accounts, mailbox = _accounts(), Mailbox(free_port())
        simulator = opened.enter_context(HubSpotSimulator(accounts.values()))
        opened.enter_context(receiving_mail(mailbox, mailbox.port))
        receiver = opened.enter_context(receiving_posts())
        statsd = opened.enter_context(receiving_metrics())
        lineage = state_dir / "lineage.json"
        tokens = {tenant: account.tokens[0].text for tenant, account in accounts.items()}
        stack = LocalStack(
            state_dir,
            free_port(),
            {
                **without_user_settings(os.environ),
                **connections(simulator.base_url, ENTRIES, {**tokens, STRANGER: NEVER_ISSUED}),
                "TMPDIR": str(state_dir / "tmp"),
                "HUBSPOT_DEALS_TENANTS_FILE": str(state_dir / "tenants.yaml"),
                "HUBSPOT_DEALS_EXAMPLE_DAGS": "true",
                "AIRFLOW_CONN_SMTP_DEFAULT": smtp_connection(mailbox.port),
                "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
                "AIRFLOW__METRICS__STATSD_ON": "True",
                "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
                "AIRFLOW__METRICS__STATSD_PORT": str(statsd.port),
                "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
                "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                    {"type": "file", "log_file_path": str(lineage), "append": True}
                ),
            },
            WITHOUT_DURABILITY,
        )
        opened.callback(stack.postgres.remove)
        opened.callback(stack.stop)
        stack.start()
        # in Airflow's own store: callbacks read it from wherever they run
        stack.api.save_connection("http_default", {"conn_type": "http", "host": receiver.url})
        stack.wait_for_dags([*map(dag_of, ENTRIES), *EXAMPLES])
        for example in EXAMPLES:
            stack.api.unpause(example)
        yield Pipeline(stack, simulator, accounts, mailbox, receiver, statsd, lineage)


@pytest.fixture(scope="session")
def first_runs(pipeline: Pipeline) -> dict[str, str]:
    """The run id of each tenant's first scan; all ran at the same time."""
    return pipeline.scan(*TENANTS)


@pytest.fixture(scope="session")
def refused_run(pipeline: Pipeline) -> str:
    """A run of the tenant whose token HubSpot refuses; it has failed."""
    run_id = pipeline.stack.trigger(dag_of(STRANGER))
    assert pipeline.wait(STRANGER, run_id) == "failed"
    return run_id


def dag_of(tenant: str) -> str:
    return f"hubspot_deals__{tenant}"


def write_tenants(state_dir: Path, **schedules: str) -> None:
    """Write the tenants file; a tenant without a schedule only runs when it is triggered."""
    entries = [
        # a weekly full scan would come in between on some days
        {"id": tenant, "schedule": schedules.get(tenant), "full_scan_schedule": None, **entry}
        for tenant, entry in ENTRIES.items()
    ]
    # JSON is YAML
    (state_dir / "tenants.yaml").write_text(json.dumps({"tenants": entries}))
