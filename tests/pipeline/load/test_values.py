from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.pipeline.load.typed_columns import to_bool, to_decimal


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
        "\u20031",
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


def test_only_true_and_false_are_booleans() -> None:
    assert (to_bool("true"), to_bool("false")) == (True, False)
    with pytest.raises(ValueError, match="neither"):
        to_bool("yes")
