"""Airflow's LocalExecutor, whose workers have imported what tasks import."""

from airflow.executors.local_executor import LocalExecutor


class PreloadedLocalExecutor(LocalExecutor):
    """Imports what tasks import once, in the scheduler: its workers are forked from it.

    Without this each task imports Airflow's task runner, dlt and pyarrow anew, which takes longer
    than most scans. Where workers are spawned (macOS), each task does so as before.
    """

    def start(self) -> None:
        if self.is_mp_using_fork:
            import include.ops.compose.worker_imports  # noqa: F401
        super().start()
