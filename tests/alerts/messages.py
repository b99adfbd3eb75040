"""A message to test with."""

from dataclasses import replace
from typing import Any

from include.alerts.delivery import Message

MESSAGE = Message(
    event="failure",
    round=1,
    tenant="acme",
    dag_id="hubspot_deals__acme",
    run_id="manual__2026-11-24T19:00:00+00:00",
    scan_id="5f0e0000-0000-5000-8000-000000000000",
    task_id="validate_token",
    error_type="TokenRejectedError",
    why="HubSpot refused the token (401): it has expired.",
    remedy="Put a valid token into the connection hubspot_acme. Then clear the task.",
    runbook="docs/runbook.md#token-rejected",
    at="2026-11-24T19:00:05+00:00",
    since="2026-11-24T19:00:05+00:00",
    runs=1,
    figures={"deals_received": 1200, "pages": 12},
    links={
        "runbook": "http://localhost:5200/hubspot-deals/help/runbook#token-rejected",
        "run": "http://localhost:5200/dags/hubspot_deals__acme/runs/manual__1",
        "log": "http://localhost:5200/dags/hubspot_deals__acme/runs/manual__1/tasks/validate_token",
        "status": "http://localhost:5200/plugin/hubspot-scans/hubspot-deals/ui?scan=5f0e",
    },
)


def message(**changed: Any) -> Message:
    return replace(MESSAGE, **changed)
