"""`python -m include.warehouse.migrations`: apply missing migrations to DATABASE_URL's database.

With `--create-roles`, it also creates the group roles, and with `--tenant` that tenant's role and
schema, for a loader that may create neither. docs/setup.md#three-roles
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence

from include.errors import HubSpotDealsError, WarehouseConfigError
from include.tenants.model import TENANT_ID_PATTERN
from include.warehouse.connection import Warehouse, warehouse_schema
from include.warehouse.migrations import migrate
from include.warehouse.tenant_views.roles import create_group_roles, grant_again, prepare_tenants


def main(arguments: Sequence[str] | None = None) -> None:
    parser = _parser()
    wanted = parser.parse_args(arguments)
    if wanted.fivetran and not wanted.tenant:
        parser.error("--fivetran needs --tenant")
    try:
        warehouse = _warehouse()
        if wanted.create_roles:
            made = create_group_roles(warehouse)
            sys.stdout.write(f"created roles: {', '.join(made) or 'none, they exist'}\n")
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
            "DATABASE_URL is not set.", remedy="Set it to the PostgreSQL database to migrate."
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
        help="create the group roles <schema>_loader and <schema>_reader, with their rights",
    )
    parser.add_argument(
        "--tenant",
        action="append",
        type=_tenant_id,
        metavar="ID",
        help="create a tenant's role and its schema of views; may be given several times",
    )
    parser.add_argument(
        "--fivetran",
        action="store_true",
        help="also create the tenants' schemas of Fivetran's tables",
    )
    return parser


def _tenant_id(text: str) -> str:
    if not re.fullmatch(TENANT_ID_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text!r} must match {TENANT_ID_PATTERN}")
    return text


if __name__ == "__main__":
    main()
