"""Makes an incident and its alerts of an event, and delivers them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg

from include.alerts.delivery import Delivery, Patience
from include.alerts.event import (
    Trouble,
    killed,
    late,
    trouble_of,
    trouble_on_record,
    unknown,
    warned,
)
from include.alerts.incident import Incident, Incidents
from include.alerts.message import Message
from include.alerts.outbox import Outbox
from include.alerts.run import Run
from include.alerts.scan_row import ScanRow, scan_row
from include.errors import (
    RUNBOOK,
    ComeBackLaterError,
    HubSpotDealsError,
    OutdatedAttemptError,
    ScanCancelledError,
)
from include.tenants import Tenant
from include.warehouse.connection import Warehouse, open_warehouse
from include.warehouse.migrations import migrate
from include.warehouse.scan_end import end_scan

log = logging.getLogger(__name__)

#: Shared by all callbacks of a process.
PATIENCE = Patience()
#: A newer try speaks for itself; who cancelled a scan knows of it.
_NO_NEWS = (OutdatedAttemptError, ScanCancelledError)


@dataclass(frozen=True)
class Ledger:
    """One transaction: the scan's row and the tenant's incidents."""

    connection: psycopg.Connection
    warehouse: Warehouse
    incidents: Incidents
    row: ScanRow | None


@dataclass(frozen=True)
class Teller:
    """Tells a tenant's people of one event."""

    tenant: Tenant
    run: Run
    patience: Patience = field(default_factory=lambda: PATIENCE)

    def task_failed(self) -> None:
        """A task raised its last exception: what it says is known, be there a row or not."""
        error = self.run.error
        # Without an exception the DAG's callback speaks.
        if error is None or isinstance(error, _NO_NEWS):
            return

        def record(ledger: Ledger) -> None:
            if ledger.row is None or ledger.row.state not in ("cancelled", "succeeded"):
                failed = ledger.row.checks.get("failed", ()) if ledger.row else ()
                self._record(ledger, trouble_of(error, failed))

        if not self._bookkept(record):
            self._tell_unrecorded(trouble_of(error))

    def run_failed(self) -> None:
        """A run has failed: end its scan's row if nobody did, and tell what is not told yet."""
        if self.run.is_going_on():
            return
        if not self._bookkept(self._record_failed_run) and not self.run.was_told():
            self._tell_unrecorded(trouble_of(unknown(self.tenant.id, self.run.task_id)))

    def scan_succeeded(self) -> None:
        """Close what is over, tell it, and open what the scan warns of."""

        def record(ledger: Ledger) -> None:
            warned_of = ledger.row.checks.get("warned", ()) if ledger.row else ()
            if ledger.row and warned_of:
                trouble = warned(warned_of, ledger.row.warnings)
                ledger.incidents.forget_warnings(self.run.scan_id, still=trouble.cause)
                self._record(ledger, trouble)
            else:
                ledger.incidents.forget_warnings(self.run.scan_id)
            ledger.incidents.recover(
                self.run.scan_id, lambda closed: self._all_clear(closed, ledger.row)
            )

        self._bookkept(record)

    def scan_waits(self, error: ComeBackLaterError) -> None:
        """The scan sleeps until HubSpot takes requests again."""
        self._bookkept(lambda ledger: self._record(ledger, trouble_of(error)))

    def deadline_missed(self) -> None:
        """The scan is late, unless it is over: runs that failed have told why already.

        Between two tries its row says failed, but nobody has told of it.
        """
        trouble = trouble_of(late(self.tenant.id, self.tenant.deadline_s))

        def record(ledger: Ledger) -> None:
            row = ledger.row
            is_told = ledger.incidents.knows(self.run.scan_id)
            if row is None or not row.is_over or (row.state == "failed" and not is_told):
                self._record(ledger, trouble)

        if self.run.state not in ("success", "failed") and not self._bookkept(record):
            self._tell_unrecorded(trouble)

    def _record_failed_run(self, ledger: Ledger) -> None:
        row = ledger.row
        error = killed(self.tenant.id, self.run.task_id, self.run.reason)
        if row is None:
            # the task's own callback knew why: before there is a row only exceptions end a task
            if not ledger.incidents.knows(self.run.scan_id):
                self._record(ledger, trouble_of(unknown(self.tenant.id, self.run.task_id)))
        elif not row.is_over:
            # false: another callback was faster, and tells
            schema, ended_at = ledger.warehouse.schema, self.run.ended_at
            if end_scan(ledger.connection, schema, self.run.scan_id, error, ended_at=ended_at):
                self._record(ledger, trouble_of(error))
        elif row.state == "failed" and not ledger.incidents.knows(self.run.scan_id):
            failed, said = row.checks.get("failed", ()), row.error or ""
            # of a killed task the REST API may have noticed the end first, and knows less
            ended_by_others = said.startswith(type(error).__name__)
            on_record = trouble_on_record(said, row.remedy or "", failed)
            self._record(ledger, trouble_of(error) if ended_by_others else on_record)

    def _record(self, ledger: Ledger, trouble: Trouble) -> None:
        ledger.incidents.record(
            trouble,
            self.run.scan_id,
            lambda incident: self._message(trouble, ledger.row, incident),
        )

    def _bookkept(self, record: Callable[[Ledger], None]) -> bool:
        """Write the event down, then deliver what is to be delivered.

        False: PostgreSQL could not be told, and nothing was delivered.
        """
        try:
            with self._ledger() as ledger:
                record(ledger)
                warehouse = ledger.warehouse
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
    def _ledger(self) -> Iterator[Ledger]:
        tenant = self.tenant
        warehouse = open_warehouse(tenant.id)
        # the first scan of all may have failed before it made the tables
        migrate(warehouse, tenant.id)
        with warehouse.connect(tenant.id) as connection:
            incidents = Incidents(connection, warehouse.schema, tenant.id, tenant.alerts)
            row = scan_row(connection, warehouse.schema, self.run.scan_id)
            yield Ledger(connection, warehouse, incidents, row)

    def _tell_unrecorded(self, trouble: Trouble) -> None:
        """PostgreSQL is down: that is no reason to be silent. Nothing remembers it, though."""
        if trouble.kind in self.tenant.alerts.on and self.tenant.alerts.channels:
            self._delivery.unrecorded(self._message(trouble, None, None))
            self.run.note_told()

    @property
    def _delivery(self) -> Delivery:
        return Delivery(self.tenant.id, self.tenant.alerts.channels, self.patience)

    def _message(self, trouble: Trouble, row: ScanRow | None, incident: Incident | None) -> Message:
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
