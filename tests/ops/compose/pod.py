"""A pod without a cluster: a command with its own disk, of which nothing outlives its end."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

#: Every process of a pod has its name in this variable; SPT_NOENV keeps it readable.
NAME = "POD_NAME"


class Pod:
    """*command* in the directory *cwd*, with AIRFLOW_HOME, HOME and TMPDIR empty in *folder*.

    What it prints goes to *log*, as a container's output goes to the cluster.
    """

    def __init__(
        self, folder: Path, command: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self.name = folder.name
        self._folder = folder
        on_disk = {name: folder / name.lower() for name in ("AIRFLOW_HOME", "HOME", "TMPDIR")}
        for directory in on_disk.values():
            directory.mkdir(parents=True)
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env={**env, **{name: str(path) for name, path in on_disk.items()}, NAME: self.name},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def status(self) -> int | None:
        """Return the exit status once the command has ended, negative if by a signal."""
        return self._process.poll()

    def end(self) -> None:
        """End whatever of it still runs."""
        kill(self.name)
        self._process.wait()

    def files(self) -> list[str]:
        """Return which files are on its disk, relative to that."""
        files = [path for path in self._folder.rglob("*") if not path.is_dir()]
        return sorted(str(path.relative_to(self._folder)) for path in files)

    def delete(self) -> None:
        shutil.rmtree(self._folder)


def kill(name: str) -> None:
    """End all processes of a pod by SIGKILL, the first one first: it has no time to react."""
    while processes := processes_of(name):
        for process in sorted(processes, key=psutil.Process.create_time):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def processes_of(name: str) -> list[psutil.Process]:
    """Return the processes of a pod, or none once it has ended."""
    return [process for process in psutil.process_iter() if _is_of(name, process)]


def _is_of(name: str, process: psutil.Process) -> bool:
    try:
        # the environment of a zombie can't be read
        return bool(process.environ().get(NAME) == name)
    except (psutil.Error, OSError):
        return False
