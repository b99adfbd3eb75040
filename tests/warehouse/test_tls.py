"""Connections over a network are encrypted by all three drivers, unless a setting disables it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import adbc_driver_postgresql.dbapi
import psycopg
import psycopg2
import pytest

from include.errors import WarehouseConfigError
from include.ops.local import postgres as postgres_module
from include.ops.local.postgres import EmbeddedPostgres
from include.warehouse.connection import Warehouse, open_warehouse, with_tls
from tests.support.certificates import self_signed
from tests.warehouse.tls_servers import TlsServer, own_address, pooler, postgres_with_tls

pytestmark = pytest.mark.slow

SERVERS = ("a pooler that ends TLS", "PostgreSQL with ssl = on")


@pytest.fixture(scope="module", params=SERVERS)
def encrypting(
    request: pytest.FixtureRequest,
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("tls")
    if request.param == SERVERS[0]:
        started = pooler(postgres.dsn("warehouse"), folder)
    else:
        started = postgres_with_tls(folder)
    with started as server:
        yield server


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    """A PostgreSQL that listens on the network and offers no TLS."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(postgres_module.SETTINGS, "listen_addresses", "*")
        server = EmbeddedPostgres(folder)
        server.start()
    try:
        with (server.data_dir / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        with psycopg.connect(server.dsn("postgres")) as connection:
            connection.execute("select pg_reload_conf()")
        address = own_address()
        yield TlsServer(server.dsn("warehouse").replace("127.0.0.1", address), address, folder)
    finally:
        server.remove()


def is_encrypted(url: str) -> bool:
    with Warehouse.from_url(url).connect() as connection:
        return connection.pgconn.ssl_in_use


def test_all_three_drivers_encrypt_what_goes_over_a_network(encrypting: TlsServer) -> None:
    warehouse = Warehouse.from_url(encrypting.url())

    assert is_encrypted(encrypting.url())
    with contextlib.closing(psycopg2.connect(warehouse.url)) as connection:
        assert connection.info.ssl_in_use
    # does not show it; the server accepts nothing else
    with (
        adbc_driver_postgresql.dbapi.connect(warehouse.url) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)


def test_the_servers_of_these_tests_take_nothing_in_plain_text(encrypting: TlsServer) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(encrypting.url(sslmode="disable"))


def test_a_server_without_tls_is_refused_with_what_to_do(plain: TlsServer) -> None:
    with pytest.raises(WarehouseConfigError, match="sslmode=disable") as caught:
        is_encrypted(plain.url())

    assert "offers no TLS" in str(caught.value)


def test_the_drivers_of_dlt_refuse_it_too(plain: TlsServer) -> None:
    warehouse = Warehouse.from_url(plain.url())

    with pytest.raises(psycopg2.OperationalError, match="does not support SSL"):
        psycopg2.connect(warehouse.url)
    with pytest.raises(Exception, match="SSL"):
        adbc_driver_postgresql.dbapi.connect(warehouse.url)


def test_plain_text_can_be_allowed(plain: TlsServer) -> None:
    assert not is_encrypted(plain.url(sslmode="disable"))


def test_within_the_machine_nothing_is_asked_for(plain: TlsServer) -> None:
    assert not is_encrypted(plain.url("127.0.0.1"))


def test_a_certificate_of_a_known_authority_is_verified(encrypting: TlsServer) -> None:
    verified = {"sslmode": "verify-full", "sslrootcert": str(encrypting.certificate)}

    assert is_encrypted(encrypting.url(**verified))


@pytest.mark.parametrize("trusted", ["another authority", "none"])
def test_a_certificate_that_cannot_be_verified_is_a_setting_to_correct(
    encrypting: TlsServer, tmp_path: Path, trusted: str
) -> None:
    other, _ = self_signed(tmp_path, encrypting.address)
    authority = str(other if trusted == "another authority" else tmp_path / "missing.crt")

    with pytest.raises(WarehouseConfigError, match="certificate can't be trusted"):
        is_encrypted(encrypting.url(sslmode="verify-full", sslrootcert=authority))


def test_a_certificate_of_another_host_is_a_setting_to_correct(encrypting: TlsServer) -> None:
    verified = {"sslmode": "verify-full", "sslrootcert": str(encrypting.certificate)}

    with pytest.raises(WarehouseConfigError, match="does not match host name"):
        is_encrypted(encrypting.url("127.0.0.1", **verified))


def as_airflow_connection(url: str, **extra: str) -> str:
    parts = Warehouse.from_url(url).parameters
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts["host"],
            "port": int(parts["port"]),
            "login": parts["user"],
            "password": parts["password"],
            "schema": parts["dbname"],
            "extra": extra,
        }
    )


def test_the_airflow_connection_is_encrypted_before_the_password_is_sent(
    encrypting: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", as_airflow_connection(encrypting.url()))

    warehouse = open_warehouse()

    assert warehouse.parameters["sslmode"] == "require"
    with warehouse.connect() as connection:
        assert connection.pgconn.ssl_in_use


def test_an_airflow_connection_to_a_server_without_tls_is_refused(
    plain: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", as_airflow_connection(plain.url()))
    with pytest.raises(WarehouseConfigError, match="offers no TLS"):
        open_warehouse("acme")

    allowed = as_airflow_connection(plain.url(), sslmode="disable")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", allowed)

    assert open_warehouse().parameters["sslmode"] == "disable"


@pytest.mark.parametrize(
    ("parameters", "environ", "sslmode"),
    [
        pytest.param({"host": "db.example.com"}, {}, "require", id="a host"),
        pytest.param({"host": "127.0.0.1,10.0.0.5"}, {}, "require", id="one of several"),
        pytest.param({"host": "localhost", "hostaddr": "10.0.0.5"}, {}, "require", id="hostaddr"),
        pytest.param({}, {"PGHOST": "db.example.com"}, "require", id="the environment's host"),
        pytest.param({"host": "h", "sslrootcert": "system"}, {}, "verify-full", id="system"),
        pytest.param({"host": "h", "sslmode": "disable"}, {}, "disable", id="it is said"),
        pytest.param({"host": "h"}, {"PGSSLMODE": "disable"}, None, id="the environment says it"),
        pytest.param({"service": "warehouse"}, {}, None, id="a service file says it"),
        pytest.param({"host": "localhost"}, {}, None, id="localhost"),
        pytest.param({"host": "/var/run/postgresql"}, {}, None, id="a socket"),
        pytest.param({}, {}, None, id="no host at all"),
    ],
)
def test_who_decides_about_encryption(
    parameters: dict[str, str], environ: dict[str, str], sslmode: str | None
) -> None:
    assert with_tls(parameters, environ).get("sslmode") == sslmode
