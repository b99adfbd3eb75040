"""`python -m include.ops.local demo|run|down|status|…`: what the Makefile calls."""

import os
import shutil
import signal
import sys
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Annotated

import psycopg
import requests
import typer

from include.errors import HubSpotDealsError
from include.ops.local import demo as starting
from include.ops.local import launcher
from include.ops.local.checks import Problems
from include.ops.local.demo_servers import mails_in, print_mails
from include.ops.local.postgres import EmbeddedPostgres, libpq_environment
from include.ops.local.processes import PROJECT_ROOT, LocalError, Programs
from include.ops.local.report import Report
from include.ops.local.stack import LocalStack
from include.tenants import ENVIRONMENT_TENANT_ID
from include.warehouse.connection import Warehouse, open_warehouse

if TYPE_CHECKING:
    from include.hubspot.answers import Account

STATE_DIR = PROJECT_ROOT / ".run"
SIGNAL_EXIT = 128  # shells add the number of the signal

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
Detach = Annotated[bool, typer.Option(help="exit after the table and leave everything running")]
Once = Annotated[bool, typer.Option(help="stop everything after the table")]
Restart = Annotated[bool, typer.Option(help="if all checks pass, stop what is running first")]


def main() -> None:
    try:
        # otherwise typer prints an error as a box of five lines
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as wrong:
        said = getattr(wrong, "format_message", wrong.__str__)()
        sys.exit(f"\n{said.rstrip('.')}. See: make help")
    except LocalError as problem:
        sys.exit(f"\n{problem}")
    except HubSpotDealsError as problem:
        sys.exit(f"\n{problem.for_command}")
    except requests.RequestException as exc:
        sys.exit(f"\nAirflow does not answer ({type(exc).__name__}). See: make status")
    except psycopg.Error as exc:
        said = " ".join(str(exc).split())
        sys.exit(f"\nThe local PostgreSQL can't be used: {said} Run `make down`, then try again.")
    except OSError as exc:
        where = exc.filename or STATE_DIR
        sys.exit(f"\n{where}: {exc.strerror}. Check the free space and the permissions.")
    except launcher.Stopped as stopped:
        sys.exit(SIGNAL_EXIT + int(stopped.args[0]))
    except KeyboardInterrupt:
        sys.exit(SIGNAL_EXIT + signal.SIGINT)


@app.command()
def demo(detach: Detach = False, once: Once = False, restart: Restart = False) -> None:
    """Scan three tenants of a simulated HubSpot."""
    if restart or not _is_running("demo"):
        starting.demo(STATE_DIR, os.environ, _afterwards(detach, once), Report())


@app.command()
def run(
    tenant: Annotated[list[str] | None, typer.Option(help="scan this tenant only")] = None,
    detach: Detach = False,
    once: Once = False,
    restart: Restart = False,
) -> None:
    """Scan your own tenants, from .env."""
    if restart or not _is_running("run"):
        starting.run(STATE_DIR, os.environ, tenant or (), _afterwards(detach, once), Report())


def _afterwards(detach: bool, once: bool) -> starting.Afterwards:
    if once and detach:
        raise LocalError("ONCE=1 stops everything, DETACH=1 does not.", "Give one of the two.")
    return "once" if once else "detach" if detach else "stay"


def _is_running(command: str) -> bool:
    """Return whether *command* is running already, and print where.

    Raises LocalError if the other command is running, or this one is still starting.
    """
    launch = launcher.what_runs(STATE_DIR)
    if launch is None:
        return False
    choice = f"It keeps running. To replace it: make {command} RESTART=1"
    if launch.command != command or not launch.ready:
        raise LocalError(f"{launch}.", choice)
    print(f"{launch}.\n{choice}\n")
    Report().addresses(LocalStack(STATE_DIR, launch.port, {}).login)
    return True


NOTHING_RUNS = LocalError("Nothing is running.", "Start it with: make demo, or: make run")


@app.command()
def down() -> None:
    """Stop everything."""
    launcher.down(STATE_DIR)


@app.command()
def status() -> None:
    """Print what is running, and where. The exit status is 1 if a program is not running."""
    if not launcher.is_running(STATE_DIR) and not launcher.launcher_pid(STATE_DIR):
        raise NOTHING_RUNS
    programs = Programs(STATE_DIR).on_record()
    rows = {program.name: program.process and program.pid for program in programs}
    rows["postgresql"] = EmbeddedPostgres(STATE_DIR).pid
    if pid := launcher.launcher_pid(STATE_DIR):
        rows["launcher"] = pid
    launch = launcher.what_runs(STATE_DIR)
    if launch:
        print(f"{launch}\n")
    for name, pid in rows.items():
        print(f"  {name:<14} {f'running, process {pid}' if pid else 'not running'}")
    if launch is None or not all(rows.values()):
        raise LocalError(
            "Not all programs are running.", "Start them again with: make demo, or: make run"
        )
    print()
    Report().addresses(LocalStack(STATE_DIR, launch.port, {}).login)


@app.command()
def token() -> None:
    """Print a token for the REST API, valid for a day."""
    if (launch := launcher.what_runs(STATE_DIR)) is None:
        raise NOTHING_RUNS
    print(LocalStack(STATE_DIR, launch.port, {}).api.token())


@app.command()
def psql(sql: Annotated[str, typer.Argument(help="a statement; without: a prompt")] = "") -> None:
    """Open the warehouse that scans load into."""
    if not launcher.is_running(STATE_DIR):
        raise NOTHING_RUNS
    launch = launcher.Launch.of(STATE_DIR)
    is_run = launch is not None and launch.command == "run"
    settings = _settings() if is_run else {}
    stack = LocalStack(STATE_DIR, launch.port if launch else 0, settings)
    if stack.postgres.pid is None:
        raise LocalError("The local PostgreSQL is not running.", "See: make status")
    stack.postgres.start()
    command = [str(stack.postgres.psql), *(["-c", sql] if sql else [])]
    environment = {**os.environ, **settings}
    environment |= libpq_environment(_warehouse_of(stack).parameters)
    os.execve(stack.postgres.psql, command, environment)  # noqa: S606 - no shell wanted


def _settings() -> dict[str, str]:
    """Return the environment with the settings of `.env`. Raises LocalError."""
    problems = Problems()
    settings = starting.run_environment(os.environ, problems)
    problems.require_none()
    return settings


def _warehouse_of(stack: LocalStack) -> Warehouse:
    """Return the warehouse of the stack's tasks. Raises HubSpotDealsError."""
    if stack.uses_embedded_warehouse:
        return Warehouse.from_url(stack.postgres.dsn("warehouse"))
    # "server": also finds a connection that is stored in Airflow
    os.environ.update(stack.environment, _AIRFLOW_PROCESS_CONTEXT="server")
    with redirect_stdout(StringIO()):  # Airflow's log, among the rows of a statement
        return open_warehouse()


@app.command()
def mail(newest: Annotated[int, typer.Option(help="how many", min=1)] = 3) -> None:
    """Print the newest mails of the demo's mail server."""
    if not mails_in(STATE_DIR) and not launcher.is_running(STATE_DIR):
        raise NOTHING_RUNS
    print_mails(STATE_DIR, newest)


@app.command()
def clean() -> None:
    """Stop everything and delete all state, deals included."""
    launcher.down(STATE_DIR)
    EmbeddedPostgres(STATE_DIR).remove()
    shutil.rmtree(STATE_DIR, ignore_errors=True)


@app.command()
def seed_test_deals(
    tenant: Annotated[str, typer.Option(help="use this tenant's connection")] = (
        ENVIRONMENT_TENANT_ID
    ),
    yes: Annotated[bool, typer.Option(help="don't ask for confirmation")] = False,
) -> None:
    """Create five deals in a HubSpot test account."""
    os.environ.update(_settings(), AIRFLOW_HOME=str(STATE_DIR / "airflow"))
    # imports Airflow, which reads the environment
    from include.ops.local import seed

    def agreed(account: "Account") -> bool:
        if yes:
            return True
        print(
            f"HubSpot account {account.portal_id} is not a test account "
            f"({account.account_type or 'of unknown type'})."
        )
        try:
            return input("Create the test deals there anyway? [y/N] ").lower() == "y"
        except EOFError:
            return False

    seed.seed_test_deals(tenant, agreed)


if __name__ == "__main__":
    main()
