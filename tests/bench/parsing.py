"""Reading DAG files as jobs of `tests.bench.child`: nothing of ours is imported before counting."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def parse(files: list[str]) -> Callable[[], int]:
    """Job: build the DAGs of *files* as the DAG processor does; returns how many there are."""
    from airflow.dag_processing.dagbag import DagBag

    _require_nothing_of_ours()

    def work() -> int:
        bags = [DagBag(file) for file in files]
        _require_no_errors(bags)
        return sum(len(bag.dags) for bag in bags)

    return work


def start_task(file: str) -> Callable[[], int]:
    """Job: find the DAG that the environment's parsing context names, as a task process does."""
    import airflow.sdk.execution_time.task_runner  # noqa: F401
    from airflow.dag_processing.dagbag import BundleDagBag

    _require_nothing_of_ours()

    def work() -> int:
        bag = BundleDagBag(
            dag_folder=file,
            safe_mode=False,
            load_op_links=False,
            bundle_path=Path(file).parent,
            bundle_name="dags-folder",
        )
        _require_no_errors([bag])
        return len(bag.dags)

    return work


def _require_nothing_of_ours() -> None:
    if early := [name for name in sys.modules if name.partition(".")[0] == "include"]:
        raise RuntimeError(f"imported before counting began: {', '.join(early)}")


def _require_no_errors(bags: list[Any]) -> None:
    if errors := [error for bag in bags for error in bag.import_errors.values()]:
        raise RuntimeError(errors[0])
