"""`python -m tests.hubspot_simulator --demo`: serve the demo's portals until stopped."""

import argparse
import json
import signal
import sys
from pathlib import Path

from tests.hubspot_simulator import HubSpotSimulator, Portal, portals


def one_account(arguments: argparse.Namespace) -> Portal:
    return portals.generated(
        deals=arguments.deals, archived=arguments.archived, nasty=arguments.nasty
    )


def end(number: int, frame: object) -> None:
    """Being stopped is the normal end: the server has closed its connections by then."""
    sys.exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="hubspot_simulator", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="serve acme, globex and initech")
    parser.add_argument("--deals", type=int, default=250, help="without --demo: how many deals")
    parser.add_argument("--archived", type=int, default=0, help="how many more are archived")
    parser.add_argument("--nasty", action="store_true", help="with values that break loads")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--ready-file", type=Path, help="written with the base URL")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)

    served = portals.demo() if arguments.demo else [one_account(arguments)]
    simulator = HubSpotSimulator(served, arguments.port)
    if arguments.ready_file:
        half_written = arguments.ready_file.with_suffix(".new")
        half_written.write_text(json.dumps({"base_url": simulator.base_url}))
        half_written.rename(arguments.ready_file)
    sys.stdout.write(f"HubSpot simulator at {simulator.base_url}\n")
    simulator.run()


if __name__ == "__main__":
    main()
