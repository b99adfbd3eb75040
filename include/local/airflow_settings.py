"""Airflow's settings in the local stack, as environment variables."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from include.local.credentials import Credentials, write_private

PROJECT_ROOT = Path(__file__).resolve().parents[2]
#: Makes "HubSpot" a connection type: include/airflow_provider.
PROVIDER_METADATA = PROJECT_ROOT / "include" / "airflow_provider" / "site"

#: Settings that the caller's environment may override.
DEFAULTS = {
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__API__WORKERS": "1",
    # A new or changed tenants file shows within seconds, not minutes.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
    # The Test button of the connection form: tokens are judged by the API server.
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SCARF_ANALYTICS": "false",
    # macOS kills forked children that touch Objective-C, as Airflow's would.
    "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    # Arrow then starts no thread when it is imported: threads don't survive the fork of a task.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


def airflow_environment(
    base: Mapping[str, str],
    state_dir: Path,
    port: int,
    metadata_url: str,
    credentials: Credentials,
) -> dict[str, str]:
    """Return *base* with everything that makes Airflow run from this checkout on *port*."""
    home = state_dir / "airflow"
    passwords = home / "passwords.json"
    write_private(passwords, json.dumps({credentials.admin_user: credentials.admin_password}))
    here = f"http://127.0.0.1:{port}"
    return {
        **DEFAULTS,
        **base,
        "AIRFLOW_HOME": str(home),
        # `include` has to be importable in every component, plugins and callbacks too.
        "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), str(PROVIDER_METADATA)]),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "include.local.executor.PreloadedLocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": credentials.fernet_key,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{here}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{credentials.admin_user}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_url.replace(
            "postgresql://", "postgresql+psycopg2://", 1
        ),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__API__SECRET_KEY": credentials.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": credentials.jwt_secret,
        # The components talk to each other on this machine; a proxy would only be in the way.
        "NO_PROXY": _without_proxy(base),
        "no_proxy": _without_proxy(base),
        # Keeps /proc/<pid>/environ readable: include.local.processes finds its own by it.
        "SPT_NOENV": "1",
    }


def _without_proxy(base: Mapping[str, str]) -> str:
    present = base.get("NO_PROXY") or base.get("no_proxy") or ""
    return ",".join(filter(None, (present, "127.0.0.1", "localhost")))
