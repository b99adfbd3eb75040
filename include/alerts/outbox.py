"""The outbox: alerts that are to be delivered, and what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.rows import class_row

from include.warehouse.connection import Warehouse

#: After so many an alert stays undelivered.
MAX_ATTEMPTS = 10
#: Whoever claimed an alert and says nothing for so long has died: longer than any delivery.
LEASE_S = 120


@dataclass(frozen=True)
class Pending:
    """An alert that this process has claimed, and nobody else sends now."""

    alert_id: int
    channel: str
    attempts: int
    message: Mapping[str, Any]


@dataclass(frozen=True)
class Outbox:
    """The alerts of one tenant."""

    warehouse: Warehouse
    tenant_id: str

    def claim(self) -> list[Pending]:
        """Claim what is to be delivered, the oldest first, what failed before included."""
        with self.warehouse.connect(self.tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(Pending))
            claimed = cursor.execute(
                sql.SQL(
                    """
                    update {alerts} set claimed_at = now(), attempts = attempts + 1
                    where alert_id in (
                        select alert_id from {alerts}
                        where tenant_id = %(tenant_id)s and sent_at is null
                            and attempts < %(max_attempts)s
                            and (claimed_at is null
                                 or claimed_at < now() - make_interval(secs => %(lease_s)s))
                        order by alert_id
                        for update skip locked
                    )
                    returning alert_id, channel, attempts, message
                    """
                ).format(alerts=self._table),
                {
                    "tenant_id": self.tenant_id,
                    "max_attempts": MAX_ATTEMPTS,
                    "lease_s": LEASE_S,
                },
            ).fetchall()
        return sorted(claimed, key=lambda alert: alert.alert_id)

    def note(self, alert: Pending, error: str | None) -> None:
        """Write down whether a claimed alert was delivered; if not, the next event tries again."""
        with self.warehouse.connect(self.tenant_id) as connection:
            connection.execute(
                sql.SQL(
                    "update {} set claimed_at = null, error = %(error)s,"
                    " sent_at = case when %(error)s::text is null then now() end"
                    " where alert_id = %(alert_id)s and sent_at is null"
                ).format(self._table),
                {"alert_id": alert.alert_id, "error": error},
            )

    @property
    def _table(self) -> sql.Identifier:
        return sql.Identifier(self.warehouse.schema, "alerts")
