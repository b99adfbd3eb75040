"""### Example: dbt models of a tenant's deals, built after each successful scan

Runs the dbt project in `docs/examples/dbt` on the views of the first tenant in the tenants file
whenever its asset `hubspot_deals/<tenant>/deals` is updated. dbt writes the models to the schema
`<schema>_dbt__<tenant>`. The DAG exists only with `HUBSPOT_DEALS_EXAMPLE_DAGS=true` and needs dbt
in a separate virtual environment; see `docs/how-to/report-with-dbt.md`.
"""

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import dag, task

from include.dag import deals_asset
from include.tenants import Tenant, load_tenants

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "docs/examples/dbt"
#: Installed by `make dbt`. dbt's requirements conflict with Airflow's.
DEFAULT_DBT = ROOT / ".tools/dbt/bin/dbt"


def build_dag(tenant: Tenant) -> None:
    @dag(
        dag_id="example_dbt",
        schedule=[deals_asset(tenant)],
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        max_active_runs=1,
        tags=["hubspot", "example"],
        doc_md=__doc__,
    )
    def example_dbt() -> None:
        @task
        def dbt_build() -> dict[str, int]:
            """Build and test all models. Returns the number of dbt's nodes by status."""
            import json
            import logging
            import subprocess
            import tempfile

            from airflow.sdk.exceptions import AirflowFailException

            dbt = os.environ.get("HUBSPOT_DEALS_DBT") or str(DEFAULT_DBT)
            if not Path(dbt).exists():
                raise AirflowFailException(
                    f"tenant {tenant.id}: there is no dbt at {dbt}. Run `make dbt`, or set "
                    "HUBSPOT_DEALS_DBT. docs/how-to/report-with-dbt.md"
                )
            command = [dbt, "--no-use-colors", "build", "--project-dir", str(PROJECT)]
            env, schema = environment(tenant)
            # The project's directory can be read-only, and runs of two tenants can share it.
            with tempfile.TemporaryDirectory() as work:
                with subprocess.Popen(
                    [*command, "--vars", json.dumps({"hubspot_schema": schema})],
                    env={**env, "DBT_TARGET_PATH": f"{work}/target", "DBT_LOG_PATH": work},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                ) as process:
                    for line in process.stdout or ():
                        logging.getLogger(__name__).info("%s", line.rstrip())
                if process.returncode:
                    raise AirflowFailException(
                        f"tenant {tenant.id}: dbt failed with exit status {process.returncode}; "
                        "its errors are in this log. Correct the model or the data, then clear "
                        "this task."
                    )
                results = json.loads(Path(work, "target/run_results.json").read_text())["results"]
            return dict(Counter(result["status"] for result in results))

        dbt_build()

    example_dbt()


def environment(tenant: Tenant) -> tuple[dict[str, str], str]:
    """Return dbt's environment with the warehouse's login, and the schema of the tenant's views."""
    from include.warehouse.connection import open_warehouse
    from include.warehouse.tenant_views.plan import tenant_schema

    warehouse = open_warehouse(tenant.id)
    login = {name: str(value) for name, value in warehouse.parameters.items() if value is not None}
    return {
        **os.environ,
        "DBT_PROFILES_DIR": str(PROJECT),
        "DBT_HOST": login.get("host", "localhost"),
        "DBT_PORT": login.get("port", "5432"),
        "DBT_DATABASE": login.get("dbname", "postgres"),
        "DBT_USER": login.get("user", "postgres"),
        "DBT_ENV_SECRET_PASSWORD": login.get("password", ""),
        "DBT_SCHEMA": f"{warehouse.schema}_dbt__{tenant.id}",
        # dbt's profile has no keys for these; libpq reads them from the environment.
        **{f"PG{name.upper()}": value for name, value in login.items() if name.startswith("ssl")},
        "PGTZ": "UTC",
    }, tenant_schema(warehouse.schema, tenant.id)


if os.environ.get("HUBSPOT_DEALS_EXAMPLE_DAGS") == "true":
    for first in load_tenants().enabled[:1]:
        build_dag(first)
