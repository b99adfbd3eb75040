"""One of several processes that ask a simulated HubSpot as fast as the shared limit lets them.

    python -m tests.support.rate_limit_load BASE_URL TOKEN SECONDS THREADS SCHEMA

DATABASE_URL is the
warehouse's. Prints {"requests": …, "throttled": …, "cpu_s": …}.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from include.hubspot.client import HubSpotClient
from include.warehouse.client_state import SharedLimits
from include.warehouse.connection import Warehouse


def main(base_url: str, token: str, seconds: str, threads: str, schema: str) -> None:
    warehouse = Warehouse.from_url(os.environ["DATABASE_URL"], schema)
    with warehouse.keeping_connections() as kept:
        ask(HubSpotClient(base_url, token, limits=SharedLimits(kept)), seconds, threads)


def ask(client: HubSpotClient, seconds: str, threads: str) -> None:
    end = time.monotonic() + float(seconds)

    def ask_until_the_end(_: int) -> None:
        while time.monotonic() < end:
            client.account()

    with ThreadPoolExecutor(int(threads)) as executor:
        list(executor.map(ask_until_the_end, range(int(threads))))
    figures = {"requests": client.transport.requests, "throttled": client.transport.throttled}
    print(json.dumps({**figures, "cpu_s": time.process_time()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
