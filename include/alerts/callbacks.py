"""Airflow callbacks that alert. Imported at parse time, so heavy imports are in the functions.

No callback raises an exception or changes a run's state. docs/alerts.md lists their processes.
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
        """Alert about a task's exception. Runs in the task's process, after its last try."""
        _quietly(lambda: _dispatcher(self.tenant, context).task_failed())

    def run_failed(self, context: Mapping[str, Any]) -> None:
        """Alert about a task whose process was killed. Runs in the DAG processor."""
        _quietly(lambda: _dispatcher(self.tenant, context).run_failed())

    def scan_succeeded(self, context: Mapping[str, Any]) -> None:
        """Send the all-clear. Runs in the task's process, after it has reported success."""
        _quietly(lambda: _dispatcher(self.tenant, context).scan_succeeded())

    def scan_waits(self, error: ComeBackLaterError) -> None:
        """Alert that the scan waits until HubSpot accepts requests again. Runs within the task."""
        from airflow.sdk import get_current_context

        _quietly(lambda: _dispatcher(self.tenant, get_current_context()).scan_waits(error))

    @property
    def deadlines(self) -> "list[DeadlineAlert] | None":
        """The DAG's `deadline`; None if the tenant has no `deadline_s`."""
        if self.tenant.deadline_s is None:
            return None
        from airflow.sdk.definitions.callback import AsyncCallback
        from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

        return [
            DeadlineAlert(
                reference=DeadlineReference.DAGRUN_QUEUED_AT,
                interval=timedelta(seconds=self.tenant.deadline_s),
                # by name: the triggerer imports it
                callback=AsyncCallback(
                    f"{__name__}.deadline_missed", {"tenant_id": self.tenant.id}
                ),
            )
        ]


async def deadline_missed(tenant_id: str, context: Mapping[str, Any]) -> None:
    """Alert that a scan is late. Runs in the triggerer."""
    await asyncio.to_thread(_quietly, lambda: _deadline_missed(tenant_id, context))


def _deadline_missed(tenant_id: str, context: Mapping[str, Any]) -> None:
    from include.alerts.delivery import DeliveryBudget
    from include.alerts.events import Run
    from include.alerts.incidents import AlertDispatcher

    for tenant in load_tenants(only=tenant_id).enabled:
        # The triggerer runs for weeks and would use up the budget of its process.
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
        log.exception("could not send an alert for this event")
