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
            print(line, flush=True)
    except DeployError as problem:
        print(problem, file=sys.stderr)
    except HubSpotDealsError as problem:
        print(problem.for_command, file=sys.stderr)
    except OSError as exc:
        print(f"{exc.filename}: {exc.strerror}. docs/deploy.md#secrets", file=sys.stderr)
    else:
        return 0
    return 1


def _lines(command: str, rest: Sequence[str]) -> Iterable[str]:
    # imported late: a health check runs every half minute and needs nearly nothing
    if command == "secrets":
        from include.ops.compose.secrets import provide

        return provide(rest, os.environ)
    if command == "healthy":
        from include.ops.compose.health import JOBS, problem_of

        component = rest[0] if rest else ""
        if component not in (components := ["worker", *JOBS]):
            raise DeployError(f"There is no component {component!r}.", ", ".join(components))
        if problem := problem_of(component):
            raise DeployError(f"{component}: {problem}", "See its logs.")
        return [f"{component} is healthy"]
    from include.ops.compose import init

    commands = {"init": init.initialize, "demo": init.scan_demo_tenants}
    if command not in commands:
        raise DeployError(f"There is no command {command!r}.", "secrets, init, healthy, demo")
    return commands[command]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
