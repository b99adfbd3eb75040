"""The checks of `make demo` and `make run` before they start or stop anything.

`python -m include.ops.local.checks TENANT…` runs those that need an answer of HubSpot (each
tenant's token) or PostgreSQL, in the environment that tasks will have. It prints the problems as a
JSON list.
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

#: A name server or a route can delay a request for longer than the request's own time-outs.
ANSWER_WITHIN_S = 12.0
REQUEST_TIMEOUT_S = (5.0, 8.0)
RETRY_TIMEOUT_S = 3.0
TOKENS_AT_ONCE = 32
#: For slow machines: most of it is importing modules.
IMPORTED_WITHIN_S = 120.0
#: The first start of the demo writes about 200 MB.
MIN_FREE_BYTES = 400_000_000


class Problems(list[str]):
    """Problems, each as a sentence and a remedy."""

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Add an error of the block to the problems, and continue."""
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
    """Raise LocalError if the disk is too full for databases and logs.

    Raises OSError if *folder* can't be created.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise LocalError(
            f"{folder} has {free / 1e6:.0f} MB left on its disk, {MIN_FREE_BYTES / 1e6:.0f} MB are "
            "needed.",
            "Free some space.",
        )


def answers(tenant_ids: Collection[str], env: Mapping[str, str]) -> list[str]:
    """Return the problems that HubSpot and PostgreSQL report. Raises LocalError."""
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
        # Airflow's log lines come first
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
    # not sys.exit: it would wait for threads whose requests are not answered yet
    os._exit(0)


def problems_of(tenant_ids: Sequence[str], within_s: float = ANSWER_WITHIN_S) -> list[str]:
    """Ask all at once; return each problem once, with the tenants that have it."""
    # import before the threads start: two threads that import the same modules can deadlock
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
    # The daily quota is used up, or HubSpot is moving the account: the token is valid, and the scan
    # will wait.
    if error is None or isinstance(error, ComeBackLaterError):
        return None
    if isinstance(error, HubSpotDealsError):
        error.tenant_id = None
        return error.for_command
    return f"The check of {asked} failed: {type(error).__name__}: {error}"


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
