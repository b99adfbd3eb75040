"""The roles of a warehouse: `<schema>_loader`, `<schema>_reader`, and one reader for each tenant.

Rights are granted in the migrations' transaction, so a new table is never without them. There are
no default privileges: they would open new tables to readers. docs/security.md#roles
"""

from collections.abc import Iterable, Iterator

import psycopg
from psycopg import sql

from include.errors import WarehouseConfigError, naming_tenant
from include.warehouse.connection import Warehouse
from include.warehouse.tenant_views.plan import SCHEMA_NAMES, tenant_role

#: Tables that no reader needs, but that are useful to an attacker.
CLOSED_TO_READERS = frozenset({"locks", "oauth_tokens", "rate_limits"})
#: Written only by migrations.
READ_BY_LOADERS = frozenset({"schema_migrations"})


def loader_role(schema: str) -> str:
    """Return the group of the roles that load: scans, the API, alerts."""
    return f"{schema}_loader"


def reader_role(schema: str) -> str:
    """Return the group of the roles that read all tenants' tables: operators, BI."""
    return f"{schema}_reader"


def group_roles(schema: str) -> tuple[str, str]:
    return loader_role(schema), reader_role(schema)


def exists(connection: psycopg.Connection, role: str) -> bool:
    known = "select from pg_catalog.pg_roles where rolname = %s"
    return connection.execute(known, [role]).fetchone() is not None


def grant_rights(connection: psycopg.Connection, schema: str) -> None:
    """Grant each group role that exists its rights, and PUBLIC none. Can be repeated.

    Must be run by the owner of the schema's tables, or a superuser.
    """
    for statement in _statements(connection, schema):
        connection.execute(statement)


def _statements(connection: psycopg.Connection, schema: str) -> Iterator[sql.Composed]:
    tables = _tables(connection, schema)
    staging = {name: _tables(connection, name) for name in _staging_schemas(connection, schema)}
    for name, own in {schema: tables, **staging}.items():
        yield _composed("revoke all on schema {schema} from public", name)
        yield _composed("revoke all on {tables} from public", name, tables=own)
    loader, reader = group_roles(schema)
    use, read = "grant usage on schema {schema} to {role}", "grant select on {tables} to {role}"
    write = "grant select, insert, update, delete on {tables} to {role}"
    if exists(connection, loader):
        yield _composed(use, schema, loader)
        yield _composed(write, schema, loader, tables - READ_BY_LOADERS)
        yield _composed(read, schema, loader, READ_BY_LOADERS)
        for name, own in staging.items():
            yield _composed(use, name, loader)
            yield _composed(write, name, loader, own)
            yield _composed("grant truncate on {tables} to {role}", name, loader, own)
    if exists(connection, reader):
        yield _composed(use, schema, reader)
        yield _composed(read, schema, reader, tables - CLOSED_TO_READERS)


def _composed(
    statement: str, schema: str, role: str = "public", tables: frozenset[str] = frozenset()
) -> sql.Composed:
    names = [sql.Identifier(schema, table) for table in sorted(tables)]
    return sql.SQL(statement).format(
        schema=sql.Identifier(schema), role=sql.Identifier(role), tables=sql.SQL(", ").join(names)
    )


def _tables(connection: psycopg.Connection, schema: str) -> frozenset[str]:
    rows = connection.execute(
        "select tablename from pg_catalog.pg_tables where schemaname = %s", [schema]
    )
    return frozenset(name for (name,) in rows)


def _staging_schemas(connection: psycopg.Connection, schema: str) -> list[str]:
    rows = connection.execute(
        "select nspname from pg_catalog.pg_namespace"
        " where starts_with(nspname, %s) and nspname ~ '_stg_slot[0-9]+$' order by nspname",
        [f"{schema}_stg_slot"],
    )
    return [name for (name,) in rows]


def create_group_roles(warehouse: Warehouse) -> list[str]:
    """Create the missing group roles, which can't log in, and return them.

    A new loader role may create schemas, for the tenants' views. If you revoke that right, prepare
    the tenants instead; it is not granted again.

    Raises WarehouseConfigError with the statements for an administrator if this role may not.
    """
    wanted = group_roles(warehouse.schema)
    with warehouse.connect() as connection:
        missing = [role for role in wanted if not exists(connection, role)]
        refused = [role for role in missing if not create_role(connection, role)]
        if refused:
            raise _not_allowed(connection, refused)
        for role in missing:
            right = "connect, create" if role == loader_role(warehouse.schema) else "connect"
            # if this role may not grant it, PostgreSQL sends a notice, not an error
            connection.execute(
                sql.SQL(f"grant {right} on database {{}} to {{}}").format(
                    sql.Identifier(connection.info.dbname), sql.Identifier(role)
                )
            )
    return missing


def grant_again(warehouse: Warehouse) -> None:
    """Grant the group roles their rights; needed once, if they are newer than the tables."""
    with warehouse.connect() as connection:
        grant_rights(connection, warehouse.schema)


def prepare_tenants(
    warehouse: Warehouse, tenant_ids: Iterable[str], *, fivetran: bool = False
) -> None:
    """Create each tenant's role and its schema, in which the loader may then build the views.

    For a loader that may not create them. Can be repeated. Raises WarehouseConfigError.

    :param fivetran: also create the schema of Fivetran's tables.
    """
    loader = loader_role(warehouse.schema)
    for tenant_id in tenant_ids:
        with naming_tenant(tenant_id), warehouse.connect() as connection:
            if not exists(connection, loader):
                raise WarehouseConfigError(
                    f"there is no role {loader}, which is to build the tenant's views.",
                    remedy="Add --create-roles to the command.",
                )
            role = tenant_role(tenant_id)
            if not create_role(connection, role):
                raise _not_allowed(connection, [role])
            for name in SCHEMA_NAMES if fivetran else SCHEMA_NAMES[:1]:
                schema = name(warehouse.schema, tenant_id)
                # the loader owns a schema that it created, and grants the role access itself
                if _is_ours(connection, schema):
                    prepare = sql.SQL(_PREPARE).format(
                        schema=sql.Identifier(schema),
                        role=sql.Identifier(role),
                        loader=sql.Identifier(loader),
                    )
                    connection.execute(prepare)


_PREPARE = """
    create schema if not exists {schema};
    grant usage, create on schema {schema} to {loader};
    grant usage on schema {schema} to {role}
"""


def _is_ours(connection: psycopg.Connection, schema: str) -> bool:
    """Return whether this role owns a schema, or the schema does not exist."""
    row = connection.execute(
        "select pg_get_userbyid(nspowner) = current_user from pg_catalog.pg_namespace"
        " where nspname = %s",
        [schema],
    ).fetchone()
    return row is None or bool(row[0])


def create_role_statement(role: str) -> sql.Composed:
    return sql.SQL("create role {} nologin").format(sql.Identifier(role))


def create_role(connection: psycopg.Connection, role: str) -> bool:
    """Create a role that can't log in, if it is missing; return False if we may not."""
    if exists(connection, role):
        return True
    try:
        with connection.transaction():
            connection.execute(create_role_statement(role))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        pass  # another process was faster
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _not_allowed(connection: psycopg.Connection, roles: list[str]) -> WarehouseConfigError:
    statements = sql.SQL("; ").join(map(create_role_statement, roles)).as_string(connection)
    return WarehouseConfigError(
        f"the role {connection.info.user} may not create roles.",
        remedy=f"An administrator must run: {statements}; then run this again.",
    )
