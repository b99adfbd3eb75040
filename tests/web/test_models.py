from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.web.models import ALL_READ, Progress, ScanObject, ScanRow

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def scan(state: str = "extracting", **columns: Any) -> ScanRow:
    known = {
        "state": state,
        "pages": 30,
        "requests": 40,
        "extraction_started_at": STARTED,
        "figures_at": STARTED + timedelta(seconds=20),
        "records_per_s": 200.0,
        "objects": [part()],
        **columns,
    }
    return ScanRow.model_construct(**known)


def part(name: str = "deals", received: int = 3_000, expected: int | None = 12_000) -> ScanObject:
    return ScanObject.model_construct(
        object=name,
        mode="skipped" if expected == 0 else "full",
        records_received=received,
        expected=expected,
    )


def test_rates_and_time_left_come_from_what_was_counted() -> None:
    progress = Progress.of(scan(), ["deals"])

    assert progress.fraction == 0.25
    assert progress.records_per_s == 200.0
    assert progress.requests_per_s == 2.0
    assert progress.time_left_s == 45.0
    assert progress.updated_at == STARTED + timedelta(seconds=20)


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"objects": [part(expected=None)]}, id="first-scan"),
        pytest.param({"objects": []}, id="nothing-begun"),
        pytest.param({"objects": [part("contacts")]}, id="deals-not-begun"),
        pytest.param({"objects": [part(), part("contacts", 1, None)]}, id="one-unknown"),
    ],
)
def test_nothing_is_estimated_where_nothing_is_known(columns: dict[str, Any]) -> None:
    progress = Progress.of(scan(**columns), ["deals"])

    assert (progress.expected, progress.fraction, progress.time_left_s) == (
        None,
        None,
        None,
    )


def test_an_object_that_waits_its_turn_makes_the_whole_unknown() -> None:
    assert Progress.of(scan(), ["deals", "contacts"]).fraction is None


def test_an_object_that_can_not_be_read_is_not_waited_for() -> None:
    parts = [part(), part("contacts", 0, 0)]

    assert Progress.of(scan(objects=parts), ["deals", "contacts"]).fraction == 0.25


def test_more_than_was_expected_is_what_is_expected_and_not_the_end() -> None:
    progress = Progress.of(scan(objects=[part(received=13_000)]), ["deals"])

    assert (progress.expected, progress.fraction, progress.time_left_s) == (13_000, ALL_READ, None)


def test_nothing_is_known_before_the_first_page_and_while_the_checks_run() -> None:
    assert Progress.of(scan(objects=[part(received=0)]), ["deals"]).fraction is None
    assert Progress.of(scan("checking"), ["deals"]).fraction is None


@pytest.mark.parametrize("state", ["waiting", "failed", "cancelled", "validating"])
def test_there_is_a_time_left_only_while_records_come(state: str) -> None:
    assert Progress.of(scan(state), ["deals"]).time_left_s is None


def test_before_the_first_checkpoint_there_is_no_rate() -> None:
    progress = Progress.of(scan(figures_at=None, records_per_s=None, requests=0), ["deals"])

    assert (progress.records_per_s, progress.requests_per_s) == (None, None)
