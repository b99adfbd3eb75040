"""Events as Airflow's callbacks bring them, through to what people get; PostgreSQL is real."""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.alerts.callbacks import Callbacks, deadline_missed
from include.alerts.delivery import DeliveryBudget, DeliveryError, Message
from include.alerts.events import Run
from include.alerts.incidents import DELIVERY_BUDGET, AlertDispatcher
from include.errors import (
    DailyLimitError,
    OutdatedAttemptError,
    QualityError,
    ScanKilledError,
    ScanRequestError,
    TokenRejectedError,
    WarehouseUnavailableError,
)
from include.scan import Scan
from include.tenants import Channel, Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.scans import ScanLog, end_scan
from tests.support.scans import query, scan_row

REJECTED = TokenRejectedError("HubSpot said no.", tenant_id="acme", remedy="Rotate it.")
WAITS = DailyLimitError("used up.", resume_at=datetime(2026, 11, 25, 5, 2, tzinfo=UTC))
ALL = ["failure", "quality", "warning", "deadline", "quota", "recovery"]


@dataclass
class Sent:
    """Stands in for the channels: what they were given; `down` ones take nothing."""

    messages: list[Message] = field(default_factory=list)
    down: bool = False

    def __call__(self, channel: Channel, message: Message) -> None:
        if self.down:
            raise DeliveryError("ConnectionRefusedError")
        self.messages.append(message)

    @property
    def events(self) -> list[str]:
        return [message.event for message in self.messages]


@pytest.fixture
def sent(airflow_environment: pytest.MonkeyPatch) -> Sent:
    channel = Sent()
    airflow_environment.setattr("include.alerts.delivery.send", channel)
    return channel


def tenant(**alerts: Any) -> Tenant:
    entry = {"on": ALL, "channels": [{"webhook": None}], **alerts}
    return Tenant.model_validate({"id": "acme", "alerts": entry, "deadline_s": 60})


class TaskInstance(SimpleNamespace):
    """What callbacks use of Airflow's own."""

    def xcom_push(self, key: str, value: object) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str) -> object:
        return self.xcoms.get(key)

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        return {run_ids[0]: self.states}


def run(
    run_id: str = "manual__1",
    error: BaseException | None = None,
    reason: str = "task_failure",
    **task: Any,
) -> Run:
    known = {"states": {"validate_token": "failed"}, "xcoms": {}, "try_number": 1, **task}
    ti = TaskInstance(
        dag_id="hubspot_deals__acme", run_id=run_id, task_id="validate_token", **known
    )
    return Run.of_context({"ti": ti, "exception": error, "reason": reason})


def dispatcher(what: Run, of: Tenant | None = None) -> AlertDispatcher:
    return AlertDispatcher(of or tenant(), what, DeliveryBudget())


def begun(warehouse: Warehouse, run_id: str = "manual__1", state: str = "extracting") -> Scan:
    scan = Scan(tenant(), run_id)
    log = ScanLog(warehouse, scan)
    log.open()
    log.set(state=state)
    return scan


def test_a_tasks_exception_is_alerted_with_cause_remedy_and_links(
    warehouse: Warehouse, sent: Sent
) -> None:
    begun(warehouse)

    dispatcher(run(error=REJECTED)).task_failed()

    (message,) = sent.messages
    assert (message.event, message.error_type) == ("failure", "TokenRejectedError")
    assert (message.why, message.remedy) == ("HubSpot said no.", REJECTED.remedy)
    assert message.runbook == "docs/runbook.md#token-rejected"
    assert "/dags/hubspot_deals__acme/runs/manual__1/tasks/validate_token" in message.links["log"]
    assert message.links["runbook"].endswith("/hubspot-deals/help/runbook#token-rejected")


def test_the_dags_callback_says_nothing_that_the_tasks_has_said(
    warehouse: Warehouse, sent: Sent
) -> None:
    log = ScanLog(warehouse, begun(warehouse))
    with pytest.raises(TokenRejectedError), log.step("validating"):
        raise REJECTED
    dispatcher(run(error=REJECTED)).task_failed()

    dispatcher(run()).run_failed()

    assert sent.events == ["failure"]


def test_a_killed_task_is_alerted_by_the_dags_callback_which_ends_its_scan(
    warehouse: Warehouse, sent: Sent
) -> None:
    scan = begun(warehouse)

    dispatcher(run()).run_failed()
    dispatcher(run()).run_failed()

    row = scan_row(warehouse, scan)
    assert (row["state"], row["finished_at"] is not None) == ("failed", True)
    assert row["error"].startswith("ScanKilledError: tenant acme: Task validate_token ended")
    assert [message.error_type for message in sent.messages] == ["ScanKilledError"]


def test_a_killed_tasks_scan_ends_when_its_run_did_not_when_the_callback_came(
    warehouse: Warehouse, sent: Sent
) -> None:
    scan = begun(warehouse)
    ended_at = warehouse.clock()()

    dispatcher(replace(run(), ended_at=ended_at)).run_failed()

    assert scan_row(warehouse, scan)["finished_at"] == ended_at


def test_a_killed_task_is_alerted_though_the_rest_api_has_noticed_its_end_first(
    warehouse: Warehouse, sent: Sent
) -> None:
    scan = begun(warehouse)
    noticed = ScanKilledError("Airflow has ended the run (failed).", tenant_id="acme")
    with warehouse.connect() as connection:
        end_scan(connection, scan.id, noticed)

    dispatcher(run(reason="timed_out")).run_failed()
    dispatcher(run(reason="timed_out")).run_failed()

    (message,) = sent.messages
    assert message.error_type == "ScanKilledError"
    assert message.why == "The run took longer than its time-out, so Airflow ended it."


def test_a_kill_after_an_earlier_failure_of_the_scan_is_alerted_though_the_rest_api_was_first(
    warehouse: Warehouse, sent: Sent
) -> None:
    begun(warehouse)
    dispatcher(run(error=REJECTED)).task_failed()
    scan = begun(warehouse)  # a person has cleared it
    noticed = ScanKilledError("Airflow has ended the run (failed).", tenant_id="acme")
    with warehouse.connect() as connection:
        end_scan(connection, scan.id, noticed)

    dispatcher(run()).run_failed()
    dispatcher(run()).run_failed()

    types = [message.error_type for message in sent.messages]
    assert types == ["TokenRejectedError", "ScanKilledError"]


def test_another_failure_of_a_cleared_scan_is_alerted_though_the_tasks_callback_did_not_run(
    warehouse: Warehouse, sent: Sent
) -> None:
    begun(warehouse)
    dispatcher(run(error=REJECTED)).task_failed()
    succeed(warehouse, "manual__2")
    log = ScanLog(warehouse, begun(warehouse))  # a person has cleared the first run
    with pytest.raises(ScanRequestError), log.step("validating"):
        raise ScanRequestError("window_start is 'x'.", tenant_id="acme")

    dispatcher(run()).run_failed()
    dispatcher(run()).run_failed()

    types = [message.error_type for message in sent.messages if message.event == "failure"]
    assert types == ["TokenRejectedError", "ScanRequestError"]


NOWHERE = "postgresql://u:p@127.0.0.1:1/nowhere"
UNAVAILABLE = WarehouseUnavailableError("can't be reached.", tenant_id="acme")


def test_a_failure_that_the_task_could_not_record_is_alerted_once_with_its_reason(
    warehouse: Warehouse, sent: Sent
) -> None:
    scan = begun(warehouse)

    dispatcher(run(error=UNAVAILABLE)).task_failed()
    dispatcher(run()).run_failed()

    row = scan_row(warehouse, scan)
    assert [message.error_type for message in sent.messages] == ["WarehouseUnavailableError"]
    assert (row["state"], row["error"].split(":")[0]) == ("failed", "WarehouseUnavailableError")


def test_a_failure_alerted_without_postgresql_is_not_alerted_again_when_it_is_back(
    warehouse: Warehouse, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, xcoms = begun(warehouse), dict[str, object]()
    with monkeypatch.context() as down:
        down.setenv("DATABASE_URL", NOWHERE)
        dispatcher(run(error=UNAVAILABLE, xcoms=xcoms)).task_failed()

    dispatcher(run(xcoms=xcoms)).run_failed()

    row = scan_row(warehouse, scan)
    assert [message.error_type for message in sent.messages] == ["WarehouseUnavailableError"]
    assert (row["state"], "out of memory" in row["error"]) == ("failed", False)


def test_a_failure_without_a_row_alerted_without_postgresql_is_not_alerted_again(
    warehouse: Warehouse, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    xcoms: dict[str, object] = {}
    with monkeypatch.context() as down:
        down.setenv("DATABASE_URL", NOWHERE)
        dispatcher(run(error=UNAVAILABLE, xcoms=xcoms)).task_failed()

    dispatcher(run(xcoms=xcoms)).run_failed()

    assert [message.error_type for message in sent.messages] == ["WarehouseUnavailableError"]


@pytest.mark.parametrize(
    "recorded",
    [
        pytest.param(REJECTED, id="an earlier try's error"),
        pytest.param(ScanKilledError("Airflow has ended the run."), id="by the REST API"),
    ],
)
def test_a_failure_alerted_without_postgresql_is_not_alerted_again_for_what_the_row_says(
    warehouse: Warehouse, sent: Sent, monkeypatch: pytest.MonkeyPatch, recorded: Exception
) -> None:
    scan, xcoms = begun(warehouse), dict[str, object]()
    with monkeypatch.context() as down:
        down.setenv("DATABASE_URL", NOWHERE)
        dispatcher(run(error=UNAVAILABLE, xcoms=xcoms)).task_failed()
    with warehouse.connect() as connection:
        end_scan(connection, scan.id, recorded)

    dispatcher(run(xcoms=xcoms)).run_failed()

    assert [message.error_type for message in sent.messages] == ["WarehouseUnavailableError"]


def test_a_failure_alerted_with_postgresql_is_not_alerted_again_without_it(
    warehouse: Warehouse, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    xcoms: dict[str, object] = {}
    begun(warehouse)
    dispatcher(run(error=REJECTED, xcoms=xcoms)).task_failed()
    monkeypatch.setenv("DATABASE_URL", NOWHERE)

    dispatcher(run(xcoms=xcoms)).run_failed()

    assert [message.error_type for message in sent.messages] == ["TokenRejectedError"]


def test_a_cleared_task_that_is_killed_before_it_starts_is_alerted_though_an_earlier_try_was(
    warehouse: Warehouse, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    xcoms: dict[str, object] = {}
    with monkeypatch.context() as down:
        down.setenv("DATABASE_URL", NOWHERE)
        dispatcher(run(error=UNAVAILABLE, xcoms=xcoms)).task_failed()
    begun(warehouse)

    # Airflow deletes a task's XComs when it starts
    dispatcher(run(xcoms=xcoms, try_number=2)).run_failed()

    types = [message.error_type for message in sent.messages]
    assert types == ["WarehouseUnavailableError", "ScanKilledError"]


def test_a_killed_try_that_lives_on_cannot_write_any_more(warehouse: Warehouse, sent: Sent) -> None:
    attempt = ScanLog(warehouse, begun(warehouse)).next_attempt()

    dispatcher(run()).run_failed()

    with pytest.raises(OutdatedAttemptError):
        attempt.set(pages=7)


def test_a_run_that_was_cleared_meanwhile_is_left_alone(warehouse: Warehouse, sent: Sent) -> None:
    scan = begun(warehouse)

    dispatcher(run(states={"validate_token": "running"})).run_failed()

    assert scan_row(warehouse, scan)["state"] == "extracting"
    assert sent.messages == []


def test_a_cancelled_scan_is_not_alerted(warehouse: Warehouse, sent: Sent) -> None:
    scan = begun(warehouse, state="cancelled")

    dispatcher(run()).run_failed()
    dispatcher(run(error=REJECTED)).task_failed()

    assert scan_row(warehouse, scan)["state"] == "cancelled"
    assert sent.messages == []


def test_an_outdated_try_is_not_alerted(warehouse: Warehouse, sent: Sent) -> None:
    begun(warehouse)

    dispatcher(run(error=OutdatedAttemptError(tenant_id="acme"))).task_failed()

    assert sent.messages == []


def test_a_failure_before_there_is_a_row_or_a_table_is_alerted(
    empty_warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    sent: Sent,
) -> None:
    monkeypatch.setenv("DLT_DATABASE_SCHEMA", empty_warehouse.schema)
    error = ScanRequestError("window_start is 'x'.", tenant_id="acme", remedy="Write a date.")

    dispatcher(run(error=error)).task_failed()
    dispatcher(run()).run_failed()

    assert [message.error_type for message in sent.messages] == ["ScanRequestError"]


def test_a_failure_of_which_nothing_is_known_is_alerted_as_that(
    warehouse: Warehouse, sent: Sent
) -> None:
    dispatcher(run()).run_failed()

    assert "failed before the scan began" in sent.messages[0].why


def test_without_postgresql_the_alert_goes_out_once_all_the_same(
    warehouse: Warehouse, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret-pw@127.0.0.1:1/nowhere")
    xcoms: dict[str, object] = {}
    error = WarehouseUnavailableError("can't be reached.", tenant_id="acme")

    dispatcher(run(error=error, xcoms=xcoms)).task_failed()
    dispatcher(run(xcoms=xcoms)).run_failed()

    (message,) = sent.messages
    assert message.error_type == "WarehouseUnavailableError"
    assert "secret-pw" not in message.text


def test_without_postgresql_a_killed_task_is_alerted_too(
    warehouse: Warehouse, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", NOWHERE)

    dispatcher(run()).run_failed()

    assert sent.events == ["failure"]


@pytest.mark.parametrize("callback", ["task_failed", "run_failed"])
def test_a_failure_is_alerted_in_time_though_a_lost_machine_has_locked_the_scans_row(
    warehouse: Warehouse, sent: Sent, monkeypatch: pytest.MonkeyPatch, callback: str
) -> None:
    monkeypatch.setattr("include.warehouse.scans.BRIEF_WAIT", "50ms")
    begun(warehouse)
    error = REJECTED if callback == "task_failed" else None
    with ThreadPoolExecutor() as threads, psycopg.connect(**warehouse.parameters) as lost:
        lost.execute(f"select from {warehouse.schema}.scans for share")

        threads.submit(getattr(dispatcher(run(error=error)), callback)).result(timeout=60)

    (message,) = sent.messages
    assert message.event == "failure"
    assert "before the scan began" not in message.why


def test_a_scan_that_waits_is_alerted_once_however_often_it_asks_again(
    warehouse: Warehouse, sent: Sent
) -> None:
    begun(warehouse, state="waiting")

    for _ in range(3):
        dispatcher(run()).scan_waits(WAITS)

    assert sent.events == ["quota"]


def test_a_late_scan_is_alerted_and_one_that_is_over_is_not(
    warehouse: Warehouse, sent: Sent
) -> None:
    begun(warehouse)
    begun(warehouse, "manual__2", state="succeeded")
    late = {"dag_id": "hubspot_deals__acme", "state": "running"}

    dispatcher(Run.of_late_run({**late, "dag_run_id": "manual__2"})).deadline_missed()
    assert sent.messages == []
    dispatcher(Run.of_late_run({**late, "dag_run_id": "manual__1"})).deadline_missed()

    assert sent.events == ["deadline"]
    assert "within 60 s" in sent.messages[0].why


def test_a_deadline_between_two_tries_is_alerted(warehouse: Warehouse, sent: Sent) -> None:
    begun(warehouse, state="failed")
    late = {"dag_id": "hubspot_deals__acme", "dag_run_id": "manual__1", "state": "running"}

    dispatcher(Run.of_late_run(late)).deadline_missed()

    assert sent.events == ["deadline"]


def test_a_deadline_of_a_scan_that_is_known_to_have_failed_is_not_alerted(
    warehouse: Warehouse, sent: Sent
) -> None:
    begun(warehouse, state="failed")
    dispatcher(run(error=REJECTED)).task_failed()
    late = {"dag_id": "hubspot_deals__acme", "dag_run_id": "manual__1", "state": "running"}

    dispatcher(Run.of_late_run(late)).deadline_missed()

    assert sent.events == ["failure"]


def succeed(warehouse: Warehouse, run_id: str, warned: tuple[str, ...] = ()) -> None:
    scan = begun(warehouse, run_id)
    ScanLog(warehouse, scan).succeed()
    for name in warned:
        query(
            warehouse,
            "insert into quality_results (scan_id, tenant_id, check_name, status, severity,"
            " at_most, why) values (%s, 'acme', %s, 'warned', 'warn', 0, 'w') returning 1",
            scan.id,
            name,
        )
    dispatcher(run(run_id)).scan_succeeded()


def test_a_success_after_failures_is_alerted_once(warehouse: Warehouse, sent: Sent) -> None:
    begun(warehouse)
    dispatcher(run(error=REJECTED)).task_failed()

    succeed(warehouse, "manual__2")
    succeed(warehouse, "manual__3")

    assert sent.events == ["failure", "recovery"]
    assert "Resolved: TokenRejectedError" in sent.messages[1].text


def test_a_success_without_a_failure_is_not_alerted(warehouse: Warehouse, sent: Sent) -> None:
    succeed(warehouse, "manual__1")

    assert sent.messages == []


def test_warnings_are_alerted_once_until_they_change(warehouse: Warehouse, sent: Sent) -> None:
    succeed(warehouse, "manual__1", ("everything_wanted_was_read",))
    succeed(warehouse, "manual__2", ("everything_wanted_was_read",))
    succeed(warehouse, "manual__3", ("values_fit_their_columns",))
    succeed(warehouse, "manual__4")

    assert sent.events == ["warning", "warning"]
    assert query(warehouse, "select 1 from incidents where closed_at is null") == []


def test_what_a_channel_did_not_take_is_delivered_by_the_next_event(
    warehouse: Warehouse, sent: Sent
) -> None:
    sent.down = True
    begun(warehouse)
    dispatcher(run(error=REJECTED)).task_failed()
    (row,) = query(warehouse, "select attempts, error, sent_at from alerts")
    assert row == {"attempts": 1, "error": "ConnectionRefusedError", "sent_at": None}

    sent.down = False
    begun(warehouse, "manual__2")
    dispatcher(run("manual__2", error=REJECTED)).task_failed()

    assert sent.events == ["failure"]
    assert sent.messages[0].run_id == "manual__1"


def test_an_alert_of_a_channel_that_is_gone_from_the_file_is_given_up_in_time(
    warehouse: Warehouse, sent: Sent
) -> None:
    sent.down = True
    begun(warehouse)
    dispatcher(run(error=REJECTED)).task_failed()

    other = tenant(channels=[{"slack": None}])
    dispatcher(run("manual__2", error=REJECTED), other).task_failed()

    (row,) = query(warehouse, "select error from alerts where channel like 'webhook:%%'")
    assert row["error"] == "the tenant no longer has this channel"


def test_an_alert_that_a_corrected_channel_never_had_is_sent_there_once(
    warehouse: Warehouse, sent: Sent
) -> None:
    sent.down = True
    begun(warehouse)
    wrong = tenant(channels=[{"smtp": {"to": ["osp@example.com"]}}])
    dispatcher(run(error=REJECTED), wrong).task_failed()
    sent.down = False

    right = tenant(channels=[{"smtp": {"to": ["ops@example.com"]}}])
    for number in (2, 3):
        begun(warehouse, f"manual__{number}")
        dispatcher(run(f"manual__{number}", error=REJECTED), right).task_failed()

    assert [(message.event, message.run_id) for message in sent.messages] == [
        ("failure", "manual__1")
    ]


def test_a_channel_that_hangs_takes_no_longer_than_its_time_out(
    warehouse: Warehouse, airflow_environment: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    begun(warehouse)
    what = AlertDispatcher(tenant(), run(error=REJECTED), DeliveryBudget(0.2))

    def hang(*_: object) -> None:
        release.wait(30)

    airflow_environment.setattr("include.alerts.delivery.send", hang)
    what.task_failed()
    release.set()

    (row,) = query(warehouse, "select error, sent_at from alerts")
    assert (row["error"], row["sent_at"]) == ("no answer in 0 s", None)


def test_after_the_time_out_no_further_alert_is_sent_that_the_next_event_sends_again(
    warehouse: Warehouse, airflow_environment: pytest.MonkeyPatch
) -> None:
    release, begun_with = threading.Event(), list[str]()

    def hang(_: object, message: Message) -> None:
        begun_with.append(message.run_id)
        release.wait(30)

    airflow_environment.setattr("include.alerts.delivery.send", hang)
    AlertDispatcher(tenant(), run(error=REJECTED), DeliveryBudget(0.0)).task_failed()
    error = ScanRequestError("window_start is 'x'.", tenant_id="acme")
    before = set(threading.enumerate())
    AlertDispatcher(tenant(), run("manual__2", error=error), DeliveryBudget(0.2)).task_failed()

    release.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)

    assert begun_with == ["manual__1"]


def test_no_time_left_leaves_alerts_in_the_outbox_untried(warehouse: Warehouse, sent: Sent) -> None:
    begun(warehouse)

    AlertDispatcher(tenant(), run(error=REJECTED), DeliveryBudget(0.0)).task_failed()

    assert query(warehouse, "select attempts from alerts") == [{"attempts": 0}]


def test_a_deadline_is_alerted_however_long_the_triggerer_has_lived(
    warehouse: Warehouse, sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("[{id: acme, deadline_s: 60, alerts: {channels: [{webhook: }]}}]")
    monkeypatch.setenv("HUBSPOT_DEALS_TENANTS_FILE", str(file))
    monkeypatch.setattr(DELIVERY_BUDGET, "left_s", 0.0)
    begun(warehouse)
    late = {"dag_id": "hubspot_deals__acme", "dag_run_id": "manual__1", "state": "running"}

    asyncio.run(deadline_missed("acme", {"dag_run": late}))

    assert sent.events == ["deadline"]


def test_a_callback_never_raises(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    callbacks = Callbacks(tenant())

    callbacks.task_failed({})
    callbacks.run_failed({})
    callbacks.scan_succeeded({})
    callbacks.scan_waits(WAITS)


def test_no_token_and_no_property_value_gets_into_a_message(
    warehouse: Warehouse, sent: Sent
) -> None:
    begun(warehouse)
    values = ["pat-na1-super-secret", "Jane Doe", "4711.00"]

    dispatcher(run(error=ValueError(" ".join(values)))).task_failed()

    (message,) = sent.messages
    everything = json.dumps([message.as_json(), message.html, message.slack_blocks])
    assert not [value for value in values if value in everything]
    stored = json.dumps(query(warehouse, "select message from alerts"))
    assert not [value for value in values if value in stored]


#: What may happen to a tenant: a run's end, as its callbacks see it, or a wait within a run.
EVENTS = st.lists(
    st.sampled_from(["success", "rejected", "quality", "kill", "quota", "duplicate"]), max_size=14
)


@pytest.mark.slow
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(events=EVENTS)
def test_any_sequence_gives_one_alert_an_incident_and_one_all_clear(
    warehouse: Warehouse, sent: Sent, events: list[str]
) -> None:
    query(
        warehouse,
        "with a as (delete from incidents), b as (delete from scans) select 1",
    )
    sent.messages.clear()
    expected: list[str] = []
    open_causes: set[str] = set()
    last: Callable[[], None] = lambda: None  # noqa: E731 - nothing has happened yet

    for number, event in enumerate(events):
        what = f"manual__{number}"
        if event == "duplicate":
            last()
            continue
        if event == "success":
            succeed(warehouse, what)
            expected += ["recovery"] if open_causes else []
            open_causes = set()
            last = dispatcher(run(what)).scan_succeeded
            continue
        begun(warehouse, what)
        last = CAUSES[event](what)
        last()
        if event not in open_causes:
            expected.append({"rejected": "failure", "kill": "failure"}.get(event, event))
            open_causes.add(event)

    assert sent.events == expected


def _killed(run_id: str) -> Callable[[], None]:
    return dispatcher(run(run_id)).run_failed


def _raised(error: Exception) -> Callable[[str], Callable[[], None]]:
    def callbacks(run_id: str) -> Callable[[], None]:
        def both() -> None:
            dispatcher(run(run_id, error=error)).task_failed()

        return both

    return callbacks


CAUSES: dict[str, Callable[[str], Callable[[], None]]] = {
    "rejected": _raised(REJECTED),
    "quality": _raised(QualityError("1 of 15 failed.", tenant_id="acme")),
    "kill": _killed,
    "quota": lambda run_id: lambda: dispatcher(run(run_id)).scan_waits(WAITS),
}
