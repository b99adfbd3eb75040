"""What operators touch in Airflow itself: a stack of its own, with metrics and lineage on."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from include.local.dotenv_file import without_the_users_own
from include.local.ports import free_port
from include.local.processes import Programs
from include.local.simulator import DEMO_TOKENS, connections, start_simulator
from include.local.stack import LocalStack
from include.scan import scan_id
from tests.e2e.conftest import RUN_TIMEOUT_S, dag_of, failure_of
from tests.e2e.test_scans import until

pytestmark = pytest.mark.e2e

ACME, STRANGER = dag_of("acme"), dag_of("hooli")
EXAMPLE = "example_deals_report"


@dataclass
class StatsD:
    """A receiver of StatsD's UDP packets; ``lines`` of ours, as they came."""

    socket: socket.socket
    lines: list[str] = field(default_factory=list)

    def receive(self) -> None:
        while True:
            try:
                packet = self.socket.recv(65_535)
            except OSError:
                return
            self.lines += [
                line.removeprefix("airflow.hubspot_deals.")
                for line in packet.decode().splitlines()
                if line.startswith("airflow.hubspot_deals.")
            ]


@pytest.fixture(scope="module")
def statsd() -> Iterator[StatsD]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        receiver = StatsD(listening)
        threading.Thread(target=receiver.receive, daemon=True).start()
        yield receiver


@dataclass(frozen=True)
class Side:
    stack: LocalStack
    simulator_url: str
    #: What OpenLineage wrote, one event a line.
    lineage: Path

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Send a request of a signed-in admin."""
        credentials = self.stack.credentials
        login = {"username": credentials.admin_user, "password": credentials.admin_password}
        base = f"http://127.0.0.1:{self.stack.airflow_port}"
        with requests.Session() as session:
            session.trust_env = False
            token = session.post(f"{base}/auth/token", json=login, timeout=60).json()
            session.headers["Authorization"] = f"Bearer {token['access_token']}"
            return session.request(method, base + path, json=body, timeout=60)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.ok, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory, statsd: StatsD) -> Iterator[Side]:
    state_dir = tmp_path_factory.mktemp("side")
    tenants = [{"id": tenant, "schedule": None} for tenant in ("acme", "hooli")]
    (state_dir / "tenants.yaml").write_text(json.dumps({"tenants": tenants}))
    lineage = state_dir / "lineage.json"
    env = {
        **without_the_users_own(os.environ),
        "HUBSPOT_DEALS_TENANTS_FILE": str(state_dir / "tenants.yaml"),
        "HUBSPOT_DEALS_EXAMPLE_DAGS": "true",
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(statsd.socket.getsockname()[1]),
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(lineage), "append": True}
        ),
    }
    stack = LocalStack(state_dir, free_port(), env)
    try:
        url = start_simulator(Programs(state_dir), state_dir, env)
        stack.env.update(connections(url, ["acme"]))
        stack.env.update(connections(url, ["hooli"], {"hooli": "pat-na1-never-issued"}))
        with stack:
            stack.wait_for_dags([ACME, STRANGER, EXAMPLE])
            yield Side(stack, url, lineage)
    finally:
        stack.stop()
        stack.postgres.remove()


@pytest.fixture(scope="module")
def scanned(side: Side) -> str:
    """The run id of a scan that succeeded, after one of another tenant that failed."""
    side.stack.api.unpause(EXAMPLE)
    failed, good = side.stack.trigger(STRANGER), side.stack.trigger(ACME)
    assert side.stack.wait(STRANGER, failed, RUN_TIMEOUT_S) == "failed"
    state = side.stack.wait(ACME, good, RUN_TIMEOUT_S)
    assert state == "success", failure_of(side.stack, ACME, good)
    return good


def test_the_form_offers_the_connection_type_hubspot(side: Side) -> None:
    (form,) = [
        entry
        for entry in side.get("/ui/connections/hook_meta")
        if entry["connection_type"] == "hubspot"
    ]

    assert form["hook_name"] == "HubSpot"
    assert form["standard_fields"]["password"]["title"] == "Token"
    assert form["standard_fields"]["login"]["hidden"]
    assert form["extra_fields"].keys() == {
        "client_id",
        "client_secret",
        "refresh_token",
        "requests_per_10_s",
        "rate_limit_share",
        "api_version",
    }


@pytest.mark.parametrize(
    ("token", "good", "says"),
    [
        pytest.param(DEMO_TOKENS["acme"], True, "HubSpot account 1000001", id="good token"),
        pytest.param("pat-na1-wrong", False, "HubSpot refused the token (401)", id="bad token"),
    ],
)
def test_the_button_tests_a_stored_connection(
    side: Side, token: str, good: bool, says: str
) -> None:
    connection = {
        "connection_id": f"hubspot_tested_{good}".lower(),
        "conn_type": "hubspot",
        "host": side.simulator_url,
        "port": 443,
        "password": token,
        # what the form sends of fields that were left alone
        "extra": json.dumps(
            {"requests_per_10_s": None, "rate_limit_share": None, "api_version": None}
        ),
    }
    assert side.call("POST", "/api/v2/connections", connection).status_code == 201

    answer = side.call(
        "POST", "/api/v2/connections/test", {**connection, "password": "***", "login": ""}
    ).json()

    assert answer["status"] is good
    assert says in answer["message"]
    assert token not in answer["message"]


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"window_start": "yesterday"}, id="no date and time"),
        pytest.param({"window_start": "2026-01-31T10:00:00"}, id="no zone"),
        pytest.param({"mode": "all"}, id="no such mode"),
        pytest.param({"checkpoint_pages": 0}, id="out of range"),
    ],
)
def test_a_senseless_wish_is_refused_when_it_is_made(side: Side, conf: dict[str, Any]) -> None:
    body = {"logical_date": None, "conf": conf}

    answer = side.call("POST", f"/api/v2/dags/{ACME}/dagRuns", body)

    assert answer.status_code == 400
    assert next(iter(conf)) in answer.text


def test_every_task_links_to_the_page_of_its_scan(side: Side, scanned: str) -> None:
    page = f"/plugin/hubspot-scans/hubspot-deals/ui?scan={scan_id(ACME, scanned)}"
    tasks = f"/api/v2/dags/{ACME}/dagRuns/{scanned}/taskInstances"

    links = [
        side.get(f"{tasks}/{task}/links")["extra_links"]
        for task in ("validate_token", "extract_deals", "check_quality")
    ]

    assert links == [{"Status of this scan": page}] * 3


def test_a_scan_that_succeeded_starts_the_dag_that_waits_for_it(side: Side, scanned: str) -> None:
    (run,) = until(lambda: side.stack.api.runs(EXAMPLE))
    state = side.stack.wait(EXAMPLE, run["dag_run_id"], RUN_TIMEOUT_S)
    assert state == "success", failure_of(side.stack, EXAMPLE, run["dag_run_id"])

    report = side.stack.xcom(EXAMPLE, run["dag_run_id"], "report")

    assert run["run_type"] == "asset_triggered"
    assert report["scan_id"] == scan_id(ACME, scanned)
    assert report["deals_written"] == 5
    assert sum(report["live_deals_by_stage"].values()) == 5


def test_only_the_scan_that_succeeded_has_an_asset_event(side: Side, scanned: str) -> None:
    events = side.get("/api/v2/assets/events")["asset_events"]

    assert [event["name"] for event in events] == ["hubspot_deals/acme/deals"]
    extra = events[0]["extra"]
    assert (extra["tenant"], extra["run_id"], extra["mode"]) == ("acme", scanned, "full")
    assert (extra["deals_received"], extra["deals_live"]) == (5, 5)


@pytest.mark.usefixtures("scanned")
def test_metrics_reach_statsd(statsd: StatsD) -> None:
    wanted = [
        "records_received,tenant=acme,mode=auto,object=deals:5|c",
        "records_written,tenant=acme,mode=auto,object=deals:5|c",
        "scans_succeeded,tenant=acme,mode=auto:1|c",
        "scans_failed,tenant=hooli,mode=auto:1|c",
        "deals_live,tenant=acme:5|g",
    ]

    until(lambda: set(wanted) <= set(statsd.lines), timeout_s=30)

    assert any(line.startswith("scan_duration,tenant=acme,mode=auto:") for line in statsd.lines)


def test_openlineage_tells_where_deals_came_from_and_went(side: Side, scanned: str) -> None:
    job = f"{ACME}.extract_deals"

    def events() -> dict[str, dict[str, Any]]:
        lines = side.lineage.read_text().splitlines()
        return {e["eventType"]: e for e in map(json.loads, lines) if e["job"]["name"] == job}

    until(lambda: {"START", "COMPLETE"} <= events().keys(), timeout_s=60)

    complete = events()["COMPLETE"]
    inputs = [(dataset["namespace"], dataset["name"]) for dataset in complete["inputs"]]
    outputs = {dataset["name"] for dataset in complete["outputs"]}
    assert inputs == [("hubspot://1000001", "deals")]
    assert outputs == {"warehouse.hubspot_deals.deals", "warehouse.hubspot_deals__acme.deals"}
    assert DEMO_TOKENS["acme"] not in side.lineage.read_text()
