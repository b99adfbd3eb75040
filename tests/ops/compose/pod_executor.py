"""Stands in for KubernetesExecutor where there is no cluster: each task in its own pod.

A pod runs the command that KubernetesExecutor gives it, in a copy of the image. It has the settings
and connections of the scheduler's environment, but neither Airflow's database nor its secrets.

    AIRFLOW__CORE__EXECUTOR=tests.ops.compose.pod_executor.PodLikeExecutor POD_CLUSTER=<folder>
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow.executors.base_executor import BaseExecutor

from tests.ops.compose.dockerfile import environment_of
from tests.ops.compose.places import HOME
from tests.ops.compose.pod import Pod

EXECUTOR = "tests.ops.compose.pod_executor.PodLikeExecutor"
#: The environment variable that names a folder: `image` in it is the image, `pods` are the disks of
#: running pods, `outputs` what they printed, and `ended.jsonl` says how each pod ended.
CLUSTER = "POD_CLUSTER"
COMMAND = (sys.executable, "-m", "airflow.sdk.execution_time.execute_workload", "--json-string")

PASSED_ON = ("PATH", "LANG", "AIRFLOW_", "HUBSPOT_", "DLT_", "RUNTIME__", "NO_PROXY", "SPT_NOENV")
WITHHELD = (
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
)


class PodLikeExecutor(BaseExecutor):
    """A pod for each task; it succeeds if its command ends with 0, whatever the task's state is."""

    def start(self) -> None:
        self._cluster = Path(os.environ[CLUSTER])
        self._pods: dict[Any, Pod] = {}

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            key = workload.ti.key
            del self.queued_tasks[key]
            self.running.add(key)
            self._pods[key] = self._start_pod(workload)

    def sync(self) -> None:
        for key, pod in [*self._pods.items()]:
            status = pod.status()
            if status is None:
                continue
            self._remove(key, status)
            if status == 0:
                self.success(key)
            else:
                self.fail(key, f"{pod.name} ended with {status}")

    def end(self) -> None:
        for key in [*self._pods]:
            self._remove(key, None)

    def terminate(self) -> None:
        self.end()

    def _start_pod(self, workload: Any) -> Pod:
        ti = workload.ti
        name = f"{ti.dag_id}.{ti.task_id}.{ti.try_number}.{uuid4().hex[:8]}"
        image = self._cluster / "image"
        return Pod(
            self._cluster / "pods" / name,
            command=[*COMMAND, workload.model_dump_json()],
            env={**passed_on(os.environ), **environment_of_image(image)},
            cwd=image / HOME.lstrip("/"),
            log=self._cluster / "outputs" / f"{name}.log",
        )

    def _remove(self, key: Any, status: int | None) -> None:
        pod = self._pods.pop(key)
        pod.end()
        ended = {"pod": pod.name, "status": status, "files": pod.files()}
        with (self._cluster / "ended.jsonl").open("a") as file:
            file.write(json.dumps(ended) + "\n")
        # the last of it: a reader who sees no disk finds the line
        pod.delete()


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a pod gets of the scheduler's environment."""
    return {
        name: value
        for name, value in environ.items()
        if name.upper().startswith(PASSED_ON) and name not in WITHHELD
    } | {"AIRFLOW__CORE__EXECUTOR": "LocalExecutor"}


def environment_of_image(root: Path) -> dict[str, str]:
    """Return the environment that the image sets, where its `/` is *root*."""
    home = str(root / HOME.lstrip("/"))
    return {name: value.replace(HOME, home) for name, value in environment_of("runtime").items()}
