"""`python -m tests.hubspot_simulator --demo`: serve the demo's portals until stopped."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.hubspot_simulator import HubSpotSimulator, Portal, portals


def accounts(arguments: argparse.Namespace) -> list[Portal]:
    if arguments.demo:
        return portals.demo()
    if arguments.accounts:
        return [portals.generated(**account) for account in json.loads(arguments.accounts)]
    return [
        portals.generated(deals=arguments.deals, archived=arguments.archived, nasty=arguments.nasty)
    ]


def end(number: int, frame: object) -> None:
    """Being stopped is the normal end: the server has closed its connections by then."""
    sys.exit(0)


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hubspot_simulator", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="serve acme, globex and initech")
    parser.add_argument("--deals", type=int, default=250, help="without --demo: how many deals")
    parser.add_argument("--archived", type=int, default=0, help="how many more are archived")
    parser.add_argument("--nasty", action="store_true", help="with values that break loads")
    parser.add_argument(
        "--accounts", help="JSON: a list of accounts, each the arguments of portals.generated"
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--host", default="127.0.0.1", help="in a container: 0.0.0.0")
    parser.add_argument("--ready-file", type=Path, help="written with the base URL")
    return parser.parse_args(arguments)


def main() -> None:
    arguments = parsed()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)

    simulator = HubSpotSimulator(accounts(arguments), arguments.port, arguments.host)
    if arguments.ready_file:
        half_written = arguments.ready_file.with_suffix(".new")
        half_written.write_text(json.dumps({"base_url": simulator.base_url}))
        half_written.rename(arguments.ready_file)
    sys.stdout.write(f"HubSpot simulator at {simulator.base_url}\n")
    simulator.run()


if __name__ == "__main__":
    main()
