"""Health checks see a heartbeat that stopped, and a worker or a database that does not answer."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from include.ops.compose.__main__ import SILENT_FOR_S, problem_of
from include.ops.compose.secrets import SecretFiles
from include.ops.local.processes import free_port

SCHEMA = "deploy_health"


@pytest.fixture
def jobs(files: SecretFiles, database_url: str) -> Iterator[psycopg.Connection]:
    """The table in which Airflow's components beat, empty."""
    files.write("metadata_url", f"{database_url}?options=-csearch_path%3D{SCHEMA}")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"create schema {SCHEMA}; create table {SCHEMA}.job"
            " (job_type text, hostname text, state text, latest_heartbeat timestamptz)"
        )
        yield connection
        connection.execute(f"drop schema {SCHEMA} cascade")


def beat(jobs: psycopg.Connection, seconds_ago: float, hostname: str = "") -> None:
    jobs.execute(
        f"insert into {SCHEMA}.job values"
        " ('TriggererJob', %s, 'running', now() - make_interval(secs => %s))",
        [hostname or socket.gethostname(), seconds_ago],
    )


def test_a_component_that_beats_is_healthy(
    jobs: psycopg.Connection, environ: dict[str, str]
) -> None:
    beat(jobs, seconds_ago=5)

    assert problem_of("triggerer", environ) is None


def test_a_component_that_has_stopped_beating_is_not(
    jobs: psycopg.Connection, environ: dict[str, str]
) -> None:
    beat(jobs, seconds_ago=SILENT_FOR_S + 5)

    assert problem_of("triggerer", environ) == "no heartbeat of a TriggererJob for 60 s"


def test_the_heartbeat_of_another_container_does_not_count(
    jobs: psycopg.Connection, environ: dict[str, str]
) -> None:
    beat(jobs, seconds_ago=5, hostname="another")

    assert problem_of("triggerer", environ) is not None


def test_the_component_of_another_kind_does_not_count(
    jobs: psycopg.Connection, environ: dict[str, str]
) -> None:
    beat(jobs, seconds_ago=5)

    assert problem_of("dag-processor", environ) is not None


def test_a_broker_that_does_not_answer_is_a_problem(
    files: SecretFiles, environ: dict[str, str]
) -> None:
    files.write("broker_url", f"redis://:secret@127.0.0.1:{free_port()}/0")

    problem = problem_of("worker", environ)

    assert problem is not None
    assert "secret" not in problem


def test_a_health_check_imports_no_airflow() -> None:
    code = "import sys, include.ops.compose.__main__; print(*sys.modules)"

    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert "airflow" not in printed.split()
