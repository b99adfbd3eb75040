"""Each task in a pod of its own, as with KubernetesExecutor: what one leaves is in the warehouse.

tests/ops/compose/pod_executor.py stands in for a cluster. The tenants are a directory of files,
their DAGs divided into two.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from include.ops.local.credentials import without_user_settings
from include.ops.local.demo_servers import DEMO_TOKENS, connections, start_simulator
from include.ops.local.processes import Programs
from tests.ops.compose import pod
from tests.ops.compose.pod_stack import PodStack
from tests.support.truth import Deals, as_stored, stored

pytestmark = pytest.mark.e2e

#: Tenant → its account. acme's DAG is in the first file, big's in the second.
ACCOUNTS = {"acme": "acme", "big": "globex"}
PORTALS = {"acme": 1_000_001, "big": 1_000_002}
#: A request of big's then takes so long: the scan lasts until its pod is killed.
LATENCY_S = 0.5
RUN_TIMEOUT_S = 180


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodStack]:
    folder = tmp_path_factory.mktemp("pods")
    entry = {"schedule": None, "full_scan_schedule": None}
    env = without_user_settings(os.environ)
    pods = PodStack(folder, env, dict.fromkeys(ACCOUNTS, entry), shards=2)
    try:
        pods.simulator_url = start_simulator(Programs(folder), env)
        tokens = {tenant: DEMO_TOKENS[account] for tenant, account in ACCOUNTS.items()}
        pods.env.update(connections(pods.simulator_url, ACCOUNTS, tokens))
        with pods:
            pods.wait_for_dags([dag_of(tenant) for tenant in ACCOUNTS])
            yield pods
    finally:
        pods.stop()
        pods.postgres.remove()


@pytest.fixture(scope="module")
def image_before(pods: PodStack) -> dict[str, int]:
    return files_of(pods.image)


@pytest.fixture(scope="module")
def runs(pods: PodStack, image_before: dict[str, int]) -> dict[str, str]:
    """Tenant → the run of its first scan. All run at once, big's slowly."""
    set_latency(pods, "big", LATENCY_S)
    return {
        "big": pods.trigger(dag_of("big"), {"checkpoint_pages": 2}),
        "acme": pods.trigger(dag_of("acme")),
    }


@pytest.fixture(scope="module")
def killed(pods: PodStack, runs: dict[str, str]) -> str:
    """The name of big's pod, killed after a checkpoint; from then on HubSpot answers at once."""
    pods.wait_until(lambda: bool(scan_of(pods, "big").get("position")), "big has a checkpoint")
    (disk,) = (disk for disk in pods.disks() if f"{dag_of('big')}.extract_deals" in disk.name)
    pod.kill(disk.name)
    set_latency(pods, "big", 0)
    pods.wait_until(lambda: not disk.exists(), "the killed pod's disk is gone")
    return disk.name


def dag_of(tenant: str) -> str:
    return f"hubspot_deals__{tenant}"


def portal_url(pods: PodStack, tenant: str) -> str:
    return f"{pods.simulator_url}/_simulator/portals/{PORTALS[tenant]}"


def set_latency(pods: PodStack, tenant: str, seconds: float) -> None:
    url = f"{portal_url(pods, tenant)}/settings"
    requests.post(url, json={"latency_s": seconds}, timeout=60).raise_for_status()


def truth_of(pods: PodStack, tenant: str) -> Deals:
    text = requests.get(f"{portal_url(pods, tenant)}/truth", timeout=60).text
    return as_stored([json.loads(line) for line in text.split("\n")])


def rows_of(pods: PodStack, tenant: str) -> Deals:
    with psycopg.connect(pods.postgres.dsn("warehouse")) as connection:
        return stored(connection, "hubspot_deals", tenant)


def scan_of(pods: PodStack, tenant: str) -> dict[str, Any]:
    """The tenant's only scan, with how far its deals are; empty before it is there."""
    with psycopg.connect(pods.postgres.dsn("warehouse"), row_factory=dict_row) as connection:
        tables = connection.execute("select to_regclass('hubspot_deals.scan_objects') as found")
        if not (tables.fetchone() or {})["found"]:
            return {}
        found = connection.execute(
            "select scans.state, deals.position"
            " from hubspot_deals.scans as scans join hubspot_deals.scan_objects as deals"
            " using (scan_id) where scans.tenant_id = %s and deals.object = 'deals'",
            [tenant],
        ).fetchone()
    return found or {}


def files_of(folder: Path) -> dict[str, int]:
    """Every file, with when it was written."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def require_success(pods: PodStack, runs: dict[str, str], tenant: str) -> None:
    state = pods.wait(dag_of(tenant), runs[tenant], RUN_TIMEOUT_S)
    outputs = [pods.output(end["pod"]) for end in pods.ended() if dag_of(tenant) in end["pod"]]
    assert state == "success", "\n".join(outputs)
    # a pod ends up to 5 s after its task: Airflow may notice at its next heartbeat only
    mine = f"{dag_of(tenant)}."
    pods.wait_until(
        lambda: not any(disk.name.startswith(mine) for disk in pods.disks()),
        f"the pods of {tenant} have ended",
    )


def test_a_new_empty_pod_goes_on_with_the_scan_of_a_killed_one(
    pods: PodStack, runs: dict[str, str], killed: str
) -> None:
    require_success(pods, runs, "big")

    tries = [end for end in pods.ended() if f"{dag_of('big')}.extract_deals" in end["pod"]]
    assert [end["status"] for end in tries] == [-9, 0]
    assert tries[0]["pod"] == killed
    # it had begun something that another try on the same disk could have found
    assert any("hubspot_deals_dlt_" in name for name in tries[0]["files"])
    assert pods.api.xcom(dag_of("big"), runs["big"], "extract_deals")["went_on"] is True
    assert scan_of(pods, "big")["state"] == "succeeded"
    assert rows_of(pods, "big") == truth_of(pods, "big")


def test_each_task_of_a_scan_has_a_pod(pods: PodStack, runs: dict[str, str]) -> None:
    require_success(pods, runs, "acme")

    tasks = [end["pod"].split(".")[1] for end in pods.ended() if dag_of("acme") in end["pod"]]
    assert sorted(tasks) == ["check_quality", "extract_deals", "validate_token"]
    assert rows_of(pods, "acme") == truth_of(pods, "acme")


def test_the_dags_come_from_two_files(pods: PodStack) -> None:
    files = {tenant: pods.api.dag(dag_of(tenant)) or {} for tenant in ACCOUNTS}

    assert {tenant: dag["relative_fileloc"] for tenant, dag in files.items()} == {
        "acme": "hubspot_deals.py",
        "big": "hubspot_deals_02_of_02.py",
    }


@pytest.mark.usefixtures("killed")
def test_nothing_is_left_of_pods_that_have_ended(
    pods: PodStack, runs: dict[str, str], image_before: dict[str, int]
) -> None:
    for tenant in runs:
        require_success(pods, runs, tenant)
    pods.wait_until(lambda: not pods.disks(), "all pods have ended")

    # not that anybody could find them
    forgotten = {
        name
        for end in pods.ended()
        if end["status"] == 0
        for name in end["files"]
        # the tasks' logs are Airflow's
        if not name.startswith("airflow_home/logs/dag_id=")
    }
    assert forgotten == set()
    assert files_of(pods.image) == image_before
