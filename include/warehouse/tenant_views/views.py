"""Build a tenant's schemas of views, and a role that can read only them.

The views belong to the loaders' group role, or to the loader if there is none, and read the tables
with its rights; `security_barrier` keeps functions in an analyst's query away from rows of other
tenants. PostgreSQL computes every column of a barrier for each row, even if a query does not use
it. So the barrier of records is a separate view with the few columns of their table, `_deals` below
`deals` and `deals_all`, which the role can't read directly.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from include.hubspot.crm_objects import CrmObject
from include.warehouse.connection import Warehouse, WarehouseConnection
from include.warehouse.fencing import lock
from include.warehouse.tenant_views.fivetran import FivetranPlan
from include.warehouse.tenant_views.plan import (
    CONVERSIONS_TO,
    MAX_COLUMNS,
    SCHEMA_NAMES,
    Column,
    View,
    ViewPlan,
    converted,
    tenant_role,
)
from include.warehouse.tenant_views.roles import create_role, create_role_statement, loader_role

log = logging.getLogger(__name__)

#: How long to wait for an analyst's query before a view is left to the next scan. Meanwhile, new
#: queries of the view queue behind us.
VIEW_LOCK_TIMEOUT = "5s"
#: From this PostgreSQL on, a member of a role needs the option SET to become it.
SET_OPTION_SINCE = 160_000


@dataclass(frozen=True)
class _Relation:
    """An existing relation of the tenant's schema. ``columns``: name → type, in order."""

    columns: Mapping[str, str]
    comment: str | None


def publish_views(
    warehouse: Warehouse,
    tenant_id: str,
    objects: Sequence[str],
    typed_columns: Mapping[str, str],
    fivetran: Sequence[CrmObject] = (),
) -> list[str]:
    """Rebuild the tenant's views if definitions changed; return warnings for the scan.

    *typed_columns*: HubSpot property → typed column of `deals`. *fivetran*: the objects that are
    also shown as Fivetran's tables; if empty, such views are removed. Any number of processes may
    call this at once.
    """
    with warehouse.connect() as connection:
        lock(connection, f"views:{tenant_id}")
        connection.execute("select set_config('lock_timeout', %s, true)", [VIEW_LOCK_TIMEOUT])
        plan = ViewPlan(connection, tenant_id, typed_columns)
        views = list(plan.views(objects))
        tables: list[View] = []
        if fivetran:
            tables = list(FivetranPlan(connection, tenant_id, typed_columns, fivetran).tables())
        own, theirs = (name(connection.schema, tenant_id) for name in SCHEMA_NAMES)
        return [
            *plan.warnings,
            *_SchemaOfViews(connection, tenant_id, own).publish(views),
            *_SchemaOfViews(connection, tenant_id, theirs).publish(tables),
        ]


class _SchemaOfViews:
    def __init__(self, connection: WarehouseConnection, tenant_id: str, schema: str) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._schema = schema
        self._role = tenant_role(tenant_id)
        #: The start of the comment of every view that we built; a view without it is not ours.
        self._mark = (
            f"Built from {connection.schema} for {tenant_id}; changes are overwritten. Version "
        )

    def publish(self, views: list[View]) -> list[str]:
        """Build these views, and remove others that we built before; return warnings."""
        stored = self._stored_signature()
        if not views and stored is None:
            return []
        digests = {view.name: self._digest(view) for view in views}
        signature = _hash(f"{self._role} {sorted(digests.items())}")
        # as the login role: members of a group do not inherit the right to create roles
        self._connection.execute("reset role")
        refusals = self._create_role()
        self._act_as_group()
        present = self._relations()
        blocked: list[str] = []
        if refusal := self._create_schema():
            return [refusal, *refusals]
        if stored != signature or digests.keys() - present.keys():
            blocked = self._rebuild(views, digests, present)
            # without a signature, the next scan tries again
            recorded = "" if blocked else signature
            self._connection.run(_RECORD, [self._tenant_id, self._schema, self._role, recorded])
            log.info(
                "tenant %s: built the views of %s, except %d",
                self._tenant_id,
                self._schema,
                len(blocked),
            )
        if not views and not blocked:
            self._connection.run(_FORGET, [self._tenant_id, self._schema])
        if not refusals:
            self._grant([name for name in digests if not _is_inner(name)])
        return [*blocked, *refusals]

    def _act_as_group(self) -> None:
        """Become the group role until the transaction ends, so any loader can rebuild views."""
        group = loader_role(self._connection.schema)
        option = "set" if self._connection.info.server_version >= SET_OPTION_SINCE else "member"
        row = self._connection.execute(_IS_FOR_GROUP, [option, self._schema, group]).fetchone()
        if row and row[0]:
            self._connection.execute(sql.SQL("set local role {}").format(sql.Identifier(group)))

    def _rebuild(
        self, views: list[View], digests: Mapping[str, str], present: Mapping[str, _Relation]
    ) -> list[str]:
        """Build and remove views; return a warning for each one that is not as it should be."""
        warnings: dict[str, str] = {}
        for view in views:
            relation = present.get(view.name)
            mark = f"{self._mark}{digests[view.name]}"
            # new views can't be built over a barrier that is still the old one
            if view.reads not in warnings and (relation is None or relation.comment != mark):
                with self._unless_held_up(view.name, warnings):
                    if warning := self._build(view, mark, relation):
                        warnings[view.name] = warning
        kept: dict[str, str] = {}
        unwanted = [n for n in present if n not in digests and self._is_ours(present[n])]
        for name in sorted(unwanted, key=_is_inner):
            # a barrier stays, without a warning of its own, if a view over it had to stay
            if not (_is_inner(name) and kept):
                with self._unless_held_up(name, kept):
                    self._execute_all(self._drop(name))
        return [*warnings.values(), *kept.values()]

    def _build(self, view: View, mark: str, present: _Relation | None) -> str | None:
        """Build a view; return a warning if it can't become exactly this one."""
        if present and not self._is_ours(present):
            return (
                f"{self._schema}.{view.name} is not a view that this pipeline built, so it was not "
                "changed. Rename it, then the next scan builds the view."
            )
        changed = self._changed_columns(view, present) if present else []
        if not present or not changed:
            # dependent views and grants survive if columns are only added at the end
            self._execute_all(
                self._create(view, present.columns if present else ()), *self._comments(view, mark)
            )
            return None
        if dependents := self._dependents(view.name):
            return self._build_beside_old_types(view, present, changed, dependents)
        self._execute_all(
            self._drop(view.name),
            self._create(view),
            *self._given_to(view),
            *self._comments(view, mark),
        )
        return None

    def _build_beside_old_types(
        self, view: View, present: _Relation, changed: Sequence[str], dependents: list[str]
    ) -> str:
        """Build a view that others depend on: PostgreSQL allows no change of existing columns."""
        if view.is_barrier or not all(present.columns[name] in CONVERSIONS_TO for name in changed):
            return self._stays(view.name, [f"{it} depends on it" for it in dependents])
        columns = dict(view.columns)
        for name in changed:
            column = columns.get(name, Column(sql.NULL))
            # the column of a property that is no longer defined usually has its name
            of_property = column.hubspot_property or name.removeprefix(view.prefix)
            conversion = CONVERSIONS_TO[present.columns[name]]
            expression = converted(self._connection.schema, of_property, conversion)
            columns[name] = replace(column, expression=expression)
        ordered = dict.fromkeys([*present.columns, *columns])
        shown = {name: columns[name] for name in list(ordered)[:MAX_COLUMNS]}
        built = replace(view, columns=shown)
        create = self._create(built, present.columns)
        mark = f"{self._mark}{_hash(create.as_string(self._connection))}"
        if present.comment != mark:
            self._execute_all(create, *self._comments(built, mark))
        kept = [f"{name} ({present.columns[name]})" for name in changed]
        missing = len(ordered) - len(shown)
        return (
            f"The view {self._schema}.{view.name} keeps these columns as they were, although "
            f"their properties changed: {_some(kept)}. This depends on the view: "
            f"{_some(dependents)}. All other columns are up to date"
            f"{f', but there is no room for {missing} new ones' if missing else ''}. "
            "To change the columns too, drop what depends on the view, start a scan, and create "
            "it again."
        )

    def _changed_columns(self, view: View, present: _Relation) -> list[str]:
        """Return the existing columns that will have another type, or be removed."""
        types = self._types(view)
        return [name for name, its_type in present.columns.items() if types.get(name) != its_type]

    def _types(self, view: View) -> dict[str, str]:
        result = self._connection.execute(
            sql.SQL("select {} {} limit 0").format(self._expressions(view.columns), view.source)
        ).pgresult
        if result is None:
            return {}
        numbers = range(result.nfields)
        types = self._connection.execute(
            "select format_type(oid, modifier) from unnest(%s::oid[], %s::integer[])"
            " with ordinality as type (oid, modifier, n) order by n",
            [[result.ftype(n) for n in numbers], [result.fmod(n) for n in numbers]],
        )
        return dict(zip(view.columns, (name for (name,) in types), strict=True))

    def _dependents(self, name: str) -> list[str]:
        rows = self._connection.execute(_DEPENDENTS, {"schema": self._schema, "view": name})
        return [described for (described,) in rows]

    def _given_to(self, view: View) -> list[sql.SQL | sql.Composed]:
        """Return statements that restore the grants and comments of an administrator."""
        given = self._connection.execute(
            _GIVEN, {"schema": self._schema, "view": view.name, "columns": list(view.columns)}
        )
        return [sql.SQL(statement) for (statement,) in given]

    def _execute_all(self, *statements: sql.SQL | sql.Composed) -> None:
        with self._connection.transaction():
            for statement in statements:
                self._connection.execute(statement)

    @contextmanager
    def _unless_held_up(self, name: str, warnings: dict[str, str]) -> Iterator[None]:
        """Add a warning if the block can't change a view that others use or depend on."""
        try:
            yield
        except psycopg.errors.DependentObjectsStillExist as exc:
            # of an outdated view, or created since we looked for dependents
            warnings[name] = self._stays(name, (exc.diag.message_detail or "").splitlines())
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            warnings[name] = (
                f"The view {self._schema}.{name} stays as it was: queries used it for more than "
                f"{VIEW_LOCK_TIMEOUT}. The next scan tries again."
            )

    def _stays(self, name: str, reasons: Sequence[str]) -> str:
        return (
            f"The view {self._schema}.{name} stays as it was: {'; '.join(reasons)}. "
            "Drop what depends on it, then the next scan rebuilds or removes the view."
        )

    def _create(self, view: View, present: Iterable[str] = ()) -> sql.Composed:
        """Return a statement that keeps the *present* columns in place and appends the others."""
        ordered = dict.fromkeys([*(c for c in present if c in view.columns), *view.columns])
        return sql.SQL(
            "create or replace view {} with (security_barrier = {}) as select {} {}"
        ).format(
            self._named(view.name),
            view.is_barrier,
            self._expressions({column: view.columns[column] for column in ordered}),
            view.source,
        )

    def _expressions(self, columns: Mapping[str, Column]) -> sql.Composed:
        return sql.SQL(", ").join(
            sql.SQL("{} as {}").format(column.expression, sql.Identifier(name))
            for name, column in columns.items()
        )

    def _comments(self, view: View, mark: str) -> Iterator[sql.Composed]:
        """Yield the comment that marks the view as ours, and HubSpot's descriptions of its columns.

        An administrator's comment on a column stays if HubSpot has none.
        """
        yield sql.SQL("comment on view {} is {}").format(self._named(view.name), mark)
        comments = [
            sql.SQL("comment on column {} is {}").format(
                sql.Identifier(self._schema, view.name, name), column.comment
            )
            for name, column in view.columns.items()
            if column.comment
        ]
        # one round trip for all: a view has up to 1,600 columns
        if comments:
            yield sql.SQL("; ").join(comments)

    def _drop(self, name: str) -> sql.Composed:
        return sql.SQL("drop view {} restrict").format(self._named(name))

    def _named(self, name: str) -> sql.Identifier:
        return sql.Identifier(self._schema, name)

    def _digest(self, view: View) -> str:
        create = self._create(view).as_string(self._connection)
        comments = sorted((name, c.comment) for name, c in view.columns.items() if c.comment)
        return _hash(f"{create} {comments}")

    def _is_ours(self, relation: _Relation) -> bool:
        return (relation.comment or "").startswith(self._mark)

    def _create_schema(self) -> str | None:
        """Create the schema if it is missing; if we may not, return the administrator's task."""
        # `if not exists` needs the right to create schemas even if the schema exists
        known = "select from pg_catalog.pg_namespace where nspname = %s"
        if self._connection.execute(known, [self._schema]).fetchone() is not None:
            return None
        create = sql.SQL("create schema {}").format(sql.Identifier(self._schema))
        try:
            with self._connection.transaction():
                self._connection.execute(create)
        except psycopg.errors.InsufficientPrivilege:
            group = loader_role(self._connection.schema)
            (owner,) = self._connection.execute(_OWNER, [group]).fetchone() or (None,)
            statement = sql.SQL("{} authorization {}").format(create, sql.Identifier(str(owner)))
            return (
                f"There is no schema {self._schema}, and the warehouse connection may not create "
                "one. An administrator must run: "
                f"{statement.as_string(self._connection)}; then the next scan builds the views."
            )
        return None

    def _relations(self) -> dict[str, _Relation]:
        rows = self._connection.execute(_RELATIONS, [self._schema])
        return {name: _Relation(columns, comment) for name, columns, comment in rows}

    def _stored_signature(self) -> str | None:
        statement = "select signature from {tenant_views} where tenant_id = %s and schema_name = %s"
        row = self._connection.run(statement, [self._tenant_id, self._schema]).fetchone()
        return row[0] if row else None

    def _create_role(self) -> list[str]:
        """Create the tenant's role if it is missing; if we may not, return a warning."""
        if create_role(self._connection, self._role):
            return []
        statement = create_role_statement(self._role).as_string(self._connection)
        return [
            f"There is no role {self._role}, and the warehouse connection may not create roles. An "
            f"administrator must run: {statement}; then the next scan lets it read the tenant's "
            "views."
        ]

    def _grant(self, views: Sequence[str]) -> None:
        role = sql.Identifier(self._role)
        schema = sql.Identifier(self._schema)
        may_use = "select has_schema_privilege(%s, %s, 'usage')"
        row = self._connection.execute(may_use, [self._role, self._schema]).fetchone()
        if not (row and row[0]):
            self._connection.execute(sql.SQL("grant usage on schema {} to {}").format(schema, role))
        unreadable = self._connection.execute(
            _UNREADABLE, [self._role, self._schema, list(views), self._mark]
        )
        if names := [self._named(name) for (name,) in unreadable]:
            self._connection.execute(
                sql.SQL("grant select on {} to {}").format(sql.SQL(", ").join(names), role)
            )


_IS_FOR_GROUP = """
    select pg_has_role(role.oid, %s) and coalesce(
        has_schema_privilege(role.oid, namespace.oid, 'create'),
        has_database_privilege(role.oid, current_database(), 'create')
    )
    from pg_catalog.pg_roles role
    left join pg_catalog.pg_namespace namespace on namespace.nspname = %s
    where role.rolname = %s
"""
_OWNER = """
    select coalesce((select rolname from pg_catalog.pg_roles
                     where rolname = %s and pg_has_role(oid, 'member')), current_user)
"""
# json keeps the order of columns, jsonb does not
_RELATIONS = """
    select relname,
           (select coalesce(json_object_agg(attname, format_type(atttypid, atttypmod)
                                            order by attnum), '{}')
            from pg_catalog.pg_attribute
            where attrelid = relation.oid and attnum > 0 and not attisdropped),
           obj_description(oid, 'pg_class')
    from pg_catalog.pg_class relation
    where relnamespace = to_regnamespace(%s)
"""
# All that prevents dropping the view, and all that would be dropped with it: triggers, rules,
# defaults. A rule of another view is shown as that view. Users of its row type use its columns.
_DEPENDENTS = """
    with it as (
        select relation.oid, relation.reltype, type.typarray
        from pg_catalog.pg_class relation
        join pg_catalog.pg_type type on type.oid = relation.reltype
        where relation.relnamespace = to_regnamespace(%(schema)s) and relation.relname = %(view)s
    )
    select distinct case
        when other.oid is null or other.oid = it.oid
        then pg_describe_object(depend.classid, depend.objid, 0)
        else case other.relkind when 'v' then 'view' when 'm' then 'materialized view'
                                else 'table' end
             || ' ' || quote_ident(namespace.nspname) || '.' || quote_ident(other.relname)
        end
    from it
    join pg_catalog.pg_depend depend
        on (depend.refclassid = 'pg_catalog.pg_class'::regclass and depend.refobjid = it.oid)
        or (depend.refclassid = 'pg_catalog.pg_type'::regclass
            and depend.refobjid in (it.reltype, it.typarray))
    left join pg_catalog.pg_rewrite rule
        on depend.classid = 'pg_catalog.pg_rewrite'::regclass and rule.oid = depend.objid
    left join pg_catalog.pg_class other
        on other.oid = coalesce(rule.ev_class,
            case when depend.classid = 'pg_catalog.pg_class'::regclass then depend.objid end)
    left join pg_catalog.pg_namespace namespace on namespace.oid = other.relnamespace
    where depend.deptype in ('n', 'a')
      and not (other.oid is not distinct from it.oid and rule.rulename = '_RETURN')
    order by 1
"""
# The new grants are the owner's, even if others made the old ones: it can't grant in their names.
_GIVEN = """
    with it as (
        select relation.oid, relation.relacl, relation.relowner
        from pg_catalog.pg_class relation
        where relnamespace = to_regnamespace(%(schema)s) and relname = %(view)s
    ), its_column as (
        select attribute.*, quote_ident(attribute.attname) as quoted
        from it
        join pg_catalog.pg_attribute attribute on attribute.attrelid = it.oid
        where attribute.attnum > 0 and attribute.attname = any(%(columns)s)
    ), acl as (
        select '' as of_column, relacl as acl from it
        union all
        select format('(%%s)', quoted), attacl from its_column
    )
    select format('grant %%s%%s on %%I.%%I to %%s%%s', given.privilege_type, acl.of_column,
                  %(schema)s::text, %(view)s::text,
                  case when given.grantee = 0 then 'public' else quote_ident(role.rolname) end,
                  case when given.is_grantable then ' with grant option' else '' end)
    from it, acl
    cross join lateral aclexplode(acl.acl) as given
    left join pg_catalog.pg_roles role on role.oid = given.grantee
    where given.grantee <> it.relowner and (given.grantee = 0 or role.oid is not null)
    union all
    select format('comment on column %%I.%%I.%%s is %%L', %(schema)s::text, %(view)s::text, quoted,
                  col_description(attrelid, attnum))
    from its_column
    where col_description(attrelid, attnum) is not null
"""
_UNREADABLE = """
    select relname from pg_catalog.pg_class
    where not has_table_privilege(%s, oid, 'select')
      and relnamespace = to_regnamespace(%s) and relname = any(%s)
      and starts_with(obj_description(oid, 'pg_class'), %s)
"""
_RECORD = """
    insert into {tenant_views} (tenant_id, schema_name, role_name, signature)
    values (%s, %s, %s, %s)
    on conflict (tenant_id, schema_name) do update
    set role_name = excluded.role_name, signature = excluded.signature, built_at = now()
"""
_FORGET = "delete from {tenant_views} where tenant_id = %s and schema_name = %s"


_NAMES_SHOWN = 5


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _is_inner(name: str) -> bool:
    # names of objects start with a letter
    return name.startswith("_")


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
