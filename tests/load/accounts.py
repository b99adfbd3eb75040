"""The accounts of a load: one a tenant, all alike but for their deals."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import requests

from include.ops.local.demo_servers import connections
from tests.hubspot_simulator.process import SimulatorProcess, simulator_process
from tests.support.truth import as_stored, present

#: HubSpot's for a Professional account.
LIMITS = {"requests_per_window": 190, "daily_limit": 625_000}
LATENCY_S = 0.1
FIRST_PORTAL_ID = 20_000


@dataclass(frozen=True)
class Accounts:
    """Served by one simulator. ``tokens``: tenant → its account's."""

    base_url: str
    portal_ids: Mapping[str, int]
    tokens: Mapping[str, str]

    @property
    def connections(self) -> dict[str, str]:
        """The tenants' Airflow connections, as environment variables."""
        return connections(self.base_url, self.tokens, self.tokens)

    def requests(self) -> tuple[int, int]:
        """Return how many requests were answered so far, and how many more with 429."""
        with ThreadPoolExecutor(4) as executor:
            stats = list(executor.map(lambda one: one.stats(), self._each()))
        answered = sum(sum(one["requests"].values()) for one in stats)
        return answered, sum(one["throttled"] for one in stats)

    def differences(self, warehouse_url: str, schema: str) -> list[str]:
        """Return the tenants whose rows are not exactly what their account has."""
        with psycopg.connect(warehouse_url) as connection:
            return [
                tenant
                for tenant, portal_id in self.portal_ids.items()
                if present(connection, schema, tenant) != self._truth(portal_id)
            ]

    def _truth(self, portal_id: int) -> dict[str, tuple[bool, dict[str, object]]]:
        url = f"{self.base_url}/_simulator/portals/{portal_id}/truth"
        lines = requests.get(url, timeout=60).text.split("\n")
        return as_stored([json.loads(line) for line in lines])

    def _each(self) -> Iterator[SimulatorProcess]:
        for portal_id in self.portal_ids.values():
            yield SimulatorProcess(self.base_url, portal_id)


@contextmanager
def served(folder: Path, tenants: Sequence[str], deals: int) -> Iterator[tuple[Accounts, int]]:
    """Serve an account of so many deals for each tenant; yield them, and the simulator's pid."""
    plans = [
        {
            "portal_id": FIRST_PORTAL_ID + number,
            "token": f"pat-na1-load-{number:05d}",
            "deals": deals,
            "archived": deals // 50,
            "seed": number,
            "property_count": 60,
            "filled": 10,
            **LIMITS,
        }
        for number, _ in enumerate(tenants)
    ]
    with simulator_process(folder, "--accounts", json.dumps(plans)) as process:
        named = dict(zip(tenants, plans, strict=True))
        accounts = Accounts(
            process.base_url,
            {tenant: int(str(plan["portal_id"])) for tenant, plan in named.items()},
            {tenant: str(plan["token"]) for tenant, plan in named.items()},
        )
        for account in accounts._each():
            account.set(latency_s=LATENCY_S)
        yield accounts, process.pid or 0
