"""Attempts in processes of their own, and their end."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.chaos.worker_pool import WorkerPool

pytestmark = pytest.mark.slow

ORDER = {"tenant": {"id": "acme"}, "run_id": "1", "mode": "auto", "checkpoint_pages": 5}


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """One in which every task waits for a warehouse that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://nobody:none@127.0.0.1:{server.getsockname()[1]}/none"
        yield {**os.environ, "DATABASE_URL": f"{url}?connect_timeout=2"}


@pytest.fixture(scope="module")
def worker_pool(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerPool]:
    with WorkerPool(environment, tmp_path_factory.mktemp("chaos") / "workers") as worker_pool:
        worker_pool.wait()
        yield worker_pool


def test_a_worker_that_is_stopped_goes_on_where_it_was(worker_pool: WorkerPool) -> None:
    worker = worker_pool.begin("validate_token", **ORDER)

    assert worker_pool.stop(worker)
    assert not worker_pool.ended(worker, 0.2)
    worker_pool.go_on(worker)

    assert worker_pool.ended(worker, 30.0)
    assert worker.outcome == "WarehouseUnavailableError"


def test_a_worker_that_is_killed_is_gone_at_once_and_others_live(worker_pool: WorkerPool) -> None:
    killed, other = (worker_pool.begin("validate_token", **ORDER) for _ in range(2))

    worker_pool.kill(killed)

    assert killed.outcome == "exit status -9"
    assert not psutil.pid_exists(killed.pid)
    assert psutil.pid_exists(other.pid)


def test_nothing_outlives_a_worker_pool(environment: dict[str, str], tmp_path: Path) -> None:
    with WorkerPool(environment, tmp_path / "workers") as worker_pool:
        worker_pool.wait()
        workers = [worker_pool.begin("validate_token", **ORDER) for _ in range(2)]
        worker_pool.stop(workers[0])

    assert not any(psutil.pid_exists(worker.pid) for worker in workers)
