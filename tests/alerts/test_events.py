from datetime import UTC, datetime

import pytest

from include.alerts.events import event_from_exception, event_from_row, killed, late, warned
from include.errors import (
    DailyLimitError,
    PortalMigratingError,
    QualityError,
    ScopeMissingError,
    TokenRejectedError,
)

LATER = datetime(2026, 11, 25, 5, 2, tzinfo=UTC)


def test_an_error_of_ours_tells_cause_and_remedy_in_parts() -> None:
    error = TokenRejectedError("HubSpot said no.", tenant_id="acme", remedy="Rotate it.")

    event = event_from_exception(error)

    assert (event.kind, event.error_type, event.cause) == (
        "failure",
        "TokenRejectedError",
        "TokenRejectedError",
    )
    assert (event.why, event.remedy) == ("HubSpot said no.", error.remedy)
    assert event.heading == "token-rejected"


def test_the_text_of_another_librarys_error_is_never_sent() -> None:
    event = event_from_exception(ValueError("amount of Jane Doe is 4711"))

    assert "4711" not in repr(event)
    assert event.error_type == "ValueError"
    assert event.heading == "scan-failed"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(QualityError("x."), "quality", id="quality"),
        pytest.param(DailyLimitError("x.", resume_at=LATER), "quota", id="quota of the day"),
        pytest.param(PortalMigratingError("x.", resume_at=LATER), "quota", id="moving account"),
        pytest.param(ScopeMissingError(["a"]), "failure", id="scope"),
        pytest.param(killed("extract_deals", ""), "failure", id="killed"),
        pytest.param(late(60), "deadline", id="late"),
    ],
)
def test_the_kind_is_decided_by_the_error(error: Exception, kind: str) -> None:
    assert event_from_exception(error).kind == kind


def test_the_checks_that_failed_are_the_cause_of_a_blocked_scan() -> None:
    one = event_from_exception(QualityError("x."), ["b", "a"])
    other = event_from_exception(QualityError("y."), ["a"])

    assert one.cause == "QualityError: a, b"
    assert one.cause != other.cause


@pytest.mark.parametrize(
    "error",
    [
        TokenRejectedError("HubSpot said no.", tenant_id="acme", remedy="Rotate it."),
        QualityError("2 of 15 checks failed: a = 3; b = 1.", tenant_id="acme"),
    ],
)
def test_what_is_on_record_is_read_back(error: TokenRejectedError) -> None:
    event = event_from_row(f"{type(error).__name__}: {error}", error.remedy)

    assert event.error_type == type(error).__name__
    assert (event.why, event.remedy) == (error.what, error.remedy)
    assert event.heading == error.runbook_heading


def test_another_librarys_error_is_read_back_too() -> None:
    assert event_from_row("ValueError, see the log") == event_from_exception(ValueError())


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("task_failure", "Task extract_deals ended without an error"),
        ("timed_out", "longer than its time-out"),
    ],
)
def test_why_a_scan_ended_without_a_word_is_stated_as_far_as_airflow_knows(
    reason: str, said: str
) -> None:
    assert said in killed("extract_deals", reason).what


def test_the_same_warnings_are_the_same_cause() -> None:
    assert warned(["b", "a"], ["3 rows."]).cause == warned(["a", "b"], ["4 rows."]).cause
