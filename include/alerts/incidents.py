"""Incidents: one for each cause that fails a tenant's scans, open until a scan succeeds.

Airflow may call a callback twice, late, or two at once: the row of an incident makes them agree.
Alerts are kept in an outbox until they are delivered.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from include.warehouse.connection import Warehouse, WarehouseConnection, open_warehouse
from include.warehouse.migrations import migrate
from include.warehouse.scans import end_scan

#: Scans that an incident names: the newest.
SCANS_KEPT = 50
_COLUMNS = ("incident_id", "kind", "error_type", "opened_at", "last_seen_at", "runs", "rounds")


@dataclass(frozen=True)
class Incident:
    """A row of `incidents`, as far as alerts show it."""

    incident_id: int
    kind: str
    error_type: str
    opened_at: datetime
    last_seen_at: datetime
    runs: int
    rounds: int
    due: bool


@dataclass(frozen=True)
class Incidents:
    """Those of one tenant, in one transaction."""

    connection: psycopg.Connection
    schema: str
    tenant_id: str
    settings: AlertSettings

    def record(
        self, trouble: AlertEvent, scan_id: str, message: Callable[[Incident], Message]
    ) -> Incident:
        """Open the incident, or note that it goes on; put its alert into the outbox if one is due.

        One is due when it is opened, and again after `repeat_after_s`.
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
            returning {columns},
                (alerted_at is null
                 or alerted_at <= now() - make_interval(secs => %(repeat_after_s)s)) as due
            """,
            kind=trouble.kind,
            error_type=trouble.error_type,
            cause=trouble.cause,
            said=trouble.why,
            scan_id=scan_id,
            kept=SCANS_KEPT,
            repeat_after_s=self.settings.repeat_after_s,
        )
        if incident.due and trouble.kind in self.settings.on and self.settings.channels:
            incident = self._next_round(incident)
            self._put_out(incident, message(incident))
        return incident

    def recover(
        self, scan_id: str, message: Callable[[Sequence[Incident]], Message]
    ) -> list[Incident]:
        """Close what a success has ended; put one all-clear into the outbox if any was alerted.

        What was seen after the scan had finished stays open: callbacks come late. Warnings are
        no failures: they are `forget_warnings`'.
        """
        closed = self._close(
            "kind <> 'warning' and last_seen_at <= coalesce((select finished_at from {scans}"
            " where scan_id = %(scan_id)s), now())",
            scan_id=scan_id,
        )
        alerted = [incident for incident in closed if incident.rounds]
        if alerted and "recovery" in self.settings.on and self.settings.channels:
            self._put_out(alerted[0], message(alerted))
        return alerted

    def forget_warnings(self, scan_id: str, still: str | None = None) -> None:
        """Close the incidents of warnings that a scan did not have (any more), without an alert."""
        self._close(
            "kind = 'warning' and cause is distinct from %(still)s::text",
            scan_id=scan_id,
            still=still,
        )

    def knows(self, scan_id: str) -> bool:
        """Say whether an incident names the scan, be it closed."""
        return bool(
            self._rows(
                "select {columns}, false as due from {incidents} where tenant_id = %(tenant_id)s"
                " and %(scan_id)s = any (scan_ids) and kind in ('failure', 'quality')",
                scan_id=scan_id,
            )
        )

    def _close(self, condition: str, **values: Any) -> list[Incident]:
        closed = self._rows(
            "update {incidents} set closed_at = now(), closed_by_scan_id = %(scan_id)s"  # noqa: S608 - our own text
            " where tenant_id = %(tenant_id)s and closed_at is null and "
            + condition
            + " returning {columns}, false as due",
            **values,
        )
        return sorted(closed, key=lambda incident: incident.opened_at)

    def _next_round(self, incident: Incident) -> Incident:
        (next_round,) = self._rows(
            "update {incidents} set rounds = rounds + 1, alerted_at = now()"
            " where incident_id = %(incident_id)s"
            " returning {columns}, false as due",
            incident_id=incident.incident_id,
        )
        return next_round

    def _put_out(self, incident: Incident, message: Message) -> None:
        with self.connection.cursor() as cursor:
            cursor.executemany(
                self._composed(
                    "insert into {alerts} (incident_id, tenant_id, event, round, channel, message)"
                    " values (%s, %s, %s, %s, %s, %s) on conflict do nothing"
                ),
                [
                    (
                        incident.incident_id,
                        self.tenant_id,
                        message.event,
                        message.round,
                        channel.label,
                        Jsonb(message.as_json()),
                    )
                    for channel in self.settings.channels
                ],
            )

    def _rows(self, statement: str, **values: Any) -> list[Incident]:
        cursor = self.connection.cursor(row_factory=class_row(Incident))
        return cursor.execute(
            self._composed(statement), {"tenant_id": self.tenant_id, **values}
        ).fetchall()

    def _composed(self, statement: str) -> sql.Composed:
        tables = ("incidents", "alerts", "scans")
        return sql.SQL(statement).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
            **{table: sql.Identifier(self.schema, table) for table in tables},
        )


log = logging.getLogger(__name__)

#: Shared by all callbacks of a process.
DELIVERY_BUDGET = DeliveryBudget()
#: A newer try speaks for itself; who cancelled a scan knows of it.
_NO_NEWS = (OutdatedAttemptError, ScanCancelledError)


@dataclass(frozen=True)
class AlertTransaction:
    """One transaction: the scan's row and the tenant's incidents."""

    connection: WarehouseConnection
    warehouse: Warehouse
    incidents: Incidents
    row: ScanRow | None


@dataclass(frozen=True)
class AlertDispatcher:
    """Records one event of a tenant, and sends its alerts."""

    tenant: Tenant
    run: Run
    budget: DeliveryBudget = field(default_factory=lambda: DELIVERY_BUDGET)

    def task_failed(self) -> None:
        """A task raised its last exception: what it says is known, be there a row or not."""
        error = self.run.error
        # Without an exception the DAG's callback speaks.
        if error is None or isinstance(error, _NO_NEWS):
            return

        def record(transaction: AlertTransaction) -> None:
            if transaction.row is None or transaction.row.state not in ("cancelled", "succeeded"):
                failed = transaction.row.checks.get("failed", ()) if transaction.row else ()
                self._record(transaction, event_from_exception(error, failed))

        if not self._bookkept(record):
            self._tell_unrecorded(event_from_exception(error))

    def run_failed(self) -> None:
        """A run has failed: end its scan's row if no task did, and alert if that was not done."""
        if self.run.is_going_on():
            return
        if not self._bookkept(self._record_failed_run) and not self.run.was_told():
            self._tell_unrecorded(event_from_exception(unknown(self.tenant.id, self.run.task_id)))

    def scan_succeeded(self) -> None:
        """Close what is over, send the all-clear, and open what the scan warns of."""

        def record(transaction: AlertTransaction) -> None:
            warned_of = transaction.row.checks.get("warned", ()) if transaction.row else ()
            if transaction.row and warned_of:
                trouble = warned(warned_of, transaction.row.warnings)
                transaction.incidents.forget_warnings(self.run.scan_id, still=trouble.cause)
                self._record(transaction, trouble)
            else:
                transaction.incidents.forget_warnings(self.run.scan_id)
            transaction.incidents.recover(
                self.run.scan_id, lambda closed: self._all_clear(closed, transaction.row)
            )

        self._bookkept(record)

    def scan_waits(self, error: ComeBackLaterError) -> None:
        """The scan sleeps until HubSpot takes requests again."""
        self._bookkept(lambda transaction: self._record(transaction, event_from_exception(error)))

    def deadline_missed(self) -> None:
        """The scan is late, unless it is over: runs that failed were alerted already.

        Between two tries its row says failed, but no alert was sent.
        """
        trouble = event_from_exception(late(self.tenant.id, self.tenant.deadline_s))

        def record(transaction: AlertTransaction) -> None:
            row = transaction.row
            is_told = transaction.incidents.knows(self.run.scan_id)
            if row is None or not row.is_over or (row.state == "failed" and not is_told):
                self._record(transaction, trouble)

        if self.run.state not in ("success", "failed") and not self._bookkept(record):
            self._tell_unrecorded(trouble)

    def _record_failed_run(self, transaction: AlertTransaction) -> None:
        row = transaction.row
        error = killed(self.tenant.id, self.run.task_id, self.run.reason)
        if row is None:
            # the task's own callback knew why: before there is a row only exceptions end a task
            if not transaction.incidents.knows(self.run.scan_id):
                self._record(
                    transaction, event_from_exception(unknown(self.tenant.id, self.run.task_id))
                )
        elif not row.is_over:
            # false: another callback was faster, and sends the alert
            scan_id, ended_at = self.run.scan_id, self.run.ended_at
            if end_scan(transaction.connection, scan_id, error, ended_at=ended_at):
                self._record(transaction, event_from_exception(error))
        elif row.state == "failed" and not transaction.incidents.knows(self.run.scan_id):
            failed, said = row.checks.get("failed", ()), row.error or ""
            # of a killed task the REST API may have noticed the end first, and knows less
            ended_by_others = said.startswith(type(error).__name__)
            on_record = event_from_row(said, row.remedy or "", failed)
            self._record(transaction, event_from_exception(error) if ended_by_others else on_record)

    def _record(self, transaction: AlertTransaction, trouble: AlertEvent) -> None:
        transaction.incidents.record(
            trouble,
            self.run.scan_id,
            lambda incident: self._message(trouble, transaction.row, incident),
        )

    def _bookkept(self, record: Callable[[AlertTransaction], None]) -> bool:
        """Write the event down, then deliver what is to be delivered.

        False: PostgreSQL could not record it, and nothing was delivered.
        """
        try:
            with self._transaction() as transaction:
                record(transaction)
                warehouse = transaction.warehouse
        except (HubSpotDealsError, psycopg.Error) as exc:
            known = isinstance(exc, HubSpotDealsError)
            log.error(
                "tenant %s: this event is in no incident: %s",
                self.tenant.id,
                exc if known else type(exc).__name__,
            )
            return False
        try:
            self._delivery.of_outbox(Outbox(warehouse, self.tenant.id))
        except HubSpotDealsError as exc:
            log.error("tenant %s: alerts wait in the outbox: %s", self.tenant.id, exc)
        return True

    @contextmanager
    def _transaction(self) -> Iterator[AlertTransaction]:
        tenant = self.tenant
        warehouse = open_warehouse(tenant.id)
        # the first scan of all may have failed before it made the tables
        migrate(warehouse, tenant.id)
        with warehouse.connect(tenant.id) as connection:
            incidents = Incidents(connection, warehouse.schema, tenant.id, tenant.alerts)
            row = scan_row(connection, warehouse.schema, self.run.scan_id)
            yield AlertTransaction(connection, warehouse, incidents, row)

    def _tell_unrecorded(self, trouble: AlertEvent) -> None:
        """PostgreSQL is down: that is no reason to be silent. Nothing remembers it, though."""
        if trouble.kind in self.tenant.alerts.on and self.tenant.alerts.channels:
            self._delivery.unrecorded(self._message(trouble, None, None))
            self.run.note_told()

    @property
    def _delivery(self) -> Delivery:
        return Delivery(self.tenant.id, self.tenant.alerts.channels, self.budget)

    def _message(
        self, trouble: AlertEvent, row: ScanRow | None, incident: Incident | None
    ) -> Message:
        now = datetime.now(UTC)
        return Message(
            event=trouble.kind,
            round=incident.rounds if incident else 1,
            tenant=self.tenant.id,
            dag_id=self.run.dag_id,
            run_id=self.run.run_id,
            scan_id=self.run.scan_id,
            task_id=self.run.task_id,
            error_type=trouble.error_type,
            why=trouble.why,
            remedy=trouble.remedy,
            runbook=f"{RUNBOOK}#{trouble.heading}",
            at=_iso(incident.last_seen_at if incident else now),
            since=_iso(incident.opened_at if incident else now),
            runs=incident.runs if incident else 1,
            figures=row.figures if row else {},
            links=self.run.links,
        )

    def _all_clear(self, closed: Sequence[Incident], row: ScanRow | None) -> Message:
        what = ", ".join(dict.fromkeys(incident.error_type for incident in closed))
        runs = sum(incident.runs for incident in closed)
        return Message(
            event="recovery",
            round=1,
            tenant=self.tenant.id,
            dag_id=self.run.dag_id,
            run_id=self.run.run_id,
            scan_id=self.run.scan_id,
            task_id=self.run.task_id,
            error_type=None,
            why=f"Tenant {self.tenant.id}: all clear. The scan succeeded, and this is over: "
            f"{what}.",
            remedy="",
            runbook=None,
            at=_iso(datetime.now(UTC)),
            since=_iso(closed[0].opened_at),
            runs=runs,
            figures=row.figures if row else {},
            links=self.run.links,
        )


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
