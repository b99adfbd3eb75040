"""What dlt writes to a worker's disk while it loads."""

from pathlib import Path

from include.pipeline.load.arrow import DEALS
from include.warehouse.connection import Warehouse
from tests.pipeline.load.test_dlt_loader import batch_of, loading, record


def test_it_holds_neither_the_password_nor_the_connection(warehouse: Warehouse) -> None:
    password = str(warehouse.parameters["password"]).encode()
    with loading(warehouse) as loader:
        loader.load(batch_of([record(1)], "acme", "1").table, DEALS)

        directory = Path(loader._working_directory.name)
        files = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}

        assert files
        assert [path for path, content in files.items() if password in content] == []
        assert directory.stat().st_mode & 0o077 == 0
    assert not directory.exists()
