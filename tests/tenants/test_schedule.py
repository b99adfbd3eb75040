from collections import Counter

import pytest

from include.tenants.model import Tenant, plain_cron

IDS = [f"tenant_{number}" for number in range(5_000)]


def test_an_expression_without_h_stays_as_it_is() -> None:
    assert plain_cron("*/15 3 * * MON-THU", "acme") == "*/15 3 * * MON-THU"


def test_the_same_tenant_has_the_same_moment_every_time() -> None:
    # of this release: another one must not move a schedule
    assert plain_cron("H H * * *", "acme") == "41 3 * * *"
    assert plain_cron("H 4 * * *", "acme") == "41 4 * * *"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        pytest.param(0, 60, id="minute"),
        pytest.param(1, 24, id="hour"),
        pytest.param(2, 28, id="day of the month"),
        pytest.param(3, 12, id="month"),
        pytest.param(4, 7, id="weekday"),
    ],
)
def test_5000_tenants_are_spread_evenly_over_each_field(field: int, values: int) -> None:
    counts = Counter(int(plain_cron("H H H H H", name).split()[field]) for name in IDS)

    assert len(counts) == values
    mean = len(IDS) / values
    # five standard deviations of a fair draw
    assert max(abs(count - mean) for count in counts.values()) < 5 * mean**0.5


def test_minute_and_hour_are_drawn_independently() -> None:
    moments = Counter(plain_cron("H H * * *", name) for name in IDS)

    # a fair draw leaves 3 % of the 1,440 minutes empty, and puts 14 in one with luck
    assert len(moments) > 1_350
    assert max(moments.values()) < 20


def test_ranges_and_steps_are_kept_to() -> None:
    for name in IDS[:200]:
        minute, hour = plain_cron("H(10-19) H/6 * * *", name).split()[:2]
        assert 10 <= int(minute) <= 19
        first, _, step = hour.partition("-23/")
        assert (0 <= int(first) < 6, step) == (True, "6")


def test_a_list_may_hold_an_h() -> None:
    minute = plain_cron("H(0-9),30 3 * * *", "acme").split()[0]

    assert minute.endswith(",30")


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("H(9-2) * * * *", id="a range that falls"),
        pytest.param("H(0-99) * * * *", id="a range beyond the field"),
        pytest.param("0 0 H(1-31) * *", id="days that most months don't have"),
        pytest.param("H/0 * * * *", id="step 0"),
        pytest.param("H/60 * * * *", id="step beyond the range"),
        pytest.param("H(5) * * * *", id="half a range"),
        pytest.param("h 3 * * *", id="lower case"),
        pytest.param("H 3 * *", id="four fields"),
        pytest.param("H H * * * H", id="six fields"),
        pytest.param("H", id="one field"),
        pytest.param("HH 3 * * *", id="two letters"),
        pytest.param("R 3 * * *", id="random: another schedule with each parse"),
        pytest.param("0,R(0-9) 3 * * *", id="random in a list"),
        pytest.param("H 3 * * *\n; rm", id="more than cron"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression|H") as refused:
        plain_cron(expression, "acme")

    assert repr(expression) in str(refused.value)


def test_a_tenant_has_plain_expressions() -> None:
    tenant = Tenant(id="acme", schedule="H 4 * * *")

    assert tenant.schedule == "41 4 * * *"
    assert tenant.full_scan_schedule == plain_cron("H 0 * * H", "acme")


def test_weekly_full_scans_fall_on_all_days_unless_somebody_says_otherwise() -> None:
    days = Counter((Tenant(id=name).full_scan_schedule or "").split()[4] for name in IDS[:700])

    assert sorted(days) == list("0123456")
    assert min(days.values()) > 60
