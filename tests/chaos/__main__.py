"""`python -m tests.chaos --minutes 15`: kill scans of a PostgreSQL of its own for a while."""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from include.ops.local.postgres import EmbeddedPostgres
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate
from tests.chaos.budget import Budget
from tests.chaos.chaos import run_chaos


def main() -> None:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, help="of a run that failed; by default a new one")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    say(f"Chaos for {arguments.minutes:g} minutes, seed {seed}")

    directory = Path(tempfile.mkdtemp(prefix="hubspot_deals_chaos_"))
    say(f"Logs and working directories: {directory}")
    os.environ["AIRFLOW_HOME"] = str(directory / "airflow")
    server = EmbeddedPostgres(directory / "postgres")
    started_at = time.monotonic()
    try:
        server.start()
        warehouse = Warehouse.from_url(server.dsn("warehouse"))
        migrate(warehouse)
        result = run_chaos(warehouse, directory, Budget(seed, seconds=60 * arguments.minutes), say)
    finally:
        server.remove()
        say(f"{time.monotonic() - started_at:.0f} s, seed {seed}")
    say(str(result))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
