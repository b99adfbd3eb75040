"""`make demo`: three tenants of a simulated HubSpot, from nothing to rows in PostgreSQL."""

from collections.abc import Mapping
from pathlib import Path

from include.local.airflow_settings import PROJECT_ROOT
from include.local.dotenv_file import airflow_port, read_dotenv, without_the_users_own
from include.local.launcher import Afterwards, orderly_end, scan_and_show, start
from include.local.mailbox import CONNECTION, start_mailbox
from include.local.processes import Programs
from include.local.report import Report
from include.local.simulator import (
    DEMO_TENANTS_FILE,
    DEMO_TOKENS,
    connection_to,
    start_simulator,
)
from include.local.stack import LocalStack
from include.tenants import load_tenants

#: Shown at the end. Tokens are in Airflow's own store, so that they can be changed in its UI.
ALERTS = {
    "Alerts": "by mail to ops@example.com, kept on this machine; read it with: make mail",
    "  to get one": "give the connection hubspot_acme a wrong password (Admin, Connections), "
    "trigger hubspot_deals__acme",
}


def demo(
    state_dir: Path, environ: Mapping[str, str], afterwards: Afterwards, report: Report
) -> None:
    """Start everything, scan the three tenants, show the result. Raises LocalError."""
    port = airflow_port({**read_dotenv(PROJECT_ROOT / ".env"), **environ})
    env = {
        **without_the_users_own(environ),
        "HUBSPOT_DEALS_TENANTS_FILE": str(DEMO_TENANTS_FILE),
    }
    tenants = load_tenants(env).enabled
    with orderly_end(state_dir, report, afterwards):
        stack = LocalStack(state_dir, port, env)
        stack.require_free_port()
        with report.step("HubSpot simulator"):
            base_url = start_simulator(Programs(state_dir), state_dir, env)
        if mail := environ.get(CONNECTION):
            stack.env[CONNECTION] = mail
        else:
            with report.step("mail server"):
                stack.env.update(start_mailbox(Programs(state_dir), state_dir, env))
        start(stack, report)
        for tenant in tenants:
            stack.api.save_connection(
                tenant.connection_id, connection_to(base_url, DEMO_TOKENS[tenant.id])
            )
        scan_and_show(stack, tenants, report, afterwards, ALERTS)
