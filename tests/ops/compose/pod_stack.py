"""Airflow as its Helm chart runs it with KubernetesExecutor, but for the cluster: tasks in pods.

The image has the Dockerfile's files, the tenants' files as a ConfigMap is mounted, and as many DAG
files as asked for.
"""

import compileall
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from include.ops.local.processes import PROJECT_ROOT, free_port
from include.ops.local.stack import LocalStack
from tests.ops.compose.dockerfile import copy_image
from tests.ops.compose.places import HOME
from tests.ops.compose.pod_executor import CLUSTER, EXECUTOR, environment_of_image
from tests.support.databases import WITHOUT_DURABILITY

#: Airflow's own way to change all tasks: 30 to 60 s until the next try are long for a test.
RETRIED_SOON = """
from datetime import timedelta

__all__ = ["task_policy"]


def task_policy(task):
    task.retry_delay = timedelta(seconds=1)
"""


class PodStack(LocalStack):
    """A LocalStack whose tasks run in pods. *tenants*: id → entry, each becomes a file.

    Its user starts the simulator, and says where it is.
    """

    simulator_url: str

    def __init__(
        self, state_dir: Path, env: Mapping[str, str], tenants: Mapping[str, Any], shards: int
    ) -> None:
        super().__init__(state_dir, free_port(), env, WITHOUT_DURABILITY)
        self.image = self.state_dir / "image"
        self._home = self.image / HOME.lstrip("/")
        self._settings = self.state_dir / "settings"
        self.env["HUBSPOT_DEALS_TENANTS_FILE"] = str(self._home / "tenants")
        self._build_image(tenants, shards)

    @property
    def environment(self) -> dict[str, str]:
        base = super().environment
        image = environment_of_image(self.image)
        return {
            **base,
            "PYTHONDONTWRITEBYTECODE": image["PYTHONDONTWRITEBYTECODE"],
            "PYTHONPATH": os.pathsep.join(
                [image["PYTHONPATH"], str(self._settings), str(PROJECT_ROOT)]
            ),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._home / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self._home / "plugins"),
            "AIRFLOW__CORE__EXECUTOR": EXECUTOR,
            CLUSTER: str(self.state_dir),
        }

    def disks(self) -> list[Path]:
        """Return the disks of the pods that run."""
        return [*(self.state_dir / "pods").iterdir()]

    def ended(self) -> list[dict[str, Any]]:
        """Return how each pod ended: `pod`, `status`, and the `files` that went with it."""
        text = (self.state_dir / "ended.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def output(self, pod: str) -> str:
        return (self.state_dir / "outputs" / f"{pod}.log").read_text(errors="replace")

    def wait_until(self, reached: Callable[[], bool], what: str, timeout_s: float = 180) -> None:
        """Raises LocalError if it is not so in time, or a component has ended."""
        self._wait_while(lambda: "" if reached() else f"Not so: {what}", timeout_s)

    def _build_image(self, tenants: Mapping[str, Any], shards: int) -> None:
        copy_image("runtime", self.image)
        _mount(self._home / "tenants", {f"{name}.json": entry for name, entry in tenants.items()})
        subprocess.run(
            [sys.executable, "-m", "include.tenants", "shards", str(shards)],
            env={**self.env, **environment_of_image(self.image)},
            cwd=self._home,
            check=True,
        )
        compileall.compile_dir(self._home, quiet=1)
        for path in self.image.rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222)
        self._settings.mkdir()
        (self._settings / "airflow_local_settings.py").write_text(RETRIED_SOON)


def _mount(folder: Path, files: Mapping[str, Any]) -> None:
    """Put JSON files into *folder* as Kubernetes mounts a ConfigMap: links into hidden ones."""
    version = folder / "..2026_11_24_00_00_00.1"
    version.mkdir(parents=True)
    (folder / "..data").symlink_to(version.name)
    for name, content in files.items():
        (version / name).write_text(json.dumps(content))
        (folder / name).symlink_to(f"..data/{name}")
