"""Airflow's LocalExecutor with workers that have imported the modules of tasks."""

from airflow.executors.local_executor import LocalExecutor


class PreloadedLocalExecutor(LocalExecutor):
    """Imports the modules of tasks once, in the scheduler, from which its workers are forked.

    Otherwise each task imports Airflow's task runner, dlt and pyarrow, which takes longer than most
    scans. On macOS, where workers are spawned, this has no effect.
    """

    def start(self) -> None:
        if self.is_mp_using_fork:
            import include.ops.compose.worker_imports  # noqa: F401
        super().start()
