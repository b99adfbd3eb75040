"""What Airflow calls when something happened to a scan. Imported where DAGs are parsed: light.

No callback raises or changes a run's state. docs/alerts.md says in which process each one runs.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from include.errors import ComeBackLaterError
from include.tenants import Tenant, load_tenants

if TYPE_CHECKING:
    from airflow.sdk.definitions.deadline import DeadlineAlert

    from include.alerts.incidents import AlertDispatcher

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Callbacks:
    """The callbacks of one tenant's DAG."""

    tenant: Tenant

    def task_failed(self, context: Mapping[str, Any]) -> None:
        """Alert of a task's exception; runs in the task's process, after its last try."""
        _quietly(lambda: _dispatcher(self.tenant, context).task_failed())

    def run_failed(self, context: Mapping[str, Any]) -> None:
        """Alert of a killed process, which cannot do so. Runs in the DAG processor."""
        _quietly(lambda: _dispatcher(self.tenant, context).run_failed())

    def scan_succeeded(self, context: Mapping[str, Any]) -> None:
        """Send the all-clear; runs in the task's process, after it has reported success."""
        _quietly(lambda: _dispatcher(self.tenant, context).scan_succeeded())

    def scan_waits(self, error: ComeBackLaterError) -> None:
        """Alert that the scan waits until HubSpot takes requests again; runs within the task."""
        from airflow.sdk import get_current_context

        _quietly(lambda: _dispatcher(self.tenant, get_current_context()).scan_waits(error))

    @property
    def deadlines(self) -> "list[DeadlineAlert] | None":
        """What the DAG's `deadline` is to be; None: the tenant has none."""
        if self.tenant.deadline_s is None:
            return None
        from airflow.sdk.definitions.callback import AsyncCallback
        from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

        return [
            DeadlineAlert(
                reference=DeadlineReference.DAGRUN_QUEUED_AT,
                interval=timedelta(seconds=self.tenant.deadline_s),
                # the name, not the function: Airflow imports it where it runs
                callback=AsyncCallback(
                    f"{__name__}.deadline_missed", {"tenant_id": self.tenant.id}
                ),
            )
        ]


async def deadline_missed(tenant_id: str, context: Mapping[str, Any]) -> None:
    """Alert that a scan is late; runs in the triggerer."""
    await asyncio.to_thread(_quietly, lambda: _deadline_missed(tenant_id, context))


def _deadline_missed(tenant_id: str, context: Mapping[str, Any]) -> None:
    from include.alerts.delivery import DeliveryBudget
    from include.alerts.events import Run
    from include.alerts.incidents import AlertDispatcher

    for tenant in load_tenants(only=tenant_id).enabled:
        # of its own: the triggerer lives for weeks
        AlertDispatcher(
            tenant, Run.of_late_run(context["dag_run"]), DeliveryBudget()
        ).deadline_missed()


def _dispatcher(tenant: Tenant, context: Mapping[str, Any]) -> "AlertDispatcher":
    from include.alerts.events import Run
    from include.alerts.incidents import AlertDispatcher

    return AlertDispatcher(tenant, Run.of_context(context))


def _quietly(dispatch: Callable[[], None]) -> None:
    try:
        dispatch()
    except Exception:  # a failed alert must not fail the run
        log.exception("no alert could be made of this event")
