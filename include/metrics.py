"""Counters, timers and gauges, through Airflow's own metrics: StatsD or OpenTelemetry, or nowhere.

Every name is listed in docs/metrics.md. Airflow's names are imported when the first one is sent:
nothing here costs a DAG file, or a script without Airflow, anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from include.errors import ComeBackLaterError, ConfigError, ContractError, QualityError
from include.scan import Scan

PREFIX: Final = "hubspot_deals."


def count(name: str, by: int, **tags: str) -> None:
    """Add to a counter; nothing is sent for 0."""
    if by:
        from airflow.sdk.observability import stats

        stats.incr(PREFIX + name, by, tags=tags)


def gauge(name: str, value: float, **tags: str) -> None:
    from airflow.sdk.observability import stats

    stats.gauge(PREFIX + name, value, tags=tags)


def timed(name: str, took_s: float, **tags: str) -> None:
    """Record how long something took; Airflow's timers are in milliseconds."""
    from airflow.sdk.observability import stats

    stats.timing(PREFIX + name, took_s * 1000, tags=tags)


@contextmanager
def record_outcome(scan: Scan) -> Iterator[None]:
    """Count what becomes of a scan if the block, a task, does not end well."""
    tags = {"tenant": scan.tenant.id, "mode": scan.mode}
    try:
        yield
    except ComeBackLaterError:
        count("scans_waiting", 1, **tags)
        raise
    except (ConfigError, ContractError, QualityError):
        count("scans_failed", 1, **tags)
        raise
    except Exception:
        count("scans_failed" if _is_last_try() else "scans_retried", 1, **tags)
        raise


def _is_last_try() -> bool:
    from airflow.sdk import get_current_context

    try:
        ti = get_current_context()["ti"]
    except RuntimeError:  # not in a task
        return True
    return bool(ti.try_number > ti.max_tries)
