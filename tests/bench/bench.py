"""What every benchmark is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from include.warehouse.connection import Warehouse
from tests.bench.extraction import Scans
from tests.bench.postgres import BenchPostgres


@dataclass(frozen=True)
class Bench:
    """``quick``: fewer deals and rounds, for a first look. ``folder``: is deleted at the end."""

    server: BenchPostgres
    folder: Path
    quick: bool = False

    def scans(self, connections: Mapping[str, str], warehouse: Warehouse | None = None) -> Scans:
        """Return scans into *warehouse*, or into a new one."""
        warehouse = warehouse or self.server.new_warehouse()
        return Scans(self.server, warehouse, self.folder, connections)
