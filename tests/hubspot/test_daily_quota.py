import pytest

from include.hubspot.rate_limit import DailyQuota


@pytest.mark.parametrize(
    ("remaining", "share", "stops"),
    [
        pytest.param(100_000, 0.9, False, id="just the part of the others is left"),
        pytest.param(99_999, 0.9, True, id="less than that is left"),
        pytest.param(0, 1.0, False, id="nothing is kept for others: HubSpot says when it is over"),
        pytest.param(600_000, 0.3, True, id="a small share"),
    ],
)
def test_scans_stop_when_what_is_left_belongs_to_others(
    remaining: int, share: float, stops: bool
) -> None:
    assert DailyQuota(1_000_000, remaining).is_used_up(share) is stops


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"X-HubSpot-RateLimit-Daily": "5"}, id="one"),
        pytest.param(
            {"X-HubSpot-RateLimit-Daily": "a", "X-HubSpot-RateLimit-Daily-Remaining": "1"},
            id="no number",
        ),
        pytest.param(
            {"X-HubSpot-RateLimit-Daily": "0", "X-HubSpot-RateLimit-Daily-Remaining": "0"},
            id="no limit",
        ),
        *(
            pytest.param(
                {"X-HubSpot-RateLimit-Daily": limit, "X-HubSpot-RateLimit-Daily-Remaining": left},
                id=f"more than can be: {limit}, {left}",
            )
            for limit, left in (("9" * 20, "1"), (str(2**31), "1"), ("9", str(-(2**31) - 1)))
        ),
    ],
)
def test_a_quota_that_is_not_stated_is_none(headers: dict[str, str]) -> None:
    assert DailyQuota.of(headers) is None
