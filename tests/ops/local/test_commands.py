"""The commands as a person types them, in a copy of the project: what they say of mistakes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from include.ops.local.credentials import without_user_settings
from include.ops.local.launcher import Launch
from include.ops.local.postgres import EmbeddedPostgres

pytestmark = pytest.mark.slow

NOTHING_RUNS = "Nothing is running. Start it with: make demo, or: make run"
COPIED = ("include", "tests/hubspot_simulator", ".ci", "Makefile", "requirements.txt")
Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, project_root: Path) -> Iterator[Make]:
    """Run a target that must fail, with the `.env` and variables given; return what it says."""
    for name in COPIED:
        source = project_root / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    (tmp_path / ".venv").symlink_to(project_root / ".venv")
    # a make that runs these tests must not be taken for the one that calls this one
    environment = {
        name: value
        for name, value in without_user_settings(os.environ).items()
        if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")
    }

    def run(*arguments: str, dotenv: str = "", **variables: str) -> str:
        (tmp_path / ".env").write_text(dotenv)
        done = subprocess.run(
            ["make", "-s", *arguments],
            cwd=tmp_path,
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode != 0
        assert "Traceback" not in done.stdout
        said, _, _ = done.stdout.partition("\nmake: ***")
        return said.strip()

    yield run
    state = tmp_path / ".run"
    if (state / "postgres").exists():
        # as root its data lie elsewhere
        EmbeddedPostgres(state).remove()


@pytest.mark.parametrize("target", ["status", "token", "psql", "mail"])
def test_where_nothing_runs_the_commands_that_look_say_so(make: Make, target: str) -> None:
    assert make(target) == NOTHING_RUNS


@pytest.mark.parametrize("setting", ["AIRFLOW_CONN_WAREHOUSE", "DATABASE_URL"])
def test_psql_opens_the_warehouse_of_a_run_that_the_settings_name(
    make: Make, tmp_path: Path, setting: str
) -> None:
    state = tmp_path / ".run"
    with EmbeddedPostgres(state) as server:
        Launch("run", 5200, ready=True).write(state)
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            connection.execute("create database mine")
        (tmp_path / ".env").write_text(f"{setting}={server.dsn('mine')}\n")

        done = subprocess.run(
            [sys.executable, "-m", "include.ops.local", "psql", "select current_database()"],
            cwd=tmp_path,
            env=without_user_settings(os.environ),
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.stdout.split() == ["current_database", "------------------", "mine", "(1", "row)"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["demo", "AIRFLOW_PORT=x"], "AIRFLOW_PORT is 'x'.", id="port"),
        pytest.param(["mail", "NEWEST=x"], "Invalid value for '--newest'", id="number"),
        pytest.param(["demo", "DETACH=1", "ONCE=1"], "Give one of the two.", id="both"),
        pytest.param(["demo", "DETATCH=1"], "There is no variable DETATCH.", id="misspelt"),
        pytest.param(
            ["venv", "PYTHON_FOR_VENV=/nowhere"], "PYTHON_FOR_VENV is /nowhere", id="python"
        ),
    ],
)
def test_a_value_that_can_not_be_is_named(make: Make, arguments: list[str], said: str) -> None:
    assert said in make(*arguments)


def test_a_switch_that_is_0_is_off(make: Make) -> None:
    said = make("demo", "DETACH=1", "ONCE=0", "AIRFLOW_PORT=x")

    assert said.startswith("AIRFLOW_PORT is 'x'.")


def test_lines_of_the_settings_that_are_none_are_all_named_without_what_they_hold(
    make: Make,
) -> None:
    said = make("demo", dotenv="pat-na1-pasted\nA=1\nB='open\n")

    assert "no setting can be read from line 1, 3" in said
    assert "pat-na1" not in said


def test_a_run_says_all_that_is_wrong_at_once_and_leaves_nothing_running(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "tenants: [{id: default}, {id: acme, shedule: x}, {id: globex, pool: none}]"
    )

    said = make(
        "run",
        dotenv="HUBSPOT_DEALS_TENANTS_FILE=mine.yaml\nHUBSPOT_ACCESS_TOKEN=pat-na1-mine\n"
        "HUBSPOT_API_BASE_URL=http://127.0.0.1:1\nDATABASE_URL=postgresql://u:p@127.0.0.1:1/d\n"
        "AIRFLOW_PORT=0\nno setting\n",
        HUBSPOT_DEALS_TENANTS_FILE="mine.yaml",
    )

    assert "line 6" in said
    assert "AIRFLOW_PORT is '0'" in said
    assert "unknown key 'shedule' (did you mean 'schedule'?)" in said
    assert "pool 'none'" in said
    assert make("status") == NOTHING_RUNS


def test_what_hubspot_and_postgresql_object_to_is_said_at_once(make: Make) -> None:
    said = make(
        "run",
        dotenv="HUBSPOT_ACCESS_TOKEN=pat-na1-mine\nHUBSPOT_API_BASE_URL=http://127.0.0.1:1\n"
        "DATABASE_URL=postgresql://u:p@127.0.0.1:1/d\n",
    )

    assert "2 problems; nothing was started or stopped." in said
    assert "tenant default: http://127.0.0.1:1 can't be reached" in said
    assert "PostgreSQL can't be reached" in said
    assert "task" not in said


def test_test_deals_can_not_be_made_offline(make: Make) -> None:
    said = make(
        "seed-test-deals",
        dotenv="HUBSPOT_ACCESS_TOKEN=pat-na1-mine\nHUBSPOT_API_BASE_URL=http://127.0.0.1:1\n",
    )

    assert said.startswith("tenant default: http://127.0.0.1:1 can't be reached")
    assert "Check the connection's host and the network." in said


def test_a_place_that_can_not_be_written_to_is_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / ".run").write_text("no directory")

    said = make("demo")

    assert said.startswith(f"{tmp_path / '.run'}")
    assert said.endswith("Not a directory. Check the free space and the permissions.")


@pytest.mark.parametrize("name", ["scan.json", ".env", ".run/x"])
def test_what_the_readmes_commands_write_is_ignored_by_git(project_root: Path, name: str) -> None:
    if not (project_root / ".git").exists():
        pytest.skip("this is no checkout")

    done = subprocess.run(["git", "check-ignore", "-q", name], cwd=project_root, check=False)

    assert done.returncode == 0
