"""Scans whose runs Airflow has ended without a word to any of their tasks.

Airflow calls nobody when a person marks a run, as a whole, failed or succeeded; and a callback may
fail, or come late.
"""

from collections.abc import Collection

from include.status.connection import reading
from include.warehouse.connection import Warehouse
from include.warehouse.scan_end import end_scans_of_ended_runs, open_scans
from include.web.airflow_dags import ended_runs


def settle(warehouse: Warehouse, dag_ids: Collection[str]) -> None:
    """End the rows of those of these DAGs' scans whose runs have ended.

    Raises what `include.status.connection.reading` does.
    """
    with reading(warehouse) as connection:
        scans = open_scans(connection, warehouse.schema, dag_ids)
    end_scans_of_ended_runs(warehouse, scans, ended_runs)
