"""`python -m include.ops.local demo|run|down|status|…`: what the Makefile calls."""

import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import requests
import typer

from include.errors import HubSpotDealsError
from include.ops.local import demo as starting
from include.ops.local import launcher
from include.ops.local.credentials import airflow_port
from include.ops.local.mail import print_mails
from include.ops.local.postgres import USER, EmbeddedPostgres
from include.ops.local.processes import PROJECT_ROOT, LocalError
from include.ops.local.report import Report
from include.ops.local.stack import LocalStack

if TYPE_CHECKING:
    from include.hubspot.answers import Account

STATE_DIR = PROJECT_ROOT / ".run"
SIGNAL_EXIT = 128  # shells report the signal on top of it

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
Detach = Annotated[bool, typer.Option(help="end after the table and leave everything running")]
Once = Annotated[bool, typer.Option(help="stop everything after the table")]


def main() -> None:
    try:
        app()
    except (LocalError, HubSpotDealsError) as problem:
        sys.exit(f"\n{problem}")
    except launcher.Stopped as stopped:
        sys.exit(SIGNAL_EXIT + int(stopped.args[0]))


@app.command()
def demo(detach: Detach = False, once: Once = False) -> None:
    """Scan three tenants of a simulated HubSpot."""
    starting.demo(STATE_DIR, os.environ, _afterwards(detach, once), Report())


@app.command()
def run(
    tenant: Annotated[list[str] | None, typer.Option(help="scan this tenant only")] = None,
    detach: Detach = False,
    once: Once = False,
) -> None:
    """Scan your own tenants, from .env."""
    starting.run(STATE_DIR, os.environ, tenant or (), _afterwards(detach, once), Report())


def _afterwards(detach: bool, once: bool) -> starting.Afterwards:
    return "once" if once else "detach" if detach else "stay"


@app.command()
def down() -> None:
    """Stop everything."""
    launcher.down(STATE_DIR)


@app.command()
def status() -> None:
    """Print what runs, and where. The exit status is 1 if not all of it runs."""
    stack = _stack()
    programs = stack.programs.on_record()
    rows = {program.name: program.process and program.pid for program in programs}
    rows["postgresql"] = stack.postgres.pid
    if pid := launcher.launcher_pid(STATE_DIR):
        rows["launcher"] = pid
    for name, pid in rows.items():
        print(f"  {name:<14} {f'running, process {pid}' if pid else 'not running'}")
    if not programs or not all(rows.values()):
        raise typer.Exit(1)
    print()
    login = f"{stack.credentials.admin_user} / {stack.credentials.admin_password}"
    Report().addresses({"Airflow UI": stack.url, "  log in as": login})


@app.command()
def token() -> None:
    """Print a token for the REST API, valid for a day."""
    stack = _stack()
    try:
        print(stack.api.token())
    except requests.RequestException as exc:
        raise LocalError(
            f"No Airflow of this checkout answers on port {stack.airflow_port}.",
            "Start it with: make demo",
        ) from exc


def _stack() -> LocalStack:
    return LocalStack(STATE_DIR, airflow_port(starting.run_environment(os.environ)), {})


@app.command()
def psql(sql: Annotated[str, typer.Argument(help="a statement; without: a prompt")] = "") -> None:
    """Look into the embedded warehouse."""
    postgres = EmbeddedPostgres(STATE_DIR)
    if postgres.pid is None:
        raise LocalError("The local PostgreSQL does not run.", "Start it with: make demo")
    postgres.start()
    command = [str(postgres.psql), "-h", "127.0.0.1", "-p", str(postgres.port), "-U", USER]
    command += ["warehouse", *(["-c", sql] if sql else [])]
    # The password in the environment: other users can read a command line.
    environment = {**os.environ, "PGPASSWORD": postgres.password}
    os.execve(postgres.psql, command, environment)  # noqa: S606 - no shell wanted


@app.command()
def mail(newest: Annotated[int, typer.Option(help="how many")] = 3) -> None:
    """Print the newest mails of the demo's mail server."""
    print_mails(STATE_DIR, newest)


@app.command()
def clean() -> None:
    """Stop everything and delete all state, deals included."""
    launcher.down(STATE_DIR)
    EmbeddedPostgres(STATE_DIR).remove()
    shutil.rmtree(STATE_DIR, ignore_errors=True)


@app.command()
def seed_test_deals(
    tenant: Annotated[str | None, typer.Option(help="use this tenant's connection")] = None,
    yes: Annotated[bool, typer.Option(help="don't ask, whatever account it is")] = False,
) -> None:
    """Create five deals in a HubSpot test account."""
    from include.ops.local import seed

    def agreed(account: "Account") -> bool:
        if yes:
            return True
        print(
            f"HubSpot account {account.portal_id} is no test account "
            f"({account.account_type or 'of unknown type'})."
        )
        try:
            return input("Create the test deals there all the same? [y/N] ").lower() == "y"
        except EOFError:
            return False

    client = seed.client_of(starting.run_environment(os.environ), tenant)
    seed.seed_test_deals(client, agreed)


if __name__ == "__main__":
    main()
