"""The warehouse: where it is, and connections to it whose failures speak an operator's language."""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, urlencode

import psycopg
from psycopg import conninfo

from include.errors import WarehouseConfigError
from include.warehouse.failures import as_warehouse_error, warehouse_error
from include.warehouse.session import ENCODING, correct, with_session
from include.warehouse.tls import with_tls

if TYPE_CHECKING:
    from airflow.sdk import Connection

CONNECTION_ID = "warehouse"
DEFAULT_SCHEMA = "hubspot_deals"
CONNECT_TIMEOUT_S = 10
#: dlt writes names in snake case, and changes those that are not; staging slots append up to 11
#: characters to PostgreSQL's 63.
_SCHEMA_PATTERN = re.compile(r"(?!.*__)[a-z][a-z0-9_]{0,49}(?<!_)")
#: PostgreSQL's own, everybody's, and those of a warehouse's staging slots.
_RESERVED_SCHEMAS = re.compile(r"pg_.*|information_schema|public|.*_stg_slot[0-9]+")
_HOST_PATTERN = re.compile(r"[A-Za-z0-9._:%\[\]-]*")


class Attempt(NamedTuple):
    """One try of a scan, as its writes are known by."""

    scan_id: str
    number: int

    @property
    def writer(self) -> str:
        """The name of its connections: poolers pass it on, and pg_stat_activity shows it."""
        return f"hubspot_deals/{self.scan_id}/{self.number}"


@dataclass(frozen=True)
class Warehouse:
    """A PostgreSQL database and the schema in it that this package owns.

    ``parameters`` are libpq's (host, port, dbname, user, password, sslmode …); kept out of repr.
    """

    parameters: Mapping[str, Any] = field(repr=False)
    schema: str = DEFAULT_SCHEMA
    attempt: Attempt | None = None
    _kept: "_KeptConnections | None" = field(default=None, repr=False, compare=False)

    @classmethod
    def from_url(cls, url: str, schema: str = DEFAULT_SCHEMA) -> "Warehouse":
        """Take a `postgresql://` URL or a libpq connection string; TLS is added if need be.

        Raises WarehouseConfigError.
        """
        try:
            parameters = conninfo.conninfo_to_dict(url)
        except (psycopg.Error, ValueError):
            # From None: the original message quotes the URL, password and all.
            raise _no_url("DATABASE_URL is not a PostgreSQL URL.") from None
        if part := _part_of_a_password(parameters):
            raise _no_url(f"DATABASE_URL holds no {part} where one belongs.")
        return cls(with_tls(parameters), schema)

    def as_attempt(self, scan_id: str, attempt: int) -> "Warehouse":
        """Return the warehouse for one try of a scan: once a newer one began, it can't write."""
        named = Attempt(scan_id, attempt)
        parameters = {**self.parameters, "application_name": named.writer}
        # Connections that are kept have the name of another try, or none: they are not taken over.
        return replace(self, parameters=parameters, attempt=named, _kept=None)

    @contextmanager
    def keeping_connections(self) -> Iterator["Warehouse"]:
        """Yield a warehouse whose connections are used again, until the block ends."""
        kept = _KeptConnections()
        try:
            yield replace(self, _kept=kept)
        finally:
            kept.close()

    @contextmanager
    def connect(
        self, tenant_id: str | None = None, *, autocommit: bool = False
    ) -> Iterator[psycopg.Connection]:
        """Yield a connection: committed at the end, rolled back on an error, closed in any case.

        Nothing may be set for longer than a transaction: the next one may go through another
        session of PostgreSQL, and somebody else's through this one. docs/deploy.md has poolers.

        :param autocommit: each statement is a transaction.

        Raises WarehouseUnavailableError or WarehouseConfigError for what PostgreSQL's failures
        mean, LoadError for a value that it does not take; mistakes in a statement pass through.
        """
        kept = self._kept
        try:
            with (
                kept.lend(self._open) if kept else self._open() as connection,
                nullcontext() if autocommit else connection.transaction(),
            ):
                yield connection
        except psycopg.OperationalError as exc:
            raise as_warehouse_error(exc, tenant_id) from exc
        except psycopg.DatabaseError as exc:
            # without one: libpq, which lost the connection in the midst of an answer
            is_known = exc.sqlstate or isinstance(exc, psycopg.InternalError)
            if is_known and (error := warehouse_error(exc, tenant_id)):
                raise error from exc
            raise

    def _open(self) -> psycopg.Connection:
        settings = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "hubspot_deals"}
        # Prepared statements belong to a session, too.
        connection = psycopg.connect(
            **{**settings, **with_session(self.parameters)},
            autocommit=True,
            prepare_threshold=None,
        )
        try:
            correct(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def clock(self, tenant_id: str | None = None) -> Callable[[], datetime]:
        """Return a clock that goes with PostgreSQL's: rows of several machines must be in order."""
        with self.connect(tenant_id) as connection:
            row = connection.execute("select clock_timestamp()").fetchone()
            ahead = row[0] - datetime.now(UTC) if row else timedelta()
        return lambda: datetime.now(UTC) + ahead

    @property
    def url(self) -> str:
        """The connection as a URL with its password, for dlt and ADBC. Never log it.

        Raises WarehouseConfigError for a space in user or password: dlt hands it on unquoted, and
        what its driver says of it quotes the password; and for several ports, which it can't read.
        """
        # libpq writes commas for ports that several hosts don't name
        ports = set(filter(None, str(self.parameters.get("port") or "").split(",")))
        if len(ports) > 1:
            raise WarehouseConfigError(
                "the warehouse connection names several ports, which dlt can't take.",
                remedy="Name several hosts and one port: all servers must listen on it.",
            )
        if any(" " in str(self.parameters.get(name, "")) for name in ("user", "password")):
            raise WarehouseConfigError(
                "the user or the password of the warehouse holds a space, which dlt can't take.",
                remedy="Choose others.",
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
    """Connections that nobody uses just now. Thread-safe."""

    def __init__(self) -> None:
        self._idle: list[psycopg.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def lend(self, open_one: Callable[[], psycopg.Connection]) -> Iterator[psycopg.Connection]:
        """Yield a connection; one that met an error is not used again."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = open_one()
        with ExitStack() as on_error:
            on_error.callback(connection.close)
            yield connection
            with self._lock:
                # whoever brings it back late closes it
                if not self._closed and not connection.closed:
                    self._idle.append(connection)
                    on_error.pop_all()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()


def _part_of_a_password(parameters: Mapping[str, Any]) -> str | None:
    """Say which parameter is none: the rest of a password with a character that needs quoting.

    libpq would quote it in its messages.
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
            f"DLT_DATABASE_SCHEMA is {schema!r}, a schema that is not only ours.",
            remedy=f"Choose a name of its own, such as {DEFAULT_SCHEMA}.",
        )
    return schema


def open_warehouse(tenant_id: str | None = None) -> Warehouse:
    """Return the warehouse of the Airflow connection `warehouse`, or of DATABASE_URL."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    schema = warehouse_schema()
    try:
        hook = PostgresHook(postgres_conn_id=CONNECTION_ID)
        if part := _part_of_a_password({"host": hook.connection.host}):
            raise WarehouseConfigError(
                f"the Airflow connection 'warehouse' holds no {part} where one belongs.",
                tenant_id=tenant_id,
                remedy="Correct it; a user and a password have fields of their own.",
            )
        _prepare(hook.connection)
        connection = cast("psycopg.Connection", hook.get_conn())
    except AirflowNotFoundException:
        return _from_environment(schema, tenant_id)
    except psycopg.OperationalError as exc:
        raise as_warehouse_error(exc, tenant_id) from exc
    except psycopg.ProgrammingError as exc:
        raise WarehouseConfigError(
            f"the Airflow connection 'warehouse' can't be used: {' '.join(str(exc).split())}.",
            tenant_id=tenant_id,
            remedy="Correct its extras: they are parameters of libpq.",
        ) from exc
    with connection:
        # Asked of the live connection, so that whatever the provider adds (IAM tokens, TLS
        # files) reaches dlt too.
        info = connection.info
        return Warehouse({**info.get_parameters(), "password": info.password}, schema)


def _prepare(connection: "Connection") -> None:
    """Have the provider ask for TLS: the password is not sent before."""
    extra = connection.extra_dejson
    said = with_tls({**extra, "host": connection.host})
    if "sslmode" in said:
        extra["sslmode"] = said["sslmode"]
    # in another encoding, a password that is not ASCII would be read wrong
    connection.extra = json.dumps({**extra, "client_encoding": ENCODING})


def _from_environment(schema: str, tenant_id: str | None) -> Warehouse:
    from airflow.sdk.log import mask_secret

    url = os.environ.get("DATABASE_URL")
    if not url:
        raise WarehouseConfigError(
            "there is neither an Airflow connection 'warehouse' nor DATABASE_URL.",
            tenant_id=tenant_id,
            remedy="Set one of them to the PostgreSQL database that deals are loaded into.",
        )
    warehouse = Warehouse.from_url(url, schema)
    if password := warehouse.parameters.get("password"):
        mask_secret(password)
    return warehouse
