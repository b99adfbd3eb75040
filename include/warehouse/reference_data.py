"""A portal's account, owners, users, pipelines and property definitions; the tenant's binding."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from include.errors import PortalMismatchError
from include.hubspot.answers import (
    Account,
    Owner,
    Pipeline,
    PropertyDefinition,
    Role,
    Team,
    User,
    decode_definition,
)
from include.scan import Scan
from include.warehouse.connection import Warehouse, WarehouseConnection
from include.warehouse.rows import left_out, mark_missing, upsert
from include.warehouse.values import (
    KEY_BYTES,
    is_key,
    to_bigint,
    to_flag,
    to_id,
    to_integer,
    to_json,
    to_moment,
    to_number,
)

log = logging.getLogger(__name__)


def save_account(warehouse: Warehouse, scan: Scan, account: Account) -> None:
    """Upsert the facts of the account that the tenant is loaded from."""
    row = {
        "_tenant_id": scan.tenant.id,
        "portal_id": account.portal_id,
        "time_zone": account.time_zone,
        "company_currency": account.company_currency,
        "additional_currencies": _jsonb(account.additional_currencies),
        "account_type": account.account_type or None,
        "hublet": account.data_hosting_location,
        "ui_domain": account.ui_domain,
    }
    with warehouse.connect() as connection:
        upsert(connection, "accounts", [row])


def save_owners(warehouse: Warehouse, scan: Scan, owners: Iterable[Owner]) -> list[str]:
    """Upsert every owner that HubSpot lists. The others stay, because deals may name them.

    Returns a warning for each owner whose id is not a number.
    """
    owners = list(owners)
    of = {"_tenant_id": scan.tenant.id}
    rows = [of | _owner_row(owner) for owner in owners if to_id(owner.id) is not None]
    with warehouse.connect() as connection:
        upsert(connection, "owners", rows)
    return _without_id("owners", owners)


def _owner_row(owner: Owner) -> dict[str, Any]:
    return {
        "owner_id": owner.id,
        "email": owner.email,
        "first_name": owner.first_name,
        "last_name": owner.last_name,
        "owner_type": owner.type,
        # archived owners have no userId
        "user_id": to_bigint(owner.user_id or owner.user_id_including_inactive),
        "teams": _jsonb(owner.teams),
        "archived": owner.archived,
        "created_at": to_moment(owner.created_at),
        "updated_at": to_moment(owner.updated_at),
    }


def save_users(
    warehouse: Warehouse, scan: Scan, table: str, listed: Iterable[User | Team | Role]
) -> list[str]:
    """Upsert all users, teams or roles that HubSpot lists; the others stay, marked as not listed.

    Returns a warning for each one whose id is not a number.
    """
    key = f"{table.removesuffix('s')}_id"
    listed = list(listed)
    of = {"_tenant_id": scan.tenant.id}
    rows = [
        of | {key: its_id, "listed": True} | _settings_row(item)
        for item in listed
        if (its_id := to_id(item.id)) is not None
    ]
    with warehouse.connect() as connection:
        upsert(connection, table, rows)
        mark_missing(connection, table, of)
    return _without_id(table, listed)


def _without_id(table: str, listed: Iterable[Owner | User | Team | Role]) -> list[str]:
    return [
        f"{table}: an entry was left out because its id {item.id[:40]!r} is not a 64-bit number"
        for item in listed
        if to_id(item.id) is None
    ]


def _settings_row(item: User | Team | Role) -> dict[str, Any]:
    row = msgspec.structs.asdict(item)
    del row["id"]
    if isinstance(item, User):
        del row["role_id"]
        row["role_ids"] = item.role_ids or ([item.role_id] if item.role_id else [])
        row["primary_team_id"] = to_id(item.primary_team_id)
    return row


def save_pipelines(
    warehouse: Warehouse, scan: Scan, object_name: str, pipelines: Sequence[Pipeline]
) -> list[str]:
    """Upsert every pipeline and stage of an object; others stay, marked as not listed.

    Returns a warning for each one whose id does not fit.
    """
    kept = [pipeline for pipeline in pipelines if is_key(pipeline.id)]
    of = {"_tenant_id": scan.tenant.id, "object": object_name}
    with warehouse.connect() as connection:
        upsert(connection, "pipelines", [of | _pipeline_row(pipeline) for pipeline in kept])
        mark_missing(connection, "pipelines", of)
        stages = [of | row | {"_scan_id": scan.id} for row in _stage_rows(kept)]
        upsert(connection, "pipeline_stages", stages)
        unknown = [pipeline.id for pipeline in kept if pipeline.stages is None]
        mark_missing(connection, "pipeline_stages", of, but=("pipeline_id", unknown))
    return left_out("the pipeline", (p.id for p in pipelines if not is_key(p.id))) + left_out(
        "the stage", (s.id for p in kept for s in p.stages or () if not is_key(s.id))
    )


def add_unlisted_stages(warehouse: Warehouse, scan: Scan) -> None:
    """Add the stages of deals that HubSpot has never listed."""
    warehouse.change(
        """
        insert into {pipeline_stages} (_tenant_id, object, pipeline_id, stage_id, pipeline_label,
                                       stage_label, listed, _scan_id)
        select distinct deal._tenant_id, 'deals', deal.pipeline_id, deal.stage_id,
               coalesce(pipeline.label, deal.pipeline_id), deal.stage_id, false, %(scan_id)s
        from {deals} as deal
        left join {pipelines} as pipeline
            on pipeline._tenant_id = deal._tenant_id and pipeline.object = 'deals'
            and pipeline.pipeline_id = deal.pipeline_id
        where deal._tenant_id = %(tenant_id)s
          and deal.pipeline_id is not null
          and deal.stage_id is not null
          and octet_length(deal.pipeline_id) <= %(key_bytes)s
        on conflict do nothing
        """,
        {"tenant_id": scan.tenant.id, "scan_id": scan.id, "key_bytes": KEY_BYTES},
    )


def _pipeline_row(pipeline: Pipeline) -> dict[str, Any]:
    return {
        "pipeline_id": pipeline.id,
        "label": pipeline.label or pipeline.id,
        "display_order": to_integer(pipeline.display_order),
        "listed": True,
        "created_at": to_moment(pipeline.created_at),
        "updated_at": to_moment(pipeline.updated_at),
    }


def _stage_rows(pipelines: Sequence[Pipeline]) -> list[dict[str, Any]]:
    return [
        {
            "pipeline_id": pipeline.id,
            "stage_id": stage.id,
            "pipeline_label": pipeline.label or pipeline.id,
            "stage_label": stage.label or stage.id,
            "is_closed": _is_closed(stage.metadata),
            "probability": to_number(stage.metadata.get("probability")),
            # HubSpot documents text values only
            "metadata": {
                name: value if isinstance(value, str | bool | None) else str(value)
                for name, value in stage.metadata.items()
            },
            "display_order": to_integer(stage.display_order),
            "listed": True,
            "created_at": to_moment(stage.created_at),
            "updated_at": to_moment(stage.updated_at),
        }
        for pipeline in pipelines
        for stage in pipeline.stages or ()
        if is_key(stage.id)
    ]


def _is_closed(metadata: Mapping[str, Any]) -> bool | None:
    # stages of tickets have no isClosed: docs/api-integration.md#pipelines
    if state := metadata.get("ticketState"):
        return {"OPEN": False, "CLOSED": True}.get(str(state))
    return to_flag(metadata.get("isClosed"))


#: Changes since the last scan: "added", "removed", "retyped" → names.
Drift = dict[str, list[str]]


def save_definitions(
    warehouse: Warehouse, scan: Scan, object_name: str, definitions: Sequence[PropertyDefinition]
) -> Drift:
    """Upsert an object's property definitions; add the changes to the scan's row, and return them.

    In one transaction: a retry would find no changes. The first scan has none. An archived property
    counts as removed.
    """
    table = "property_definitions"
    of = {"_tenant_id": scan.tenant.id, "object": object_name}
    # HubSpot's own limit is 100 characters: a longer name is invalid
    rows = [of | _row(definition) for definition in definitions if is_key(definition.name)]
    with warehouse.connect() as connection:
        # first, as in checkpoints: other tries wait for that row
        connection.run("select from {scans} where scan_id = %s for no key update", [scan.id])
        before = _usable_types(connection, of)
        upsert(connection, table, rows)
        mark_missing(connection, table, of)
        drift = _drift(before, _usable_types(connection, of)) if before else {}
        if drift:
            connection.run(
                "update {scans} set schema_drift = schema_drift || %s where scan_id = %s",
                [Jsonb({object_name: drift}), scan.id],
            )
    return drift


def stored_definitions(
    warehouse: Warehouse, scan: Scan, object_name: str
) -> list[PropertyDefinition]:
    """Return the definitions that HubSpot last listed, live and archived.

    Damaged rows are left out: the next list from HubSpot writes them again.
    """
    rows = warehouse.rows(
        "select definition::text from {property_definitions}"
        " where _tenant_id = %s and object = %s and listed",
        [scan.tenant.id, object_name],
    )
    definitions = []
    for (document,) in rows:
        try:
            definitions.append(decode_definition(document.encode()))
        except msgspec.ValidationError as exc:
            log.warning(
                "tenant %s: a stored definition of %s is damaged: %s",
                scan.tenant.id,
                object_name,
                exc,
            )
    return definitions


def first_seen(
    warehouse: Warehouse, scan: Scan, object_name: str, names: Iterable[str]
) -> dict[str, datetime]:
    """Return when each of *names* was first stored, if it was; a new property may have an old name.

    Without names, PostgreSQL is not asked.
    """
    wanted = list(names)
    if not wanted:
        return {}
    rows = warehouse.rows(
        "select name, first_seen_at from {property_definitions}"
        " where _tenant_id = %s and object = %s and name = any(%s)",
        [scan.tenant.id, object_name, wanted],
    )
    return dict(rows)


def _usable_types(
    connection: WarehouseConnection, of: dict[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    rows = connection.run(
        "select name, property_type, field_type from {property_definitions}"
        " where _tenant_id = %(_tenant_id)s and object = %(object)s and listed and not archived",
        of,
    ).fetchall()
    return {name: (property_type, field_type) for name, property_type, field_type in rows}


def _drift(before: dict[str, Any], after: dict[str, Any]) -> Drift:
    found = {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "retyped": sorted(n for n in before.keys() & after.keys() if before[n] != after[n]),
    }
    return {kind: names for kind, names in found.items() if names}


def _row(definition: PropertyDefinition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "label": definition.label,
        "property_type": definition.type,
        "field_type": definition.field_type,
        "calculated": definition.calculated,
        "options": _jsonb(definition.options),
        "archived": definition.archived,
        "listed": True,
        "definition": _jsonb(definition.document),
    }


def _jsonb(raw: msgspec.Raw) -> Jsonb:
    """Return JSON of any type for a jsonb column; an empty list in place of null, false, 0 …"""
    return Jsonb(to_json(raw) or [])


def require_same_portal(warehouse: Warehouse, scan: Scan, portal_id: int) -> None:
    """Raise PortalMismatchError unless *portal_id* is the account this tenant's rows come from.

    That is the account bound by the first successful scan or, before there was one, the account
    whose rows a failed scan began to load; and the one that the tenants file names, if it does.
    """
    tenant = scan.tenant
    ((bound,),) = warehouse.rows(
        """
        select coalesce(
            (select portal_id from {tenants} where tenant_id = %(tenant_id)s),
            (select min(portal_id) from {scans}
             where tenant_id = %(tenant_id)s and portal_id is not null)
        )
        """,
        {"tenant_id": tenant.id},
    )
    for expected in (bound, tenant.portal_id):
        if expected not in (None, portal_id):
            raise PortalMismatchError(
                f"the token belongs to HubSpot account {portal_id}, but this tenant is bound to "
                f"account {expected}. Nothing was written.",
                tenant_id=tenant.id,
                remedy="Put a token of the right account into its connection, or use another "
                "tenant.",
            )


def bind(warehouse: Warehouse, scan: Scan) -> None:
    """Bind the tenant to the account that *scan* read, if it is not bound yet."""
    warehouse.change(
        "insert into {tenants} (tenant_id, portal_id, bound_by_scan_id)"
        " select tenant_id, portal_id, scan_id from {scans} where scan_id = %s"
        " on conflict (tenant_id) do nothing",
        [scan.id],
    )
