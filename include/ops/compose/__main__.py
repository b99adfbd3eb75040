"""`python -m include.ops.compose secrets|init|healthy`: what docker-compose.yaml calls.

The health checks import little, because Airflow's own CLI takes seconds of CPU a call to start. The
API server and the scheduler answer over HTTP themselves. The others leave a heartbeat in Airflow's
database, or answer over the broker.
"""

import os
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence

from include.errors import HubSpotDealsError
from include.ops.compose.secrets import DeployError, SecretFiles

#: Airflow's own components beat every 5 s; under load some later.
SILENT_FOR_S = 60
TIMEOUT_S = 5
JOBS = {"dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
_BEATS = """
    select count(*) from job
    where job_type = %s and hostname = %s and state = 'running'
      and latest_heartbeat > now() - make_interval(secs => %s)
"""


def problem_of(component: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return what is wrong with a component in this container, None if it is healthy."""
    if component == "worker":
        return _worker_problem(environ)
    return _job_problem(JOBS[component], SecretFiles(environ).read("metadata_url"))


def _job_problem(job_type: str, metadata_url: str) -> str | None:
    import psycopg

    url = metadata_url.replace("postgresql+psycopg2://", "postgresql://", 1)
    values = [job_type, socket.gethostname(), SILENT_FOR_S]
    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT_S) as connection:
            row = connection.execute(_BEATS, values).fetchone()
    except psycopg.Error as exc:
        return f"Airflow's database can't be queried: {' '.join(str(exc).split())}"
    return None if row and row[0] else f"no heartbeat of a {job_type} for {SILENT_FOR_S} s"


def _worker_problem(environ: Mapping[str, str]) -> str | None:
    # Celery without Airflow: a ping needs neither the app's name nor its tasks
    from celery import Celery  # type: ignore[import-untyped]
    from kombu.exceptions import OperationalError

    node = environ.get("CELERY_NODE") or f"celery@{socket.gethostname()}"
    app = Celery(broker=SecretFiles(environ).read("broker_url"), broker_connection_timeout=2)
    try:
        answers = app.control.ping(destination=[node], timeout=TIMEOUT_S, limit=1)
    except OperationalError:
        return "Redis does not respond"
    return None if answers else f"{node} has not responded for {TIMEOUT_S} s"


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit status."""
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
    # imported late: a health check runs every half minute and needs few modules
    if command == "secrets":
        from include.ops.compose.secrets import provide

        return provide(rest, os.environ)
    if command == "healthy":
        component = rest[0] if rest else ""
        if component not in (components := ["worker", *JOBS]):
            raise DeployError(f"There is no component {component!r}.", ", ".join(components))
        if problem := problem_of(component):
            raise DeployError(f"{component}: {problem}", "See its logs.")
        return [f"{component} is healthy"]
    if command == "init":
        from include.ops.compose.init import initialize

        return initialize()
    raise DeployError(f"There is no command {command!r}.", "secrets, init, healthy")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
