"""The one-shot `init`: databases, tables of Airflow and of the warehouse, administrator, pools.

It runs at each `docker compose up`, before anything of Airflow does, and changes nothing that is
right already: an upgrade is a new image and an `up`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from include.deploy.databases import let_in, set_up_databases
from include.deploy.errors import DeployError
from include.deploy.secret_files import SecretFiles
from include.local.simulator import DEMO_TOKENS, connection_to
from include.tenants import load_tenants
from include.warehouse.connection import warehouse_schema


def initialize(environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Do it step by step, and yield what was done. Raises DeployError."""
    files = SecretFiles(environ)
    yield from set_up_databases(files)
    _run(environ, "-m", "airflow", "db", "migrate")
    yield "Airflow's tables are up to date"
    migrator = files.read("warehouse_migrator_url")
    tenants = [tenant.id for tenant in load_tenants(environ).enabled]
    _run(
        {**environ, "DATABASE_URL": migrator},
        *("-m", "include.warehouse.migrations", "--create-roles"),
        *(part for tenant_id in tenants for part in ("--tenant", tenant_id)),
    )
    yield let_in(migrator, files.read("warehouse_url"), f"{warehouse_schema(environ)}_loader")
    yield from _airflow_objects(files, environ)
    _run(environ, "-m", "include.tenants", "pools")
    yield "pools are up to date"


def _airflow_objects(files: SecretFiles, environ: Mapping[str, str]) -> Iterator[str]:
    # Airflow connects to its database at import: not before that is there
    from include.deploy.airflow_objects import (
        connection_exists,
        save_administrator,
        save_connection,
        save_warehouse_connection,
    )

    save_administrator(files.read("admin_password"))
    yield "user admin has the password admin_password"
    save_warehouse_connection(files.read("warehouse_url"))
    yield "connection warehouse"
    if environ.get("DEPLOYMENT") == "demo":
        for tenant_id, token in DEMO_TOKENS.items():
            # one that was changed in the UI stays
            if not connection_exists(f"hubspot_{tenant_id}"):
                save_connection(
                    f"hubspot_{tenant_id}",
                    {
                        **connection_to(environ["DEMO_HUBSPOT_URL"], token),
                        # inside the private network of the containers
                        "extra": '{"allow_plain_http": true}',
                    },
                )
        yield f"connections to the simulator: {', '.join(DEMO_TOKENS)}"


def _run(environ: Mapping[str, str], *arguments: str) -> None:
    command: Sequence[str] = [sys.executable, *arguments]
    done = subprocess.run(command, env=dict(environ), check=False)
    if done.returncode:
        raise DeployError(
            f"`python {' '.join(arguments)}` failed; its reason is above.",
            "Correct it, then run `docker compose up -d` again: what was done is not done twice.",
        )
