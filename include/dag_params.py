"""The params of a tenant's DAG: what the form of *Trigger* asks, and what Airflow refuses at once.

Imported at parse time. What only the scan can judge is refused by `Scan.of_run`.
"""

from typing import Any, Final

from airflow.sdk import Param

from include.scan import MODES
from include.tenants import Tenant

MODE_LABELS: Final = {
    "auto": "Automatic: what is due (recommended)",
    "incremental": "Incremental: what changed since the last scan",
    "full": "Full: everything again",
}
WINDOW: Final = "Only what was modified in a window of time"
TUNING: Final = "Tuning"


def params_of(tenant: Tenant) -> dict[str, Any]:
    """Return name → param, in the order of the form."""
    return {
        "mode": Param(
            "auto",
            type="string",
            enum=list(MODES),
            values_display=MODE_LABELS,
            title="What to read",
            description="Automatic reads everything if a full scan is due, and else what changed "
            "since the last successful scan.",
        ),
        "rewrite_rows": Param(
            False,
            type="boolean",
            title="Write every row again",
            description="Also rows whose content is the same: after something has damaged rows in "
            "PostgreSQL. The scan is a full one.",
        ),
        "window_start": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified from (included)",
            description="Leave both empty for an ordinary scan. A window never moves the point "
            "from which the next scan goes on. Not with Full.",
            section=WINDOW,
        ),
        "window_end": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Modified before (excluded)",
            description="Empty, or in the future: until now.",
            section=WINDOW,
        ),
        "checkpoint_pages": Param(
            tenant.checkpoint_pages,
            type="integer",
            minimum=1,
            maximum=1000,
            title="Pages between checkpoints",
            description="How many pages of 100 deals a kill costs at most; half of them are loaded "
            "and committed together. The tenant's setting is filled in.",
            section=TUNING,
        ),
    }
