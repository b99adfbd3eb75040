"""Scans as a DAG run does them: `extract_deals`, which is measured, in a process of its own."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from include.warehouse.connection import Warehouse
from tests.bench.ask import Ask
from tests.bench.child import Child, Usage
from tests.bench.postgres import BenchPostgres

EXTRACT_JOB = "tests.bench.jobs:extract"
IDLE_JOB = "tests.bench.jobs:extract_imports_included"


@dataclass(frozen=True)
class Measured:
    """A piece of work: what its process took, and what PostgreSQL took for it."""

    usage: Usage
    server_cpu_s: float

    @property
    def client_cpu_s(self) -> float:
        return self.usage.cpu_s


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
        from include.pipeline.validate_token import validate_token

        with _environment(self.environment):
            validate_token(ask.scan)

    def check(self, ask: Ask) -> None:
        """Finish the scan; from then on the next one is incremental."""
        from include.pipeline.check_quality import check_quality

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
