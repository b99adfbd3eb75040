"""`python -m include.tenants check|list|add|pools|shards`: docs/how-to/many-tenants.md."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from include.errors import HubSpotDealsError
from include.hubspot.endpoints import DAILY_QUOTAS
from include.tenants.file import load_tenants, tenants_path
from include.tenants.model import DEFAULT_POOL
from include.tenants.shards import (
    ADVISED_DAGS,
    crowded_files,
    dags_of_files,
    problem_with_shards,
    write_shards,
)

DAGS_FOLDER = Path(__file__).parents[2] / "dags"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except HubSpotDealsError as problem:
        print(problem.for_command, file=sys.stderr)
    except OSError as exc:
        print(f"{exc.filename}: {exc.strerror}. Nothing was changed.", file=sys.stderr)
    except (KeyboardInterrupt, EOFError):
        print("Nothing was changed.", file=sys.stderr)
    return 1


def _check(options: argparse.Namespace) -> int:
    tenants = load_tenants()
    problems = [*tenants.problems, *filter(None, [problem_with_shards(options.dags)])]
    for problem in problems:
        print(problem)
    print(
        f"{tenants_path()}: {len(tenants.enabled)} tenants, "
        f"{len(tenants.all) - len(tenants.enabled)} switched off, {len(problems)} problems"
    )
    for tenant in tenants.enabled:
        share = f"up to {tenant.daily_quota_share:.0%} of the daily quota"
        print(f"{tenant.id}: {tenant.first_scan_cost}; {share}")
    print(f"daily quota of requests, for all apps of an account: {DAILY_QUOTAS}")
    for pool, slots in {DEFAULT_POOL: None, **tenants.pools}.items():
        users = sum(tenant.pool == pool for tenant in tenants.enabled)
        print(f"pool {pool}: {users} tenants{f', {slots} slots' if slots else ''}")
    for file, dags in dags_of_files(options.dags, tenants.enabled).items():
        print(f"{file}: {dags} DAGs")
    for crowded in crowded_files(options.dags, tenants.enabled):
        print(f"Warning: {crowded}")
    return 1 if problems else 0


def _list(options: argparse.Namespace) -> int:
    for tenant in sorted(load_tenants().all, key=lambda tenant: tenant.id):
        print(
            f"{tenant.id}  {'on' if tenant.enabled else 'off'}  {tenant.schedule or '-'}  "
            f"{tenant.timezone}  {tenant.pool}  {tenant.portal_id or '-'}"
        )
    return 0


def _add(options: argparse.Namespace) -> int:
    # Imports Airflow, which takes seconds: the other commands do without.
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
        print("There are no pools in the tenants file.")
        return 0
    from include.tenants.airflow_db import make_pools

    print(*make_pools(pools), sep="\n")
    return 0


def _shards(options: argparse.Namespace) -> int:
    write_shards(options.dags, options.number)
    for file, dags in dags_of_files(options.dags, load_tenants().enabled).items():
        print(f"{file}: {dags} DAGs")
    return 0


_COMMANDS = {"check": _check, "list": _list, "add": _add, "pools": _pools, "shards": _shards}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.tenants", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    check = commands.add_parser("check", help="print every problem; status 1 if there are any")
    commands.add_parser("list", help="one line for each tenant")
    add = commands.add_parser("add", help="add a tenant; its token is asked for, never an argument")
    add.add_argument("id")
    add.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the entry, its value as YAML: --set schedule='H 4 * * *'",
    )
    add.add_argument("--token-stdin", action="store_true", help="read the token from stdin")
    add.add_argument("--base-url", help="where HubSpot is, if not at https://api.hubapi.com")
    add.add_argument(
        "--save-connection",
        action="store_true",
        help="store the token as Airflow connection in Airflow's database, encrypted",
    )
    add.add_argument(
        "--force",
        action="store_true",
        help="though the account is another tenant's already; replace a stored connection",
    )
    commands.add_parser("pools", help="create or update the pools in Airflow; deletes none")
    shards = commands.add_parser("shards", help="divide the tenants into several DAG files")
    shards.add_argument("number", type=int, help=f"one file for {ADVISED_DAGS} tenants is right")
    for command in (check, shards):
        command.add_argument("--dags", type=Path, default=DAGS_FOLDER, help="the DAGs folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
