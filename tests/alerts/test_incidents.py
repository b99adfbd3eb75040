"""Incidents and their alerts in a real PostgreSQL, callbacks at once included."""

import threading
from typing import Any

import pytest

from include.alerts.delivery import LEASE_S, MAX_ATTEMPTS, Message, Outbox
from include.alerts.events import AlertEvent, event_from_exception
from include.alerts.incidents import SCANS_KEPT, Incident, Incidents
from include.errors import QualityError, ScanKilledError, TokenRejectedError
from include.tenants import AlertSettings
from include.warehouse.connection import Warehouse
from tests.alerts.messages import message
from tests.support.scans import query

REJECTED = event_from_exception(TokenRejectedError("no."))
KILLED = event_from_exception(ScanKilledError("gone."))
WARNED = AlertEvent("warning", "QualityWarning", "QualityWarning: a", "a.", "", "x")
SETTINGS = AlertSettings.model_validate(
    {"channels": [{"webhook": None}, {"smtp": {"to": ["ops@example.com"]}}]}
)


def alert(incident: Incident) -> Message:
    return message(event=incident.kind, round=incident.rounds, runs=incident.runs)


def record(
    warehouse: Warehouse,
    event: AlertEvent = REJECTED,
    scan_id: str = "scan-1",
    settings: AlertSettings = SETTINGS,
) -> Incident:
    with warehouse.connect() as connection:
        incidents = Incidents(connection, "acme", settings)
        return incidents.record(event, scan_id, alert)


def recover(
    warehouse: Warehouse, scan_id: str = "scan-9", settings: AlertSettings = SETTINGS
) -> list[Incident]:
    with warehouse.connect() as connection:
        incidents = Incidents(connection, "acme", settings)
        return incidents.recover(scan_id, lambda closed: message(event="recovery"))


def alerts(warehouse: Warehouse) -> list[tuple[str, int]]:
    rows = query(warehouse, "select distinct event, round from alerts order by 1, 2")
    return [(row["event"], row["round"]) for row in rows]


def open_incidents(warehouse: Warehouse) -> list[dict[str, Any]]:
    return query(warehouse, "select * from incidents where closed_at is null order by 1")


def test_an_incident_puts_one_alert_for_each_channel_into_the_outbox(warehouse: Warehouse) -> None:
    record(warehouse)

    rows = query(warehouse, "select channel, event, round from alerts order by channel")
    assert [row["channel"] for row in rows] == [
        "smtp:smtp_default:ops@example.com",
        "webhook:http_default",
    ]
    assert alerts(warehouse) == [("failure", 1)]


def test_the_next_run_with_the_same_cause_is_the_same_incident_and_no_alert(
    warehouse: Warehouse,
) -> None:
    record(warehouse)

    incident = record(warehouse, scan_id="scan-2")

    assert incident.runs == 2
    assert alerts(warehouse) == [("failure", 1)]
    assert open_incidents(warehouse)[0]["scan_ids"] == ["scan-1", "scan-2"]


def test_a_callback_that_runs_twice_counts_once(warehouse: Warehouse) -> None:
    record(warehouse)

    assert record(warehouse).runs == 1
    assert alerts(warehouse) == [("failure", 1)]


def test_another_cause_is_another_incident(warehouse: Warehouse) -> None:
    record(warehouse)
    record(warehouse, KILLED, "scan-2")

    assert [row["cause"] for row in open_incidents(warehouse)] == [
        "TokenRejectedError",
        "ScanKilledError",
    ]


def test_an_incident_that_goes_on_is_alerted_again_after_the_time_that_was_asked_for(
    warehouse: Warehouse,
) -> None:
    record(warehouse)
    query(warehouse, "update incidents set alerted_at = now() - interval '25 h' returning 1")

    record(warehouse, scan_id="scan-2")
    record(warehouse, scan_id="scan-3")

    assert alerts(warehouse) == [("failure", 1), ("failure", 2)]


def test_an_incident_names_the_newest_scans_only(warehouse: Warehouse) -> None:
    for number in range(SCANS_KEPT + 5):
        record(warehouse, scan_id=f"scan-{number}")

    (row,) = open_incidents(warehouse)
    assert row["runs"] == SCANS_KEPT + 5
    assert row["scan_ids"] == [f"scan-{n}" for n in range(5, SCANS_KEPT + 5)]


def test_the_first_success_closes_all_and_gives_one_all_clear(warehouse: Warehouse) -> None:
    record(warehouse)
    record(warehouse, KILLED, "scan-2")

    closed = recover(warehouse)
    again = recover(warehouse, "scan-10")

    assert [incident.error_type for incident in closed] == [
        "TokenRejectedError",
        "ScanKilledError",
    ]
    assert again == []
    assert alerts(warehouse) == [("failure", 1), ("recovery", 1)]
    assert open_incidents(warehouse) == []


def test_after_the_all_clear_the_same_cause_is_a_new_incident(warehouse: Warehouse) -> None:
    first = record(warehouse)
    recover(warehouse)

    second = record(warehouse, scan_id="scan-2")

    assert second.incident_id != first.incident_id
    assert second.rounds == 1


def test_a_success_that_finished_before_the_failure_was_seen_closes_nothing(
    warehouse: Warehouse,
) -> None:
    query(
        warehouse,
        "insert into scans (scan_id, tenant_id, dag_id, run_id, mode, state, finished_at)"
        " values ('scan-9', 'acme', 'd', 'r', 'auto', 'succeeded', now() - interval '1 h')"
        " returning 1",
    )
    record(warehouse)

    assert recover(warehouse, "scan-9") == []
    assert len(open_incidents(warehouse)) == 1


def test_what_is_not_wanted_is_recorded_and_not_alerted(warehouse: Warehouse) -> None:
    settings = SETTINGS.model_copy(update={"on": ("quality", "recovery")})

    record(warehouse, settings=settings)
    recover(warehouse, settings=settings)

    assert alerts(warehouse) == []
    assert len(query(warehouse, "select 1 from incidents")) == 1


def test_without_channels_no_alert_is_sent_until_there_are_some(warehouse: Warehouse) -> None:
    record(warehouse, settings=AlertSettings())
    assert alerts(warehouse) == []

    record(warehouse, scan_id="scan-2")

    assert alerts(warehouse) == [("failure", 1)]


def test_warnings_are_closed_without_an_alert_and_never_by_an_all_clear(
    warehouse: Warehouse,
) -> None:
    record(warehouse, WARNED, settings=SETTINGS.model_copy(update={"on": ("warning", "recovery")}))

    assert recover(warehouse) == []
    assert len(open_incidents(warehouse)) == 1
    with warehouse.connect() as connection:
        Incidents(connection, "acme", SETTINGS).forget_warnings("scan-9")
    assert open_incidents(warehouse) == []
    assert alerts(warehouse) == [("warning", 1)]


def test_callbacks_send_all_open_one_incident_and_send_one_alert(warehouse: Warehouse) -> None:
    start = threading.Barrier(8)
    claimed: list[int] = []

    def callback(number: int) -> None:
        start.wait()
        record(warehouse, scan_id=f"scan-{number % 2}")
        claimed.extend(a.alert_id for a in Outbox(warehouse, "acme").claim())

    threads = [threading.Thread(target=callback, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(open_incidents(warehouse)) == 1
    assert open_incidents(warehouse)[0]["runs"] == 2
    assert len(claimed) == len(set(claimed)) == len(SETTINGS.channels)


def test_successes_send_all_give_one_all_clear(warehouse: Warehouse) -> None:
    record(warehouse)
    threads = [threading.Thread(target=recover, args=(warehouse, f"s{n}")) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    rows = query(warehouse, "select 1 from alerts where event = 'recovery'")
    assert len(rows) == len(SETTINGS.channels)


def test_a_claimed_alert_belongs_to_one_process_until_its_lease_is_over(
    warehouse: Warehouse,
) -> None:
    record(warehouse)
    outbox = Outbox(warehouse, "acme")
    first = outbox.claim()

    assert outbox.claim() == []
    query(
        warehouse,
        f"update alerts set claimed_at = now() - interval '{LEASE_S + 1} s' returning 1",
    )

    assert [a.alert_id for a in outbox.claim()] == [a.alert_id for a in first]


def test_what_was_not_delivered_is_claimed_again_and_what_was_is_not(warehouse: Warehouse) -> None:
    record(warehouse)
    outbox = Outbox(warehouse, "acme")
    one, other = outbox.claim()

    outbox.record(one, None)
    outbox.record(other, "ConnectionError")

    (again,) = outbox.claim()
    assert (again.alert_id, again.attempts) == (other.alert_id, 2)


def test_an_alert_is_given_up_after_so_many_attempts(warehouse: Warehouse) -> None:
    record(warehouse)
    outbox = Outbox(warehouse, "acme")
    for _ in range(MAX_ATTEMPTS):
        for alert in outbox.claim():
            outbox.record(alert, "ConnectionError")

    assert outbox.claim() == []
    rows = query(warehouse, "select attempts, error, sent_at from alerts")
    assert [(r["attempts"], r["error"], r["sent_at"]) for r in rows] == [
        (MAX_ATTEMPTS, "ConnectionError", None)
    ] * 2


def test_another_tenants_alerts_are_not_claimed(warehouse: Warehouse) -> None:
    record(warehouse)

    assert Outbox(warehouse, "globex").claim() == []


@pytest.mark.parametrize("kind", ["failure", "quality", "warning", "deadline", "quota"])
def test_every_kind_has_its_place_in_the_tables(warehouse: Warehouse, kind: Any) -> None:
    settings = SETTINGS.model_copy(update={"on": (kind,)})

    record(warehouse, AlertEvent(kind, "E", "E", "why", "", "h"), settings=settings)

    assert alerts(warehouse) == [(kind, 1)]
    assert QualityError.runbook_heading
