import socket
import traceback

import pytest

from include.errors import WarehouseConfigError, WarehouseUnavailableError
from include.warehouse.connection import Warehouse, warehouse_schema


def test_a_server_that_is_down_is_unavailable_and_worth_a_retry() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    warehouse = Warehouse.from_url(f"postgresql://u:secret@127.0.0.1:{port}/db")

    with pytest.raises(WarehouseUnavailableError, match="tenant acme: PostgreSQL") as caught:  # noqa: SIM117
        with warehouse.connect("acme"):
            pass

    assert "secret" not in str(caught.value)


def test_a_database_that_does_not_exist_is_a_setting_to_correct(database_url: str) -> None:
    warehouse = Warehouse.from_url(database_url.replace("/warehouse", "/nowhere"))

    with pytest.raises(WarehouseConfigError, match="does not exist"):  # noqa: SIM117
        with warehouse.connect("acme"):
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
    assert Warehouse.from_url(url).url == for_dlt


@pytest.mark.parametrize("user", ["loa%20der:secret", "loader:sec%20ret"])
def test_a_space_is_refused_before_dlt_writes_the_password_to_its_log(user: str) -> None:
    warehouse = Warehouse.from_url(f"postgresql://{user}@localhost/db")

    with pytest.raises(WarehouseConfigError, match="holds a space") as caught:
        _ = warehouse.url

    assert "sec ret" not in str(caught.value)


def test_the_schema_has_a_default_and_must_be_a_plain_name() -> None:
    assert warehouse_schema({}) == "hubspot_deals"
    assert warehouse_schema({"DLT_DATABASE_SCHEMA": "crm"}) == "crm"
    with pytest.raises(WarehouseConfigError, match="DLT_DATABASE_SCHEMA is 'Bad Name'"):
        warehouse_schema({"DLT_DATABASE_SCHEMA": "Bad Name"})


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
