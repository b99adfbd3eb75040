"""`make run`: the tenants, tokens and database of `.env`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psycopg

from include.local.airflow_settings import PROJECT_ROOT
from include.local.dotenv_file import airflow_port, read_dotenv
from include.local.errors import LocalError
from include.local.launcher import Afterwards, orderly_end, scan_and_show, start
from include.local.report import Report
from include.local.stack import LocalStack
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
