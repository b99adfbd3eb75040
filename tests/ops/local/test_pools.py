"""The local stack makes Airflow know the pools of the tenants file."""

from pathlib import Path

import psycopg
import pytest

from include.ops.local.processes import free_port
from include.ops.local.stack import LocalStack


@pytest.mark.slow
@pytest.mark.e2e
def test_the_pools_are_there_before_airflow_starts(tmp_path: Path) -> None:
    tenants = tmp_path / "tenants.yaml"
    tenants.write_text("pools: {large: 2}\ntenants: []\n")
    stack = LocalStack(
        tmp_path / "state", free_port(), {"HUBSPOT_DEALS_TENANTS_FILE": str(tenants)}
    )
    try:
        stack.postgres.start()
        stack.migrate()
        stack.make_pools()
        with psycopg.connect(stack.postgres.dsn("airflow")) as connection:
            pools = connection.execute("select pool, slots from slot_pool order by 1").fetchall()
    finally:
        stack.stop()
        stack.postgres.remove()

    assert pools == [("default_pool", 128), ("large", 2)]
