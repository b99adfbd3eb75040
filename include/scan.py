"""A scan: one run of a tenant's DAG, and its params."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.errors import ScanRequestError, naming_tenant
from include.tenants import Tenant

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol

SCAN_ID_NAMESPACE = uuid.UUID("5b3f0f60-6d2e-5f0a-9a44-7c2b6f0e9d11")
#: Path of a scan's page in Airflow's UI, without the scan's id.
SCAN_PAGE = "/plugin/hubspot-scans/hubspot-deals/ui?scan="
#: auto: full if a full scan is due, otherwise incremental.
MODES = ("auto", "incremental", "full")


@dataclass(frozen=True)
class Window:
    """Modification times ``[start, end)``, aware UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Scan:
    """Identity and params of a scan. Its id is the same for every try.

    ``rewrite_rows``: write unchanged rows too; the mode is then full.
    ``run_started_at``: when Airflow started the run, or started it again after it was cleared.
    """

    tenant: Tenant
    run_id: str
    mode: str = "auto"
    window: Window | None = None
    rewrite_rows: bool = False
    run_started_at: datetime | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        return scan_id(self.tenant.dag_id, self.run_id)

    @classmethod
    def of_run(
        cls,
        tenant: Tenant,
        run: "DagRunProtocol",
        params: Mapping[str, Any],
        now: datetime | None = None,
    ) -> "Scan":
        """Read a run's params, whose types and values Airflow has validated.

        Raises ScanRequestError for a combination that makes no sense, and for a time that can't be
        read.

        A backfill's window is its data interval. A manual run's data interval is ignored, because
        it comes from the schedule and not from the user.
        """
        with naming_tenant(tenant.id):
            mode = str(params.get("mode") or "auto")
            window = _window(params, now or datetime.now(UTC))
            if window and mode == "full":
                raise _refused(
                    "window_start is given, but a full scan has no window",
                    "Leave the window empty, or choose another mode.",
                )
            rewrite_rows = bool(params.get("rewrite_rows"))
            if rewrite_rows and (window or mode == "incremental"):
                given = "a window is given" if window else "mode is 'incremental'"
                raise _refused(
                    f"rewrite_rows needs a full scan, but {given}",
                    "Choose mode auto or full and leave the window empty, or leave rewrite_rows "
                    "out.",
                )
            mode = "full" if rewrite_rows else mode
            if window is None and mode != "full" and run.run_type == "backfill":
                window = _data_interval(run)
        return cls(tenant, run.run_id, mode, window, rewrite_rows, run.start_date)


def scan_id(dag_id: str, run_id: str) -> str:
    """Return the scan's id: the UUIDv5 of DAG id and run id."""
    return str(uuid.uuid5(SCAN_ID_NAMESPACE, f"{dag_id}/{run_id}"))


def _data_interval(run: "DagRunProtocol") -> Window:
    # a run without a logical date has none
    start, end = run.data_interval_start, run.data_interval_end
    if start is None or end is None or start >= end:
        raise _refused(
            f"the backfill's data interval is empty ({start} to {end})",
            "Give the tenant a schedule, from which Airflow derives a backfill's data intervals.",
        )
    return Window(start.astimezone(UTC), end.astimezone(UTC))


def _window(params: Mapping[str, Any], now: datetime) -> Window | None:
    start = _moment("window_start", params.get("window_start"))
    end = _moment("window_end", params.get("window_end"))
    if start is None and end is None:
        return None
    if start is None:
        raise _refused(
            "window_end is given without window_start", "Give both, or window_start alone."
        )
    if start >= now:
        raise _refused(
            f"window_start {start.isoformat()} is in the future", "Choose an earlier one."
        )
    # Nothing has been modified in the future, so a window that ends there ends now.
    end = min(end, now) if end else now
    if start >= end:
        raise _refused(
            f"window_start {start.isoformat()} is not before window_end {end.isoformat()}",
            "Swap them, or correct one.",
        )
    return Window(start, end)


def _moment(name: str, text: object) -> datetime | None:
    if text in (None, ""):
        return None
    try:
        moment = datetime.fromisoformat(str(text))
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _refused(
            f"{name} is {str(text)[:60]!r}, which is not a date and time",
            "Write it as 2026-01-31T00:00:00Z.",
        ) from None


def _refused(what: str, remedy: str) -> ScanRequestError:
    return ScanRequestError(f"{what}. Nothing was read.", remedy=f"{remedy} Then trigger again.")
