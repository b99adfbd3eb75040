"""The REST API over real runs: start, progress, result, cancel."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.e2e.conftest import Pipeline, dag_of
from tests.hubspot_simulator.faults import Fault
from tests.support.truth import as_stored
from tests.support.waiting import until

pytestmark = pytest.mark.e2e

TENANT = "asked"


class Api:
    """A client of the REST API, logged in as the stack's administrator."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._base = f"{pipeline.stack.url}/hubspot-deals"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {pipeline.stack.api.token()}"

    def get(self, path: str) -> Any:
        answer = self._session.get(self._base + path, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def lines(self, path: str) -> list[Any]:
        headers = {"Accept": "application/x-ndjson"}
        answer = self._session.get(self._base + path, headers=headers, timeout=120)
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]

    def post(self, path: str, body: Any = None) -> requests.Response:
        return self._session.post(self._base + path, json=body, timeout=60)


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    pipeline.stack.api.unpause(dag_of(TENANT))
    return Api(pipeline)


@pytest.fixture
def slow_lists(pipeline: Pipeline) -> Iterator[None]:
    """HubSpot takes its time over pages of the list."""
    account = pipeline.accounts[TENANT]
    account.faults = [Fault("slow", endpoint="list", seconds=2.0, count=None)]
    yield
    account.faults = []


def test_a_scan_is_started_watched_and_its_result_read(pipeline: Pipeline, api: Api) -> None:
    started = api.post("/scans", {"tenant": TENANT, "mode": "full"})
    second = api.post("/scans", {"tenant": TENANT})

    assert (started.status_code, second.status_code) == (201, 409)
    scan_id = started.json()["scan_id"]
    assert second.json()["code"] == "scan-running"
    assert second.json()["scan_id"] == scan_id
    states: list[str] = []

    def ended() -> bool:
        states.append(api.get(f"/scans/{scan_id}")["state"])
        return states[-1] in ("succeeded", "failed")

    until(ended, "the scan has ended")
    scan = api.get(f"/scans/{scan_id}")
    truth = pipeline.accounts[TENANT].truth()
    assert scan["state"] == "succeeded", scan
    assert states[0] in ("queued", "validating")
    assert scan["deals_received"] == len(truth)
    assert scan["progress"]["records_received"] == len(truth)
    assert scan["progress"]["records_per_s"] > 0
    assert scan["progress"]["updated_at"] is not None
    assert {check["status"] for check in scan["quality"]} <= {"passed", "no_rows", "warned"}
    lines = api.lines(f"/scans/{scan_id}/deals")
    # rows whose content was there before keep the scan that wrote them
    assert len(lines) == scan["deals_written"]
    brought = {str(deal["deal_id"]): (deal["archived"], _without_nulls(deal)) for deal in lines}
    stored = as_stored(truth)
    assert brought == {deal_id: stored[deal_id] for deal_id in brought}
    # the scan has ended; its run in Airflow does a moment later
    tenant = until(
        lambda: (seen := api.get(f"/tenants/{TENANT}"))["state"] != "running" and seen,
        "the run has ended",
    )
    assert (tenant["state"], tenant["last_scan"]["scan_id"]) == ("ok", scan_id)
    assert tenant["deals_live"] == sum(not deal["archived"] for deal in truth)


@pytest.mark.usefixtures("slow_lists")
def test_a_running_scan_is_cancelled_for_good(pipeline: Pipeline, api: Api) -> None:
    started = api.post("/scans", {"tenant": TENANT, "mode": "full", "checkpoint_pages": 2}).json()
    scan_id, run_id = started["scan_id"], started["run_id"]
    until(lambda: api.get(f"/scans/{scan_id}")["state"] == "extracting", "the extraction runs")
    (before,) = pipeline.query("select attempt from scans where scan_id = %s", scan_id)

    cancelled = api.post(f"/scans/{scan_id}/cancel")
    again = api.post(f"/scans/{scan_id}/cancel")

    assert (cancelled.status_code, again.status_code) == (202, 409)
    assert pipeline.wait(TENANT, run_id) == "failed"
    until(lambda: not connections_of(pipeline, scan_id), "the extraction has ended")
    (after,) = pipeline.query("select state, attempt from scans where scan_id = %s", scan_id)
    assert after["state"] == "cancelled"
    assert after["attempt"] > before["attempt"]
    assert api.get(f"/scans/{scan_id}")["state"] == "cancelled"


def _without_nulls(deal: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in deal["properties"].items() if value is not None}


def connections_of(pipeline: Pipeline, scan_id: str) -> list[Any]:
    """The tries of a scan that are still at work."""
    return pipeline.query(
        "select pid from pg_stat_activity where application_name like %s",
        f"hubspot_deals/{scan_id}/%",
    )
