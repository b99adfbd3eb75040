"""`python -m include.local demo|run|down|status|psql|clean`: what the Makefile calls."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from include.errors import HubSpotDealsError
from include.local.airflow_settings import PROJECT_ROOT
from include.local.demo import demo
from include.local.errors import LocalError
from include.local.launcher import Stopped, down
from include.local.own import run_own
from include.local.postgres import EmbeddedPostgres
from include.local.report import Report
from include.local.status import open_psql, print_status

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
    return 0 if print_status(STATE_DIR, report) else 1


def _psql(options: argparse.Namespace, report: Report) -> None:
    open_psql(STATE_DIR, options.sql)


def _clean(options: argparse.Namespace, report: Report) -> None:
    down(STATE_DIR, report)
    EmbeddedPostgres(STATE_DIR).remove()
    shutil.rmtree(STATE_DIR, ignore_errors=True)


_COMMANDS = {
    "demo": _demo,
    "run": _run,
    "down": _down,
    "status": _status,
    "psql": _psql,
    "clean": _clean,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.local", description=__doc__)
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
    psql_parser = commands.add_parser("psql", help="look into the embedded warehouse")
    psql_parser.add_argument("sql", nargs="?", default="", help="a statement; without: a prompt")
    commands.add_parser("clean", help="stop everything and delete all state, deals included")
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
