"""Making the roles of a warehouse, and what each tenant's views need, with a migrator's rights."""

from collections.abc import Iterable, Iterator

import psycopg
from psycopg import sql

from include.errors import WarehouseConfigError
from include.warehouse.connection import Warehouse
from include.warehouse.grants import exists, grant_rights, group_roles, loader_role
from include.warehouse.view_columns import tenant_role, tenant_schema


def create_group_roles(warehouse: Warehouse) -> list[str]:
    """Make the group roles that are missing and return them. They can't log in.

    A loader that is new may make schemas, for the tenants' views. Whoever takes that right away
    from it prepares the tenants instead; it is not granted a second time.

    Raises WarehouseConfigError with the statements for an administrator if we may not.
    """
    wanted = group_roles(warehouse.schema)
    with warehouse.connect() as connection:
        missing = [role for role in wanted if not exists(connection, role)]
        refused = [role for role in missing if not _create(connection, role)]
        if refused:
            raise _not_allowed(connection, refused, "")
        for role in missing:
            right = "connect, create" if role == loader_role(warehouse.schema) else "connect"
            # a notice, not an error, says that somebody may not grant it
            connection.execute(
                sql.SQL(f"grant {right} on database {{}} to {{}}").format(
                    sql.Identifier(connection.info.dbname), sql.Identifier(role)
                )
            )
    return missing


def grant_again(warehouse: Warehouse) -> None:
    """Give the group roles their rights; needed once, when they are newer than the tables."""
    with warehouse.connect() as connection:
        grant_rights(connection, warehouse.schema)


def prepare_tenants(warehouse: Warehouse, tenant_ids: Iterable[str]) -> None:
    """Make each tenant's role and its schema, in which the loader may then build the views.

    For a loader that may not make both. May be run again. Raises WarehouseConfigError.
    """
    loader = loader_role(warehouse.schema)
    for tenant_id in tenant_ids:
        with warehouse.connect(tenant_id) as connection:
            role = tenant_role(tenant_id)
            if not exists(connection, role) and not _create(connection, role):
                raise _not_allowed(connection, [role], tenant_id)
            schema = tenant_schema(warehouse.schema, tenant_id)
            # one that the loader has made is the loader's: it lets the role in by itself
            if _is_ours_to_make(connection, schema):
                for statement in _of_tenant(schema, role, loader):
                    connection.execute(statement)


def _is_ours_to_make(connection: psycopg.Connection, schema: str) -> bool:
    row = connection.execute(
        "select pg_get_userbyid(nspowner) = current_user from pg_catalog.pg_namespace"
        " where nspname = %s",
        [schema],
    ).fetchone()
    return row is None or bool(row[0])


def _of_tenant(schema: str, role: str, loader: str) -> Iterator[sql.Composed]:
    for statement in (
        "create schema if not exists {schema}",
        "grant usage, create on schema {schema} to {loader}",
        "grant usage on schema {schema} to {role}",
    ):
        yield sql.SQL(statement).format(
            schema=sql.Identifier(schema), role=sql.Identifier(role), loader=sql.Identifier(loader)
        )


def _create(connection: psycopg.Connection, role: str) -> bool:
    try:
        with connection.transaction():
            connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        pass  # another process was faster
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _not_allowed(
    connection: psycopg.Connection, roles: list[str], tenant_id: str
) -> WarehouseConfigError:
    statements = "; ".join(
        sql.SQL("create role {} nologin").format(sql.Identifier(role)).as_string(connection)
        for role in roles
    )
    return WarehouseConfigError(
        f"the role {connection.info.user} may not create roles.",
        tenant_id=tenant_id or None,
        remedy=f"An administrator must run: {statements}; then run this again.",
    )
