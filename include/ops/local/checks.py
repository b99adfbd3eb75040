"""What must hold before `make demo` and `make run` start or stop anything; every problem is said.

`python -m include.ops.local.checks TENANT…` asks what only an answer shows, in the environment that
tasks will have and in their way: HubSpot about each tenant's token, PostgreSQL about itself. It
prints the problems as a JSON list.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from include.errors import ComeBackLaterError, HubSpotDealsError
from include.ops.local.processes import PROJECT_ROOT, LocalError

#: Name servers and routes can keep a request waiting for longer than its own time-outs.
ANSWER_WITHIN_S = 12.0
REQUEST_TIMEOUT_S = (5.0, 8.0)
RETRY_TIMEOUT_S = 3.0
TOKENS_AT_ONCE = 32
#: Python needs so long at most, on a slow machine, to import what asks.
IMPORTED_WITHIN_S = 120.0
#: The first start of the demo writes about 200 MB.
MIN_FREE_BYTES = 400_000_000


class Problems(list[str]):
    """What is wrong, a sentence and a remedy each."""

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Go on after an error in the block."""
        try:
            yield
        except LocalError as problem:
            self.append(str(problem))
        except HubSpotDealsError as problem:
            self.append(problem.for_command)

    def require_none(self) -> None:
        """Raise LocalError with all of them."""
        if len(self) == 1:
            raise LocalError(self[0])
        if self:
            shown = "\n".join(f"  ✗ {problem}" for problem in self)
            raise LocalError(f"{len(self)} problems; nothing was started or stopped.\n{shown}")


def require_room(folder: Path) -> None:
    """Raise LocalError unless *folder* has room for databases and logs, OSError for no right."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise LocalError(
            f"{folder} has {free / 1e6:.0f} MB left on its disk, {MIN_FREE_BYTES / 1e6:.0f} MB are "
            "needed.",
            "Free some space.",
        )


def answers(tenant_ids: Collection[str], env: Mapping[str, str]) -> list[str]:
    """Return what HubSpot and PostgreSQL object to. Raises LocalError."""
    command = [sys.executable, "-m", "include.ops.local.checks", *tenant_ids]
    try:
        done = subprocess.run(
            command,
            env=dict(env),
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=IMPORTED_WITHIN_S,
            check=False,
        )
        # what Airflow logs comes before
        problems: list[str] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise LocalError(
            f"The checks did not end within {IMPORTED_WITHIN_S:.0f} s.", "Try again."
        ) from None
    except (IndexError, ValueError):
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise LocalError(f"The tokens and the database can't be checked: {reason}.") from None
    return problems


def main(tenant_ids: Sequence[str]) -> None:
    print(json.dumps(problems_of(tenant_ids)), flush=True)
    # not sys.exit: it would wait for threads that still wait for an answer
    os._exit(0)


def problems_of(tenant_ids: Sequence[str], within_s: float = ANSWER_WITHIN_S) -> list[str]:
    """Ask all at once; return each problem once, with the tenants that have it."""
    # once, before the threads do: two that import the same at once may lock each other out
    import airflow.providers.postgres.hooks.postgres  # noqa: F401

    import include.hubspot.hook  # noqa: F401

    pool = ThreadPoolExecutor(TOKENS_AT_ONCE)
    asked = {pool.submit(_open_warehouse): ""}
    asked |= {pool.submit(partial(_ask_hubspot, tenant_id)): tenant_id for tenant_id in tenant_ids}
    wait(asked, within_s)
    having: dict[str, list[str]] = {}
    for future, tenant_id in asked.items():
        if problem := _problem_of(future, "HubSpot" if tenant_id else "PostgreSQL", within_s):
            having.setdefault(problem, []).append(tenant_id)
    return [
        f"tenant {', '.join(tenants)}: {problem}" if any(tenants) else problem
        for problem, tenants in having.items()
    ]


def _problem_of(future: Future[None], asked: str, within_s: float) -> str | None:
    if not future.done():
        return (
            f"{asked} did not answer within {within_s:.0f} s. Check the network, and the address "
            "that is set."
        )
    error = future.exception()
    # the account's quota is used up for today, or it is moving: the token is good, the scan waits
    if error is None or isinstance(error, ComeBackLaterError):
        return None
    if isinstance(error, HubSpotDealsError):
        error.tenant_id = None
        return error.for_command
    return f"{asked} can't be asked: {type(error).__name__}: {error}"


def _ask_hubspot(tenant_id: str) -> None:
    from include.hubspot.hook import HubSpotHook

    hook = HubSpotHook(f"hubspot_{tenant_id}")
    client = hook.get_conn(retry_timeout_s=RETRY_TIMEOUT_S, timeout_s=REQUEST_TIMEOUT_S)
    client.account()
    # raises ScopeMissingError
    _ = client.scopes


def _open_warehouse() -> None:
    from include.warehouse.connection import open_warehouse, require_usable

    with open_warehouse().connect(autocommit=True) as connection:
        require_usable(connection)


if __name__ == "__main__":
    main(sys.argv[1:])
