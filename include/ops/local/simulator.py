"""The simulated HubSpot of the demo: starting it, and connections to its accounts."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from include.ops.local.processes import LOOPBACK, PROJECT_ROOT, Programs, free_port

DEMO_TENANTS_FILE = PROJECT_ROOT / "tests" / "hubspot_simulator" / "demo_tenants.yaml"
#: Tenant → its token in the simulator's demo portals. They open nothing but the simulator.
DEMO_TOKENS = {
    "acme": "pat-na1-demo-acme",
    "globex": "pat-eu1-demo-globex",
    "initech": "pat-na1-demo-initech",
}


def start_simulator(programs: Programs, env: Mapping[str, str]) -> str:
    """Start it on a free port; return its base URL once it listens. Raises LocalError."""
    port = free_port()
    module = ["tests.hubspot_simulator", "--demo", "--port", str(port)]
    programs.start_server("simulator", module, env, port)
    return f"http://{LOOPBACK}:{port}"


def connections(
    base_url: str, tenant_ids: Iterable[str], tokens: Mapping[str, str] = DEMO_TOKENS
) -> dict[str, str]:
    """Return Airflow connections of tenants to the simulator, as environment variables."""
    return {
        f"AIRFLOW_CONN_HUBSPOT_{tenant_id.upper()}": json.dumps(
            connection_to(base_url, tokens[tenant_id])
        )
        for tenant_id in tenant_ids
    }


def connection_to(base_url: str, token: str) -> dict[str, Any]:
    """Return the fields of an Airflow connection to the simulator."""
    # Airflow's Test button wants a port, though the host is a whole URL
    port = urlsplit(base_url).port
    return {"conn_type": "hubspot", "host": base_url, "port": port, "password": token}
