"""The one-shot `demo`: scan the three simulated accounts once, as soon as Airflow is there."""

import os
import time
from collections.abc import Iterator, Mapping

import requests

from include.deploy.airflow_objects import ADMIN
from include.deploy.errors import DeployError
from include.deploy.secret_files import SecretFiles
from include.local.airflow_api import AirflowApi
from include.local.simulator import DEMO_TOKENS

PATIENCE_S = 300
POLL_S = 1.0
FINAL_STATES = ("success", "failed")


def scan_demo_tenants(environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Start a scan of each tenant that has none; yield how each ends. Raises DeployError."""
    password = SecretFiles(environ).read("admin_password")
    api = AirflowApi(environ["AIRFLOW_API_URL"], ADMIN, password)
    deadline = time.monotonic() + PATIENCE_S
    runs = {}
    for tenant_id in DEMO_TOKENS:
        dag_id = f"hubspot_deals__{tenant_id}"
        while not _is_parsed(api, dag_id):
            _wait(deadline, f"the DAG {dag_id} does not appear")
        run = api.newest_run(dag_id)
        api.unpause(dag_id)
        runs[dag_id] = run["dag_run_id"] if run else api.trigger(dag_id)
    for dag_id, run_id in runs.items():
        while (state := api.run(dag_id, run_id)["state"]) not in FINAL_STATES:
            _wait(deadline, f"{dag_id} is still {state}")
        yield f"{dag_id}: {state}"


def _is_parsed(api: AirflowApi, dag_id: str) -> bool:
    try:
        return api.dag(dag_id) is not None
    except requests.RequestException:  # it has just started
        return False


def _wait(deadline: float, problem: str) -> None:
    if time.monotonic() > deadline:
        raise DeployError(
            f"{problem} after {PATIENCE_S} s.", "See `docker compose logs`, then `up` again."
        )
    time.sleep(POLL_S)
