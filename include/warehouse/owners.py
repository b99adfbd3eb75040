"""The portal's owners, live and archived, as `owners`."""

from collections.abc import Iterable
from typing import Any

from psycopg import sql

from include.hubspot.answers import Owner
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.rows import left_out, upsert
from include.warehouse.values import is_key, to_bigint, to_json, to_moment


def save_owners(warehouse: Warehouse, scan: Scan, owners: Iterable[Owner]) -> list[str]:
    """Upsert every owner HubSpot lists. Who is no longer listed stays: deals may name them.

    Returns warnings of those whose id does not fit.
    """
    owners = list(owners)
    with warehouse.connect(scan.tenant.id) as connection:
        upsert(
            connection,
            sql.Identifier(warehouse.schema, "owners"),
            ("_tenant_id", "owner_id"),
            [{"_tenant_id": scan.tenant.id, **_row(o)} for o in owners if is_key(o.id)],
        )
    return left_out("the owner", (owner.id for owner in owners if not is_key(owner.id)))


def _row(owner: Owner) -> dict[str, Any]:
    return {
        "owner_id": owner.id,
        "email": owner.email,
        "first_name": owner.first_name,
        "last_name": owner.last_name,
        "owner_type": owner.type,
        # archived owners have no userId any more
        "user_id": to_bigint(owner.user_id or owner.user_id_including_inactive),
        "teams": to_json(owner.teams),
        "archived": owner.archived,
        "created_at": to_moment(owner.created_at),
        "updated_at": to_moment(owner.updated_at),
    }
