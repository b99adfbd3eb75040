"""What a tenant's DAG is made of besides its tasks: params, the asset, the link to a scan's page.

Imported at parse time.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from airflow.sdk import Asset, BaseOperator, BaseOperatorLink, Param
from airflow.sdk.configuration import conf

from include.scan import MODES, SCAN_PAGE, scan_id
from include.tenants import Tenant

MODE_LABELS: Final = {
    "auto": "Automatic: what is due (recommended)",
    "incremental": "Incremental: what changed since the last scan",
    "full": "Full: everything again",
}
WINDOW: Final = "Only what was modified in a window of time"
TUNING: Final = "Tuning"


def params_of(tenant: Tenant) -> dict[str, Any]:
    """Return name → param of the trigger form, in its order.

    Airflow refuses what breaks these rules at once. `Scan.of_run` refuses the rest.
    """
    return {
        "mode": Param(
            "auto",
            type="string",
            enum=list(MODES),
            values_display=MODE_LABELS,
            title="What to read",
            description="Automatic reads everything if a full scan is due, and otherwise what "
            f"changed since the last successful scan; {tenant.first_scan_cost}.",
        ),
        "rewrite_rows": Param(
            False,
            type="boolean",
            title="Write every row again",
            description="Unchanged rows too, after rows were damaged in PostgreSQL. The scan is "
            "full.",
        ),
        "window_start": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified from (included)",
            description="Leave both empty for an ordinary scan. A window does not move the "
            "watermark. Not with Full.",
            section=WINDOW,
        ),
        "window_end": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified before (excluded)",
            description="Empty or in the future: until now.",
            section=WINDOW,
        ),
        "checkpoint_pages": Param(
            tenant.checkpoint_pages,
            type="integer",
            minimum=1,
            maximum=1000,
            title="Pages between checkpoints",
            description="At most this many pages (100 records each) are read again after a crash; "
            "half as many are committed together. The tenant's setting is filled in.",
            section=TUNING,
        ),
    }


def deals_asset(tenant: Tenant) -> Asset:
    """Return the tenant's asset; ``Asset.ref(name="hubspot_deals/<tenant>/deals")`` is the same.

    The URI names no database: it would have to be known where DAGs are parsed, and a move to
    another one would make another asset of it. ``x-``: no provider will ever claim the scheme.
    """
    return Asset(
        name=f"hubspot_deals/{tenant.id}/deals",
        uri=f"x-hubspot-deals://{tenant.id}/deals",
        group="hubspot_deals",
    )


def emit(outlet_events: Any, tenant: Tenant, extra: Mapping[str, Any]) -> None:
    """Have the running task's asset event carry *extra*; Airflow sends it if the task succeeds."""
    outlet_events[deals_asset(tenant)].extra = dict(extra)


class ScanLink(BaseOperatorLink):
    """Shown by Airflow among a task's extra links.

    Airflow asks a task's links when the task has ended. `show` does it when the task begins: a
    scan that runs for hours is what one wants to look at.
    """

    name = "Status of this scan"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return page_of(ti_key.dag_id, ti_key.run_id)

    def show(self, context: Any) -> None:
        ti = context["ti"]
        ti.xcom_push(self.xcom_key, page_of(ti.dag_id, ti.run_id))


def page_of(dag_id: str, run_id: str) -> str:
    """Return the path of a scan's page, with the prefix that Airflow is served below, if any."""
    prefix = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{prefix}{SCAN_PAGE}{scan_id(dag_id, run_id)}"
