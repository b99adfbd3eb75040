"""Counters, timers and gauges, sent through Airflow's metrics (StatsD or OpenTelemetry).

Airflow's `stats` is imported with the first value, because DAG files import this module.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from include.errors import NEVER_RETRIED, ComeBackLaterError
from include.scan import Scan

PREFIX: Final = "hubspot_deals."


class Metric(NamedTuple):
    kind: str
    unit: str
    tags: tuple[str, ...]
    meaning: str


_SCAN: Final = ("tenant", "mode")
_OBJECT: Final = (*_SCAN, "object")
METRICS: Final = {
    "records_received": Metric("counter", "records", _OBJECT, "Records that HubSpot sent."),
    "records_written": Metric("counter", "rows", _OBJECT, "Rows that were new or changed."),
    "checkpoints": Metric("counter", "checkpoints", _OBJECT, "Checkpoints."),
    "requests": Metric("counter", "requests", _SCAN, "Requests to HubSpot, of failed tries too."),
    "requests_throttled": Metric("counter", "requests", _SCAN, "Requests answered with 429."),
    "quality_failed": Metric("counter", "checks", _SCAN, "Blocking quality checks that failed."),
    "quality_warned": Metric("counter", "checks", _SCAN, "Quality checks that warned."),
    "scans_succeeded": Metric("counter", "scans", _SCAN, "Scans that passed their checks."),
    "scans_failed": Metric("counter", "scans", _SCAN, "Tasks that failed for the last time."),
    "scans_retried": Metric("counter", "tries", _SCAN, "Tasks that failed and will be retried."),
    "scans_waiting": Metric("counter", "times", _SCAN, "Tasks rescheduled to wait for HubSpot."),
    "scan_duration": Metric("timer", "ms", _SCAN, "From the first task's start, waits included."),
    "freshness_s": Metric("gauge", "s", ("tenant",), "Age of the deals when a scan succeeded."),
    "deals_live": Metric("gauge", "deals", ("tenant",), "Live deals; not sent by windows."),
}


def count(name: str, by: int, **tags: str) -> None:
    """Add to a counter. 0 is not sent."""
    if by:
        from airflow.sdk.observability import stats

        stats.incr(PREFIX + name, by, tags=tags)


def gauge(name: str, value: float, **tags: str) -> None:
    from airflow.sdk.observability import stats

    stats.gauge(PREFIX + name, value, tags=tags)


def timed(name: str, took_s: float, **tags: str) -> None:
    """Record a duration. Airflow's timers are in milliseconds."""
    from airflow.sdk.observability import stats

    stats.timing(PREFIX + name, took_s * 1000, tags=tags)


@contextmanager
def record_outcome(scan: Scan) -> Iterator[None]:
    """Count the failure, retry or wait of a task, which is the block."""
    tags = {"tenant": scan.tenant.id, "mode": scan.mode}
    try:
        yield
    except ComeBackLaterError:
        count("scans_waiting", 1, **tags)
        raise
    except NEVER_RETRIED:
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
