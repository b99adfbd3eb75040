import socket
import traceback
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo

from include.errors import (
    HubSpotDealsError,
    LoadError,
    WarehouseConfigError,
    WarehouseUnavailableError,
)
from include.ops.local.postgres import EmbeddedPostgres
from include.warehouse.connection import Warehouse, open_warehouse, warehouse_schema
from include.warehouse.errors import as_warehouse_error
from include.warehouse.migrations import migrate


def test_a_server_that_is_down_is_unavailable_and_worth_a_retry() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    nowhere = Warehouse.from_url(f"postgresql://u:secret@127.0.0.1:{port}/db")
    warehouse = replace(nowhere, tenant_id="acme")

    with pytest.raises(WarehouseUnavailableError, match="tenant acme: PostgreSQL") as caught:  # noqa: SIM117
        with warehouse.connect():
            pass

    assert "secret" not in str(caught.value)


def test_a_database_that_does_not_exist_is_a_setting_to_correct(postgres: EmbeddedPostgres) -> None:
    warehouse = Warehouse.from_url(postgres.dsn("nowhere"))

    with pytest.raises(WarehouseConfigError, match="does not exist"):  # noqa: SIM117
        with warehouse.connect():
            pass


def test_an_unreadable_url_is_refused_without_quoting_it() -> None:
    with pytest.raises(WarehouseConfigError) as caught:
        Warehouse.from_url("postgres//user:secret@host/db")

    assert "secret" not in str(caught.value)


def test_neither_repr_nor_str_shows_the_password() -> None:
    warehouse = Warehouse.from_url("postgresql://user:secret@host/db")

    assert "secret" not in f"{warehouse!r}{warehouse}"


@pytest.mark.parametrize(
    ("url", "for_dlt"),
    [
        pytest.param(
            "postgresql://us%40er:p%2Fw@localhost:5433/db",
            "postgresql://us%40er:p%2Fw@localhost:5433/db",
            id="special characters",
        ),
        pytest.param(
            "postgresql://user@localhost/db",
            "postgresql://user:none@localhost:5432/db",
            id="no password",
        ),
        pytest.param(
            "postgresql://u:p@host/db?sslmode=require",
            "postgresql://u:p@host:5432/db?sslmode=require",
            id="parameters",
        ),
        pytest.param(
            "postgresql://u:p@host/db",
            "postgresql://u:p@host:5432/db?sslmode=require",
            id="over a network",
        ),
    ],
)
def test_dlt_gets_the_same_connection_as_a_url(url: str, for_dlt: str) -> None:
    plain, mark, _session = Warehouse.from_url(url).url.partition("client_encoding=")

    assert mark
    assert plain.rstrip("?&") == for_dlt


def test_several_hosts_are_handed_on_and_several_ports_are_refused() -> None:
    several = Warehouse.from_url("postgresql://u:p@one,two/db?target_session_attrs=read-write")
    ports = Warehouse.from_url("postgresql://u:p@one:1,two:2/db")

    assert "@one%2Ctwo:5432/db?" in several.url
    with pytest.raises(WarehouseConfigError, match="several ports"):
        _ = ports.url


@pytest.mark.parametrize("user", ["loa%20der:secret", "loader:sec%20ret"])
def test_a_space_is_refused_before_dlt_writes_the_password_to_its_log(user: str) -> None:
    warehouse = Warehouse.from_url(f"postgresql://{user}@localhost/db")

    with pytest.raises(WarehouseConfigError, match="contains a space") as caught:
        _ = warehouse.url

    assert "sec ret" not in str(caught.value)


def test_the_schema_has_a_default_and_must_be_a_plain_name() -> None:
    assert warehouse_schema({}) == "hubspot_deals"
    assert warehouse_schema({"DLT_DATABASE_SCHEMA": "crm"}) == "crm"
    with pytest.raises(WarehouseConfigError, match="DLT_DATABASE_SCHEMA is 'Bad Name'"):
        warehouse_schema({"DLT_DATABASE_SCHEMA": "Bad Name"})


@pytest.mark.parametrize(
    "name",
    [
        "information_schema",
        "pg_catalog",
        "pg_toast",
        "pg_mine",
        "public",
        "hubspot_deals_stg_slot1",
    ],
)
def test_a_schema_that_is_not_only_ours_is_refused(name: str) -> None:
    with pytest.raises(WarehouseConfigError, match=f"'{name}', which is a reserved name"):
        warehouse_schema({"DLT_DATABASE_SCHEMA": name})


@pytest.mark.parametrize("name", ["my__deals", "crm_", "a___b"])
def test_a_schema_that_dlt_would_call_otherwise_is_refused(name: str) -> None:
    with pytest.raises(WarehouseConfigError, match="single underscores"):
        warehouse_schema({"DLT_DATABASE_SCHEMA": name})


def test_a_schema_with_other_tables_of_these_names_is_refused(database_url: str) -> None:
    warehouse = Warehouse.from_url(database_url, "not_ours")
    with psycopg.connect(database_url) as connection:
        connection.execute("create schema not_ours create table deals (id int)")
    try:
        with pytest.raises(
            WarehouseConfigError, match='"deals" already exists, and does not belong'
        ):
            migrate(warehouse)
    finally:
        with psycopg.connect(database_url) as connection:
            connection.execute("drop schema not_ours cascade")


def refusal_of(url: str) -> HubSpotDealsError:
    with pytest.raises(HubSpotDealsError) as caught:  # noqa: SIM117
        with Warehouse.from_url(url).connect():
            pass
    assert "See docs/runbook.md#warehouse-" in str(caught.value)
    assert "secret" not in str(caught.value)
    return caught.value


def test_every_way_not_to_reach_a_server_says_what_to_do(postgres: EmbeddedPostgres) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
    url = postgres.dsn("warehouse")
    parts = conninfo.conninfo_to_dict(url)
    server = f"{parts['host']}:{parts['port']}"

    said = {
        name: refusal_of(url)
        for name, url in {
            "closed port": f"postgresql://u:secret@127.0.0.1:{closed}/db",
            "host": "postgresql://u:secret@nowhere.invalid/db",
            "port": "postgresql://u:secret@127.0.0.1:99999/db",
            "no port": "postgresql://u:secret@127.0.0.1:port/db",
            "password": f"postgresql://postgres:secret@{server}/warehouse",
            "role": f"postgresql://nobody:secret@{server}/warehouse",
            "database": postgres.dsn("nowhere"),
            "sslmode": f"{url}?sslmode=never",
            "file": f"{url}?sslmode=verify-full&sslrootcert=/nowhere",
            "TLS": f"{url}?sslmode=require",
        }.items()
    }

    waits = {name for name, error in said.items() if isinstance(error, WarehouseUnavailableError)}
    assert waits == {"closed port", "host"}
    assert all("DATABASE_URL" in said[name].remedy for name in waits)
    assert all(isinstance(said[name], WarehouseConfigError) for name in said.keys() - waits)


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/db", "http://u:secret@h", "secret", "postgresql:/u:secret@h"]
)
def test_a_url_of_something_else_is_refused(url: str) -> None:
    assert isinstance(refusal_of_url(url), WarehouseConfigError)


def refusal_of_url(url: str) -> HubSpotDealsError:
    with pytest.raises(HubSpotDealsError) as caught:
        Warehouse.from_url(url)
    assert "secret" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("statement", "error", "says"),
    [
        (
            "select pg_sleep(1)",
            WarehouseUnavailableError,
            "ended the statement or the session: canceling statement",
        ),
        ("raise 25006", WarehouseUnavailableError, "accepts no writes"),
        ("raise 53100", WarehouseUnavailableError, "the disk of PostgreSQL is full"),
        ("raise 53200", WarehouseUnavailableError, "no room for locks"),
        ("raise 53300", WarehouseUnavailableError, "no connection left"),
        ("raise 53400", WarehouseUnavailableError, "a limit in PostgreSQL's settings"),
        ("raise 40001", WarehouseUnavailableError, "conflict with another transaction"),
        ("raise 40P01", WarehouseUnavailableError, "conflict with another transaction"),
        ("raise 55P03", WarehouseUnavailableError, "another session holds a lock"),
        ("raise 57P01", WarehouseUnavailableError, "can't be reached, or the connection broke"),
        ("raise 57P03", WarehouseUnavailableError, "can't be reached, or the connection broke"),
        ("raise 58030", WarehouseUnavailableError, "can't be reached, or the connection broke"),
        ("raise XX001", WarehouseConfigError, "damaged data"),
        ("raise 42501", WarehouseConfigError, "PostgreSQL denies access"),
        (
            "select from nowhere.deals",
            WarehouseConfigError,
            "differ from those that its migrations created",
        ),
        ("raise 22003", LoadError, "SQLSTATE 22003"),
        ("raise 54000", LoadError, "SQLSTATE 54000"),
        ("select 'quoted-value'::int", LoadError, "SQLSTATE 22P02"),
    ],
)
def test_every_failure_of_a_statement_has_a_meaning(
    database_url: str, statement: str, error: type[HubSpotDealsError], says: str
) -> None:
    if statement.startswith("raise"):
        code = statement.removeprefix("raise ")
        statement = f"do $$ begin raise exception 'quoted-value' using errcode = '{code}'; end $$"
        statement = statement.replace("quoted-value", "said")

    with pytest.raises(error, match=says) as caught:
        execute(Warehouse.from_url(database_url), statement)

    assert "quoted-value" not in str(caught.value)
    assert caught.value.remedy


def execute(warehouse: Warehouse, statement: str) -> None:
    with warehouse.connect() as connection:
        connection.execute("set local statement_timeout = '50ms'")
        connection.execute(statement.encode())


#: What PostgreSQL 15 says, by its own catalogues of messages.
TRANSLATED = [
    ("FATAL:  Passwort-Authentifizierung für Benutzer »loader« fehlgeschlagen", True),
    ("FATAL:  Datenbank »nowhere« existiert nicht", True),
    ("FATAL:  la base de données « nowhere » n'existe pas", True),
    ("FATAL:  authentification par mot de passe échouée pour l'utilisateur « loader »", True),
    ("FATAL:  tut mir leid, schon zu viele Verbindungen", False),
    ("FATAL:  désolé, trop de clients sont déjà connectés", False),
    ("FATAL:  das Datenbanksystem startet", False),
    ("FATAL:  le système de bases de données se lance", False),
]


@pytest.mark.parametrize(("said", "is_setting"), TRANSLATED)
def test_a_refusal_in_another_language_is_understood(said: str, is_setting: bool) -> None:
    text = f'connection failed: connection to server at "10.0.0.1", port 5432 failed: {said}'

    error = as_warehouse_error(psycopg.OperationalError(text))

    assert isinstance(error, WarehouseConfigError) is is_setting


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://u:Kq7vPzR2/mW9xTb4L@host/db", id="slash"),
        pytest.param("postgresql://u:1234/mW9xTb4L@host/db", id="slash after digits"),
        pytest.param("postgresql://u:Kq7vPzR2@mW9xTb4L@host/db", id="at"),
        pytest.param("postgresql://u:Kq7vPzR2%mW9xTb4L@host/db", id="percent"),
        pytest.param("postgresql://u:Kq7vPzR2%00@host/db", id="encoded NUL"),
        pytest.param("postgresql://u:p@host:Kq7vPzR2mW9xTb4L/db", id="as a port"),
        pytest.param("postgresql://u:p@host:84129073655/db", id="port that is none"),
        pytest.param("Kq7vPzR2mW9xTb4L", id="the password alone"),
        pytest.param("mysql://u:Kq7vPzR2mW9xTb4L@host/db", id="another scheme"),
        pytest.param("host=h password=Kq7vPzR2 mW9xTb4L", id="a space"),
        pytest.param("host=h password='Kq7vPzR2mW9xTb4L", id="an open quote"),
    ],
)
def test_a_url_with_a_password_that_needs_encoding_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(WarehouseConfigError) as caught:
        Warehouse.from_url(url)

    shown = "".join(traceback.format_exception(caught.value))
    assert not any(part in shown for part in ("Kq7vPzR2", "mW9xTb4L", "84129073655"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:a%2Fb%40c@host:5432/db",
        "postgresql://u:a?b#c@host:5432/db",
        "postgresql://u:p@[::1]:5432/db",
        "postgresql://u:p@one,two:5433/db",
        "postgresql://u:p@/db?host=/var/run/postgresql",
        "postgresql:///db",
        "host=one,two port=5432,5433 dbname=db",
        "service=warehouse",
    ],
)
def test_every_way_to_name_a_host_is_taken(url: str) -> None:
    assert Warehouse.from_url(url).parameters


@pytest.mark.parametrize(
    "value", ['{"conn_type": "postgres", "password": "secret}', "postgresql://u:secret#1@h:5432/d"]
)
def test_a_connection_that_airflow_can_not_read_is_named_and_not_passed_over(
    airflow_environment: pytest.MonkeyPatch, value: str
) -> None:
    airflow_environment.setenv("AIRFLOW_CONN_WAREHOUSE", value)

    with pytest.raises(WarehouseConfigError, match="in AIRFLOW_CONN_WAREHOUSE") as caught:
        open_warehouse()

    assert "secret" not in str(caught.value)
