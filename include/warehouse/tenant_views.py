"""What analysts see: one schema of views per tenant, and a role that may read it and nothing else.

The views belong to the loaders' group role, or to the loader itself where there is none, and read
the tables with its rights; `security_barrier` keeps functions in an analyst's query away from rows
of other tenants. For each row, PostgreSQL fills in
every column of a barrier, asked for or not. So the barrier of records is a view of its own with the
few columns of their table, `_deals` below `deals` and `deals_all`; the role can't read it directly.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from include.warehouse.connection import Warehouse
from include.warehouse.grants import exists, loader_role
from include.warehouse.locks import lock
from include.warehouse.view_columns import tenant_role, tenant_schema
from include.warehouse.view_plan import View, ViewPlan

log = logging.getLogger(__name__)

#: Raise it to have every tenant's views built again.
VERSION = 1
#: How long to wait for an analyst's query before a view is left to the next scan. Whoever queries
#: the view in the meantime queues behind us.
VIEW_LOCK_TIMEOUT = "5s"
#: The PostgreSQL from which on a member of a role need not be allowed to become it.
SET_OPTION_SINCE = 160_000


@dataclass(frozen=True)
class _Relation:
    """What is there under a name in the tenant's schema."""

    columns: Sequence[str]
    comment: str | None


def publish_views(
    warehouse: Warehouse, tenant_id: str, objects: Sequence[str], typed_columns: Mapping[str, str]
) -> list[str]:
    """Build the tenant's views anew if definitions changed; return warnings for the scan.

    *typed_columns* says which HubSpot property each typed column of `deals` holds: property to
    column. Any number of processes may call this at once.
    """
    with warehouse.connect(tenant_id) as connection:
        lock(connection, warehouse.schema, f"views:{tenant_id}")
        connection.execute("select set_config('lock_timeout', %s, true)", [VIEW_LOCK_TIMEOUT])
        return _TenantViews(connection, warehouse.schema, tenant_id).publish(objects, typed_columns)


class _TenantViews:
    def __init__(self, connection: psycopg.Connection, dataset: str, tenant_id: str) -> None:
        self._connection = connection
        self._dataset = dataset
        self._tenant_id = tenant_id
        self._schema = tenant_schema(dataset, tenant_id)
        self._role = tenant_role(tenant_id)
        #: Starts the comment of every view we built: what lacks it is somebody else's.
        self._mark = f"Built from {dataset} for {tenant_id}; changes are overwritten. Version "

    def publish(self, objects: Sequence[str], typed_columns: Mapping[str, str]) -> list[str]:
        plan = ViewPlan(self._connection, self._dataset, self._tenant_id, self._schema)
        views = list(plan.views(objects, typed_columns))
        digests = {view.name: self._digest(view) for view in views}
        signature = _hash(f"{VERSION} {self._role} {sorted(digests.items())}")
        # as ourselves: the right to create roles is nothing that members of a group have
        admitted = self._create_role()
        self._act_as_group()
        present = self._relations()
        blocked: list[str] = []
        if refusal := self._create_schema():
            return [*plan.warnings, refusal, *admitted]
        if self._stored_signature() != signature or digests.keys() - present.keys():
            blocked = list(self._rebuild(views, digests, present))
            # what could not be done is tried again by the next scan
            self._record("" if blocked else signature)
            log.info("tenant %s: views built, %d left as they were", self._tenant_id, len(blocked))
        if not admitted:
            self._grant([name for name in digests if not _is_inner(name)])
        return [*plan.warnings, *blocked, *admitted]

    def _act_as_group(self) -> None:
        """Until the transaction ends, be the group: what one login builds, the next can rebuild."""
        group = loader_role(self._dataset)
        option = "set" if self._connection.info.server_version >= SET_OPTION_SINCE else "member"
        row = self._connection.execute(_IS_FOR_GROUP, [option, self._schema, group]).fetchone()
        if row and row[0]:
            self._connection.execute(sql.SQL("set local role {}").format(sql.Identifier(group)))

    def _rebuild(
        self, views: list[View], digests: Mapping[str, str], present: Mapping[str, _Relation]
    ) -> Iterator[str]:
        for view in views:
            relation = present.get(view.name)
            mark = f"{self._mark}{digests[view.name]}"
            if relation is None or relation.comment != mark:
                yield from self._build(view, mark, relation)
        unwanted = [n for n in present if n not in digests and self._is_ours(present[n])]
        yield from self._remove(unwanted)

    def _remove(self, names: Sequence[str]) -> Iterator[str]:
        kept: list[str] = []
        for name in sorted(names, key=_is_inner):
            # what a view that had to stay reads stays without another word
            if not (_is_inner(name) and kept):
                kept += self._attempt(name, self._drop(name))
        yield from kept

    def _build(self, view: View, mark: str, present: _Relation | None) -> Iterator[str]:
        if present and not self._is_ours(present):
            yield (
                f"{self._schema}.{view.name} is not a view that this pipeline built: it stays as "
                "it is. Rename it, then the next scan builds the view."
            )
            return
        comment = sql.SQL("comment on view {} is {}").format(self._named(view.name), mark)
        try:
            # analysts' views on ours survive as long as columns are only added, at the end
            with self._connection.transaction():
                self._connection.execute(self._create(view, present.columns if present else ()))
                self._connection.execute(comment)
        except psycopg.errors.InvalidTableDefinition:
            anew = sql.SQL("; ").join([self._drop(view.name), self._create(view), comment])
            yield from self._attempt(view.name, anew)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            yield self._in_use(view.name)

    def _attempt(self, name: str, statement: sql.Composed) -> Iterator[str]:
        try:
            with self._connection.transaction():
                self._connection.execute(statement)
        except psycopg.errors.DependentObjectsStillExist as exc:
            dependents = "; ".join((exc.diag.message_detail or "").splitlines())
            yield (
                f"The view {self._schema}.{name} stays as it was: {dependents}. "
                "Drop what depends on it, then the next scan rebuilds or removes the view."
            )
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            yield self._in_use(name)

    def _in_use(self, name: str) -> str:
        return (
            f"The view {self._schema}.{name} stays as it was: queries used it for more than "
            f"{VIEW_LOCK_TIMEOUT}. Nothing to do: the next scan tries again."
        )

    def _create(self, view: View, present: Sequence[str] = ()) -> sql.Composed:
        """Keep the *present* columns where they are, and append the others."""
        ordered = dict.fromkeys([*(c for c in present if c in view.columns), *view.columns])
        return sql.SQL(
            "create or replace view {} with (security_barrier = {}) as select {} {}"
        ).format(
            self._named(view.name),
            view.is_barrier,
            sql.SQL(", ").join(
                sql.SQL("{} as {}").format(view.columns[column], sql.Identifier(column))
                for column in ordered
            ),
            view.source,
        )

    def _drop(self, name: str) -> sql.Composed:
        return sql.SQL("drop view {} restrict").format(self._named(name))

    def _named(self, name: str) -> sql.Identifier:
        return sql.Identifier(self._schema, name)

    def _digest(self, view: View) -> str:
        return _hash(self._create(view).as_string(self._connection))

    def _is_ours(self, relation: _Relation) -> bool:
        return (relation.comment or "").startswith(self._mark)

    def _create_schema(self) -> str | None:
        """Create it if need be; return what an administrator has to do if we may not."""
        # `if not exists` asks for the right to create schemas even if it exists
        known = "select from pg_catalog.pg_namespace where nspname = %s"
        if self._connection.execute(known, [self._schema]).fetchone() is not None:
            return None
        create = sql.SQL("create schema {}").format(sql.Identifier(self._schema))
        try:
            with self._connection.transaction():
                self._connection.execute(create)
        except psycopg.errors.InsufficientPrivilege:
            group = loader_role(self._dataset)
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
        return {name: _Relation(columns, comment) for name, comment, columns in rows}

    def _stored_signature(self) -> str | None:
        statement = sql.SQL("select signature from {} where tenant_id = %s").format(
            sql.Identifier(self._dataset, "tenant_views")
        )
        row = self._connection.execute(statement, [self._tenant_id]).fetchone()
        return row[0] if row else None

    def _record(self, signature: str) -> None:
        statement = sql.SQL(_RECORD).format(sql.Identifier(self._dataset, "tenant_views"))
        self._connection.execute(statement, [self._tenant_id, self._schema, self._role, signature])

    def _create_role(self) -> list[str]:
        """Create the tenant's role if need be; return what an administrator has to do if not."""
        create = sql.SQL("create role {} nologin").format(sql.Identifier(self._role))
        if exists(self._connection, self._role):
            return []
        try:
            with self._connection.transaction():
                self._connection.execute(create)
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            pass  # another process was faster
        except psycopg.errors.InsufficientPrivilege:
            statement = create.as_string(self._connection)
            return [
                f"There is no role {self._role}, and the warehouse connection may not create "
                f"roles. An administrator must run: {statement}; "
                "then the next scan lets it read the tenant's views."
            ]
        return []

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
_RELATIONS = """
    select relation.relname, obj_description(relation.oid, 'pg_class'),
           array(select attname::text from pg_catalog.pg_attribute
                 where attrelid = relation.oid and attnum > 0 and not attisdropped
                 order by attnum)
    from pg_catalog.pg_class relation
    join pg_catalog.pg_namespace namespace on namespace.oid = relation.relnamespace
    where namespace.nspname = %s
"""
_UNREADABLE = """
    select relation.relname
    from pg_catalog.pg_class relation
    join pg_catalog.pg_namespace namespace on namespace.oid = relation.relnamespace
    where not has_table_privilege(%s, relation.oid, 'select')
          and namespace.nspname = %s and relation.relname = any(%s)
          and starts_with(obj_description(relation.oid, 'pg_class'), %s)
"""
_RECORD = """
    insert into {} (tenant_id, schema_name, role_name, signature) values (%s, %s, %s, %s)
    on conflict (tenant_id) do update
    set schema_name = excluded.schema_name, role_name = excluded.role_name,
        signature = excluded.signature, built_at = now()
"""


def _is_inner(name: str) -> bool:
    # names of objects start with a letter
    return name.startswith("_")


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
