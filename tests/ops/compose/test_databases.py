"""Logins and databases: made once, passwords set anew each time, open to those who need them."""

from collections.abc import Iterator

import psycopg
import pytest

from include.ops.compose.init import grant_membership, set_up_databases
from include.ops.compose.secrets import DeployError, Login, SecretFiles

NAMES = {"metadata_url": "deploy_airflow", "warehouse_migrator_url": "deploy_migrator"}
LOADER = "deploy_loader"
GROUP = "deploy_group"


@pytest.fixture
def set_up(files: SecretFiles, database_url: str) -> Iterator[SecretFiles]:
    """Secrets whose logins and databases have names of this test; they are there."""
    for name, user in NAMES.items():
        login = Login.of(files.read(name))
        files.write(name, f"postgresql://{user}:{login.password}@{login.address}/{user}")
    migrator_database = NAMES["warehouse_migrator_url"]
    loader = files.read("warehouse_url").replace("//warehouse_loader:", f"//{LOADER}:")
    files.write("warehouse_url", loader.replace("/warehouse?", f"/{migrator_database}?"))
    set_up_databases(files)
    yield files
    with psycopg.connect(database_url, autocommit=True) as connection:
        for database in NAMES.values():
            connection.execute(f"drop database {database}")
        for role in (GROUP, LOADER, *NAMES.values()):
            connection.execute(f"drop role if exists {role}")


def test_airflow_owns_its_database_and_the_migrator_the_warehouse(set_up: SecretFiles) -> None:
    for name, user in NAMES.items():
        with psycopg.connect(set_up.read(name)) as connection:
            owner = connection.execute(
                "select pg_get_userbyid(datdba) from pg_database where datname = current_database()"
            ).fetchone()
            assert owner == (user,)


def test_the_loader_gets_in_by_its_group_only(set_up: SecretFiles) -> None:
    with pytest.raises(psycopg.OperationalError, match="does not have CONNECT"):
        psycopg.connect(set_up.read("warehouse_url"))
    with psycopg.connect(set_up.read("warehouse_migrator_url")) as connection:
        connection.execute(f"create role {GROUP} nologin")

    for _ in range(2):
        grant_membership(set_up.read("warehouse_migrator_url"), set_up.read("warehouse_url"), GROUP)

    with psycopg.connect(set_up.read("warehouse_url")) as connection:
        connection.execute("create temporary table staged (id integer)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("create table public.mine (id integer)")


def test_no_login_gets_into_the_database_of_another(set_up: SecretFiles) -> None:
    migrator = set_up.read("warehouse_migrator_url")

    with pytest.raises(psycopg.OperationalError, match="does not have CONNECT"):
        psycopg.connect(migrator, dbname=NAMES["metadata_url"])


def test_a_renewed_password_is_taken_over(set_up: SecretFiles) -> None:
    old = set_up.read("metadata_url")
    password = old.partition(f"{NAMES['metadata_url']}:")[2].partition("@")[0]
    set_up.write("metadata_url", old.replace(password, "another"))

    set_up_databases(set_up)

    psycopg.connect(set_up.read("metadata_url")).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(old)


def test_other_servers_are_left_alone(files: SecretFiles) -> None:
    for name in (*NAMES, "warehouse_url"):
        files.write(name, "postgresql://me:secret@db.example.com:5432/warehouse")

    assert set_up_databases(files) == ["databases: all are in other servers"]


@pytest.mark.parametrize(
    "url", ["postgresql://u:Kq7vPz/R2mW9x@h/d", "postgresql://u:Kq7vPz#R2mW9x@h/d", "Kq7vPzR2mW9x"]
)
def test_a_secret_that_is_no_url_is_named_and_not_shown(url: str) -> None:
    with pytest.raises(DeployError, match="metadata_url is not a valid database URL") as caught:
        Login.of(url, "metadata_url")

    assert not any(part in str(caught.value) for part in ("Kq7vPz", "R2mW9x"))


def test_a_server_that_refuses_the_superuser_is_a_sentence(files: SecretFiles) -> None:
    files.write("postgres_password", "not-the-password")

    with pytest.raises(DeployError, match="refuses the login"):
        set_up_databases(files)
