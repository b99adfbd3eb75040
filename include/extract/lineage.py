"""Which deals came from where and went where, for OpenLineage.

Told to Airflow's lineage collector, which the OpenLineage provider reads when the task has ended.
Without a reader nothing is made or kept.
"""

from include.hubspot.hook import HubSpotHook
from include.warehouse.connection import Warehouse
from include.warehouse.view_columns import tenant_schema

DEFAULT_PORT = "5432"


def report_lineage(hook: HubSpotHook, warehouse: Warehouse, tenant_id: str, portal_id: int) -> None:
    """Say that the account's deals became rows of `deals`, which the tenant's view shows."""
    from airflow.sdk import plugins_manager
    from airflow.sdk.lineage import get_hook_lineage_collector

    if not plugins_manager.get_hook_lineage_readers_plugins():
        return
    collector = get_hook_lineage_collector()
    collector.add_input_asset(hook, uri=f"hubspot://{portal_id}/deals")
    for schema, table in (
        (warehouse.schema, "deals"),
        (tenant_schema(warehouse.schema, tenant_id), "deals"),
    ):
        collector.add_output_asset(
            hook,
            scheme="postgres",
            asset_kwargs={
                "host": _of(warehouse, "host", "localhost"),
                "port": int(_of(warehouse, "port", DEFAULT_PORT)),
                "database": _of(warehouse, "dbname", "postgres"),
                "schema": schema,
                "table": table,
            },
        )


def _of(warehouse: Warehouse, parameter: str, default: str) -> str:
    return str(warehouse.parameters.get(parameter) or default)
