"""A scan's row in `scans`, which tells how it went."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from include.errors import HubSpotDealsError
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.rows import adapted, assignments

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScanLog:
    """Writes a scan's row."""

    warehouse: Warehouse
    scan: Scan

    def open(self) -> None:
        """Make the row, or make it as new when this run's first task runs again."""
        tenant, window = self.scan.tenant, self.scan.window
        self._execute(
            """
            insert into {scans} (scan_id, tenant_id, dag_id, run_id, mode, window_start, window_end,
                                 state, attempt)
            values (%s, %s, %s, %s, %s, %s, %s, 'validating', 1)
            on conflict (scan_id) do update
            set state = 'validating',
                mode = excluded.mode,
                window_start = excluded.window_start,
                window_end = excluded.window_end,
                attempt = {scans}.attempt + 1,
                started_at = now(),
                finished_at = null,
                error = null
            """,
            [
                self.scan.id,
                tenant.id,
                tenant.dag_id,
                self.scan.run_id,
                self.scan.mode,
                window.start if window else None,
                window.end if window else None,
            ],
        )

    def set(self, **columns: Any) -> None:
        """Write columns of the row; dicts and lists become jsonb."""
        self._execute(
            "update {scans} set {assignments} where scan_id = %(scan_id)s",
            {**adapted(columns), "scan_id": self.scan.id},
            assignments=assignments(columns),
        )

    def succeed(self) -> None:
        self._execute(
            "update {scans} set state = 'succeeded', finished_at = now() where scan_id = %s",
            [self.scan.id],
        )

    @contextmanager
    def step(self, state: str) -> Iterator[None]:
        """Mark the scan as being in *state*; as failed, with the message, if the block raises."""
        self.set(state=state, error=None, finished_at=None)
        try:
            yield
        except Exception as exc:
            self._record_failure(exc)
            raise

    def _record_failure(self, exc: Exception) -> None:
        # Messages of other libraries can hold rows; ours never do.
        known = isinstance(exc, HubSpotDealsError)
        error = f"{type(exc).__name__}: {exc}" if known else f"{type(exc).__name__}, see the log"
        try:
            self._execute(
                "update {scans} set state = 'failed', error = %s, finished_at = now() "
                "where scan_id = %s",
                [error, self.scan.id],
            )
        except HubSpotDealsError as also:
            log.error("the failure could not be written to the scan's row: %s", also)

    def _execute(
        self, statement: str, values: list[Any] | dict[str, Any], **parts: sql.Composable
    ) -> None:
        scans = sql.Identifier(self.warehouse.schema, "scans")
        with self.warehouse.connect(self.scan.tenant.id) as connection:
            connection.execute(sql.SQL(statement).format(scans=scans, **parts), values)
