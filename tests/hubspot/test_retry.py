import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import (
    AccessDeniedError,
    ContractError,
    DailyLimitError,
    HubSpotUnavailableError,
    PortalMigratingError,
    RateLimitedError,
    ScopeMissingError,
    TokenRejectedError,
)
from include.hubspot.retry import (
    NO_RETRY,
    Answer,
    as_error,
    rate_policy,
    retry_after_s,
    seconds_to_wait,
)


def no_jitter(low: float, high: float) -> float:
    return high if high == 1.0 and low == 0.5 else low


def failure(status: int, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    return Answer(status, headers or {}, json.dumps(fields).encode(), "GET /crm/deals")


def page(status: int) -> Answer:
    body = b"\n<html><head><title>Forbidden</title></head></html>"
    return Answer(status, {}, body, "GET /crm/deals")


@pytest.mark.parametrize(
    ("answer", "attempt", "pause_s"),
    [
        pytest.param(failure(423), 1, 2.0, id="locked"),
        pytest.param(failure(429, policyName="SECONDLY"), 1, 1.0, id="per second"),
        pytest.param(failure(429, policyName="ten_secondly_rolling"), 2, 20.0, id="rolling"),
        pytest.param(
            failure(429, {"Retry-After": "3"}, policyName="TEN_SECONDLY_ROLLING"),
            2,
            3.0,
            id="Retry-After wins",
        ),
        pytest.param(failure(500), 1, 1.0, id="first 5xx"),
        pytest.param(failure(502), 3, 4.0, id="third 5xx"),
        pytest.param(failure(521), 9, 30.0, id="5xx at its longest"),
        pytest.param(failure(429, policyName="DAILY"), 1, NO_RETRY, id="daily quota"),
        pytest.param(failure(477, {"Retry-After": "7200"}), 1, NO_RETRY, id="moving regions"),
        pytest.param(failure(401), 1, NO_RETRY, id="bad token"),
        pytest.param(failure(403), 1, NO_RETRY, id="missing scope"),
        pytest.param(failure(400), 1, NO_RETRY, id="bad request"),
        pytest.param(failure(414), 1, NO_RETRY, id="URL too long"),
        pytest.param(failure(409), 1, 1.0, id="conflict"),
        pytest.param(page(403), 1, 1.0, id="a page of the network edge"),
        pytest.param(page(401), 1, 1.0, id="a page of a proxy"),
        pytest.param(page(404), 1, NO_RETRY, id="a path that is not there"),
        pytest.param(failure(302), 1, 1.0, id="a redirect to a login page"),
    ],
)
def test_waits_only_for_what_waiting_can_heal(answer: Answer, attempt: int, pause_s: float) -> None:
    assert seconds_to_wait(answer, attempt, no_jitter) == pause_s


def test_the_policy_is_read_from_the_message_when_the_field_is_missing() -> None:
    assert rate_policy(failure(429, message="You have reached your daily limit.")) == "DAILY"
    assert rate_policy(failure(429, message="You have reached your secondly limit.")) == "SECONDLY"
    assert (
        rate_policy(failure(429, message="You have reached your ten_secondly_rolling limit."))
        == "TEN_SECONDLY_ROLLING"
    )


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)

    assert retry_after_s({"Retry-After": "2.5"}) == 2.5
    assert retry_after_s({"Retry-After": "Tue, 24 Nov 2026 12:00:30 GMT"}, now) == 30.0
    assert retry_after_s({"Retry-After": "soon"}) is None
    assert retry_after_s({}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("-5", 0.0),
        ("nan", 0.0),
        ("1e400", math.inf),
        ("Tue, 24 Nov 2026 12:00:30 -0000", 30.0),
        ("Tue, 24 Nov 1926 12:00:00 GMT", 0.0),
    ],
)
def test_a_senseless_retry_after_is_no_crash(text: str, seconds: float) -> None:
    now = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)

    assert retry_after_s({"Retry-After": text}, now) == seconds


def test_a_migration_is_waited_for_a_day_at_most() -> None:
    raised = as_error(failure(477, {"Retry-After": "1e400"}), "acme")

    assert isinstance(raised, PortalMigratingError)
    assert raised.resume_at <= datetime.now(UTC) + timedelta(days=1)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        pytest.param(
            failure(401, category="EXPIRED_AUTHENTICATION", message="expired 0 second(s) ago"),
            TokenRejectedError,
            "has expired",
            id="expired",
        ),
        pytest.param(
            failure(401, category="INVALID_AUTHENTICATION"),
            TokenRejectedError,
            "is wrong, or was revoked or rotated",
            id="wrong",
        ),
        pytest.param(
            failure(429, policyName="DAILY"), DailyLimitError, "daily API limit", id="daily"
        ),
        pytest.param(failure(429, policyName="SECONDLY"), RateLimitedError, "SECONDLY", id="rate"),
        pytest.param(
            failure(477, {"Retry-After": "60"}), PortalMigratingError, "in 60 s", id="moving"
        ),
        pytest.param(failure(502), HubSpotUnavailableError, "kept answering 502", id="5xx"),
        pytest.param(
            failure(400, {"X-HubSpot-Correlation-Id": "abc"}, message="bad limit"),
            ContractError,
            "'bad limit' (correlation id abc)",
            id="400",
        ),
    ],
)
def test_an_answer_becomes_the_error_for_who_must_act(
    answer: Answer, error: type[Exception], said: str
) -> None:
    raised = as_error(answer, "acme")

    assert type(raised) is error
    assert said in str(raised)


@pytest.mark.parametrize("key", ["requiredGranularScopes", "requiredScopes"])
def test_a_403_names_the_missing_scopes(key: str) -> None:
    answer = failure(403, errors=[{"message": "", "context": {key: ["crm.objects.deals.read"]}}])

    raised = as_error(answer, "acme")

    assert isinstance(raised, ScopeMissingError)
    assert raised.scopes == ("crm.objects.deals.read",)
    assert "crm.objects.deals.read" in str(raised)


@pytest.mark.parametrize(
    "context",
    [None, "text", ["list"], {"requiredScopes": "text"}, {"requiredGranularScopes": None}],
)
def test_a_403_that_names_no_scope_says_what_hubspot_says(context: object) -> None:
    answer = failure(
        403, message="Your plan does not include this.", context=context, errors=context
    )

    raised = as_error(answer, "acme")

    assert type(raised) is AccessDeniedError
    assert "'Your plan does not include this.'" in str(raised)


def test_a_403_of_the_category_missing_scopes_is_one_though_it_names_none() -> None:
    raised = as_error(failure(403, category="MISSING_SCOPES"), "acme")

    assert isinstance(raised, ScopeMissingError)
    assert "HubSpot did not name" in str(raised)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 409])
def test_a_page_of_the_network_edge_is_not_taken_for_hubspots_word(status: int) -> None:
    raised = as_error(page(status), "acme")

    assert type(raised) is HubSpotUnavailableError
    assert "a proxy or the edge of HubSpot's network" in str(raised)


def test_a_body_nested_without_end_is_no_crash() -> None:
    body = b"[" * 100_000

    assert as_error(Answer(400, {}, body, "GET /crm/deals"), "acme")


def test_an_html_body_is_an_answer_like_any_other() -> None:
    raised = as_error(Answer(502, {}, b"<html>Bad gateway</html>", "GET /crm/deals"), "acme")

    assert "no message" in str(raised)
    assert "<html>" not in str(raised)
