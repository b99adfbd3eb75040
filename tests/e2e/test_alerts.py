"""Alerts of real Airflow runs that fail: by mail and by webhook, once, and the all-clear."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import Pipeline, dag_of
from tests.hubspot_simulator import Portal
from tests.hubspot_simulator.faults import Fault
from tests.support.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.e2e


def posts(pipeline: Pipeline, tenant: str) -> list[str]:
    """The events of a tenant that were posted to the webhook, each once.

    A webhook gets an alert at least once: one that answers late, on a busy machine, gets it again.
    """
    bodies = [body for _, body in pipeline.receiver.requests]
    return [*dict.fromkeys(body["event"] for body in bodies if body["tenant"] == tenant)]


def mails(pipeline: Pipeline, tenant: str) -> list[str]:
    """The events of a tenant that came by mail."""
    mails = [m for m in pipeline.mailbox.mails if m["X-HubSpot-Deals-Tenant"] == tenant]
    return [mail["X-HubSpot-Deals-Event"] for mail in mails]


def start(pipeline: Pipeline, tenant: str) -> str:
    return pipeline.stack.trigger(dag_of(tenant))


def run(pipeline: Pipeline, tenant: str) -> str:
    """Run the tenant's DAG to its end, and return its state."""
    return pipeline.wait(tenant, start(pipeline, tenant))


@contextmanager
def refusing(account: Portal) -> Iterator[None]:
    """HubSpot refuses the tokens of an account until the block ends."""
    tokens, account.tokens = account.tokens, []
    yield
    account.tokens = tokens


def test_a_rejected_token_is_announced_once_and_so_is_its_recovery(pipeline: Pipeline) -> None:
    with refusing(pipeline.accounts["rejected"]):
        assert run(pipeline, "rejected") == "failed"
        until(lambda: posts(pipeline, "rejected") and mails(pipeline, "rejected"), "the alert")
        assert run(pipeline, "rejected") == "failed"
        until(
            lambda: pipeline.query(
                "select 1 from incidents where tenant_id = 'rejected' and runs = 2"
            ),
            "the second run belongs to the incident",
        )
    mail = next(m for m in pipeline.mailbox.mails if m["X-HubSpot-Deals-Tenant"] == "rejected")
    body = mail.get_body()
    assert body is not None
    text = body.get_content()
    assert mail["Subject"] == "[HubSpot deals] rejected: scan failed (TokenRejectedError)"
    assert "HubSpot refused the token (401)" in text
    assert "/hubspot-deals/help/runbook#token-rejected" in text
    assert f"{pipeline.stack.url}/dags/hubspot_deals__rejected/runs/" in text
    assert pipeline.accounts["rejected"].tokens[0].text not in text

    pipeline.scan("rejected")

    until(
        lambda: len(mails(pipeline, "rejected")) == len(posts(pipeline, "rejected")) == 2,
        "the all-clear",
    )
    assert posts(pipeline, "rejected") == mails(pipeline, "rejected") == ["failure", "recovery"]


def test_a_task_killed_on_its_last_try_is_announced_and_its_scan_is_ended(
    pipeline: Pipeline,
) -> None:
    slow = Fault("slow", endpoint="list", seconds=90, count=None)
    pipeline.accounts["killed"].faults = [slow]
    run_id = start(pipeline, "killed")
    task = until(
        lambda: next(
            (
                t
                for t in pipeline.stack.api.tasks(dag_of("killed"), run_id)
                if t["task_id"] == "extract_deals" and t["state"] == "running" and t["pid"]
            ),
            None,
        ),
        "the extraction runs",
    )
    until(
        lambda: pipeline.query(
            "select 1 from scans where tenant_id = 'killed' and state = 'extracting'"
        ),
        "the scan is open",
    )

    os.kill(task["pid"], signal.SIGKILL)

    assert pipeline.wait("killed", run_id) == "failed"
    until(lambda: posts(pipeline, "killed") and mails(pipeline, "killed"), "the alert")
    (row,) = pipeline.query("select * from scans where tenant_id = 'killed'")
    assert (row["state"], row["finished_at"] is not None) == ("failed", True)
    assert (
        "ScanKilledError: tenant killed: Task extract_deals ended without an error" in row["error"]
    )
    assert posts(pipeline, "killed") == mails(pipeline, "killed") == ["failure"]


def test_a_scan_that_is_late_is_announced_while_it_runs(pipeline: Pipeline) -> None:
    slow = Fault("slow", endpoint="list", seconds=TIMEOUT_S, count=None)
    pipeline.accounts["late"].faults = [slow]
    run_id = start(pipeline, "late")

    until(lambda: "deadline" in posts(pipeline, "late"), "the alert")

    assert pipeline.stack.api.run(dag_of("late"), run_id)["state"] == "running"
    slow.seconds = 0
    assert pipeline.wait("late", run_id) == "success"
    until(lambda: "recovery" in posts(pipeline, "late"), "the all-clear")
    assert posts(pipeline, "late") == ["deadline", "recovery"]


def test_a_scan_that_waits_for_hubspot_is_announced_once_and_so_is_its_end(
    pipeline: Pipeline,
) -> None:
    pipeline.accounts["waiting"].faults = [Fault("477", endpoint="list", retry_after_s=3)]

    run_id = start(pipeline, "waiting")

    assert pipeline.wait("waiting", run_id) == "success"
    until(
        lambda: len(posts(pipeline, "waiting")) == len(mails(pipeline, "waiting")) == 2,
        "both alerts",
    )
    assert posts(pipeline, "waiting") == mails(pipeline, "waiting") == ["quota", "recovery"]
