"""docker-compose.yaml as processes: PostgreSQL, Redis, Airflow, two workers, the death of one.

Everything is started by the commands of the file, with its environment: what stands in for a
container is in tests/ops/compose/topology.py.
"""

import json
from collections.abc import Iterator

import psycopg
import pytest
import requests
from psycopg.rows import dict_row

from include.ops.local.airflow_api import FINAL_RUN_STATES
from include.ops.local.demo_servers import connection_to
from tests.ops.compose.places import unavailable
from tests.ops.compose.topology import Topology
from tests.support.databases import WITHOUT_DURABILITY
from tests.support.truth import Deals, as_stored, stored

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(unavailable()), reason=f"redis-server and curl: {unavailable()}"),
]

DEMO_PORTALS = {"acme": 1_000_001, "globex": 1_000_002, "initech": 1_000_003}
#: A fourth tenant, which reads the largest of the three accounts for the first time.
BIG = "big"
BIG_PORTAL = DEMO_PORTALS["globex"]
#: A request then takes so long: the scan lasts until it is killed.
LATENCY_S = 0.5


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    folder = tmp_path_factory.mktemp("topology")
    tenants = folder / "tenants.json"
    tenants.write_text(
        json.dumps(
            {
                "tenants": [
                    *({"id": tenant} for tenant in DEMO_PORTALS),
                    {"id": BIG, "schedule": None},
                ]
            }
        )
    )
    stack = Topology(
        folder,
        workers=2,
        postgres_settings=WITHOUT_DURABILITY,
        # three scans at once then need both workers
        variables={"WORKER_CONCURRENCY": "2", "TASK_HEARTBEAT_TIMEOUT_S": "20"},
        env={
            "HUBSPOT_DEALS_TENANTS_FILE": str(tenants),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        },
    )
    with stack:
        yield stack


@pytest.fixture(scope="module")
def demo_runs(topology: Topology) -> dict[str, str]:
    """The state of the first run of each of the demo's tenants, which Airflow creates."""

    def ended() -> dict[str, str] | None:
        runs = [topology.api.newest_run(f"hubspot_deals__{tenant}") for tenant in DEMO_PORTALS]
        states = [run["state"] if run else "none" for run in runs]
        all_ended = FINAL_RUN_STATES.issuperset(states)
        return dict(zip(DEMO_PORTALS, states, strict=True)) if all_ended else None

    return topology.wait_until(ended, "the demo's scans", timeout_s=300)


def truth_of(topology: Topology, portal_id: int) -> Deals:
    url = f"{topology.simulator_url}/_simulator/portals/{portal_id}/truth"
    return as_stored([json.loads(line) for line in requests.get(url, timeout=60).text.split("\n")])


def rows_of(topology: Topology, tenant: str) -> Deals:
    with psycopg.connect(topology.dsn("warehouse")) as connection:
        return stored(connection, "hubspot_deals", tenant)


def set_latency(topology: Topology, seconds: float) -> None:
    url = f"{topology.simulator_url}/_simulator/portals/{BIG_PORTAL}/settings"
    requests.post(url, json={"latency_s": seconds}, timeout=60).raise_for_status()


def scan_of(topology: Topology, tenant: str) -> dict[str, object] | None:
    """The tenant's only scan, with how far its deals are."""
    with psycopg.connect(topology.dsn("warehouse"), row_factory=dict_row) as connection:
        return connection.execute(
            "select scans.state, deals.position"
            " from hubspot_deals.scans as scans join hubspot_deals.scan_objects as deals"
            " using (scan_id) where scans.tenant_id = %s and deals.object = 'deals'",
            [tenant],
        ).fetchone()


def test_every_health_check_of_the_file_passes(
    topology: Topology, demo_runs: dict[str, str]
) -> None:
    unhealthy = {
        instance: done.stdout
        for instance in topology.instances()
        if (done := topology.health(instance)).returncode
    }

    assert unhealthy == {}


def test_the_demo_is_scanned_over_both_workers(
    topology: Topology, demo_runs: dict[str, str]
) -> None:
    dags = [f"hubspot_deals__{tenant}" for tenant in DEMO_PORTALS]

    hosts = {
        task["hostname"]
        for dag_id in dags
        for run in topology.api.runs(dag_id)
        for task in topology.api.tasks(dag_id, run["dag_run_id"])
    }

    assert demo_runs == dict.fromkeys(DEMO_PORTALS, "success")
    assert hosts == {"worker-1", "worker-2"}


@pytest.mark.parametrize("tenant", DEMO_PORTALS)
def test_the_warehouse_holds_what_the_account_has(
    topology: Topology, demo_runs: dict[str, str], tenant: str
) -> None:
    assert rows_of(topology, tenant) == truth_of(topology, DEMO_PORTALS[tenant])


def test_another_worker_goes_on_with_the_scan_of_a_killed_one(
    topology: Topology, demo_runs: dict[str, str]
) -> None:
    api, dag_id = topology.api, f"hubspot_deals__{BIG}"
    connection = connection_to(topology.simulator_url, "pat-eu1-demo-globex")
    api.save_connection(f"hubspot_{BIG}", connection)
    set_latency(topology, LATENCY_S)
    api.unpause(dag_id)
    run_id = api.trigger(dag_id, {"checkpoint_pages": 2})
    topology.wait_until(
        lambda: (scan := scan_of(topology, BIG)) and scan["position"], "a checkpoint"
    )
    (extract,) = (t for t in api.tasks(dag_id, run_id) if t["task_id"] == "extract_deals")
    assert extract["state"] == "running"

    topology.kill(extract["hostname"])
    set_latency(topology, 0)
    topology.wait_until(
        lambda: api.run(dag_id, run_id)["state"] in ("success", "failed"), "the run's end", 240
    )

    tasks = {task["task_id"]: task for task in api.tasks(dag_id, run_id)}
    assert {name: task["state"] for name, task in tasks.items()} == {
        "validate_token": "success",
        "extract_deals": "success",
        "check_quality": "success",
    }
    assert tasks["extract_deals"]["try_number"] == 2
    assert tasks["extract_deals"]["hostname"] != extract["hostname"]
    assert api.xcom(dag_id, run_id, "extract_deals")["went_on"] is True
    assert (scan_of(topology, BIG) or {})["state"] == "succeeded"
    assert rows_of(topology, BIG) == truth_of(topology, BIG_PORTAL)
    with psycopg.connect(topology.dsn("warehouse")) as warehouse:
        assert warehouse.execute(
            "select count(*) - count(distinct deal_id) from hubspot_deals.deals"
            " where _tenant_id = %s",
            [BIG],
        ).fetchone() == (0,)


def test_tasks_load_as_a_login_that_owns_nothing(
    topology: Topology, demo_runs: dict[str, str]
) -> None:
    with psycopg.connect(topology.dsn("warehouse")) as connection:
        owners = connection.execute(
            "select distinct tableowner from pg_tables where schemaname like 'hubspot_deals%'"
        ).fetchall()
        rights = connection.execute(
            "select rolsuper or rolcreaterole or rolcreatedb from pg_roles"
            " where rolname = 'warehouse_loader'"
        ).fetchone()

    assert owners == [("warehouse_migrator",)]
    assert rights == (False,)


def test_nothing_is_written_beside_the_volumes(
    topology: Topology, demo_runs: dict[str, str]
) -> None:
    image = {"airflow.cfg", "dags", "docs", "include", "logs", "plugins", "requirements-image.txt"}

    written = [*(topology.folder / "home").iterdir()]
    home = {path.name for path in (topology.folder / "opt/airflow").iterdir()}

    assert written == []
    assert home - {"tenants", "tests"} == image
    assert [*topology.folder.glob("opt/airflow/**/*.pyc")] == []


def test_no_log_holds_a_secret(topology: Topology, demo_runs: dict[str, str]) -> None:
    logs = [
        *(topology.folder / "volumes/logs").rglob("*.log"),
        *topology.programs.logs.iterdir(),
    ]

    leaks = {
        f"{name} in {log.relative_to(topology.folder)}"
        for log in logs
        for name, secret in topology.secrets().items()
        if secret in log.read_text(errors="replace")
    }

    assert len(logs) > len(DEMO_PORTALS)
    assert leaks == set()


def test_a_second_init_changes_nothing_and_succeeds(
    topology: Topology, demo_runs: dict[str, str]
) -> None:
    before = topology.secrets()

    topology.run("secrets")
    topology.run("init")

    assert topology.secrets() == before
    assert rows_of(topology, "acme") == truth_of(topology, DEMO_PORTALS["acme"])
