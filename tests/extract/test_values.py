from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.extract.values import to_bool, to_decimal, to_timestamp


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1500.00", "1500"),
        ("-0.5", "-0.5"),
        (".5", "0.5"),
        ("1.5E7", "15000000"),
        ("0.40000000000000002220446049250313080847263336181640625", "0.4"),
        ("0.0000000005", "0"),
        ("12345678901234567890123456789", "12345678901234567890123456789"),
    ],
)
def test_a_number_is_rounded_to_nine_places(text: str, value: str) -> None:
    assert to_decimal(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "1;2",
        "12,50",
        "1_000",
        "0x10",
        "١٢",
        "abc",
        "1e400",
        "123456789012345678901234567890",
    ],
)
def test_what_is_no_storable_number_is_a_misfit(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        to_decimal(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, max_value=10**28, min_value=0))
def test_any_number_with_nine_places_is_kept_exactly(number: Decimal) -> None:
    assert to_decimal(str(number)) == number


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-10-19T18:07:59.292Z", datetime(2023, 10, 19, 18, 7, 59, 292000, UTC)),
        ("2023-10-19T18:07:59Z", datetime(2023, 10, 19, 18, 7, 59, 0, UTC)),
        ("2023-10-19", datetime(2023, 10, 19, tzinfo=UTC)),
        ("2023-10-19T20:07:59+02:00", datetime(2023, 10, 19, 18, 7, 59, 0, UTC)),
        ("1697738879292", datetime(2023, 10, 19, 18, 7, 59, 292000, UTC)),
        ("-86400000", datetime(1969, 12, 31, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999Z", datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)),
    ],
)
def test_a_moment_is_read_in_every_form_hubspot_uses(text: str, moment: datetime) -> None:
    assert to_timestamp(text) == moment


@pytest.mark.parametrize(
    "text", ["soon", "2023-13-01", "99999999999999999", "10000-01-01", "9999-12-31T23:59:59-12:00"]
)
def test_what_is_no_moment_between_the_years_1_and_9999_is_a_misfit(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        to_timestamp(text)


def test_only_true_and_false_are_booleans() -> None:
    assert (to_bool("true"), to_bool("false")) == (True, False)
    with pytest.raises(ValueError, match="neither"):
        to_bool("yes")
