"""Params, asset and extra link of a tenant's DAG. Imported at parse time."""

from typing import Any, Final
from urllib.parse import urlsplit

from airflow.sdk import Asset, BaseOperator, BaseOperatorLink, Param
from airflow.sdk.configuration import conf

from include.scan import MODES, SCAN_PAGE, scan_id
from include.tenants import Tenant

MODE_LABELS: Final = {
    "auto": "Automatic (recommended)",
    "incremental": "Incremental: changes since the last successful scan",
    "full": "Full: everything",
}
WINDOW: Final = "Only records modified in a time window"
TUNING: Final = "Tuning"


def params_of(tenant: Tenant) -> dict[str, Any]:
    """Return the params of the trigger form in order. `Scan.of_run` validates combinations."""
    return {
        "mode": Param(
            "auto",
            type="string",
            enum=list(MODES),
            values_display=MODE_LABELS,
            title="What to read",
            description="Automatic reads everything if a full scan is due, otherwise what changed "
            f"since the last successful scan; {tenant.first_scan_cost}.",
        ),
        "rewrite_rows": Param(
            False,
            type="boolean",
            title="Write every row again",
            description="Also unchanged rows: repairs rows that were changed or deleted in "
            "PostgreSQL. The scan is full.",
        ),
        "window_start": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified from (inclusive)",
            description="Leave both empty for an ordinary scan. A window does not move the "
            "watermark. Not with Full.",
            section=WINDOW,
        ),
        "window_end": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified before (exclusive)",
            description="Empty: until now.",
            section=WINDOW,
        ),
        "checkpoint_pages": Param(
            tenant.checkpoint_pages,
            type="integer",
            minimum=1,
            maximum=1000,
            title="Pages between checkpoints",
            description="At most this many pages (100 records each) are read again after a crash; "
            "half as many are committed together. The default is the tenant's setting.",
            section=TUNING,
        ),
    }


def deals_asset(tenant: Tenant) -> Asset:
    """Return the tenant's asset, the same as ``Asset.ref(name="hubspot_deals/<tenant>/deals")``.

    The URI does not name the database, which is unknown at parse time and can change. With the
    prefix ``x-``, the scheme never collides with a provider's.
    """
    return Asset(
        name=f"hubspot_deals/{tenant.id}/deals",
        uri=f"x-hubspot-deals://{tenant.id}/deals",
        group="hubspot_deals",
    )


class ScanLink(BaseOperatorLink):
    """A task's extra link to the page of its scan.

    Airflow stores extra links when a task ends. `show` stores this one when the task begins, so
    that the page can be opened while the scan runs.
    """

    name = "Status of this scan"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return page_of(ti_key.dag_id, ti_key.run_id)

    def show(self, context: Any) -> None:
        ti = context["ti"]
        ti.xcom_push(self.xcom_key, page_of(ti.dag_id, ti.run_id))


def page_of(dag_id: str, run_id: str) -> str:
    """Return the path of a scan's page, including the prefix that Airflow is served below."""
    prefix = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{prefix}{SCAN_PAGE}{scan_id(dag_id, run_id)}"
