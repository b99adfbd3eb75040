import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from include.ops.local.postgres import EmbeddedPostgres, libpq_environment
from include.ops.local.processes import LocalError

pytestmark = pytest.mark.slow

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user to change to")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path)
    server.start()
    yield server
    server.remove()


def ask(server: EmbeddedPostgres, query: str, database: str = "warehouse") -> object:
    with psycopg.connect(server.dsn(database)) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def test_both_databases_are_there(server: EmbeddedPostgres) -> None:
    names = [ask(server, "select current_database()", name) for name in ("airflow", "warehouse")]

    assert names == ["airflow", "warehouse"]


def test_psql_opens_any_server_with_parameters_from_its_environment(
    server: EmbeddedPostgres,
) -> None:
    parameters = {**conninfo_to_dict(server.dsn("warehouse")), "keepalives": 1}
    environment = {**os.environ, **libpq_environment(parameters)}

    done = subprocess.run(
        [server.psql, "-Atc", "select current_database()"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "warehouse\n"


def test_data_and_port_outlast_a_restart(server: EmbeddedPostgres) -> None:
    port = server.port
    with psycopg.connect(server.dsn("warehouse")) as connection:
        connection.execute("create table kept as select 42 as answer")

    server.stop()
    server.start()

    assert ask(server, "select answer from kept") == 42
    assert server.port == port


def test_a_killed_server_starts_again(server: EmbeddedPostgres) -> None:
    pid = server.pid
    assert pid

    os.kill(pid, signal.SIGKILL)
    server.start()

    assert ask(server, "select 1") == 1
    assert server.pid != pid


def test_a_pid_file_that_names_another_process_by_now_is_no_obstacle(
    server: EmbeddedPostgres,
) -> None:
    pid_file = server.data_dir / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()

    # As after a reboot: the number is that of a living process, which is no PostgreSQL.
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    pid_file.chmod(0o644)
    server.start()

    assert ask(server, "select 1") == 1
    assert psutil.pid_exists(os.getpid())


def test_a_second_launcher_takes_over_the_running_server(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    other = EmbeddedPostgres(tmp_path)

    other.start()

    assert (other.pid, other.port) == (server.pid, server.port)


def test_stopping_twice_is_fine(server: EmbeddedPostgres) -> None:
    server.stop()
    server.stop()

    assert server.pid is None


def test_there_is_no_login_without_the_password(server: EmbeddedPostgres, tmp_path: Path) -> None:
    wrong = server.dsn("warehouse").replace(server.password, "wrong")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    mode = (tmp_path / "postgres" / "password").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_an_initdb_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    unfinished = server.data_dir.with_name("data.new")
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18")

    server.start()

    assert ask(server, "select 1") == 1
    server.remove()


def test_deleting_the_state_directory_of_a_running_server_means_a_new_start(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    (tmp_path / "postgres" / "password").unlink()

    server.start()

    assert ask(server, "select 1") == 1


@AS_ROOT
def test_as_root_the_server_runs_as_nobody(server: EmbeddedPostgres) -> None:
    assert psutil.Process(server.pid).username() == "nobody"


@AS_ROOT
def test_data_lies_elsewhere_when_its_user_cant_get_to_the_state_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    with EmbeddedPostgres(closed) as server:
        place = server.data_dir
        assert ask(server, "select 1") == 1

    assert not place.is_relative_to(tmp_path)
    assert EmbeddedPostgres(closed).data_dir == place
    server.remove()
    assert not place.exists()


@AS_ROOT
def test_data_that_lie_elsewhere_stay_there_when_the_directory_is_opened(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed) as server:
        place = server.data_dir
    for directory in (closed, *closed.parents[:3]):
        directory.chmod(0o755)

    again = EmbeddedPostgres(closed)

    assert again.data_dir == place
    again.remove()


@AS_ROOT
def test_data_that_can_no_longer_be_reached_are_not_replaced_by_empty_ones(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    tmp_path.chmod(0o700)

    with pytest.raises(LocalError, match="can no longer reach"):
        EmbeddedPostgres(tmp_path)
