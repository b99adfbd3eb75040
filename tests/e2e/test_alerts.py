"""Alerts of real Airflow runs that fail: by mail and by webhook, once, and the all-clear."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from aiosmtpd.controller import Controller
from psycopg.rows import dict_row

from include.local.dotenv_file import without_the_users_own
from include.local.ports import free_port
from include.local.processes import Programs
from include.local.simulator import DEMO_TOKENS, connections, start_simulator
from include.local.stack import LocalStack
from include.scan import scan_id
from tests.alerts.conftest import Mailbox, Receiver, serving, smtp_connection
from tests.e2e.conftest import RUN_TIMEOUT_S, dag_of, failure_of
from tests.e2e.test_scans import until

pytestmark = pytest.mark.e2e

CHANNELS = [{"smtp": {"to": ["ops@example.com"]}}, {"webhook": None}]
#: Its channel is not there until a test starts it.
LATER = [{"smtp": {"to": ["ops@example.com"], "connection": "smtp_later"}}]
#: Tenant → whose account it reads, and keys of its entry.
TENANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "rejected": ("acme", {}),
    "muted": ("acme", {"alerts": {"channels": LATER}}),
    "blocked": ("globex", {}),
    "waiting": ("globex", {}),
    "killed": ("initech", {}),
    "late": ("initech", {"deadline_s": 3}),
}
PORTALS = {"acme": 1_000_001, "globex": 1_000_002, "initech": 1_000_003}
ISSUED_LATER = "pat-na1-issued-later"
NEVER_ISSUED = "pat-na1-never-issued"


@dataclass(frozen=True)
class Site:
    """The running stack, the HubSpot it reads, and the receivers of its alerts."""

    stack: LocalStack
    simulator_url: str
    mailbox: Mailbox
    receiver: Receiver
    later_port: int

    def run(self, tenant: str) -> str:
        """Start a run and return its id."""
        return self.stack.trigger(dag_of(tenant))

    def ends(self, tenant: str, run_id: str) -> str:
        return self.stack.wait(dag_of(tenant), run_id, RUN_TIMEOUT_S)

    def told(self, tenant: str) -> list[str]:
        """What the webhook was told of a tenant."""
        return [body["event"] for _, body in self.receiver.requests if body["tenant"] == tenant]

    def mails(self, tenant: str) -> list[str]:
        mails = [m for m in self.mailbox.mails if m["X-HubSpot-Deals-Tenant"] == tenant]
        return [mail["X-HubSpot-Deals-Event"] for mail in mails]

    def query(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(
            self.stack.postgres.dsn("warehouse"), options="-csearch_path=hubspot_deals"
        ) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            cursor.execute(statement, list(values) or None)
            return cursor.fetchall() if cursor.description else []

    def control(self, account: str, what: str, document: Any) -> None:
        url = f"{self.simulator_url}/_simulator/portals/{PORTALS[account]}/{what}"
        requests.post(url, json=document, timeout=60).raise_for_status()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    state_dir = tmp_path_factory.mktemp("alerts")
    write_tenants(state_dir)
    mailbox, later_port = Mailbox(free_port()), free_port()
    mail_server = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    mail_server.start()
    with serving() as receiver:
        env = {
            **without_the_users_own(os.environ),
            "HUBSPOT_DEALS_TENANTS_FILE": str(state_dir / "tenants.yaml"),
            "AIRFLOW_CONN_SMTP_DEFAULT": smtp_connection(mailbox.port),
            "AIRFLOW_CONN_SMTP_LATER": smtp_connection(later_port),
        }
        stack = LocalStack(state_dir, free_port(), env)
        try:
            url = start_simulator(Programs(state_dir), state_dir, env)
            tokens = {tenant: DEMO_TOKENS[account] for tenant, (account, _) in TENANTS.items()}
            tokens |= {"rejected": ISSUED_LATER, "muted": NEVER_ISSUED}
            stack.env.update(connections(url, TENANTS, tokens))
            with stack:
                # in Airflow's own store: callbacks read it from wherever they run
                stack.api.save_connection(
                    "http_default", {"conn_type": "http", "host": receiver.url}
                )
                stack.wait_for_dags([dag_of(tenant) for tenant in TENANTS])
                yield Site(stack, url, mailbox, receiver, later_port)
        finally:
            stack.stop()
            stack.postgres.remove()
            mail_server.stop()


def write_tenants(state_dir: Path) -> None:
    document = {
        "defaults": {"schedule": None, "retries": 0, "alerts": {"channels": CHANNELS}},
        "tenants": [{"id": tenant, **keys} for tenant, (_, keys) in TENANTS.items()],
    }
    # JSON is YAML
    (state_dir / "tenants.yaml").write_text(json.dumps(document))


def test_a_rejected_token_is_told_once_and_its_mending_too(site: Site) -> None:
    assert site.ends("rejected", site.run("rejected")) == "failed"
    until(lambda: site.told("rejected") and site.mails("rejected"))
    mail = next(m for m in site.mailbox.mails if m["X-HubSpot-Deals-Tenant"] == "rejected")
    body = mail.get_body()
    assert body is not None
    text = body.get_content()
    assert mail["Subject"] == "[HubSpot deals] rejected: scan failed (TokenRejectedError)"
    assert "HubSpot refused the token (401)" in text
    assert "docs/runbook.md#token-rejected" in text
    assert f"{site.stack.url}/dags/hubspot_deals__rejected/runs/" in text
    assert ISSUED_LATER not in text

    assert site.ends("rejected", site.run("rejected")) == "failed"
    until(lambda: site.query("select 1 from incidents where tenant_id = 'rejected' and runs = 2"))

    site.control("acme", "tokens", {"text": ISSUED_LATER})
    run_id = site.run("rejected")
    assert site.ends("rejected", run_id) == "success", failure_of(
        site.stack, dag_of("rejected"), run_id
    )
    until(lambda: len(site.mails("rejected")) == 2 and len(site.told("rejected")) == 2)
    assert site.told("rejected") == site.mails("rejected") == ["failure", "recovery"]


def test_a_task_killed_on_its_last_try_is_told_and_its_scan_is_ended(site: Site) -> None:
    site.control(
        "initech", "faults", [{"kind": "slow", "endpoint": "list", "seconds": 90, "count": None}]
    )
    run_id = site.run("killed")
    task = until(
        lambda: next(
            (
                t
                for t in site.stack.api.tasks(dag_of("killed"), run_id)
                if t["task_id"] == "extract_deals" and t["state"] == "running" and t["pid"]
            ),
            None,
        )
    )
    until(
        lambda: site.query(
            "select 1 from scans where tenant_id = 'killed' and state = 'extracting'"
        )
    )

    os.kill(task["pid"], signal.SIGKILL)

    assert site.ends("killed", run_id) == "failed"
    until(lambda: site.told("killed") and site.mails("killed"))
    (row,) = site.query("select * from scans where tenant_id = 'killed'")
    assert (row["state"], row["finished_at"] is not None) == ("failed", True)
    assert "ScanKilledError: tenant killed: Task extract_deals ended without a word" in row["error"]
    assert site.told("killed") == site.mails("killed") == ["failure"]


def test_a_scan_that_is_late_is_told_while_it_runs(site: Site) -> None:
    site.control(
        "initech", "faults", [{"kind": "slow", "endpoint": "list", "seconds": 15, "count": 1}]
    )
    run_id = site.run("late")

    until(lambda: "deadline" in site.told("late"))

    assert site.stack.api.run(dag_of("late"), run_id)["state"] == "running"
    assert site.ends("late", run_id) == "success"
    until(lambda: "recovery" in site.told("late"))
    assert site.told("late") == ["deadline", "recovery"]


def test_a_scan_that_waits_for_hubspot_is_told_once_and_when_it_is_done(site: Site) -> None:
    site.control("globex", "faults", [{"kind": "477", "endpoint": "list", "retry_after_s": 3}])

    run_id = site.run("waiting")

    assert site.ends("waiting", run_id) == "success"
    until(lambda: len(site.told("waiting")) == len(site.mails("waiting")) == 2)
    assert site.told("waiting") == site.mails("waiting") == ["quota", "recovery"]


def test_a_channel_that_is_down_changes_no_run_and_gets_the_alert_later(site: Site) -> None:
    run_id = site.run("muted")
    assert site.ends("muted", run_id) == "failed"
    row = until(lambda: undelivered(site, "muted"))
    assert (row["attempts"], row["error"]) == (1, "ConnectionRefusedError")
    log = site.stack.task_log(dag_of("muted"), run_id, "validate_token")
    assert "AlertNotDelivered" not in log
    assert "alert 'failure' was not delivered by smtp:smtp_later:ops@example.com" in log

    mail_server = Controller(site.mailbox, hostname="127.0.0.1", port=site.later_port)
    mail_server.start()
    try:
        assert site.ends("muted", site.run("muted")) == "failed"
        until(lambda: site.mails("muted"))
    finally:
        mail_server.stop()

    (row,) = site.query("select attempts, sent_at, error from alerts where tenant_id = 'muted'")
    assert (row["attempts"], row["error"], row["sent_at"] is not None) == (2, None, True)
    assert site.mails("muted") == ["failure"]


def undelivered(site: Site, tenant: str) -> dict[str, Any] | None:
    rows = site.query(
        "select attempts, error from alerts where tenant_id = %s and error is not null", tenant
    )
    return rows[0] if rows else None


def test_a_blocked_quality_check_is_told_by_its_name(site: Site) -> None:
    site.query(
        "create function lose() returns trigger language plpgsql as"
        " 'begin return null; end';"
        " create trigger lose before insert on deals for each row"
        " when (new._tenant_id = 'blocked') execute function lose()"
    )

    run_id = site.run("blocked")

    assert site.ends("blocked", run_id) == "failed"
    until(lambda: site.told("blocked"))
    (incident,) = site.query("select * from incidents where tenant_id = 'blocked'")
    assert (incident["kind"], incident["error_type"]) == ("quality", "QualityError")
    assert "received_records_are_held" in incident["cause"]
    assert incident["scan_ids"] == [scan_id(dag_of("blocked"), run_id)]
    assert site.told("blocked") == ["quality"]
