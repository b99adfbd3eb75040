"""`python -m include.ops.local demo|run|down|status|…`: what the Makefile calls."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from include.errors import HubSpotDealsError
from include.ops.local.credentials import airflow_port, read_dotenv
from include.ops.local.demo import demo, own_environment, run_own
from include.ops.local.launcher import Stopped, down
from include.ops.local.mail import print_mails
from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import PROJECT_ROOT, LocalError
from include.ops.local.report import Report, open_psql, print_status, print_token

if TYPE_CHECKING:
    from include.hubspot.answers import Account

STATE_DIR = PROJECT_ROOT / ".run"
SIGNAL_EXIT = 128  # shells report the signal on top of it


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args(arguments)
    report = Report()
    try:
        return _COMMANDS[options.command](options, report) or 0
    except (LocalError, HubSpotDealsError) as problem:
        print(f"\n{problem}", file=sys.stderr, flush=True)
        return 1
    except Stopped as stopped:
        return SIGNAL_EXIT + int(stopped.args[0])
    except KeyboardInterrupt:
        return SIGNAL_EXIT + 2


def _demo(options: argparse.Namespace, report: Report) -> None:
    demo(STATE_DIR, os.environ, options.afterwards, report)


def _run(options: argparse.Namespace, report: Report) -> None:
    run_own(STATE_DIR, os.environ, options.tenant, options.afterwards, report)


def _down(options: argparse.Namespace, report: Report) -> None:
    down(STATE_DIR, report)


def _status(options: argparse.Namespace, report: Report) -> int:
    return 0 if print_status(STATE_DIR, _port(), report) else 1


def _token(options: argparse.Namespace, report: Report) -> None:
    print_token(STATE_DIR, _port(), report)


def _port() -> int:
    return airflow_port({**read_dotenv(PROJECT_ROOT / ".env"), **os.environ})


def _psql(options: argparse.Namespace, report: Report) -> None:
    open_psql(STATE_DIR, options.sql)


def _mail(options: argparse.Namespace, report: Report) -> None:
    print_mails(STATE_DIR, report, options.newest)


def _clean(options: argparse.Namespace, report: Report) -> None:
    down(STATE_DIR, report)
    EmbeddedPostgres(STATE_DIR).remove()
    shutil.rmtree(STATE_DIR, ignore_errors=True)


def _seed_test_deals(options: argparse.Namespace, report: Report) -> None:
    from include.ops.local.seed import client_of, seed_test_deals

    def agreed(account: "Account") -> bool:
        if options.yes:
            return True
        report.line(
            f"HubSpot account {account.portal_id} is no test account "
            f"({account.account_type or 'of unknown type'})."
        )
        try:
            return input("Create the test deals there all the same? [y/N] ").lower() == "y"
        except EOFError:
            return False

    env = own_environment(read_dotenv(PROJECT_ROOT / ".env"), os.environ)
    seed_test_deals(client_of(env, options.tenant), report, agreed)


_COMMANDS = {
    "demo": _demo,
    "run": _run,
    "down": _down,
    "status": _status,
    "token": _token,
    "psql": _psql,
    "mail": _mail,
    "clean": _clean,
    "seed-test-deals": _seed_test_deals,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.ops.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo_parser = commands.add_parser("demo", help="three tenants of a simulated HubSpot")
    run_parser = commands.add_parser("run", help="your own tenants, from .env")
    run_parser.add_argument(
        "--tenant", action="append", default=[], help="scan this tenant only (may be repeated)"
    )
    for starting in (demo_parser, run_parser):
        _add_afterwards(starting)
    commands.add_parser("down", help="stop everything")
    commands.add_parser("status", help="what runs, and where; exit status 1 if nothing does")
    commands.add_parser("token", help="for the REST API, valid for a day")
    psql_parser = commands.add_parser("psql", help="look into the embedded warehouse")
    psql_parser.add_argument("sql", nargs="?", default="", help="a statement; without: a prompt")
    mail = commands.add_parser("mail", help="the newest mails of the demo's mail server")
    mail.add_argument("--newest", type=int, default=3, help="how many")
    commands.add_parser("clean", help="stop everything and delete all state, deals included")
    seed = commands.add_parser("seed-test-deals", help="five deals in a HubSpot test account")
    seed.add_argument("--tenant", help="use the token of this tenant's connection")
    seed.add_argument("--yes", action="store_true", help="don't ask, whatever account it is")
    return parser


def _add_afterwards(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--detach", dest="afterwards", action="store_const", const="detach",
        help="end after the table and leave everything running",
    )  # fmt: skip
    choice.add_argument(
        "--once", dest="afterwards", action="store_const", const="once",
        help="stop everything after the table",
    )  # fmt: skip
    parser.set_defaults(afterwards="stay")


if __name__ == "__main__":
    sys.exit(main())
