"""Attempts in processes of their own, and their end."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.chaos.victims import WorkerPool

pytestmark = pytest.mark.slow

ORDER = {"tenant": {"id": "acme"}, "run_id": "1", "mode": "auto", "checkpoint_pages": 5}


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """One in which every task waits for a warehouse that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://nobody:none@127.0.0.1:{server.getsockname()[1]}/none"
        yield {**os.environ, "DATABASE_URL": f"{url}?connect_timeout=2"}


@pytest.fixture(scope="module")
def nursery(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerPool]:
    with WorkerPool(environment, tmp_path_factory.mktemp("chaos") / "nursery") as nursery:
        nursery.wait()
        yield nursery


def test_a_victim_that_is_stopped_goes_on_where_it_was(nursery: WorkerPool) -> None:
    victim = nursery.begin("validate_token", **ORDER)

    assert nursery.stop(victim)
    assert not nursery.ended(victim, 0.2)
    nursery.go_on(victim)

    assert nursery.ended(victim, 30.0)
    assert victim.outcome == "WarehouseUnavailableError"


def test_a_victim_that_is_killed_is_gone_at_once_and_others_live(nursery: WorkerPool) -> None:
    killed, other = (nursery.begin("validate_token", **ORDER) for _ in range(2))

    nursery.kill(killed)

    assert killed.outcome == "exit status -9"
    assert not psutil.pid_exists(killed.pid)
    assert psutil.pid_exists(other.pid)


def test_nothing_outlives_a_nursery(environment: dict[str, str], tmp_path: Path) -> None:
    with WorkerPool(environment, tmp_path / "nursery") as nursery:
        nursery.wait()
        victims = [nursery.begin("validate_token", **ORDER) for _ in range(2)]
        nursery.stop(victims[0])

    assert not any(psutil.pid_exists(victim.pid) for victim in victims)
