"""What `make demo` and `make run` scan: the simulated HubSpot, or the user's own account."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psycopg

from include.ops.local.credentials import airflow_port, read_dotenv, without_the_users_own
from include.ops.local.launcher import Afterwards, orderly_end, scan_and_show, start
from include.ops.local.mail import CONNECTION, start_mailbox
from include.ops.local.processes import PROJECT_ROOT, LocalError, Programs
from include.ops.local.report import Report
from include.ops.local.simulator import (
    DEMO_TENANTS_FILE,
    DEMO_TOKENS,
    connection_to,
    start_simulator,
)
from include.ops.local.stack import LocalStack
from include.tenants import ENVIRONMENT_TENANT_ID, Tenant, Tenants, load_tenants

TENANTS_FILE = "HUBSPOT_DEALS_TENANTS_FILE"
NOTHING_TO_SCAN_REMEDY = """\
Do one of these:
  - one HubSpot account: write HUBSPOT_ACCESS_TOKEN=<token> into .env (start from .env.example)
  - several: for each tenant of the tenants file a line in .env such as
      AIRFLOW_CONN_HUBSPOT_ACME='{"conn_type": "hubspot", "password": "<token>"}'
  - no account at hand: make demo"""


def run_own(
    state_dir: Path,
    environ: Mapping[str, str],
    only: Sequence[str],
    afterwards: Afterwards,
    report: Report,
) -> None:
    """Start everything and scan the tenants that have a token. Raises LocalError.

    *only*: ids of the tenants to scan; empty for all.
    """
    env = own_environment(read_dotenv(PROJECT_ROOT / ".env"), environ)
    loaded = load_tenants(env)
    tenants = chosen(loaded, only)
    for problem in loaded.problems:
        report.line(f"  ! {problem.what}")
    with orderly_end(state_dir, report, afterwards):
        stack = LocalStack(state_dir, airflow_port(env), env)
        stack.require_free_port()
        stack.start_postgres()
        ready = with_token(tenants, env, _stored_connections(stack))
        for tenant in tenants:
            if tenant not in ready:
                report.line(f"  - {tenant.id}: no token, not scanned")
        if not ready:
            names = ", ".join(tenant.id for tenant in tenants) or "none"
            raise LocalError(
                f"No tenant has a HubSpot token (tenants: {names}).", NOTHING_TO_SCAN_REMEDY
            )
        start(stack, report)
        scan_and_show(stack, ready, report, afterwards)


def own_environment(dotenv: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* and what *dotenv* adds to it: an exported variable wins over the file."""
    env = {**dotenv, **{name: value for name, value in environ.items() if value}}
    if path := env.get(TENANTS_FILE):
        env[TENANTS_FILE] = str(PROJECT_ROOT / path)
    return env


def with_token(tenants: Iterable[Tenant], env: Mapping[str, str], stored: set[str]) -> list[Tenant]:
    """Return the tenants that have a connection, in *env* or *stored* in Airflow, or the token."""
    return [
        tenant
        for tenant in tenants
        if f"AIRFLOW_CONN_{tenant.connection_id.upper()}" in env
        or tenant.connection_id in stored
        or (tenant.id == ENVIRONMENT_TENANT_ID and "HUBSPOT_ACCESS_TOKEN" in env)
    ]


def chosen(loaded: Tenants, only: Sequence[str]) -> list[Tenant]:
    """Return the tenants to scan. Raises LocalError if one of *only* can't be."""
    known = [tenant.id for tenant in loaded.enabled]
    problems = {problem.tenant_id: problem.what for problem in loaded.problems}
    for tenant_id in only:
        if tenant_id not in known:
            raise LocalError(
                problems.get(tenant_id)
                or f"There is no enabled tenant {tenant_id!r} in the tenants file.",
                f"Those are: {', '.join(known) or 'none'}.",
            )
    return [tenant for tenant in loaded.enabled if not only or tenant.id in only]


def _stored_connections(stack: LocalStack) -> set[str]:
    """Return the connections that were made in Airflow's UI at an earlier start."""
    with psycopg.connect(stack.postgres.dsn("airflow")) as connection:
        try:
            return {conn_id for (conn_id,) in connection.execute("select conn_id from connection")}
        except psycopg.errors.UndefinedTable:  # the first start
            return set()


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
