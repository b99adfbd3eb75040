"""The simulated HubSpot as a process of its own: its accounts, and what it counted."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from include.ops.local.demo_servers import connections
from tests.hubspot_simulator.process import SimulatorProcess, simulator_process


class Account(SimulatorProcess):
    """One account of a running simulator."""

    def __init__(self, base_url: str, portal_id: int, token: str) -> None:
        super().__init__(base_url, portal_id)
        self.token = token

    def connection(self, tenant_id: str) -> dict[str, str]:
        """Return the environment that gives a tenant this account's token."""
        return connections(self.base_url, [tenant_id], {tenant_id: self.token})

    def accepted_at_s(self) -> list[float]:
        """Return when each accepted request arrived, by the simulator's monotonic clock."""
        times: dict[str, list[float]] = self.stats()["accepted_at_s"]
        return [at for of_app in times.values() for at in of_app]

    def request_count(self) -> int:
        return len(self.accepted_at_s())

    def throttled(self) -> int:
        """Return how many requests were refused with 429."""
        return int(self.stats()["throttled"])


@contextmanager
def simulated(folder: Path, *plans: Mapping[str, Any]) -> Iterator[list[Account]]:
    """Serve one account for each plan, without limits until they are set.

    :param plans: arguments of `portals.generated`.
    """
    accounts = [
        {"portal_id": 1_000 + number, "token": f"pat-na1-bench-{number}", **plan}
        for number, plan in enumerate(plans)
    ]
    with simulator_process(
        Path(tempfile.mkdtemp(dir=folder)), "--accounts", json.dumps(accounts)
    ) as process:
        served = [
            Account(process.base_url, int(account["portal_id"]), str(account["token"]))
            for account in accounts
        ]
        for account in served:
            account.set(searches_per_second=None, requests_per_window=1_000_000)
        yield served
