"""Incidents: one for each cause of a tenant's failed scans, open until a scan succeeds.

Airflow can run a callback twice, late, or at the same time as another one. The lock on an
incident's row makes sure that only one of them sends the alert. An outbox keeps alerts until they
are delivered.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from include.alerts.delivery import Delivery, DeliveryBudget, Message, Outbox
from include.alerts.events import (
    AlertEvent,
    Run,
    ScanRow,
    event_from_exception,
    event_from_row,
    killed,
    late,
    scan_row,
    unknown,
    unrecorded,
    warned,
)
from include.errors import (
    RUNBOOK,
    ComeBackLaterError,
    HubSpotDealsError,
    OutdatedAttemptError,
    ScanCancelledError,
)
from include.tenants import AlertSettings, Tenant
from include.warehouse.connection import WarehouseConnection, open_warehouse
from include.warehouse.migrations import migrate
from include.warehouse.scans import end_scan, wait_briefly

#: An incident lists this many of its newest scans.
SCANS_KEPT = 50
_COLUMNS = sql.SQL("incident_id, kind, error_type, opened_at, last_seen_at, runs, rounds")


@dataclass(frozen=True)
class Incident:
    """A row of `incidents`."""

    incident_id: int
    kind: str
    error_type: str
    opened_at: datetime
    last_seen_at: datetime
    runs: int
    rounds: int


@dataclass(frozen=True)
class Incidents:
    """The incidents of one tenant, in one transaction."""

    connection: WarehouseConnection
    tenant_id: str
    settings: AlertSettings

    def record(
        self, event: AlertEvent, scan_id: str, message: Callable[[Incident], Message]
    ) -> Incident:
        """Open the incident or add the scan to it; put an alert into the outbox if one is due.

        An alert is due when the incident is opened, and again every `repeat_after_s`.
        """
        (incident,) = self._rows(
            """
            insert into {incidents} as known
                (tenant_id, kind, error_type, cause, scan_ids, said)
            values (%(tenant_id)s, %(kind)s, %(error_type)s, %(cause)s, array[%(scan_id)s],
                    %(said)s)
            on conflict (tenant_id, kind, cause) where closed_at is null do update
            set last_seen_at = now(),
                said = excluded.said,
                runs = known.runs
                    + case when %(scan_id)s = any (known.scan_ids) then 0 else 1 end,
                scan_ids = case when %(scan_id)s = any (known.scan_ids) then known.scan_ids
                    else (known.scan_ids || %(scan_id)s)[greatest(1, cardinality(known.scan_ids)
                          + 2 - %(kept)s):] end
            returning {columns}
            """,
            kind=event.kind,
            error_type=event.error_type,
            cause=event.cause,
            said=event.why,
            scan_id=scan_id,
            kept=SCANS_KEPT,
        )
        if event.kind in self.settings.on and self.settings.channels:
            due = self._rows(
                "update {incidents} set rounds = rounds + 1, alerted_at = now()"
                " where incident_id = %(incident_id)s and (alerted_at is null"
                " or alerted_at <= now() - make_interval(secs => %(repeat_after_s)s))"
                " returning {columns}",
                incident_id=incident.incident_id,
                repeat_after_s=self.settings.repeat_after_s,
            )
            if due:
                (incident,) = due
                self._enqueue(incident, message(incident))
        return incident

    def recover(
        self, scan_id: str, message: Callable[[Sequence[Incident]], Message]
    ) -> list[Incident]:
        """Close the tenant's incidents; put one all-clear into the outbox if any was alerted.

        Callbacks can run late, so incidents that were last seen after the scan finished stay open.
        `forget_warnings` closes those of warnings.
        """
        closed = self._close(
            "kind <> 'warning' and last_seen_at <= coalesce((select finished_at from {scans}"
            " where scan_id = %(scan_id)s), now())",
            scan_id=scan_id,
        )
        alerted = [incident for incident in closed if incident.rounds]
        if alerted and "recovery" in self.settings.on and self.settings.channels:
            self._enqueue(alerted[0], message(alerted))
        return alerted

    def forget_warnings(self, scan_id: str, still: str | None = None) -> None:
        """Close, without an alert, the incidents of warnings that the scan no longer has."""
        self._close(
            "kind = 'warning' and cause is distinct from %(still)s::text",
            scan_id=scan_id,
            still=still,
        )

    def has_failure_of(self, scan_id: str, cause: str | None = None) -> bool:
        """Return whether an incident of a failure, open or closed, lists the scan.

        :param cause: only incidents of this cause; a scan that was cleared may have several.
        """
        return bool(
            self._rows(
                "select {columns} from {incidents} where tenant_id = %(tenant_id)s"
                " and %(scan_id)s = any (scan_ids) and kind in ('failure', 'quality')"
                " and cause = coalesce(%(cause)s, cause)",
                scan_id=scan_id,
                cause=cause,
            )
        )

    def _close(self, condition: str, **values: Any) -> list[Incident]:
        closed = self._rows(
            "update {incidents} set closed_at = now(), closed_by_scan_id = %(scan_id)s"  # noqa: S608 - our own text
            " where tenant_id = %(tenant_id)s and closed_at is null and "
            + condition
            + " returning {columns}",
            **values,
        )
        return sorted(closed, key=lambda incident: incident.opened_at)

    def _enqueue(self, incident: Incident, message: Message) -> None:
        self.connection.run(
            """
            insert into {alerts} (incident_id, tenant_id, event, round, channel, message)
            select %(incident_id)s, %(tenant_id)s, %(event)s, %(round)s, label, %(message)s
            from unnest(%(channels)s::text[]) as label
            on conflict do nothing
            """,
            {
                "incident_id": incident.incident_id,
                "tenant_id": self.tenant_id,
                "event": message.event,
                "round": message.round,
                "message": Jsonb(message.as_json()),
                "channels": [channel.label for channel in self.settings.channels],
            },
        )

    def _rows(self, statement: str, **values: Any) -> list[Incident]:
        return self.connection.run(
            statement,
            {"tenant_id": self.tenant_id, **values},
            {"columns": _COLUMNS},
            row_factory=class_row(Incident),
        ).fetchall()


log = logging.getLogger(__name__)

#: Shared by all callbacks of a process.
DELIVERY_BUDGET = DeliveryBudget()
#: A newer try reports its own failure, and a user has cancelled the scan.
_NOT_ALERTED = (OutdatedAttemptError, ScanCancelledError)


@dataclass(frozen=True)
class AlertDispatcher:
    """Records an event of a run and sends the tenant's alerts."""

    tenant: Tenant
    run: Run
    budget: DeliveryBudget = field(default_factory=lambda: DELIVERY_BUDGET)

    def task_failed(self) -> None:
        """Alert about the exception of a task's last try. The scan may have no row yet."""
        error = self.run.error
        # Without an exception, the DAG's callback alerts (`run_failed`).
        if error is None or isinstance(error, _NOT_ALERTED):
            return

        def record(incidents: Incidents, row: ScanRow | None) -> None:
            if row is None or row.state not in ("cancelled", "succeeded"):
                failed = row.checks.get("failed", ()) if row else ()
                self._record(incidents, row, event_from_exception(error, failed))
            if isinstance(error, Exception):
                # PostgreSQL may have been down when the task failed; `run_failed` does not know why
                end_scan(incidents.connection, self.run.scan_id, error)

        if not self._record_and_deliver(record, then=self.run.note_alerted):
            self._send_unrecorded(event_from_exception(error))

    def run_failed(self) -> None:
        """Mark the scan of a failed run as failed and alert, unless a task has done so."""
        if self.run.is_going_on():
            return
        if not self._record_and_deliver(self._record_failed_run) and not self.run.was_alerted():
            self._send_unrecorded(event_from_exception(unrecorded(self.run.task_id)))

    def scan_succeeded(self) -> None:
        """Close incidents, send the all-clear, and record the scan's warnings."""

        def record(incidents: Incidents, row: ScanRow | None) -> None:
            warned_of = row.checks.get("warned", ()) if row else ()
            if row and warned_of:
                event = warned(warned_of, row.warnings)
                incidents.forget_warnings(self.run.scan_id, still=event.cause)
                self._record(incidents, row, event)
            else:
                incidents.forget_warnings(self.run.scan_id)
            incidents.recover(
                self.run.scan_id,
                lambda closed: self._message(_all_clear(self.tenant.id, closed), row, closed),
            )

        self._record_and_deliver(record)

    def scan_waits(self, error: ComeBackLaterError) -> None:
        """Alert that the scan waits until HubSpot accepts requests again."""
        event = event_from_exception(error)
        self._record_and_deliver(lambda incidents, row: self._record(incidents, row, event))

    def deadline_missed(self) -> None:
        """Alert that the scan is late, unless it has ended: failed runs were already alerted.

        Between two tries, its row has the state failed although no alert was sent.
        """
        event = event_from_exception(late(self.tenant.deadline_s))

        def record(incidents: Incidents, row: ScanRow | None) -> None:
            was_alerted = incidents.has_failure_of(self.run.scan_id)
            if row is None or not row.is_over or (row.state == "failed" and not was_alerted):
                self._record(incidents, row, event)

        if self.run.state not in ("success", "failed") and not self._record_and_deliver(record):
            self._send_unrecorded(event)

    def _record_failed_run(self, incidents: Incidents, row: ScanRow | None) -> None:
        scan_id, task_id = self.run.scan_id, self.run.task_id
        was_alerted = self.run.was_alerted()
        error = unrecorded(task_id) if was_alerted else killed(task_id, self.run.reason)
        if row is not None and not row.is_over:
            error.tenant_id = self.tenant.id
            # False: another callback has ended the scan and sends the alert.
            ended = end_scan(incidents.connection, scan_id, error, ended_at=self.run.ended_at)
            if ended and not was_alerted:
                self._record(incidents, row, event_from_exception(error))
        elif was_alerted:
            pass  # that alert has the reason, which the row may lack
        elif row is None:
            # If an incident lists the scan, the task's callback has sent an alert with the reason.
            if not incidents.has_failure_of(scan_id):
                self._record(incidents, row, event_from_exception(unknown(task_id)))
        elif row.state == "failed":
            failed, recorded = row.checks.get("failed", ()), row.error or ""
            event = event_from_row(recorded, row.remedy or "", failed)
            if recorded.startswith(type(error).__name__):
                # The REST API may have recorded the kill first, with less detail.
                event = event_from_exception(error)
            if not incidents.has_failure_of(scan_id, event.cause):
                self._record(incidents, row, event)

    def _record(self, incidents: Incidents, row: ScanRow | None, event: AlertEvent) -> None:
        incidents.record(
            event, self.run.scan_id, lambda incident: self._message(event, row, [incident])
        )

    def _record_and_deliver(
        self,
        record: Callable[[Incidents, ScanRow | None], None],
        then: Callable[[], None] = lambda: None,
    ) -> bool:
        """Record the event, then deliver the outbox. False if the event could not be recorded.

        :param then: called in between: the run's other callback may be waiting already.
        """
        tenant = self.tenant
        try:
            warehouse = open_warehouse(tenant.id)
            # the very first scan may have failed before it created the tables
            migrate(warehouse)
            with warehouse.connect() as connection:
                wait_briefly(connection)
                row = scan_row(connection, self.run.scan_id)
                record(Incidents(connection, tenant.id, tenant.alerts), row)
        except (HubSpotDealsError, psycopg.Error) as exc:
            why = exc if isinstance(exc, HubSpotDealsError) else type(exc).__name__
            log.error("tenant %s: could not record the event of an alert: %s", tenant.id, why)
            return False
        then()
        try:
            self._delivery.of_outbox(Outbox(warehouse, tenant.id))
        except HubSpotDealsError as exc:
            log.error("tenant %s: alerts stay in the outbox: %s", tenant.id, exc)
        return True

    def _send_unrecorded(self, event: AlertEvent) -> None:
        """Send an alert that PostgreSQL can't record: it is down, or the scan's row is locked."""
        if event.kind in self.tenant.alerts.on and self.tenant.alerts.channels:
            self._delivery.unrecorded(self._message(event, None, []))
            self.run.note_alerted()

    @property
    def _delivery(self) -> Delivery:
        return Delivery(self.tenant.id, self.tenant.alerts.channels, self.budget)

    def _message(
        self, event: AlertEvent, row: ScanRow | None, incidents: Sequence[Incident]
    ) -> Message:
        """Return an incident's alert, the all-clear of several, or an alert without an incident."""
        now, is_over = datetime.now(UTC), event.kind == "recovery"
        return Message(
            event=event.kind,
            round=incidents[0].rounds if incidents and not is_over else 1,
            tenant=self.tenant.id,
            dag_id=self.run.dag_id,
            run_id=self.run.run_id,
            scan_id=self.run.scan_id,
            task_id=self.run.task_id,
            error_type=event.error_type or None,
            why=event.why,
            remedy=event.remedy,
            runbook=f"{RUNBOOK}#{event.heading}" if event.heading else None,
            at=_iso(incidents[0].last_seen_at if incidents and not is_over else now),
            since=_iso(incidents[0].opened_at if incidents else now),
            runs=sum(incident.runs for incident in incidents) or 1,
            figures=row.figures if row else {},
            links=self.run.links(event.heading),
        )


def _all_clear(tenant_id: str, closed: Sequence[Incident]) -> AlertEvent:
    what = ", ".join(dict.fromkeys(incident.error_type for incident in closed))
    why = f"Tenant {tenant_id}: all clear. The scan succeeded. Resolved: {what}."
    return AlertEvent("recovery", error_type="", cause="", why=why, remedy="", heading="")


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
