"""The rolling window of an app, and the day of an account."""

from datetime import date

import pytest

from tests.hubspot_simulator import HubSpotSimulator, Portal, Quota, Token, portals
from tests.hubspot_simulator.errors import ApiError
from tests.hubspot_simulator.rate_limits import App
from tests.simulator.caller import Caller

OWNERS = "/crm/v3/owners"


@pytest.fixture
def limited(simulator: HubSpotSimulator) -> Portal:
    return simulator.add(portals.generated(requests_per_window=3, daily_limit=100))


def test_the_rolling_window_answers_429_and_says_what_remains(
    caller: Caller, limited: Portal
) -> None:
    answers = [caller.get(OWNERS) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["policyName"] == "TEN_SECONDLY_ROLLING"
    headers = {name.lower(): value for name, value in answers[0].headers.items()}
    assert {name: value for name, value in headers.items() if "ratelimit" in name} == {
        "x-hubspot-ratelimit-daily": "100",
        "x-hubspot-ratelimit-daily-remaining": "99",
        "x-hubspot-ratelimit-interval-milliseconds": "10000",
        "x-hubspot-ratelimit-max": "3",
        "x-hubspot-ratelimit-remaining": "2",
    }
    assert limited.max_in_any_window() == 3
    assert limited.stats()["throttled"] == 1


def test_a_429_takes_nothing_from_the_day(caller: Caller, limited: Portal) -> None:
    for _ in range(9):
        caller.get(OWNERS)

    assert limited.quota.used_today == 3


def test_tokens_of_one_app_share_its_window(caller: Caller, limited: Portal) -> None:
    limited.tokens += [Token("same"), Token("other", app="another app")]

    statuses = [
        caller.get(OWNERS, token=token).status_code
        for token in (limited.tokens[0].text, "same", "same", "same", "other")
    ]

    assert statuses == [200, 200, 200, 429, 200]


def test_the_daily_limit_is_the_accounts(caller: Caller, simulator: HubSpotSimulator) -> None:
    portal = simulator.add(portals.generated(daily_limit=1))
    portal.tokens.append(Token("second", app="another app"))

    caller.get(OWNERS)
    answer = caller.get(OWNERS, token="second")

    assert (answer.status_code, answer.json()["policyName"]) == (429, "DAILY")
    assert portal.max_in_any_window(app="another app") == 0


def test_the_day_starts_anew_with_the_next_date() -> None:
    quota = Quota(daily=1)
    quota.require_room(date(2026, 11, 24))
    quota.count()

    with pytest.raises(ApiError):
        quota.require_room(date(2026, 11, 24))
    quota.require_room(date(2026, 11, 25))

    assert quota.used_today == 0


def test_the_window_rolls() -> None:
    app = App("app", requests_per_window=2)
    for now in (0.0, 9.0):
        app.require_room(now)
        app.count(now)

    with pytest.raises(ApiError):
        app.require_room(9.99)
    app.require_room(10.0)

    assert app.remaining == 1


def test_the_busiest_window_is_found_wherever_it_starts() -> None:
    app = App("app", accepted=[0.0, 8.0, 9.0, 10.0, 17.9, 18.0, 40.0])

    assert app.max_in_any_window(10.0) == 4
    assert app.max_in_any_window(1.0) == 2


def test_rate_headers_can_be_switched_off(caller: Caller, limited: Portal) -> None:
    limited.send_rate_headers = False

    assert not [name for name in caller.get(OWNERS).headers if "ratelimit" in name.lower()]


@pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])
@pytest.mark.usefixtures("limited")
def test_the_usage_of_the_day_can_be_asked(caller: Caller, version: str) -> None:
    path = f"/account-info/{version}/api-usage/daily/private-apps"

    (usage,) = caller.get(path).json()["results"]

    assert (usage["usageLimit"], usage["currentUsage"]) == (100, 1)
    assert usage["resetsAt"] > usage["collectedAt"]


def test_statistics_tell_what_was_asked_and_served(caller: Caller, portal: Portal) -> None:
    caller.deals()
    caller.deals()
    caller.get("/crm/v3/nothing")

    stats = portal.stats()

    assert stats["requests"] == {"list": 6, "unknown": 1}
    assert stats["statuses"] == {"200": 6, "404": 1}
    assert stats["pages_served"] == 6
    assert (stats["deals_served"], stats["distinct_deals_served"]) == (500, 250)
    assert len(stats["accepted_at_s"]["app"]) == 6
    assert portal.statistics.served_ids == set(portal.live_ids())
