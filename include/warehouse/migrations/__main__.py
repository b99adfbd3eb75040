"""`python -m include.warehouse.migrations`: apply what is missing to DATABASE_URL's database."""

import os
import sys

from include.errors import HubSpotDealsError, WarehouseConfigError
from include.warehouse.connection import Warehouse, warehouse_schema
from include.warehouse.migrations import migrate


def main() -> None:
    try:
        url = os.environ.get("DATABASE_URL")
        if not url:
            raise WarehouseConfigError(
                "DATABASE_URL is not set.",
                remedy="Set it to the PostgreSQL database to migrate.",
            )
        applied = migrate(Warehouse.from_url(url, warehouse_schema()))
    except HubSpotDealsError as exc:
        sys.exit(f"{type(exc).__name__}: {exc}")
    sys.stdout.write(f"applied: {applied or 'nothing, the schema is up to date'}\n")


if __name__ == "__main__":
    main()
