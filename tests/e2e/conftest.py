"""One Airflow with real processes, its database and a simulated HubSpot for all tests in here."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from include.local.dotenv_file import without_the_users_own
from include.local.ports import free_port
from include.local.processes import Programs
from include.local.simulator import DEMO_TOKENS, connections, start_simulator
from include.local.stack import LocalStack

TENANTS = ("acme", "globex", "initech")
#: A tenant whose token HubSpot has never seen.
STRANGER = "hooli"
#: Tenants of test_scans.py and test_api.py → whose account they read.
SCANNED = {"paused": "initech", "backfilled": "globex", "windowed": "globex", "asked": "globex"}
RUN_TIMEOUT_S = 300


@dataclass(frozen=True)
class Pipeline:
    """The running stack and the HubSpot it reads."""

    stack: LocalStack
    simulator_url: str


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    state_dir = tmp_path_factory.mktemp("stack")
    env = environment(state_dir)
    stack = LocalStack(state_dir, free_port(), env)
    try:
        url = start_simulator(Programs(state_dir), state_dir, env)
        stack.env.update(connections(url, TENANTS))
        stack.env.update(connections(url, [STRANGER], {STRANGER: "pat-na1-never-issued"}))
        scanned = {tenant: DEMO_TOKENS[account] for tenant, account in SCANNED.items()}
        stack.env.update(connections(url, SCANNED, scanned))
        with stack:
            stack.wait_for_dags([dag_of(tenant) for tenant in (*TENANTS, STRANGER, *SCANNED)])
            yield Pipeline(stack, url)
    finally:
        stack.stop()
        stack.postgres.remove()


@pytest.fixture(scope="session")
def first_runs(pipeline: Pipeline) -> dict[str, str]:
    """The run id of each tenant's first scan; all ran at the same time."""
    return scan(pipeline.stack, TENANTS)


def scan(stack: LocalStack, tenants: tuple[str, ...]) -> dict[str, str]:
    """Scan the tenants at once, require success, return their run ids."""
    runs = {tenant: stack.trigger(dag_of(tenant)) for tenant in tenants}
    for tenant, run_id in runs.items():
        state = stack.wait(dag_of(tenant), run_id, RUN_TIMEOUT_S)
        assert state == "success", failure_of(stack, dag_of(tenant), run_id)
    return runs


def failure_of(stack: LocalStack, dag_id: str, run_id: str) -> str:
    """The logs of a run's tasks that did not succeed, for the report of a failed test."""
    return "\n".join(
        stack.task_log(dag_id, run_id, task["task_id"], task["try_number"])
        for task in stack.api.tasks(dag_id, run_id)
        if task["state"] == "failed"
    )


def dag_of(tenant: str) -> str:
    return f"hubspot_deals__{tenant}"


def environment(state_dir: Path) -> dict[str, str]:
    write_tenants(state_dir)
    # what tasks write for the time they run is looked through as well
    temporary = state_dir / "tmp"
    temporary.mkdir(exist_ok=True)
    return {
        **without_the_users_own(os.environ),
        "TMPDIR": str(temporary),
        "HUBSPOT_DEALS_TENANTS_FILE": str(state_dir / "tenants.yaml"),
    }


def write_tenants(state_dir: Path, **schedules: str) -> None:
    """Write the tenants file; a tenant without a schedule only runs when it is triggered."""
    entries: list[dict[str, Any]] = [
        # a weekly full scan would come in between on some days
        {"id": tenant, "schedule": schedules.get(tenant), "full_scan_schedule": None}
        for tenant in (*TENANTS, STRANGER, *SCANNED)
    ]
    # nobody takes these mails: they stay in the outbox
    channels = [{"smtp": {"to": ["ops@example.com"], "connection": "smtp_nowhere"}}]
    next(entry for entry in entries if entry["id"] == STRANGER)["alerts"] = {"channels": channels}
    # JSON is YAML
    (state_dir / "tenants.yaml").write_text(json.dumps({"tenants": entries}))


def tokens() -> list[str]:
    return [DEMO_TOKENS[tenant] for tenant in TENANTS]
