"""Connections to the warehouse, and the settings of their sessions.

The settings override those of the server, the database, the role and the environment; psycopg,
dlt's psycopg2 and ADBC take them as libpq's `client_encoding` and `options`. A pooler may drop the
options: `require_usable` then names the role's setting that scans can't run with.
docs/how-scans-work.md#sessions-and-poolers
"""

import json
import os
import re
import string
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, urlencode

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import RowFactory, tuple_row

from include.errors import WarehouseConfigError, WarehouseUnavailableError, naming_tenant
from include.loopback import is_loopback
from include.warehouse.errors import as_warehouse_error, warehouse_error

if TYPE_CHECKING:
    from airflow.sdk import Connection


#: In the format of `server_version_num`: the first version with MERGE.
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
    # no object of another schema hides one of PostgreSQL's
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
    """Return libpq's *parameters* with our settings, which follow other given options."""
    given = parameters.get("options") or environ.get("PGOPTIONS") or ""
    ours = "\t".join(f"-c{name}={value}" for name, value in _OPTIONS.items()).replace(" ", "\\ ")
    if not given.endswith(ours):
        # a tab, because dlt encodes a space in a URL as a plus sign
        given = f"{given}\t{ours}" if given else ours
    return {**parameters, "client_encoding": ENCODING, "options": given}


def correct(connection: psycopg.Connection) -> None:
    """Correct settings from libpq's variables (PGDATESTYLE, PGTZ), which override options.

    Sends no query if there is nothing to correct. *connection* must be in autocommit.
    """
    for name, value in _REPORTED.items():
        # DateStyle also has the order of day and month
        if not (connection.info.parameter_status(name) or value).startswith(value):
            connection.execute(sql.SQL("set {} = {}").format(sql.Identifier(name), value))


def require_usable(connection: psycopg.Connection) -> None:
    """Refuse a server, or settings in force, with which rows could be lost or stored incorrectly.

    Raises WarehouseConfigError, and WarehouseUnavailableError for a standby.
    """
    info = connection.info
    if info.server_version < MIN_SERVER_VERSION:
        raise WarehouseConfigError(
            f"the warehouse is PostgreSQL {info.server_version // 10_000}; dlt's upsert needs "
            "MERGE.",
            remedy=f"Use PostgreSQL {MIN_SERVER_VERSION // 10_000} or newer.",
        )
    encoding = info.parameter_status("server_encoding")
    if encoding != ENCODING:
        raise WarehouseConfigError(
            f"the database {info.dbname} has the encoding {encoding}, which can't hold all "
            "characters that HubSpot sends. Nothing was written.",
            remedy="Use a database that was created with `create database … encoding 'UTF8' "
            "template template0`.",
        )
    if info.parameter_status("in_hot_standby") == "on":
        raise WarehouseUnavailableError(
            f"the server {info.host} is a standby, which accepts no writes.",
            remedy="After a failover, point the connection 'warehouse' or DATABASE_URL at the new "
            "primary.",
        )
    for setting, value, wanted in _wrong_settings(connection):
        alter = sql.SQL("alter role {} in database {} set {} = {}").format(
            sql.Identifier(info.user), sql.Identifier(info.dbname), sql.SQL(setting), wanted
        )
        raise WarehouseConfigError(
            f"PostgreSQL has the setting {setting} = {value!r}, with which scans can't run. They "
            "can't change it: a pooler drops their setting, or only a superuser may set it.",
            remedy=f"Run: {alter.as_string(connection)}; then close the pooler's server "
            "connections.",
        )


def _wrong_settings(connection: psycopg.Connection) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the value and the wanted value of settings that we could not change."""
    path, *values = connection.execute(_SETTINGS).fetchone() or ([],)
    for (setting, wanted), value in zip(_WANTED.items(), values, strict=True):
        if setting == "search_path":
            # schemas after pg_catalog hide none of its objects
            first = next((name for name in path if not name.startswith("pg_temp")), "")
            value = wanted if first == "pg_catalog" else value
        if value is not None and value != wanted:
            yield setting, value, wanted


#: With other values, rows could be lost or stored incorrectly, or scans would fail.
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

CONNECTION_ID = "warehouse"
CONNECTION_VARIABLE = "AIRFLOW_CONN_WAREHOUSE"
DEFAULT_SCHEMA = "hubspot_deals"
CONNECT_TIMEOUT_S = 10
#: dlt converts names to snake case; staging schemas append up to 11 characters, and PostgreSQL
#: allows 63.
_SCHEMA_PATTERN = re.compile(r"(?!.*__)[a-z][a-z0-9_]{0,49}(?<!_)")
#: PostgreSQL's own schemas, `public`, and staging schemas of a warehouse.
_RESERVED_SCHEMAS = re.compile(r"pg_.*|information_schema|public|.*_stg_slot[0-9]+")
_HOST_PATTERN = re.compile(r"[A-Za-z0-9._:%\[\]-]*")


class Attempt(NamedTuple):
    """One try of a scan; ``writer`` identifies its writes."""

    scan_id: str
    number: int

    @property
    def writer(self) -> str:
        """The application_name of its connections, which poolers pass on."""
        return f"hubspot_deals/{self.scan_id}/{self.number}"


#: Values of a statement, by position or by name.
Parameters = Sequence[Any] | Mapping[str, Any]
#: Parts of a statement other than table names, by the name in braces.
Parts = Mapping[str, sql.Composable]
NO_PARTS: Parts = {}


class WarehouseConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that knows the warehouse's schema."""

    schema: str

    def run(
        self,
        statement: str,
        parameters: Parameters | None = None,
        parts: Parts = NO_PARTS,
        *,
        row_factory: RowFactory[Any] = tuple_row,
    ) -> psycopg.Cursor[Any]:
        """Execute a statement. ``{name}`` is a table or function of the schema, or one of *parts*.

        Double a literal brace.
        """
        cursor = self.cursor(row_factory=row_factory)
        return cursor.execute(self.composed(statement, parts), parameters)

    def composed(self, statement: str, parts: Parts = NO_PARTS) -> sql.Composed:
        """Return the statement with the names and parts filled in, as `run` executes it."""
        names = {name for _, name, _, _ in string.Formatter().parse(statement) if name}
        tables = {name: sql.Identifier(self.schema, name) for name in names - parts.keys()}
        return sql.SQL(statement).format(**tables, **parts)


@dataclass(frozen=True)
class Warehouse:
    """A PostgreSQL database and the schema in it that this package owns.

    ``parameters`` are libpq's (host, port, dbname, user, password, sslmode …); kept out of repr.
    ``tenant_id``: the tenant that errors name.
    """

    parameters: Mapping[str, Any] = field(repr=False)
    schema: str = DEFAULT_SCHEMA
    tenant_id: str | None = None
    attempt: Attempt | None = None
    _kept: "_KeptConnections | None" = field(default=None, repr=False, compare=False)

    @classmethod
    def from_url(cls, url: str, schema: str = DEFAULT_SCHEMA) -> "Warehouse":
        """Take a `postgresql://` URL or a libpq connection string; TLS is added if necessary.

        Raises WarehouseConfigError.
        """
        try:
            parameters = conninfo.conninfo_to_dict(url)
        except (psycopg.Error, ValueError):
            # From None: the original message quotes the URL, including the password.
            raise _no_url("DATABASE_URL is not a PostgreSQL URL.") from None
        if part := _part_of_a_password(parameters):
            raise _no_url(f"DATABASE_URL has no valid {part}.")
        return cls(with_tls(parameters), schema)

    def as_attempt(self, scan_id: str, attempt: int) -> "Warehouse":
        """Return the warehouse for one try of a scan, which can't write once a newer one began."""
        named = Attempt(scan_id, attempt)
        parameters = {**self.parameters, "application_name": named.writer}
        # Kept connections have another application_name, so they are not taken over.
        return replace(self, parameters=parameters, attempt=named, _kept=None)

    @contextmanager
    def keeping_connections(self) -> Iterator["Warehouse"]:
        """Yield a warehouse that reuses its connections until the block ends."""
        kept = _KeptConnections()
        try:
            yield replace(self, _kept=kept)
        finally:
            kept.close()

    @contextmanager
    def connect(self, *, autocommit: bool = False) -> Iterator[WarehouseConnection]:
        """Yield a connection: committed at the end, rolled back on an error, closed in any case.

        Set nothing for longer than a transaction: behind a pooler (docs/deploy.md), the next
        transaction may use another session of PostgreSQL, and another client this one.

        :param autocommit: each statement is a transaction.

        Raises WarehouseUnavailableError or WarehouseConfigError for failures of PostgreSQL, and
        LoadError for a value that it does not accept; errors in a statement pass through.
        """
        kept = self._kept
        with naming_tenant(self.tenant_id):
            try:
                with (
                    kept.lend(self._open) if kept else self._open() as connection,
                    nullcontext() if autocommit else connection.transaction(),
                ):
                    yield connection
            except psycopg.OperationalError as exc:
                raise as_warehouse_error(exc) from exc
            except psycopg.DatabaseError as exc:
                # InternalError without SQLSTATE: libpq lost the connection in the middle of an
                # answer
                is_known = exc.sqlstate or isinstance(exc, psycopg.InternalError)
                if is_known and (error := warehouse_error(exc)):
                    raise error from exc
                raise

    def rows(
        self,
        statement: str,
        parameters: Parameters | None = None,
        parts: Parts = NO_PARTS,
        *,
        row_factory: RowFactory[Any] = tuple_row,
    ) -> list[Any]:
        """Run one statement (`WarehouseConnection.run`) as a transaction, and return its rows."""
        with self.connect() as connection:
            return connection.run(statement, parameters, parts, row_factory=row_factory).fetchall()

    def change(
        self, statement: str, parameters: Parameters | None = None, parts: Parts = NO_PARTS
    ) -> int:
        """Run one statement as a transaction, and return how many rows it changed."""
        with self.connect() as connection:
            return connection.run(statement, parameters, parts).rowcount

    def _open(self) -> WarehouseConnection:
        settings = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "hubspot_deals"}
        # Prepared statements belong to a session, which a pooler may change at each transaction.
        connection = WarehouseConnection.connect(
            **{**settings, **with_session(self.parameters)}, autocommit=True, prepare_threshold=None
        )
        connection.schema = self.schema
        try:
            correct(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def clock(self) -> Callable[[], datetime]:
        """Return a clock that agrees with PostgreSQL's, so that machines write rows in order."""
        with self.connect() as connection:
            row = connection.execute("select clock_timestamp()").fetchone()
            ahead = row[0] - datetime.now(UTC) if row else timedelta()
        return lambda: datetime.now(UTC) + ahead

    @property
    def url(self) -> str:
        """The connection as a URL with its password, for dlt and ADBC. Never log it.

        Raises WarehouseConfigError for several ports, which dlt can't parse, and for a space in
        user or password: dlt passes it on unquoted, and its driver's error quotes the password.
        """
        # libpq joins the ports of several hosts with commas, even empty ones
        ports = set(filter(None, str(self.parameters.get("port") or "").split(",")))
        if len(ports) > 1:
            raise WarehouseConfigError(
                "the warehouse connection names several ports, which dlt does not support.",
                remedy="Name several hosts and one port: all servers must listen on it.",
            )
        if any(" " in str(self.parameters.get(name, "")) for name in ("user", "password")):
            raise WarehouseConfigError(
                "the user or the password of the warehouse contains a space, which dlt does not "
                "support.",
                remedy="Use a user and a password without spaces.",
            )
        parameters = with_session(self.parameters)
        parts = {"password": "", **{k: str(v) for k, v in parameters.items()}}
        parts["port"] = ports.pop() if ports else "5432"
        host, port, dbname, user, password = (
            quote(parts.pop(key, ""), safe="")
            for key in ("host", "port", "dbname", "user", "password")
        )
        # dlt refuses a URL without a password; a server that asks for none ignores it.
        query = f"?{urlencode(parts, quote_via=quote)}" if parts else ""
        return f"postgresql://{user}:{password or 'none'}@{host}:{port}/{dbname}{query}"


class _KeptConnections:
    """Idle connections of a `Warehouse`. Thread-safe."""

    def __init__(self) -> None:
        self._idle: list[WarehouseConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def lend(self, open_one: Callable[[], WarehouseConnection]) -> Iterator[WarehouseConnection]:
        """Yield a connection, which is not reused after an error.

        Idle ones are closed then too: if the server was restarted, they are broken.
        """
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = open_one()
        with ExitStack() as on_error:
            on_error.callback(connection.close)
            on_error.callback(self._close_idle)
            yield connection
            with self._lock:
                # a connection that is returned after `close` is closed
                if not self._closed and not connection.closed:
                    self._idle.append(connection)
                    on_error.pop_all()

    def close(self) -> None:
        self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().close()


def _part_of_a_password(parameters: Mapping[str, Any]) -> str | None:
    """Return the name of an invalid parameter, which may be the rest of an unquoted password.

    libpq's messages would quote it.
    """
    hosts = str(parameters.get("host") or "").split(",")
    if not all(host.startswith(("/", "@")) or _HOST_PATTERN.fullmatch(host) for host in hosts):
        return "host"
    ports = str(parameters.get("port") or "").split(",")
    if not all(port.isdecimal() and int(port) < 2**16 for port in ports if port):
        return "port"
    return "database" if "@" in str(parameters.get("dbname") or "") else None


def _no_url(what: str) -> WarehouseConfigError:
    return WarehouseConfigError(
        what,
        remedy="Write it as postgresql://user:password@host:5432/database; in the password, "
        "characters such as @ : / ? # and % must be percent-encoded: %40 for @.",
    )


def warehouse_schema(environ: Mapping[str, str] = os.environ) -> str:
    """Return DLT_DATABASE_SCHEMA or its default. Raises WarehouseConfigError."""
    schema = environ.get("DLT_DATABASE_SCHEMA") or DEFAULT_SCHEMA
    if not _SCHEMA_PATTERN.fullmatch(schema):
        raise WarehouseConfigError(
            f"DLT_DATABASE_SCHEMA is {schema!r}.",
            remedy="It must be lower-case letters, digits and single underscores, 50 at most, "
            "starting with a letter and not ending with an underscore.",
        )
    if _RESERVED_SCHEMAS.fullmatch(schema):
        raise WarehouseConfigError(
            f"DLT_DATABASE_SCHEMA is {schema!r}, which is a reserved name.",
            remedy=f"Choose another name, such as {DEFAULT_SCHEMA}.",
        )
    return schema


def open_warehouse(tenant_id: str | None = None) -> Warehouse:
    """Return the warehouse of the Airflow connection `warehouse`, or of DATABASE_URL.

    :param tenant_id: the tenant that its errors name.
    """
    with naming_tenant(tenant_id):
        return replace(_open_warehouse(), tenant_id=tenant_id)


def _open_warehouse() -> Warehouse:
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    schema = warehouse_schema()
    try:
        hook = PostgresHook(postgres_conn_id=CONNECTION_ID)
        if _part_of_a_password({"host": hook.connection.host}):
            raise WarehouseConfigError(
                "the Airflow connection 'warehouse' has no valid host.",
                remedy="Correct it. User and password have their own fields.",
            )
        _prepare(hook.connection)
        connection = cast("psycopg.Connection", hook.get_conn())
    except AirflowNotFoundException:
        if os.environ.get(CONNECTION_VARIABLE):
            raise WarehouseConfigError(
                f"Airflow can't read the connection in {CONNECTION_VARIABLE}.",
                remedy="Write it as JSON, or as postgresql://user:password@host:5432/database; in "
                "the password, characters such as @ : / ? # and % must be percent-encoded.",
            ) from None
        return _from_environment(schema)
    except psycopg.OperationalError as exc:
        raise as_warehouse_error(exc) from exc
    except psycopg.ProgrammingError as exc:
        raise WarehouseConfigError(
            f"the Airflow connection 'warehouse' can't be used: {' '.join(str(exc).split())}.",
            remedy="Correct its extras: they are parameters of libpq.",
        ) from exc
    with connection:
        # Read from the live connection, so that all that the provider adds (IAM tokens, TLS
        # files) reaches dlt too.
        info = connection.info
        return Warehouse({**info.get_parameters(), "password": info.password}, schema)


def _prepare(connection: "Connection") -> None:
    """Make the provider require TLS, so that it sends no password in plain text."""
    # psycopg would wait 130 s for a server that does not answer
    extra = {"connect_timeout": CONNECT_TIMEOUT_S, **connection.extra_dejson}
    parameters = with_tls({**extra, "host": connection.host})
    if "sslmode" in parameters:
        extra["sslmode"] = parameters["sslmode"]
    # in another encoding, a password that is not ASCII would be read incorrectly
    connection.extra = json.dumps({**extra, "client_encoding": ENCODING})


def _from_environment(schema: str) -> Warehouse:
    from airflow.sdk.log import mask_secret

    url = os.environ.get("DATABASE_URL")
    if not url:
        raise WarehouseConfigError(
            "there is neither an Airflow connection 'warehouse' nor DATABASE_URL.",
            remedy="Set one of them to the PostgreSQL database that deals are loaded into.",
        )
    warehouse = Warehouse.from_url(url, schema)
    if password := warehouse.parameters.get("password"):
        mask_secret(password)
    return warehouse


#: Parameters and variables that already decide whether TLS is used.
_TLS_PARAMETERS = ("sslmode", "service")
_TLS_VARIABLES = ("PGSSLMODE", "PGSERVICE")


def with_tls(
    parameters: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Return libpq's *parameters* with an `sslmode`, if they need one and have none.

    psycopg, dlt's psycopg2 and ADBC all use the result.
    """
    is_decided = any(parameters.get(name) for name in _TLS_PARAMETERS) or any(
        environ.get(name) for name in _TLS_VARIABLES
    )
    hosts = (
        parameters.get("hostaddr")
        or environ.get("PGHOSTADDR")
        or parameters.get("host")
        or environ.get("PGHOST")
        or ""
    )
    if is_decided or all(map(_is_local, str(hosts).split(","))):
        return dict(parameters)
    # libpq refuses the system's certificates without verify-full
    mode = "verify-full" if parameters.get("sslrootcert") == "system" else "require"
    return {**parameters, "sslmode": mode}


def _is_local(host: str) -> bool:
    # a directory, or an empty host, is a Unix socket
    return not host or host.startswith(("/", "@")) or is_loopback(host)
