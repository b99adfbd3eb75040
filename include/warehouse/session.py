"""The settings of our sessions: ours, whatever the server, the database, the role or the
environment sets. docs/how-scans-work.md#sessions-and-poolers

psycopg, dlt's psycopg2 and ADBC take them alike: as libpq's `client_encoding` and `options`. A
pooler may drop the options; `require_usable` then says which setting of the role is in the way.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from include.errors import WarehouseConfigError, WarehouseUnavailableError

#: As PostgreSQL counts: the first with the MERGE statement.
MIN_SERVER_VERSION = 150_000
ENCODING = "UTF8"

#: The server reports these to libpq, so they can be compared without a query. Variables such as
#: PGDATESTYLE win over options. Poolers keep them for each client.
_REPORTED = {
    "client_encoding": ENCODING,
    "DateStyle": "ISO",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
}
#: Every role may set these, in PostgreSQL 14 and newer; one that the server does not know would
#: close the connection.
_OPTIONS = {
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    # no object of another schema takes the place of one of PostgreSQL's
    "search_path": "pg_catalog",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "lock_timeout": "5min",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "row_security": "on",
    "default_tablespace": "",
    "default_table_access_method": "heap",
}


def with_session(
    parameters: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Return libpq's *parameters* with our settings. Other options that are given stay, before."""
    given = parameters.get("options") or environ.get("PGOPTIONS") or ""
    ours = "\t".join(f"-c{name}={_escaped(value)}" for name, value in _OPTIONS.items())
    if not given.endswith(ours):
        # a tab: dlt writes a space into a URL as a plus sign
        given = f"{given}\t{ours}" if given else ours
    return {**parameters, "client_encoding": ENCODING, "options": given}


def _escaped(value: str) -> str:
    return value.replace(" ", "\\ ")


def correct(connection: psycopg.Connection) -> None:
    """Set what variables of libpq (PGDATESTYLE, PGTZ) have set: they win over options.

    Without a query if there is nothing to correct. *connection* must be in autocommit.
    """
    for name, value in _REPORTED.items():
        # PostgreSQL adds the order of day and month to the style
        if not (connection.info.parameter_status(name) or value).startswith(value):
            connection.execute(sql.SQL("set {} = {}").format(sql.Identifier(name), value))


class _InForce(NamedTuple):
    setting: str
    value: str
    wanted: str


def require_usable(connection: psycopg.Connection, tenant_id: str | None = None) -> None:
    """Refuse a server, or settings in force, with which rows could be lost or stored wrong.

    Raises WarehouseConfigError, and WarehouseUnavailableError for a standby.
    """
    info = connection.info
    if info.server_version < MIN_SERVER_VERSION:
        raise WarehouseConfigError(
            f"the warehouse is PostgreSQL {info.server_version // 10_000}; dlt's upsert needs "
            "MERGE.",
            tenant_id=tenant_id,
            remedy=f"Use PostgreSQL {MIN_SERVER_VERSION // 10_000} or newer.",
        )
    encoding = info.parameter_status("server_encoding")
    if encoding != ENCODING:
        raise WarehouseConfigError(
            f"the database {info.dbname} has the encoding {encoding}, which can't hold all "
            "characters that HubSpot sends. Nothing was written.",
            tenant_id=tenant_id,
            remedy="Use a database that was made with `create database … encoding 'UTF8' template "
            "template0`.",
        )
    if info.parameter_status("in_hot_standby") == "on":
        raise WarehouseUnavailableError(
            f"the server {info.host} is a standby, which takes no writes.",
            tenant_id=tenant_id,
            remedy="After a failover: have the connection 'warehouse' or DATABASE_URL lead to the "
            "new primary. The task is retried.",
        )
    for setting, value, wanted in _in_the_way(connection):
        raise WarehouseConfigError(
            f"PostgreSQL has the setting {setting} = {value!r}, with which scans can't run, and "
            "our own does not reach it: a pooler drops it, or only a superuser may change it.",
            tenant_id=tenant_id,
            remedy=f"Run: {_remedy(connection, setting, wanted)}; then close the pooler's server "
            "connections.",
        )


def _in_the_way(connection: psycopg.Connection) -> Iterator[_InForce]:
    path, *values = connection.execute(_SETTINGS).fetchone() or ([],)
    for (setting, wanted), value in zip(_WANTED.items(), values, strict=True):
        if setting == "search_path":
            # what comes behind pg_catalog takes the place of nothing
            first = next((name for name in path if not name.startswith("pg_temp")), "")
            value = wanted if first == "pg_catalog" else value
        if value is not None and value != wanted:
            yield _InForce(setting, value, wanted)


def _remedy(connection: psycopg.Connection, setting: str, wanted: str) -> str:
    return (
        sql.SQL("alter role {} in database {} set {} = {}")
        .format(
            sql.Identifier(connection.info.user),
            sql.Identifier(connection.info.dbname),
            sql.SQL(setting),
            wanted,
        )
        .as_string(connection)
    )


#: With other values rows could be lost or stored wrong, or no scan could get on.
_WANTED = {
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "search_path": "pg_catalog",
    "session_replication_role": "origin",
    "quote_all_identifiers": "off",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "row_security": "on",
    "default_table_access_method": "heap",
    "bytea_output": "hex",
    "transaction_timeout": "0",
}
_SETTINGS = sql.SQL("select pg_catalog.current_schemas(true)::pg_catalog.text[], {}").format(
    sql.SQL(", ").join(
        sql.SQL("pg_catalog.current_setting({}, true)").format(name) for name in _WANTED
    )
)
