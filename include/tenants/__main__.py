"""`python -m include.tenants check|list|add|pools|shards`. See docs/how-to/many-tenants.md."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from include.errors import HubSpotDealsError
from include.hubspot.endpoints import DAILY_QUOTAS
from include.tenants.file import load_tenants, tenants_path
from include.tenants.model import DEFAULT_POOL, Tenant
from include.tenants.shards import (
    ADVISED_DAGS,
    crowded_files,
    dags_of_files,
    problem_with_shards,
    write_shards,
)

DAGS_FOLDER = Path(__file__).parents[2] / "dags"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except HubSpotDealsError as problem:
        print(problem.for_command, file=sys.stderr)
    except OSError as exc:
        print(f"{exc.filename}: {exc.strerror}.", file=sys.stderr)
    except (KeyboardInterrupt, EOFError):
        print("Nothing was changed.", file=sys.stderr)
    return 1


def _check(options: argparse.Namespace) -> int:
    tenants = load_tenants()
    problems = [*tenants.problems, *filter(None, [problem_with_shards(options.dags)])]
    for problem in problems:
        print(problem)
    print(
        f"{tenants_path()}: {_counted(len(tenants.enabled), 'tenant')}, "
        f"{len(tenants.all) - len(tenants.enabled)} disabled, {_counted(len(problems), 'problem')}"
    )
    for tenant in tenants.enabled:
        share = f"up to {tenant.daily_quota_share:.0%} of the daily quota"
        print(f"{tenant.id}: {tenant.first_scan_cost}; {share}")
    print(f"Daily quotas of requests, for all apps of an account: {DAILY_QUOTAS}")
    for pool, slots in {DEFAULT_POOL: None, **tenants.pools}.items():
        users = sum(tenant.pool == pool for tenant in tenants.enabled)
        print(
            f"pool {pool}: {_counted(users, 'tenant')}"
            + (f", {_counted(slots, 'slot')}" if slots else "")
        )
    _print_dags(options.dags, tenants.enabled)
    for crowded in crowded_files(options.dags, tenants.enabled):
        print(f"Warning: {crowded}")
    return 1 if problems else 0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_dags(folder: Path, tenants: Sequence[Tenant]) -> None:
    for file, dags in dags_of_files(folder, tenants).items():
        print(f"{file}: {_counted(dags, 'DAG')}")


def _list(options: argparse.Namespace) -> int:
    tenants = load_tenants()
    for tenant in sorted(tenants.all, key=lambda tenant: tenant.id):
        print(
            f"{tenant.id}  {'on' if tenant.enabled else 'off'}  {tenant.schedule or '-'}  "
            f"{tenant.timezone}  {tenant.pool}  {tenant.portal_id or '-'}"
        )
    for problem in tenants.problems:
        print(problem, file=sys.stderr)
    return 1 if tenants.problems else 0


def _add(options: argparse.Namespace) -> int:
    # imports Airflow, which takes seconds and the other commands do not need
    from include.tenants.adding import add_tenant

    add_tenant(
        options.id,
        options.settings,
        token_stdin=options.token_stdin,
        base_url=options.base_url,
        save_connection=options.save_connection,
        force=options.force,
    )
    return 0


def _pools(options: argparse.Namespace) -> int:
    pools = load_tenants().pools
    if not pools:
        print("The tenants file has no pools.")
        return 0
    from include.tenants.airflow_db import make_pools

    print(*make_pools(pools), sep="\n")
    return 0


def _shards(options: argparse.Namespace) -> int:
    write_shards(options.dags, options.number)
    _print_dags(options.dags, load_tenants().enabled)
    return 0


_COMMANDS = {"check": _check, "list": _list, "add": _add, "pools": _pools, "shards": _shards}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.tenants", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    check = commands.add_parser("check", help="print all problems; exit status 1 if there are any")
    commands.add_parser("list", help="print one line for each tenant")
    add = commands.add_parser("add", help="add a tenant; prompts for its token")
    add.add_argument("id")
    add.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a key of the entry, with its value as YAML: --set schedule='H 4 * * *'",
    )
    add.add_argument("--token-stdin", action="store_true", help="read the token from stdin")
    add.add_argument("--base-url", help="HubSpot's address, by default https://api.hubapi.com")
    add.add_argument(
        "--save-connection",
        action="store_true",
        help="store the token, encrypted, in an Airflow connection in Airflow's database",
    )
    add.add_argument(
        "--force",
        action="store_true",
        help="allow an account that another tenant already has; replace a stored connection",
    )
    commands.add_parser("pools", help="create and update Airflow's pools; deletes none")
    shards = commands.add_parser("shards", help="divide the tenants into several DAG files")
    shards.add_argument("number", type=int, help=f"number of files: one for {ADVISED_DAGS} tenants")
    for command in (check, shards):
        command.add_argument("--dags", type=Path, default=DAGS_FOLDER, help="the DAGs folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
