"""`python -m include.ops.compose secrets|init|healthy|demo`: what docker-compose.yaml calls."""

import os
import sys
from collections.abc import Iterable, Sequence

from include.errors import HubSpotDealsError
from include.ops.compose.secrets import DeployError


def main(arguments: Sequence[str]) -> int:
    """Do it; return the exit status."""
    command, *rest = arguments or [""]
    try:
        for line in _lines(command, rest):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except (DeployError, HubSpotDealsError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def _lines(command: str, rest: Sequence[str]) -> Iterable[str]:
    # imported late: a health check runs every half minute and needs nearly nothing
    if command == "secrets":
        from include.ops.compose.secrets import provide

        return provide(rest, os.environ)
    if command == "init":
        from include.ops.compose.init import initialize

        return initialize()
    if command == "demo":
        from include.ops.compose.init import scan_demo_tenants

        return scan_demo_tenants()
    if command == "healthy":
        return _well(rest[0])
    raise DeployError(f"There is no command {command!r}.", "secrets, init, healthy, demo")


def _well(component: str) -> Iterable[str]:
    from include.ops.compose.health import problem_of

    if problem := problem_of(component):
        raise DeployError(f"{component}: {problem}", "See its logs.")
    return [f"{component} is healthy"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
