"""What of the stack runs, where it can be reached, and a look into its warehouse."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import requests

from include.local.airflow_api import AirflowApi
from include.local.credentials import Credentials
from include.local.errors import LocalError
from include.local.lock import launcher_pid
from include.local.postgres import EmbeddedPostgres
from include.local.processes import Programs
from include.local.report import Report
from include.local.stack import LocalStack

EXAMPLE_QUERY = "select _tenant_id, count(*) from hubspot_deals.deals group by 1"


def addresses(stack: LocalStack) -> dict[str, str]:
    """Return where a person finds what the stack offers."""
    found = _airflow(stack.url, stack.credentials)
    if stack.uses_embedded_warehouse:
        found["Warehouse"] = stack.postgres.dsn("warehouse")
        found["  look inside"] = f'make psql SQL="{EXAMPLE_QUERY}"'
    else:
        # Yours, and so is its password: not printed.
        found["Warehouse"] = "the one of your settings"
    return {**found, "Logs": str(stack.programs.logs)}


def print_status(state_dir: Path, port: int, report: Report) -> bool:
    """Print every program with its state, and where Airflow is; False if not all of it runs."""
    programs = Programs(state_dir).on_record()
    for program in sorted(programs, key=lambda program: program.name):
        state = f"running, process {program.pid}" if program.process else "ended"
        report.line(f"  {program.name:<14} {state}")
    postgres = EmbeddedPostgres(state_dir)
    pid = postgres.pid
    report.line(f"  {'postgresql':<14} {f'running, process {pid}' if pid else 'not running'}")
    if launcher := launcher_pid(state_dir):
        report.line(f"  {'launcher':<14} running, process {launcher}")
    runs = bool(pid) and bool(programs) and all(program.process for program in programs)
    if runs:
        report.line()
        report.addresses(_airflow(f"http://localhost:{port}", Credentials.of(state_dir)))
    return runs


def _airflow(url: str, login: Credentials) -> dict[str, str]:
    return {"Airflow UI": url, "  log in as": f"{login.admin_user} / {login.admin_password}"}


def print_token(state_dir: Path, port: int, report: Report) -> None:
    """Print a token for Airflow's REST API and ours. Raises LocalError."""
    login = Credentials.of(state_dir)
    api = AirflowApi(f"http://127.0.0.1:{port}", login.admin_user, login.admin_password)
    try:
        report.line(api.token())
    except requests.RequestException as exc:
        raise LocalError(
            f"No Airflow of this checkout answers on port {port}.", "Start it with: make demo"
        ) from exc


def open_psql(state_dir: Path, statement: str) -> None:
    """Become psql, connected to the embedded warehouse. Raises LocalError."""
    postgres = EmbeddedPostgres(state_dir)
    if postgres.pid is None:
        raise LocalError("The local PostgreSQL does not run.", "Start it with: make demo")
    postgres.start()
    url = urlsplit(postgres.dsn("warehouse"))
    options = ["-h", "127.0.0.1", "-p", str(url.port), "-U", str(url.username), "warehouse"]
    options += ["-c", statement] if statement else []
    # By the environment: a command line is there for everybody to read.
    environment = {**os.environ, "PGPASSWORD": postgres.password}
    os.execve(postgres.psql, [str(postgres.psql), *options], environment)  # noqa: S606 - no shell wanted
