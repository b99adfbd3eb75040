"""`python -m include.warehouse.migrations`: apply what is missing to DATABASE_URL's database.

With `--create-roles` the group roles are made too, and with `--tenant` what a loader needs for that
tenant's views if it may create neither schemas nor roles. docs/setup.md#three-roles
"""

import argparse
import os
import sys
from collections.abc import Sequence

from include.errors import HubSpotDealsError, WarehouseConfigError
from include.warehouse.connection import Warehouse, warehouse_schema
from include.warehouse.migrations import migrate
from include.warehouse.tenant_views.roles import create_group_roles, grant_again, prepare_tenants


def main(arguments: Sequence[str] | None = None) -> None:
    wanted = _parser().parse_args(arguments)
    try:
        warehouse = _warehouse()
        if wanted.create_roles:
            made = create_group_roles(warehouse)
            sys.stdout.write(f"created roles: {', '.join(made) or 'none, they are there'}\n")
        applied = migrate(warehouse)
        sys.stdout.write(f"applied: {applied or 'nothing, the schema is up to date'}\n")
        if wanted.create_roles:
            grant_again(warehouse)
        if wanted.tenant:
            prepare_tenants(warehouse, wanted.tenant, fivetran=wanted.fivetran)
            sys.stdout.write(f"prepared tenants: {', '.join(wanted.tenant)}\n")
    except HubSpotDealsError as exc:
        sys.exit(f"{type(exc).__name__}: {exc.for_command}")


def _warehouse() -> Warehouse:
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise WarehouseConfigError(
            "DATABASE_URL is not set.",
            remedy="Set it to the PostgreSQL database to migrate.",
        )
    return Warehouse.from_url(url, warehouse_schema())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m include.warehouse.migrations",
        description="Bring the warehouse of DATABASE_URL up to date.",
    )
    parser.add_argument(
        "--create-roles",
        action="store_true",
        help="make the group roles <schema>_loader and <schema>_reader, with their rights",
    )
    parser.add_argument(
        "--tenant",
        action="append",
        metavar="ID",
        help="make a tenant's role and its schema of views; may be given several times",
    )
    parser.add_argument(
        "--fivetran",
        action="store_true",
        help="make their schemas of Fivetran's tables too",
    )
    return parser


if __name__ == "__main__":
    main()
