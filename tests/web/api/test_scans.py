from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests

from include.scan import scan_id
from tests.support.scans import query
from tests.support.status_rows import add_scan, run_of
from tests.web.api.conftest import DEALS, Site
from tests.web.api.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_runs")]


def start(server: Server, tenant: str = "globex", **body: Any) -> requests.Response:
    return server.post("/scans", json={"tenant": tenant, **body})


def working(site: Site) -> tuple[str, str]:
    """Start a scan whose row says that it extracts; return its id, and its run's path."""
    started = start(site.simple).json()
    query(
        site.warehouse,
        "insert into scans (scan_id, tenant_id, dag_id, run_id, mode, state, attempt)"
        " values (%s, 'globex', 'hubspot_deals__globex', %s, 'auto', 'extracting', 5)"
        " returning scan_id",
        started["scan_id"],
        started["run_id"],
    )
    return started["scan_id"], f"/dags/hubspot_deals__globex/dagRuns/{started['run_id']}"


def ended(site: Site, state: str = "failed") -> tuple[str, str]:
    """Start a scan whose row says that it has ended; return its id, and its run's path."""
    scan_id, run = working(site)
    query(
        site.warehouse,
        "update scans set state = %s, finished_at = now() where scan_id = %s returning scan_id",
        state,
        scan_id,
    )
    return scan_id, run


def code(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_scan_with_its_objects_and_checks(simple: Server, acme_scan: str) -> None:
    scan = simple.get(f"/scans/{acme_scan}").json()

    assert (scan["state"], scan["mode"], scan["tries"]) == ("succeeded", "auto", None)
    assert (scan["requests"], scan["throttled"]) == (40, 2)
    assert [part["object"] for part in scan["objects"]] == ["deals", "contacts"]
    assert scan["objects"][0]["expected"] == 1_190
    assert [(check["check"], check["status"]) for check in scan["quality"]] == [
        ("values_fit", "warned"),
        ("every_deal_is_there", "passed"),
    ]
    assert scan["warnings"] == ["owners were not read"]
    assert scan["misfits"] == {"close_date": 1, "deals.my_number": 20}
    assert scan["progress"]["records_received"] == DEALS + 7
    assert (scan["progress"]["expected"], scan["progress"]["time_left_s"]) == (None, None)
    assert scan["links"]["airflow_run"] == "/dags/hubspot_deals__acme/runs/manual__1"


def test_a_failed_scan_says_why_and_what_to_do(simple: Server, failed_scan: str) -> None:
    error = simple.get(f"/scans/{failed_scan}").json()["error"]

    assert error == {
        "type": "TokenRejectedError",
        "message": "tenant acme: HubSpot refused the token (401).",
        "remedy": "Rotate it.",
        "runbook": "/hubspot-deals/help/runbook#token-rejected",
    }


@pytest.mark.parametrize("path", ["/scans?", "/scans?state=queued&tenant=globex&"])
def test_a_list_of_scans_in_pages_is_the_whole_list(simple: Server, path: str) -> None:
    queued = [start(simple, force=True).json()["scan_id"] for _ in range(3)]
    whole = [scan["scan_id"] for scan in simple.get(f"{path}limit=1000").json()["scans"]]

    pages, cursor = [], ""
    while cursor is not None:
        page = simple.get(f"{path}limit=1{f'&cursor={cursor}' if cursor else ''}").json()
        pages += [scan["scan_id"] for scan in page["scans"]]
        cursor = page["next_cursor"]

    assert pages == whole
    assert whole[:3] == queued[::-1]


def test_lists_are_filtered_by_tenant_and_state(simple: Server, failed_scan: str) -> None:
    scans = simple.get("/scans?tenant=acme&state=failed").json()["scans"]

    assert [scan["scan_id"] for scan in scans] == [failed_scan]


def test_a_start_is_a_run_of_the_tenants_dag(simple: Server) -> None:
    answer = start(
        simple, mode="incremental", window_start="2026-01-01T02:00:00+02:00", checkpoint_pages=7
    )

    started = answer.json()
    run = simple.airflow("GET", f"/dags/hubspot_deals__globex/dagRuns/{started['run_id']}").json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/hubspot-deals/scans/{started['scan_id']}"
    assert started["scan_id"] == scan_id("hubspot_deals__globex", started["run_id"])
    assert started["run_id"].startswith("api__")
    assert run["conf"] == {
        "mode": "incremental",
        "window_start": "2026-01-01T00:00:00+00:00",
        "checkpoint_pages": 7,
    }
    assert run["triggering_user_name"] == "admin"


def test_the_page_of_a_started_scan_also_explains_a_run_that_fails_before_it_has_a_row(
    simple: Server,
) -> None:
    started = start(simple).json()

    dag_id, run_id = "hubspot_deals__globex", quote(started["run_id"], safe="")
    page = f"/hubspot-deals/ui?dag_id={dag_id}&run_id={run_id}"
    assert started["links"]["page"] == page


def test_a_scan_may_be_asked_to_write_every_row_again(simple: Server) -> None:
    started = start(simple, rewrite_rows=True).json()

    run = simple.airflow("GET", f"/dags/hubspot_deals__globex/dagRuns/{started['run_id']}").json()
    assert run["conf"] == {"mode": "auto", "rewrite_rows": True}


def test_a_queued_scan_that_writes_every_row_again_is_full(simple: Server) -> None:
    started = start(simple, rewrite_rows=True).json()

    assert simple.get(f"/scans/{started['scan_id']}").json()["mode"] == "full"


def test_a_started_scan_is_queued_until_its_first_task_runs(simple: Server) -> None:
    started = start(simple, mode="full").json()

    scan = simple.get(f"/scans/{started['scan_id']}").json()
    first, *_ = simple.get("/scans").json()["scans"]
    queued = simple.get("/scans?state=queued&tenant=globex").json()["scans"]
    tenant = simple.get("/tenants/globex").json()

    assert (scan["state"], scan["mode"], scan["objects"]) == ("queued", "full", [])
    assert first["scan_id"] == started["scan_id"]
    assert [entry["scan_id"] for entry in queued] == [started["scan_id"]]
    assert (tenant["state"], tenant["running_scan_id"]) == ("running", started["scan_id"])
    assert tenant["running_state"] == "queued"


def test_a_tenant_tells_the_state_of_the_scan_that_runs_also_if_another_is_newer(
    site: Site,
) -> None:
    scan, _ = working(site)
    add_scan(site.warehouse, "globex", 95, started_at=datetime.now(UTC) + timedelta(minutes=1))

    tenant = site.simple.get("/tenants/globex").json()
    query(site.warehouse, "delete from scans where run_id = 'manual__95' returning scan_id")

    assert tenant["last_scan"]["run_id"] == "manual__95"
    assert (tenant["running_scan_id"], tenant["running_state"]) == (scan, "extracting")


def test_a_second_start_is_409_and_names_the_first(simple: Server) -> None:
    first = start(simple).json()

    second = start(simple)

    assert code(second) == (409, "scan-running")
    assert (second.json()["scan_id"], second.json()["run_id"]) == (
        first["scan_id"],
        first["run_id"],
    )


def test_force_queues_behind_the_running_one(simple: Server) -> None:
    first = start(simple).json()

    second = start(simple, force=True)

    assert second.status_code == 201
    assert second.json()["scan_id"] != first["scan_id"]


def test_of_many_starts_at_once_one_is_made(simple: Server) -> None:
    simple.token("admin")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: start(simple).status_code, range(6)))

    assert sorted(answers) == [201, 409, 409, 409, 409, 409]


def test_a_paused_dag_is_409_with_what_to_do(simple: Server) -> None:
    answer = start(simple, "paused")

    assert code(answer) == (409, "dag-paused")
    assert "Unpause" in answer.json()["remedy"]


@pytest.mark.usefixtures("timed_is_stale")
def test_a_dag_that_airflow_has_deactivated_is_404_with_what_to_do(simple: Server) -> None:
    answer = start(simple, "timed")

    assert code(answer) == (404, "not-found")
    assert "import errors" in answer.json()["remedy"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"mode": "everything"}, id="mode"),
        pytest.param({"mode": "full", "window_start": "2026-01-01T00:00:00Z"}, id="full-window"),
        pytest.param({"window_end": "2026-01-01T00:00:00Z"}, id="end-alone"),
        pytest.param({"window_start": "2026-01-01T00:00:00"}, id="no-zone"),
        pytest.param({"window_start": "yesterday"}, id="no-moment"),
        pytest.param({"window_start": "2999-01-01T00:00:00Z"}, id="future"),
        pytest.param({"rewrite_rows": True, "mode": "incremental"}, id="rewrite-some"),
        pytest.param(
            {"rewrite_rows": True, "window_start": "2026-01-01T00:00:00Z"}, id="rewrite-window"
        ),
        pytest.param({"rewrite_rows": "yes"}, id="rewrite-text"),
        pytest.param({"checkpoint_pages": 0}, id="no-pages"),
        pytest.param({"checkpoint_pages": "7"}, id="text"),
        pytest.param({"force": "yes"}, id="force"),
        pytest.param({"conf": {"mode": "full"}}, id="unknown-key"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_at_once(
    simple: Server, body: dict[str, Any]
) -> None:
    assert code(start(simple, **body)) == (422, "invalid-request")


def test_an_unknown_tenant_can_not_be_started(simple: Server) -> None:
    assert code(start(simple, "hooli")) == (404, "not-found")


def test_a_queued_scan_is_cancelled_with_its_run(simple: Server) -> None:
    started = start(simple).json()

    answer = simple.post(f"/scans/{started['scan_id']}/cancel")

    run = simple.airflow("GET", f"/dags/hubspot_deals__globex/dagRuns/{started['run_id']}").json()
    assert (answer.status_code, answer.json()) == (
        202,
        {"scan_id": started["scan_id"], "state": "cancelled"},
    )
    assert run["state"] == "failed"
    assert simple.get(f"/scans/{started['scan_id']}").json()["state"] == "cancelled"
    assert start(simple).status_code == 201


def test_cancelling_raises_the_attempt_so_that_the_running_try_writes_no_more(site: Site) -> None:
    scan, _ = working(site)

    site.simple.post(f"/scans/{scan}/cancel").raise_for_status()

    (row,) = query(
        site.warehouse,
        "select state, attempt, started_at, finished_at from scans where scan_id = %s",
        scan,
    )
    assert row["state"] == "cancelled"
    assert row["attempt"] > 5
    assert row["finished_at"] > row["started_at"]


def test_a_row_whose_run_is_gone_can_be_cancelled(site: Site) -> None:
    scan = add_scan(site.warehouse, "globex", 99, state="extracting")

    first = site.simple.post(f"/scans/{scan}/cancel")
    again = site.simple.post(f"/scans/{scan}/cancel")

    assert first.status_code == 202
    assert code(again) == (409, "scan-finished")


@pytest.mark.parametrize("path", ["/scans/{scan}", "/scans?tenant=globex", "/tenants/globex"])
@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_run_that_a_person_has_ended_in_airflow_is_a_failed_scan(
    site: Site, path: str, state: str
) -> None:
    scan, run = working(site)
    site.simple.airflow("PATCH", run, json={"state": state}).raise_for_status()

    answer = site.simple.get(path.format(scan=scan)).json()

    (row,) = query(site.warehouse, "select * from scans where scan_id = %s", scan)
    shown = answer.get("last_scan") or next(iter(answer.get("scans", [])), answer)
    assert (shown["scan_id"], shown["state"]) == (scan, "failed")
    assert (shown["error_type"], shown["seconds"] > 0) == ("ScanKilledError", True)
    assert (row["state"], row["attempt"]) == ("failed", 6)
    assert start(site.simple).status_code == 201


@pytest.mark.parametrize("path", ["/scans?tenant=globex&limit=1", "/tenants/globex", "/tenants"])
def test_every_scan_whose_run_has_ended_is_settled_not_only_the_last(site: Site, path: str) -> None:
    old, run = working(site)
    site.simple.airflow("PATCH", run, json={"state": "failed"}).raise_for_status()
    ended_at = datetime.fromisoformat(site.simple.airflow("GET", run).json()["end_date"])
    newer, _ = working(site)

    site.simple.get(path).raise_for_status()

    states = {
        row["scan_id"]: (row["state"], row["finished_at"])
        for row in query(
            site.warehouse, "select * from scans where scan_id = any(%s)", [old, newer]
        )
    }
    assert states == {old: ("failed", ended_at), newer: ("extracting", None)}


def test_a_scan_whose_run_is_going_on_is_left_alone(site: Site) -> None:
    scan, _ = working(site)

    assert site.simple.get(f"/scans/{scan}").json()["state"] == "extracting"


@pytest.mark.parametrize("number", [1, 2], ids=["succeeded", "failed"])
def test_a_scan_that_has_ended_is_409(simple: Server, number: int) -> None:
    scan = run_of("acme", number)[0]

    assert code(simple.post(f"/scans/{scan}/cancel")) == (409, "scan-finished")


def test_a_success_is_not_overwritten_by_a_cancel_before_its_run_has_ended(site: Site) -> None:
    scan, _ = ended(site, "succeeded")

    answer = site.simple.post(f"/scans/{scan}/cancel")

    (row,) = query(site.warehouse, "select state from scans where scan_id = %s", scan)
    assert (answer.status_code, row["state"]) == (409, "succeeded")


def test_the_task_of_a_scan_is_the_one_that_failed_whatever_was_done_before_it_was_cleared(
    site: Site,
) -> None:
    scan_id, run = ended(site)
    query(
        site.warehouse,
        "update scans set extraction_started_at = now() - interval '1 day' where scan_id = %s"
        " returning scan_id",
        scan_id,
    )
    as_its_row_says = site.simple.get(f"/scans/{scan_id}").json()["task"]
    done = {"new_state": "failed"}
    site.simple.airflow("PATCH", f"{run}/taskInstances/validate_token", json=done)

    scan = site.simple.get(f"/scans/{scan_id}").json()

    assert (as_its_row_says, scan["task"]) == ("extract_deals", "validate_token")


def test_a_failed_scan_is_retried_by_airflow(site: Site) -> None:
    scan_id, run = ended(site)
    tasks = f"{run}/taskInstances/validate_token"
    assert site.simple.airflow("PATCH", run, json={"state": "failed"}).ok
    assert site.simple.airflow("PATCH", tasks, json={"new_state": "failed"}).ok

    answer = site.simple.post(f"/scans/{scan_id}/retry")

    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert site.simple.airflow("GET", run).json()["state"] == "queued"
    assert site.simple.airflow("GET", tasks).json()["state"] is None


def test_a_scan_between_two_tries_is_not_retried_but_can_be_cancelled(site: Site) -> None:
    scan_id, _ = ended(site)

    scan = site.simple.get(f"/scans/{scan_id}").json()
    retried = site.simple.post(f"/scans/{scan_id}/retry")

    assert (scan["state"], scan["will_retry"]) == ("failed", True)
    assert code(retried) == (409, "scan-not-failed")
    assert "will retry the task" in retried.json()["detail"]
    assert site.simple.post(f"/scans/{scan_id}/cancel").status_code == 202
    assert site.simple.get(f"/scans/{scan_id}").json()["will_retry"] is False


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_retry_of_a_scan_whose_run_a_person_has_ended_does_all_that_is_left(
    site: Site, state: str
) -> None:
    scan_id, run = working(site)
    query(
        site.warehouse,
        "update scans set extraction_started_at = now() where scan_id = %s returning scan_id",
        scan_id,
    )
    done = {"new_state": "success"}
    site.simple.airflow("PATCH", f"{run}/taskInstances/validate_token", json=done)
    # Airflow skips the tasks that have not begun
    site.simple.airflow("PATCH", run, json={"state": state}).raise_for_status()

    answer = site.simple.post(f"/scans/{scan_id}/retry")

    tasks = site.simple.airflow("GET", f"{run}/taskInstances").json()["task_instances"]
    assert answer.status_code == 202
    assert site.simple.airflow("GET", run).json()["state"] == "queued"
    assert {task["task_id"]: task["state"] for task in tasks} == {
        "validate_token": "success",
        "extract_deals": None,
        "check_quality": None,
    }


def test_a_retry_of_a_scan_whose_run_was_deleted_says_what_to_do(site: Site) -> None:
    scan_id, run = ended(site)
    site.simple.airflow("DELETE", run).raise_for_status()

    answer = site.simple.post(f"/scans/{scan_id}/retry")

    assert code(answer) == (404, "not-found")
    assert "If the run was deleted, start a new scan." in answer.json()["remedy"]


def test_a_scan_of_a_paused_dag_is_not_retried(site: Site) -> None:
    scan_id, run = ended(site)
    dag = "/dags/hubspot_deals__globex"
    site.simple.airflow("PATCH", run, json={"state": "failed"}).raise_for_status()
    site.simple.airflow("PATCH", dag, json={"is_paused": True}).raise_for_status()

    answer = site.simple.post(f"/scans/{scan_id}/retry")
    site.simple.airflow("PATCH", dag, json={"is_paused": False}).raise_for_status()

    assert (answer.status_code, answer.json().get("code")) == (409, "dag-paused")


def test_a_scan_that_has_not_failed_is_not_retried(simple: Server, acme_scan: str) -> None:
    assert code(simple.post(f"/scans/{acme_scan}/retry")) == (409, "scan-not-failed")


def test_who_may_only_read_does_not_retry(simple: Server, failed_scan: str) -> None:
    assert code(simple.post(f"/scans/{failed_scan}/retry", "viewer")) == (403, "forbidden")
