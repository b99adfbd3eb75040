"""What is sent, as Airflow's own metrics would send it."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.observability import stats

from include.errors import DailyLimitError, HubSpotUnavailableError, TokenRejectedError
from include.metrics import METRICS, count, gauge, record_outcome, timed
from tests.conftest import Serve
from tests.hubspot_simulator import portals
from tests.support.scans import run, scan

Sent = list[tuple[str, str, float, dict[str, str]]]


class Backend(NoStatsLogger):  # type: ignore[misc]
    """Takes down what Airflow hands to StatsD or OpenTelemetry, its own metrics aside."""

    def __init__(self) -> None:
        self.sent: Sent = []

    def incr(self, stat: str, count: int = 1, tags: dict[str, str] | None = None) -> None:
        self._take("counter", stat, count, tags)

    def gauge(self, stat: str, value: float, tags: dict[str, str] | None = None) -> None:
        self._take("gauge", stat, value, tags)

    def timing(self, stat: str, dt: float, tags: dict[str, str] | None = None) -> None:
        self._take("timer", stat, dt, tags)

    def _take(self, kind: str, stat: str, value: float, tags: dict[str, str] | None) -> None:
        if stat.startswith("hubspot_deals."):
            self.sent.append((kind, stat, value, tags or {}))


@pytest.fixture
def sent() -> Iterator[Sent]:
    backend = Backend()
    stats.initialize(factory=lambda: backend, export_legacy_names=False)
    yield backend.sent
    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def test_names_have_our_prefix_and_timers_are_in_milliseconds(sent: Sent) -> None:
    count("requests", 3, tenant="acme")
    gauge("freshness_s", 1.5, tenant="acme")
    timed("scan_duration", 2, tenant="acme")

    assert sent == [
        ("counter", "hubspot_deals.requests", 3, {"tenant": "acme"}),
        ("gauge", "hubspot_deals.freshness_s", 1.5, {"tenant": "acme"}),
        ("timer", "hubspot_deals.scan_duration", 2000, {"tenant": "acme"}),
    ]


def test_nothing_is_sent_for_nothing(sent: Sent) -> None:
    count("requests_throttled", 0, tenant="acme")

    assert sent == []


@pytest.mark.parametrize(
    ("error", "name"),
    [
        pytest.param(TokenRejectedError("no"), "scans_failed", id="a person must act"),
        pytest.param(
            DailyLimitError("no", resume_at=datetime.now(UTC)), "scans_waiting", id="later"
        ),
        pytest.param(HubSpotUnavailableError("no"), "scans_failed", id="and no try is left"),
    ],
)
def test_what_becomes_of_a_scan_is_counted(sent: Sent, error: Exception, name: str) -> None:
    with pytest.raises(type(error)), record_outcome(scan()):
        raise error

    assert sent == [("counter", f"hubspot_deals.{name}", 1, {"tenant": "acme", "mode": "auto"})]


def test_a_task_that_ends_well_is_not_the_end_of_a_scan(sent: Sent) -> None:
    with record_outcome(scan()):
        pass

    assert sent == []


def test_a_scan_sends_what_it_did(sent: Sent, serve: Serve) -> None:
    serve(acme=portals.generated(deals=250))

    run(scan())

    figures: Counter[tuple[str, str | None]] = Counter()
    for _, name, value, tags in sent:
        figures[name, tags.get("object")] += value  # type: ignore[assignment]
    assert figures["hubspot_deals.records_received", "deals"] == 250
    assert figures["hubspot_deals.records_written", "deals"] == 250
    assert figures["hubspot_deals.requests", None] >= 5
    assert figures["hubspot_deals.scans_succeeded", None] == 1
    assert figures["hubspot_deals.deals_live", None] == 250
    assert figures["hubspot_deals.scan_duration", None] > 0
    assert {tags["tenant"] for _, _, _, tags in sent} == {"acme"}


def test_every_metric_that_is_sent_is_declared_and_no_other(project_root: Path) -> None:
    calls = re.compile(r"\b(?:count|gauge|timed)\(\s*f?\"([\w{}]+)\"")
    sent = {
        name
        for path in (project_root / "include").rglob("*.py")
        for name in calls.findall(path.read_text())
    } | {"scans_retried"}

    assert set(METRICS) == sent
