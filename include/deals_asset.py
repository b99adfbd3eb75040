"""The asset that stands for one tenant's deals in PostgreSQL: other DAGs are scheduled on it."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset

from include.tenants import Tenant


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
