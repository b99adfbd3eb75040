"""Scans as a DAG run does them: `extract_deals`, which is measured, in a process of its own."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from include.scan import Scan, Window
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from tests.bench.child import Child, Usage
from tests.bench.postgres import BenchPostgres

EXTRACT_JOB = f"{__name__}:extract"
IDLE_JOB = f"{__name__}:extract_imports_included"


@dataclass(frozen=True)
class Ask:
    """What is asked of a scan, as values that can be handed to another process."""

    tenant_id: str
    run_id: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "auto"
    #: ISO 8601: modified from, and before.
    window: tuple[str, str] | None = None

    @property
    def scan(self) -> Scan:
        tenant = Tenant.model_validate({"id": self.tenant_id, **self.settings})
        window = Window(*map(datetime.fromisoformat, self.window)) if self.window else None
        return Scan(tenant, self.run_id, self.mode, window)


@dataclass(frozen=True)
class Measured:
    """A piece of work: what its process took, and what PostgreSQL took for it."""

    usage: Usage
    server_cpu_s: float

    @property
    def client_cpu_s(self) -> float:
        return self.usage.cpu_s


def extract(**ask: Any) -> Callable[[], Any]:
    """Job: the extraction of a scan whose `validate_token` has run."""
    from include.extract.pipeline import extract_deals

    scan = Ask(**ask).scan
    return lambda: extract_deals(scan, scan.tenant.checkpoint_pages)


def extract_imports_included(**ask: Any) -> Callable[[], Any]:
    """Job: the same, counted from where a task process is when it begins its task.

    Airflow's own modules are there by then; the package's, and what they import, are not.
    """
    import airflow.sdk.execution_time.task_runner  # noqa: F401

    def work() -> Any:
        return extract(**ask)()

    return work


class Scans:
    """Runs scans into one warehouse.

    :param connections: the environment variables that are the tenants' connections.
    """

    def __init__(
        self,
        server: BenchPostgres,
        warehouse: Warehouse,
        folder: Path,
        connections: Mapping[str, str],
    ) -> None:
        self.warehouse = warehouse
        self._server = server
        self._folder = folder
        self.environment = {
            **connections,
            "DATABASE_URL": server.url,
            "DLT_DATABASE_SCHEMA": warehouse.schema,
        }

    def validate(self, ask: Ask) -> None:
        from include.validation import validate_token

        with _environment(self.environment):
            validate_token(ask.scan)

    def check(self, ask: Ask) -> None:
        """Finish the scan; from then on the next one is incremental."""
        from include.quality.checks import check_quality

        with _environment(self.environment):
            check_quality(ask.scan)

    def start(self, job: str, late_modules: list[str] | None = None, **arguments: Any) -> Child:
        """Start a job that finds the warehouse and the connections in its environment."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return Child(folder, job, arguments, self.environment, late_modules or ())

    def measure(
        self, job: str, late_modules: list[str] | None = None, **arguments: Any
    ) -> Measured:
        """Do a job, with nothing else going on in PostgreSQL."""
        self._server.execute("checkpoint")
        before_s = self._server.cpu_s()
        usage = self.start(job, late_modules, **arguments).wait()
        return Measured(usage, self._server.cpu_s() - before_s)

    def extract(self, ask: Ask, late_modules: list[str] | None = None) -> Measured:
        """Validate, and measure the extraction."""
        self.validate(ask)
        return self.measure(EXTRACT_JOB, late_modules, **asdict(ask))


def run_ids() -> Iterator[str]:
    return (f"manual__{number}" for number in itertools.count(1))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
