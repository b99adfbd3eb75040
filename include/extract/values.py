"""From HubSpot's value texts to typed values. A ValueError means: it does not fit this type.

HubSpot sends every value as text. What each type looks like: docs/api-integration.md#values
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal

from include.warehouse.values import is_key, number_of

#: numeric(38, 9): 29 digits before the point, 9 behind.
DECIMAL_SCALE = 9
DECIMAL_PRECISION = 38

_QUANTUM = Decimal(1).scaleb(-DECIMAL_SCALE)
#: Wide enough for the longest number that can round into the column.
_ROUNDING = Context(prec=DECIMAL_PRECISION, rounding=ROUND_HALF_EVEN)


def to_text(value: str) -> str:
    return value


def to_key(value: str) -> str:
    """Return a text that can be part of an index."""
    if not is_key(value):
        raise ValueError("too long for an index")
    return value


def to_decimal(value: str) -> Decimal:
    """Return the number rounded half-even to 9 places; "" is not passed here.

    HubSpot's floats carry 50 decimals of noise, so rounding is no misfit; 30 digits before the
    point are.
    """
    number = number_of(value)
    try:
        return number.quantize(_QUANTUM, context=_ROUNDING)
    except ArithmeticError as exc:
        raise ValueError("more than 29 digits before the point") from exc


def to_bool(value: str) -> bool:
    if value == "true":
        return True
    if value == "false":
        return False
    raise ValueError("neither true nor false")
