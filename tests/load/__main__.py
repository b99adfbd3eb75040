"""`python -m tests.load`: scan many tenants at once with Celery workers, and report what it costs.

Everything runs on this machine: the services of docker-compose.yaml, PgBouncer before the warehouse
and a simulated HubSpot with its real limits. docs/deploy.md#sizing has the figures.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

# Before anything imports Airflow: its home must not be the developer's own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="hubspot_deals_load_airflow_")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

from tests.load.figures import MB, as_json, large_rows_of, rows_of, table_of
from tests.load.load import Load
from tests.ops.compose.places import unavailable
from tests.support.pgbouncer import PROGRAM

ROOT = Path(__file__).parent.parent.parent
#: What there is one of in a large installation too, and the cores that it can use: a scheduler's
#: loop is one thread. PgBouncer and Redis cost next to nothing.
CENTRAL = {"apiserver": 2, "scheduler": 1, "postgres": 2}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load", description=__doc__)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--deals", type=int, default=2_000, help="of each tenant")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=4, help="tasks at once in a worker")
    parser.add_argument("--pool", type=int, default=10, help="connections from PgBouncer")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="for Airflow's services"
    )
    parser.add_argument("--rounds", type=int, default=2, choices=(1, 2))
    parser.add_argument("--json", type=Path, default=ROOT / ".run" / "load.json")
    options = parser.parse_args()
    if missing := unavailable() or (not PROGRAM and "not installed: pgbouncer"):
        parser.error(f"{missing} (Debian: apt-get install redis-server pgbouncer curl)")

    with tempfile.TemporaryDirectory(prefix="hubspot_deals_load_") as folder:
        with Load(Path(folder), options.tenants, options.deals, options) as load:
            rounds = [load.round("first scan (full)")]
            if options.rounds > 1:
                rounds.append(load.round("second scan (nothing changed)"))
            different = load.accounts.differences(load.warehouse_url, load.schema)
        usage = load.usage

    print(table_of(rows_of(rounds)))
    print(f"\nMemory at most (PSS): {usage.peak_total_memory_bytes / MB:,.0f} MB in all")
    for name, size in usage.peak_memory_bytes.most_common():
        print(f"  {name}: {size / MB:,.0f} MB")
    print(f"\nConnections to PostgreSQL at most, by database: {dict(usage.peak_connections)}")
    print(
        f"\n{options.tenants} tenants' rows against HubSpot's: {len(different)} differ {different}"
    )
    print(f"\n{table_of(large_rows_of(rounds, CENTRAL))}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    about = {name: value for name, value in vars(options).items() if name not in ("json", "rounds")}
    figures = as_json(
        rounds,
        **about,
        cpus=os.cpu_count(),
        memory=dict(usage.peak_memory_bytes),
        connections=dict(usage.peak_connections),
        different=different,
    )
    options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if different or any(one.failed for one in rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
