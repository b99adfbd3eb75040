"""### Example: a report after each successful scan

Scheduled on the asset `hubspot_deals/<tenant>/deals` of the first tenant in the tenants file. Copy
it for DAGs of your own; see `docs/how-to/use-in-other-dags.md`. It exists only with
`HUBSPOT_DEALS_EXAMPLE_DAGS=true`.
"""

import os
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import dag, task

from include.dag import deals_asset
from include.tenants import Tenant, load_tenants


def build_dag(tenant: Tenant) -> None:
    @dag(
        dag_id="example_deals_report",
        schedule=[deals_asset(tenant)],
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        max_active_runs=1,
        tags=["hubspot", "example"],
        doc_md=__doc__,
    )
    def example_deals_report() -> None:
        @task
        def report(triggering_asset_events: Any = None) -> Any:
            """Report figures of the scan and of the tenant's view `deals`."""
            from psycopg import sql

            from include.warehouse.connection import open_warehouse
            from include.warehouse.tenant_views.plan import tenant_schema

            # Several scans may have succeeded since the last report.
            event = max(triggering_asset_events[deals_asset(tenant)], key=lambda e: e.timestamp)
            warehouse = open_warehouse(tenant.id)
            with warehouse.connect() as connection:
                view = sql.Identifier(tenant_schema(warehouse.schema, tenant.id), "deals")
                by_stage = connection.execute(
                    sql.SQL(
                        "select properties ->> 'dealstage', count(*) from {} group by 1 order by 1"
                    ).format(view)
                ).fetchall()
            return {
                "scan_id": event.extra["scan_id"],
                "deals_written": event.extra["deals_written"],
                "live_deals_by_stage": {stage or "none": deals for stage, deals in by_stage},
            }

        report()

    example_deals_report()


if os.environ.get("HUBSPOT_DEALS_EXAMPLE_DAGS") == "true":
    for first in load_tenants().enabled[:1]:
        build_dag(first)
