"""What is asked before anything starts: real answers of a simulated HubSpot and of PostgreSQL."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.ops.local import checks
from include.ops.local.checks import Problems, answers, problems_of, require_room
from include.ops.local.demo_servers import connections
from include.ops.local.processes import LocalError
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, portals

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_good_tokens_and_a_good_database_are_no_problem(serve: Serve) -> None:
    serve(acme=portals.getting_started(), globex=portals.generated(deals=1))

    assert problems_of(["acme", "globex"]) == []


def test_a_token_that_hubspot_refuses_is_one(serve: Serve) -> None:
    portal = portals.getting_started()
    serve(acme=portal)
    portal.tokens.clear()

    (problem,) = problems_of(["acme"])

    assert problem.startswith("tenant acme: HubSpot refused the token (401)")
    assert "clear the task" not in problem


def test_what_many_tenants_have_is_said_once(airflow_environment: pytest.MonkeyPatch) -> None:
    tokens = {"acme": "pat-1", "globex": "pat-2"}
    for name, value in connections(NOWHERE, tokens, tokens).items():
        airflow_environment.setenv(name, value)

    (problem,) = problems_of(["acme", "globex"])

    assert problem.startswith(f"tenant acme, globex: {NOWHERE} can't be reached")


def test_an_account_whose_quota_is_used_up_has_a_good_token(serve: Serve) -> None:
    portal = portals.getting_started()
    portal.add_fault(Fault("429", policy="DAILY", endpoint="account"))
    serve(acme=portal)

    assert problems_of(["acme"]) == []


def test_what_never_answers_is_given_up(
    airflow_environment: pytest.MonkeyPatch, silent: str
) -> None:
    airflow_environment.setenv("HUBSPOT_ACCESS_TOKEN", "pat-mine")
    airflow_environment.setenv("HUBSPOT_API_BASE_URL", f"http://{silent}")
    airflow_environment.setattr(checks, "REQUEST_TIMEOUT_S", (1.0, 1.0))

    (problem,) = problems_of(["default"], within_s=0.2)

    assert problem.startswith("tenant default: HubSpot did not answer within")


def test_a_database_that_can_not_be_used_is_a_problem(
    airflow_environment: pytest.MonkeyPatch,
) -> None:
    airflow_environment.setenv("DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/d")

    (problem,) = problems_of([])

    assert problem.startswith("PostgreSQL can't be reached")
    assert "secret" not in problem


@pytest.mark.slow
def test_the_answers_come_from_a_process_with_the_environment_of_tasks(
    serve: Serve, airflow_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(acme=portals.getting_started())
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}

    (problem,) = answers(["acme", "globex"], env)

    assert problem.startswith("tenant globex: there is no HubSpot token")


def test_every_problem_is_kept_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nearly_full(folder: Path) -> Any:
        return shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    problems = Problems()
    with problems.noted():
        raise LocalError("One.", "Do this.")
    with problems.noted():
        require_room(tmp_path)

    with pytest.raises(LocalError) as caught:
        problems.require_none()

    _, first, second = str(caught.value).splitlines()
    assert first == "  ✗ One. Do this."
    assert "1 MB left" in second
