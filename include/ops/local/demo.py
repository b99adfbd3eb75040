"""`make demo` and `make run`: scan the accounts of the simulated HubSpot, or the user's own."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import psycopg

from include.ops.local.checks import Problems, answers, require_room
from include.ops.local.credentials import airflow_port, read_dotenv, without_user_settings
from include.ops.local.demo_servers import (
    CONNECTION,
    DEMO_TENANTS_FILE,
    DEMO_TOKENS,
    connection_to,
    start_mailbox,
    start_simulator,
)
from include.ops.local.launcher import Launch, Stopped, launcher_pid, orderly_end
from include.ops.local.processes import PROJECT_ROOT, LocalError
from include.ops.local.report import Report, follow, start_run
from include.ops.local.stack import LocalStack
from include.tenants import ENVIRONMENT_TENANT_ID, Tenant, Tenants, load_tenants

#: What happens after the table: stay until Ctrl-C, leave everything running, or stop everything.
Afterwards = Literal["stay", "detach", "once"]
HOW_TO_STOP: Mapping[Afterwards, str] = {
    "stay": "Ctrl-C, or in another terminal: make down",
    "detach": "make down",
}
WATCH_INTERVAL_S = 1.0
TENANTS_FILE = "HUBSPOT_DEALS_TENANTS_FILE"
NOTHING_TO_SCAN_REMEDY = """\
Do one of these:
  - one HubSpot account: write HUBSPOT_ACCESS_TOKEN=<token> into .env (start from .env.example)
  - several: for each tenant of the tenants file, write a line into .env such as
      AIRFLOW_CONN_HUBSPOT_ACME='{"conn_type": "hubspot", "password": "<token>"}'
  - no account: make demo"""
EXAMPLE_QUERY = "select _tenant_id, count(*) from hubspot_deals.deals group by 1"
ALERTS = {
    "Alerts": "by mail to ops@example.com, kept on this machine; read it with: make mail",
    "  to get one": "set a wrong token in the connection hubspot_acme (Admin, Connections), then "
    "trigger hubspot_deals__acme",
}


def demo(
    state_dir: Path, environ: Mapping[str, str], afterwards: Afterwards, report: Report
) -> None:
    """Start everything, scan the three tenants, show the result. Raises LocalError."""
    problems = Problems()
    settings = run_environment(environ, problems)
    env = {**without_user_settings(environ), TENANTS_FILE: str(DEMO_TENANTS_FILE)}
    stack = LocalStack(state_dir, airflow_port(settings, problems), env)
    launch = Launch("demo", stack.airflow_port)
    tenants = load_tenants(env).enabled

    def check() -> None:
        _check_machine(stack, problems)
        problems.require_none()

    with (
        orderly_end(state_dir, report, launch, check, detach=afterwards == "detach"),
        stack.answering(),
    ):
        with report.step("HubSpot simulator"):
            base_url = start_simulator(stack.programs, env)
        if mail := environ.get(CONNECTION):
            stack.env[CONNECTION] = mail
        else:
            with report.step("mail server"):
                stack.env[CONNECTION] = start_mailbox(stack.programs, state_dir, env)
        stack.start(report.step)
        # stored in Airflow, so that they can be edited in its UI
        for tenant in tenants:
            connection = connection_to(base_url, DEMO_TOKENS[tenant.id])
            stack.api.save_connection(tenant.connection_id, connection)
        replace(launch, ready=True).write(state_dir)
        scan_and_show(stack, tenants, report, afterwards, ALERTS)


def run(
    state_dir: Path,
    environ: Mapping[str, str],
    only: Sequence[str],
    afterwards: Afterwards,
    report: Report,
) -> None:
    """Start everything and scan the tenants that have a token. Raises LocalError.

    *only*: ids of the tenants to scan; empty for all.
    """
    problems = Problems()
    env = run_environment(environ, problems)
    stack = LocalStack(state_dir, airflow_port(env, problems), env)
    launch = Launch("run", stack.airflow_port)
    if (holder := launcher_pid(state_dir)) and stack.postgres.pid is None:
        raise LocalError(f"Process {holder} is starting the stack.", "Wait, or run: make down")

    def check() -> list[Tenant]:
        _check_machine(stack, problems)
        with report.step("settings, tenants file, tokens, database"):
            ready = _check_tenants(stack, only, problems, report)
            problems.require_none()
        return ready

    with (
        orderly_end(state_dir, report, launch, check, detach=afterwards == "detach") as ready,
        stack.answering(),
    ):
        stack.start(report.step)
        replace(launch, ready=True).write(state_dir)
        scan_and_show(stack, ready, report, afterwards)


def _check_machine(stack: LocalStack, problems: Problems) -> None:
    with problems.noted():
        stack.require_free_port()
    with problems.noted():
        require_room(stack.state_dir)


def _check_tenants(
    stack: LocalStack, only: Sequence[str], problems: Problems, report: Report
) -> list[Tenant]:
    """Return the tenants to scan; add what prevents it to *problems*."""
    ready: list[Tenant] = []
    with problems.noted():
        # Connections that were created in Airflow's UI are in its database, which is started for
        # this or is already running.
        stack.postgres.start()
        with problems.noted():
            loaded = load_tenants(stack.env)
            tenants = chosen(loaded, only)
            bad_entries = [str(problem) for problem in loaded.problems]
            if only:
                for entry in bad_entries:
                    report.print(f"  ! {entry}")
            else:
                problems += bad_entries
            ready = with_token(tenants, stack.env, _stored_connections(stack))
            if not ready and not (bad_entries and not tenants):
                names = ", ".join(tenant.id for tenant in tenants) or "none"
                raise LocalError(
                    f"No tenant has a HubSpot token (tenants: {names}).", NOTHING_TO_SCAN_REMEDY
                )
            for tenant in tenants:
                if tenant not in ready:
                    report.print(f"  - {tenant.id}: no token, not scanned")
        # "server": also finds connections that are stored in Airflow
        env = {**stack.environment, "_AIRFLOW_PROCESS_CONTEXT": "server"}
        problems += answers([tenant.id for tenant in ready], env)
    return ready


def run_environment(environ: Mapping[str, str], problems: Problems) -> dict[str, str]:
    """Return *environ* and the settings of `.env`; an exported variable overrides the file.

    Lines that can't be read are added to *problems*.
    """
    of_file = read_dotenv(PROJECT_ROOT / ".env", problems)
    env = {**of_file, **{name: value for name, value in environ.items() if value}}
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
    """Return the tenants to scan. Raises LocalError if one of *only* can't be scanned."""
    known = [tenant.id for tenant in loaded.enabled]
    problems = {problem.tenant_id: problem.what for problem in loaded.problems}
    for tenant_id in only:
        if tenant_id not in known:
            raise LocalError(
                problems.get(tenant_id)
                or f"There is no enabled tenant {tenant_id!r} in the tenants file.",
                f"The enabled tenants are: {', '.join(known) or 'none'}.",
            )
    return [tenant for tenant in loaded.enabled if not only or tenant.id in only]


def _stored_connections(stack: LocalStack) -> set[str]:
    """Return the ids of the connections that are stored in Airflow."""
    with psycopg.connect(stack.postgres.dsn("airflow")) as connection:
        try:
            return {conn_id for (conn_id,) in connection.execute("select conn_id from connection")}
        except psycopg.errors.UndefinedTable:  # the first start
            return set()


def scan_and_show(
    stack: LocalStack,
    tenants: Sequence[Tenant],
    report: Report,
    afterwards: Afterwards,
    also: Mapping[str, str] | None = None,
) -> None:
    """Scan all *tenants*, print the results and addresses, and wait if *afterwards* is stay.

    Raises LocalError if a scan fails, or if a program of the stack ends.

    :param also: more lines to print at the end.
    """
    with report.step("DAGs"):
        stack.wait_for_dags([tenant.dag_id for tenant in tenants])
        stack.fail_interrupted_runs()
    runs = [start_run(stack, tenant) for tenant in tenants]
    report.print()
    report.progress(follow(stack, runs), runs)
    report.table(runs)
    if any(run.state != "success" for run in runs):
        raise LocalError("Not every scan succeeded; the reasons are above.")
    if afterwards in HOW_TO_STOP:
        stop = {"Stop": HOW_TO_STOP[afterwards]}
        report.addresses({**addresses(stack), **(also or {}), **stop})
    try:
        while afterwards == "stay":
            stack.programs.require_alive()
            time.sleep(WATCH_INTERVAL_S)
    except Stopped:
        return


def addresses(stack: LocalStack) -> dict[str, str]:
    """Return the addresses and the login to print."""
    # the password of the user's own warehouse must not be printed
    warehouse = {"Warehouse": "as set in .env"}
    if stack.uses_embedded_warehouse:
        warehouse = {
            "Warehouse": stack.postgres.dsn("warehouse"),
            "  look inside": f'make psql SQL="{EXAMPLE_QUERY}"',
        }
    return {**stack.login, **warehouse, "Logs": str(stack.programs.logs)}
