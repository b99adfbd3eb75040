"""The portal's owners, live and archived, as `owners`."""

from collections.abc import Iterable
from typing import Any

import msgspec
from psycopg import sql

from include.hubspot.answers import Owner
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.rows import upsert
from include.warehouse.values import to_moment


def save_owners(warehouse: Warehouse, scan: Scan, owners: Iterable[Owner]) -> None:
    """Upsert every owner HubSpot lists. Who is no longer listed stays: deals may name them."""
    with warehouse.connect(scan.tenant.id) as connection:
        upsert(
            connection,
            sql.Identifier(warehouse.schema, "owners"),
            ("_tenant_id", "owner_id"),
            [{"_tenant_id": scan.tenant.id, **_row(owner)} for owner in owners],
        )


def _row(owner: Owner) -> dict[str, Any]:
    return {
        "owner_id": owner.id,
        "email": owner.email,
        "first_name": owner.first_name,
        "last_name": owner.last_name,
        "owner_type": owner.type,
        # archived owners have no userId any more
        "user_id": owner.user_id or owner.user_id_including_inactive,
        "teams": msgspec.json.decode(owner.teams),
        "archived": owner.archived,
        "created_at": to_moment(owner.created_at),
        "updated_at": to_moment(owner.updated_at),
    }
