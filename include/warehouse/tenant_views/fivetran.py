"""Views with the names, columns and types of the tables that Fivetran's HubSpot connector writes.

They are for dashboards and dbt packages made for Fivetran. Ids are bigint, those of pipelines and
stages text, and keys are unique: otherwise joins would multiply deals without an error.
docs/database-schema.md#fivetrans-tables
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from psycopg import sql

from include.hubspot.crm_objects import STANDARD_OBJECTS, CrmObject, object_type_of
from include.warehouse.connection import WarehouseConnection
from include.warehouse.tenant_views.plan import (
    UNPACKED,
    Column,
    PropertyColumn,
    PropertyDefinition,
    View,
    ViewPlan,
    fivetran_schema,
    kind_of,
    property_columns,
)

PREFIX = "property_"

# In the statements, {tenant} is the tenant's id. Other names in braces are explained beside the
# statement, or are tables and functions of the warehouse.

#: _fivetran_synced: the end of the last successful scan, even if it changed nothing, as with
#: Fivetran's syncs. If there is none, the start of the last scan.
_SYNCED = """coalesce(
    (select finished_at from {scans} where tenant_id = {tenant} and state = 'succeeded'
     order by started_at desc limit 1),
    (select max(started_at) from {scans} where tenant_id = {tenant}),
    'epoch')"""
_PORTAL_ID = "(select portal_id from {accounts} where _tenant_id = {tenant})"

#: {id}: the column of the record's id; {object}: our name of the object.
_HISTORY = """
    select record_id as {id}, property as name, value, changed_at as timestamp,
           source_type as source, source_id
    from {property_history}
    where _tenant_id = {tenant} and object = {object}
"""

#: Views that every tenant has, by name.
_ALWAYS = {
    # Deals that were archived before a scan read them live have no history: their stage is that of
    # the deal's row.
    "deal_stage": """
        with entered as (
            select record_id as deal_id, value, changed_at, source_type as source, source_id
            from {property_history}
            where _tenant_id = {tenant} and object = 'deals' and property = 'dealstage'
            union all
            select deal_id, stage_id, coalesce(stage_entered_at, created_at, _extracted_at),
                   null, null
            from {deals} as deal
            where _tenant_id = {tenant} and not exists (
                select from {property_history} as known
                where known._tenant_id = {tenant} and known.object = 'deals'
                  and known.record_id = deal.deal_id and known.property = 'dealstage'
            )
        ), followed as (
            select *, lead(changed_at) over (partition by deal_id order by changed_at) as next_at
            from entered
        )
        select deal_id, value, changed_at as date_entered, source, source_id,
               changed_at as _fivetran_start,
               coalesce(next_at, timestamptz '9999-12-31 23:59:59.999Z') as _fivetran_end,
               next_at is null as _fivetran_active
        from followed
        where value <> ''
    """,
    "deal_pipeline": """
        select pipeline_id, label, listed as active, display_order, created_at, updated_at,
               not listed as _fivetran_deleted
        from {pipelines}
        where _tenant_id = {tenant} and object = 'deals'
    """,
    # A deal can have a stage of another pipeline; such a stage has a row for each pipeline.
    "deal_pipeline_stage": """
        select distinct on (stage_id)
               stage_id, pipeline_id, stage_label as label, listed as active,
               coalesce(is_closed and probability = 1, false) as closed_won, is_closed,
               display_order, probability::double precision as probability,
               created_at, updated_at, not listed as _fivetran_deleted
        from {pipeline_stages}
        where _tenant_id = {tenant} and object = 'deals'
        order by stage_id, listed desc, last_seen_at desc, pipeline_id
    """,
    # A survivor lists its merges, even those before the first scan; only our own column has the
    # last survivor of several merges.
    "merged_deal": """
        select distinct on (merged_deal_id)
               deal_id, merged_deal_id
        from (
            select 1 as rank, merged_into_deal_id as deal_id, deal_id as merged_deal_id
            from {deals}
            where _tenant_id = {tenant} and merged_into_deal_id is not null
            union all
            select 2, coalesce(merged_into_deal_id, deal_id), {as_bigint}(merged_id)
            from {deals}
            cross join lateral string_to_table(properties ->> 'hs_merged_object_ids', ';')
                as merged_id
            where _tenant_id = {tenant}
        ) as merged
        where merged_deal_id is not null
        order by merged_deal_id, rank, deal_id
    """,
    "owner": """
        select {as_bigint}(owner_id) as owner_id, user_id as active_user_id, email, first_name,
               last_name, owner_type as type, {portal_id} as portal_id, created_at, updated_at
        from {owners}
        where _tenant_id = {tenant} and {as_bigint}(owner_id) is not null
    """,
    "owner_team": """
        select distinct on (owner_id, team_id)
               owner_id, team_id, is_team_primary, _fivetran_deleted
        from (
            select {as_bigint}(owner_id) as owner_id, {as_bigint}(team ->> 'id') as team_id,
                   coalesce({as_boolean}(team ->> 'primary'), false) as is_team_primary,
                   archived as _fivetran_deleted
            from {owners} cross join lateral jsonb_path_query(teams, '$[*]') as team
            where _tenant_id = {tenant}
        ) as member
        where owner_id is not null and team_id is not null
        order by owner_id, team_id, is_team_primary desc
    """,
    # Without the scope for teams, the teams of owners are known.
    "team": """
        select distinct on (id) id, name, _fivetran_deleted
        from (
            select 1 as rank, team_id as id, name, not listed as _fivetran_deleted
            from {teams}
            where _tenant_id = {tenant}
            union all
            select 2, {as_bigint}(team ->> 'id'), team ->> 'name', false
            from {owners} cross join lateral jsonb_path_query(teams, '$[*]') as team
            where _tenant_id = {tenant}
        ) as known
        where id is not null
        order by id, rank, name
    """,
    "team_user": """
        select distinct on (team_id, user_id)
               team_id, user_id, is_secondary_user, _fivetran_deleted
        from (
            select 1 as rank, team_id, {as_bigint}(member #>> '{{}}') as user_id,
                   false as is_secondary_user, not listed as _fivetran_deleted
            from {teams} cross join lateral jsonb_path_query(user_ids, '$[*]') as member
            where _tenant_id = {tenant}
            union all
            select 2, team_id, {as_bigint}(member #>> '{{}}'), true, not listed
            from {teams} cross join lateral jsonb_path_query(secondary_user_ids, '$[*]') as member
            where _tenant_id = {tenant}
            union all
            select 3, {as_bigint}(team ->> 'id'), user_id,
                   not coalesce({as_boolean}(team ->> 'primary'), false), archived
            from {owners} cross join lateral jsonb_path_query(teams, '$[*]') as team
            where _tenant_id = {tenant}
        ) as member
        where team_id is not null and user_id is not null
        order by team_id, user_id, rank, is_secondary_user, _fivetran_deleted
    """,
    # Without the scope for users, those that are owners are known. The view must exist: the dbt
    # package compares its id with a number.
    "users": """
        select distinct on (id)
               id, email, first_name, last_name, primary_team_id, role_id, _fivetran_deleted
        from (
            select 1 as rank, user_id as id, email, first_name, last_name, primary_team_id,
                   {as_bigint}(role_ids ->> 0) as role_id, not listed as _fivetran_deleted
            from {users}
            where _tenant_id = {tenant}
            union all
            select 2, user_id, email, first_name, last_name,
                   {as_bigint}(jsonb_path_query_first(teams, '$[*] ? (@.primary == true)')
                               ->> 'id'),
                   null, archived
            from {owners}
            where _tenant_id = {tenant} and user_id is not null
        ) as known
        order by id, rank, _fivetran_deleted
    """,
    "role": """
        select role_id as id, name, requires_billing_write, not listed as _fivetran_deleted
        from {roles}
        where _tenant_id = {tenant}
    """,
    # {objects}: our name and Fivetran's name of each object
    "property": """
        select md5(hubspot_object || '/' || name) as _fivetran_id, hubspot_object, name, label,
               property_type as type, field_type, definition ->> 'groupName' as group_name,
               definition ->> 'description' as description, calculated,
               {as_boolean}(definition ->> 'hubspotDefined') as hubspot_defined,
               {as_boolean}(definition ->> 'showCurrencySymbol') as show_currency_symbol,
               {as_timestamptz}(definition ->> 'createdAt') as created_at,
               {as_timestamptz}(definition ->> 'updatedAt') as updated_at
        from {property_definitions} join {objects} as named (object, hubspot_object) using (object)
        where _tenant_id = {tenant}
    """,
    "property_option": """
        select distinct on (hubspot_object, name, label)
               md5(hubspot_object || '/' || name) as property_id, hubspot_object, name, label,
               value, display_order, hidden
        from (
            select hubspot_object, name, option ->> 'label' as label, option ->> 'value' as value,
                   {as_bigint}(option ->> 'displayOrder') as display_order,
                   coalesce({as_boolean}(option ->> 'hidden'), false) as hidden
            from {property_definitions}
            join {objects} as named (object, hubspot_object) using (object)
            cross join lateral jsonb_path_query(options, '$[*]') as option
            where _tenant_id = {tenant}
        ) as offered
        where label is not null
        order by hubspot_object, name, label, hidden, display_order, value
    """,
}

#: An object's views other than its records, by HubSpot's type. {object}: our name of the object.
_OF_OBJECT = {
    "deals": {"deal_property_history": _HISTORY},
    "companies": {"company_property_history": _HISTORY},
    "contacts": {"contact_property_history": _HISTORY},
    "tickets": {
        "ticket_pipeline": """
            select pipeline_id, '0-5' as object_type_id, label, listed as active, display_order,
                   created_at, updated_at, not listed as _fivetran_deleted
            from {pipelines}
            where _tenant_id = {tenant} and object = {object}
        """,
        "ticket_pipeline_stage": """
            select distinct on (stage_id)
                   stage_id, pipeline_id, stage_label as label, listed as active, is_closed,
                   metadata ->> 'ticketState' as ticket_state, display_order,
                   created_at, updated_at, not listed as _fivetran_deleted
            from {pipeline_stages}
            where _tenant_id = {tenant} and object = {object}
            order by stage_id, listed desc, last_seen_at desc, pipeline_id
        """,
        "ticket_property_history": """
            select record_id as ticket_id, property as name, value, changed_at as timestamp_instant,
                   source_type as source, source_id, changed_at as _fivetran_start,
                   lead(changed_at, 1, timestamptz '9999-12-31 23:59:59.999Z')
                       over (partition by record_id, property order by changed_at) as _fivetran_end
            from {property_history}
            where _tenant_id = {tenant} and object = {object}
        """,
    },
}
#: {types}: our name of each object, and the type that its records have.
_ENGAGEMENT = """
    select record_id as id,
           case when type = 'EMAIL' then coalesce(nullif(properties ->> 'hs_email_direction', ''),
                                                  type) else type end as type,
           {portal_id} as portal_id
    from {records} join {types} as named (object, type) using (object)
    where _tenant_id = {tenant} and not archived and vanished_at is null
      and merged_into_record_id is null
"""
#: {to}: the names of the associated type in the tenants file; {id}: the column of its id.
_OF_DEAL = """
    select from_id as deal_id, to_id as {id}, type_id, category
    from {associations}
    where _tenant_id = {tenant} and from_object = 'deals' and to_object = any({to})
"""
#: Read from either side; each pair once, with any label.
_PAIRS = """
    select distinct on ({one_id}, {other_id})
           {one_id}, {other_id}, category
    from (
        select from_id as {one_id}, to_id as {other_id}, category
        from {associations}
        where _tenant_id = {tenant} and from_object = any({one}) and to_object = any({to_other})
        union all
        select to_id, from_id, category
        from {associations}
        where _tenant_id = {tenant} and from_object = any({other}) and to_object = any({to_one})
    ) as pair
    order by {one_id}, {other_id}, category
"""

_DELETED = "archived or vanished_at is not null or {merged_into} is not null"
_STATE = {"_fivetran_deleted": "{deleted}", "_fivetran_synced": "{synced}"}
_OF_COMPANIES = {"id": "record_id", "is_deleted": "{deleted}", **_STATE}
#: The columns of records other than properties, by HubSpot's type: name → expression.
_RECORDS = {
    "deals": {
        "deal_id": "deal_id",
        "deal_pipeline_id": "pipeline_id",
        "deal_pipeline_stage_id": "stage_id",
        "owner_id": "{as_bigint}(owner_id)",
        "portal_id": "{portal_id}",
        "is_deleted": "{deleted}",
        **_STATE,
    },
    "companies": _OF_COMPANIES,
    "contacts": {"id": "record_id", **_STATE},
    "tickets": _OF_COMPANIES,
}
_ENGAGEMENT_RECORDS = {"engagement_id": "record_id", "type": "{type}", **_STATE}

#: HubSpot's types that have tables in Fivetran → Fivetran's name of one record.
_SINGULAR = {
    "deals": "deal",
    "companies": "company",
    "contacts": "contact",
    "tickets": "ticket",
    "calls": "call",
    "emails": "email",
    "meetings": "meeting",
    "notes": "note",
    "tasks": "task",
}
_ENGAGEMENTS = ("calls", "emails", "meetings", "notes", "tasks")
#: Types with which engagements and tickets are associated.
_PAIRED_WITH = ("deals", "contacts", "companies")

#: Properties that always have a column, and its conversion. All others have the types of the
#: tenant's own views, except that lists stay text.
_TEXT = None
_OF_ENGAGEMENT: dict[str, str | None] = {
    "hs_createdate": "as_timestamptz",
    "hs_timestamp": "as_timestamptz",
    "hubspot_owner_id": "as_bigint",
    "hubspot_team_id": "as_bigint",
}
_FIXED: dict[str, dict[str, str | None]] = {
    "deals": {
        "dealname": _TEXT,
        "description": _TEXT,
        "amount": "as_number",
        "closedate": "as_timestamptz",
        "createdate": "as_timestamptz",
    },
    "contacts": {"email": _TEXT, "hs_merged_object_ids": _TEXT},
    "tickets": {
        "createdate": "as_timestamptz",
        "closed_date": "as_timestamptz",
        "hs_pipeline": _TEXT,
        "hs_pipeline_stage": _TEXT,
        "hubspot_owner_id": "as_bigint",
        "subject": _TEXT,
        "content": _TEXT,
    },
    **dict.fromkeys(_ENGAGEMENTS, _OF_ENGAGEMENT),
}

_COMMENTS = {
    "_fivetran_synced": "When the tenant's last successful scan ended.",
    "_fivetran_deleted": "No longer in HubSpot's lists: archived, missing or merged.",
    "is_deleted": "Archived, missing in HubSpot, or merged into another record.",
    "active": "HubSpot lists it.",
    "closed_won": "Closed with probability 1.",
    "_fivetran_end": "When the next value came; year 9999 for the present one.",
    "_fivetran_active": "The present value.",
    "active_user_id": "HubSpot's user id; joins users.id.",
    "portal_id": "HubSpot's id of the account.",
}


def views_of(crm_object: CrmObject) -> list[str]:
    """Return the views that show an object's records, histories, pipelines or associations."""
    object_type = object_type_of(crm_object.object_type)
    if object_type not in _SINGULAR:
        return []
    name = _SINGULAR[object_type]
    if object_type in _ENGAGEMENTS:
        return ["engagement", f"engagement_{name}", *_paired("engagement")]
    paired = _paired(name) if object_type == "tickets" else []
    return [name, *_OF_OBJECT.get(object_type, ()), *paired]


def _paired(name: str) -> list[str]:
    return [f"{name}_{_SINGULAR[other]}" for other in _PAIRED_WITH]


class FivetranPlan(ViewPlan):
    """The views of Fivetran's tables that a tenant should have: those of the objects it loads."""

    def __init__(
        self,
        connection: WarehouseConnection,
        tenant_id: str,
        typed_columns: Mapping[str, str],
        objects: Sequence[CrmObject],
    ) -> None:
        super().__init__(connection, tenant_id, typed_columns)
        self._schema = fivetran_schema(connection.schema, tenant_id)
        #: By HubSpot's type. If two entries are of one type, the first counts.
        self._objects = {
            (object_type := object_type_of(known.object_type)): replace(
                known, object_type=object_type
            )
            for known in reversed(objects)
        }
        named = {known.name: _singular(known) for known in self._objects.values()}
        self._parts: dict[str, sql.Composable] = {
            "tenant": sql.Literal(tenant_id),
            "objects": _values(named),
        }
        self._parts["synced"] = connection.composed(_SYNCED, self._parts)
        self._parts["portal_id"] = connection.composed(_PORTAL_ID, self._parts)

    def tables(self) -> Iterator[View]:
        for name, statement in _ALWAYS.items():
            yield self._of(name, statement)
        for crm_object in self._objects.values():
            if crm_object.object_type in _SINGULAR:
                yield from self._with_records(crm_object)
        for other in ("companies", "contacts"):
            name = _SINGULAR[other]
            if self._associates(["deals"], other):
                to, its_id = sql.Literal(_aliases(other)), sql.Identifier(f"{name}_id")
                yield self._of(f"deal_{name}", _OF_DEAL, id=its_id, to=to)
        engagements = [name for name in _ENGAGEMENTS if name in self._objects]
        if engagements:
            types = {self._objects[name].name: _SINGULAR[name].upper() for name in engagements}
            yield self._of("engagement", _ENGAGEMENT, types=_values(types))
        for other in _PAIRED_WITH:
            yield from self._pairs("engagement", engagements, other)
            yield from self._pairs("ticket", ["tickets"], other)
        if "tickets" in self._objects:
            yield from self._pairs("engagement", engagements, "tickets", "ticket_engagement")

    def _with_records(self, crm_object: CrmObject) -> Iterator[View]:
        yield from self._records(crm_object)
        its_id = sql.Identifier(f"{_SINGULAR[crm_object.object_type]}_id")
        for name, statement in _OF_OBJECT.get(crm_object.object_type, {}).items():
            yield self._of(name, statement, id=its_id, object=sql.Literal(crm_object.name))

    def _of(self, name: str, statement: str, **parts: sql.Composable) -> View:
        """Return a view of a statement, with the column `_fivetran_synced`."""
        selected = self._connection.composed(statement, {**self._parts, **parts})
        cursor = self._connection.execute(sql.SQL("{} limit 0").format(selected))
        expressions: dict[str, sql.Composable] = {
            **{column.name: sql.Identifier(column.name) for column in cursor.description or ()},
            "_fivetran_synced": self._parts["synced"],
        }
        source = sql.SQL("from ({}) as fivetran").format(selected)
        return View(name, _commented(expressions), source)

    def _pairs(
        self, name: str, types: Sequence[str], other: str, view: str | None = None
    ) -> Iterator[View]:
        """Yield the view of a table that associates records of these types with another's."""
        loaded = [object_type for object_type in types if object_type in self._objects]
        aliases = [alias for object_type in loaded for alias in _aliases(object_type)]
        known = self._objects.get(other)
        if self._associates(loaded, other) or (known and set(known.associations) & set(aliases)):
            its_name = _SINGULAR[other]
            yield self._of(
                view or f"{name}_{its_name}",
                _PAIRS,
                one_id=sql.Identifier(f"{name}_id"),
                other_id=sql.Identifier(f"{its_name}_id"),
                one=sql.Literal([self._objects[object_type].name for object_type in loaded]),
                other=sql.Literal([known.name] if known else []),
                to_one=sql.Literal(aliases),
                to_other=sql.Literal(_aliases(other)),
            )

    def _associates(self, types: Sequence[str], other: str) -> bool:
        aliases = set(_aliases(other))
        return any(aliases & set(self._objects[name].associations) for name in types)

    def _records(self, crm_object: CrmObject) -> Iterator[View]:
        """Yield the view of an object's records, and its barrier, as `plan` does."""
        object_type = crm_object.object_type
        name = _SINGULAR[object_type]
        view = f"engagement_{name}" if object_type in _ENGAGEMENTS else name
        barrier = self._barrier(f"_{view}", crm_object.name)
        merged_into = sql.Identifier(f"merged_into_{kind_of(crm_object.name)}_id")
        parts = {
            **self._parts,
            "deleted": sql.SQL(_DELETED).format(merged_into=merged_into),
            "type": self._type_of(object_type),
        }
        columns = _commented(
            {
                column: self._connection.composed(expression, parts)
                for column, expression in _RECORDS.get(object_type, _ENGAGEMENT_RECORDS).items()
            }
        )
        columns |= {known.name: self._column(known) for known in self._property_columns(crm_object)}
        source = sql.SQL(UNPACKED).format(sql.Identifier(self._schema, barrier.name))
        yield barrier
        yield View(view, columns, source, barrier.name, PREFIX)

    def _type_of(self, object_type: str) -> sql.Composable:
        if object_type == "emails":
            return sql.SQL("coalesce(nullif(properties ->> 'hs_email_direction', ''), 'EMAIL')")
        return sql.Literal(_SINGULAR[object_type].upper())

    def _property_columns(self, crm_object: CrmObject) -> list[PropertyColumn]:
        fixed = _FIXED.get(crm_object.object_type, {})
        known = {known.name: known for known in self._definitions(crm_object.name)}
        # before all others, so that they are among the first MAX_PROPERTIES
        ordered = {name: PropertyDefinition(name, None, None) for name in fixed} | known
        columns = property_columns(
            list(ordered.values()), (), self._typed_columns(crm_object.name), PREFIX
        )
        return [
            replace(
                column,
                conversion=fixed.get(
                    column.hubspot_property,
                    column.conversion if column.conversion != "as_list" else None,
                ),
            )
            for column in columns
        ]


def _commented(expressions: Mapping[str, sql.Composable]) -> dict[str, Column]:
    return {name: Column(value, _COMMENTS.get(name)) for name, value in expressions.items()}


def _singular(crm_object: CrmObject) -> str:
    """Return Fivetran's name of an object; if it has no table of it, an unused name."""
    if crm_object.object_type in _SINGULAR:
        return _SINGULAR[crm_object.object_type]
    is_taken = crm_object.name in _SINGULAR.values()
    return crm_object.object_type if is_taken else crm_object.name


def _aliases(object_type: str) -> list[str]:
    """Return the names of a type in the tenants file: its name and its id."""
    return [object_type, str(STANDARD_OBJECTS[object_type].type_id)]


def _values(pairs: Mapping[str, str]) -> sql.Composed:
    rows = [sql.SQL("({}, {})").format(*pair) for pair in pairs.items()]
    return sql.SQL("(values {})").format(sql.SQL(", ").join(rows))
