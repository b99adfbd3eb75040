"""Incidents: what goes wrong with a tenant's scans, once for each cause until one succeeds.

Callbacks run twice, late and at once; the row of an incident is what they agree by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from include.alerts.event import Trouble
from include.alerts.message import Message
from include.tenants import AlertSettings

#: Scans that an incident names: the newest.
SCANS_KEPT = 50
_COLUMNS = ("incident_id", "kind", "error_type", "opened_at", "last_seen_at", "runs", "rounds")


@dataclass(frozen=True)
class Incident:
    """A row of `incidents`, as far as it is told."""

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
        self, trouble: Trouble, scan_id: str, message: Callable[[Incident], Message]
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
        """Close what a success has ended; put one all-clear into the outbox if any was told.

        What was seen after the scan had finished stays open: callbacks come late. Warnings are
        no failures: they are `forget_warnings`'.
        """
        closed = self._close(
            "kind <> 'warning' and last_seen_at <= coalesce((select finished_at from {scans}"
            " where scan_id = %(scan_id)s), now())",
            scan_id=scan_id,
        )
        told = [incident for incident in closed if incident.rounds]
        if told and "recovery" in self.settings.on and self.settings.channels:
            self._put_out(told[0], message(told))
        return told

    def forget_warnings(self, scan_id: str, still: str | None = None) -> None:
        """Close the incidents of warnings that a scan did not have (any more). Nobody is told."""
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
