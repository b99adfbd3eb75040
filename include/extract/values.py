"""From HubSpot's value texts to typed values. A ValueError means: it does not fit this type.

HubSpot sends every value as text. What each type looks like: docs/api-integration.md#values
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal

from include.warehouse.values import is_key

#: numeric(38, 9): 29 digits before the point, 9 behind.
DECIMAL_SCALE = 9
DECIMAL_PRECISION = 38

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_EPOCH_MS = re.compile(r"-?[0-9]+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    text = value.strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    try:
        return Decimal(text).quantize(_QUANTUM, context=_ROUNDING)
    except ArithmeticError as exc:
        raise ValueError("more than 29 digits before the point") from exc


def to_bool(value: str) -> bool:
    if value == "true":
        return True
    if value == "false":
        return False
    raise ValueError("neither true nor false")


def to_timestamp(value: str) -> datetime:
    """Return an aware UTC datetime from ISO 8601 (with or without time) or epoch milliseconds."""
    text = value.strip()
    if _EPOCH_MS.fullmatch(text):
        try:
            return _EPOCH + timedelta(milliseconds=int(text))
        except OverflowError as exc:
            raise ValueError("outside the years 1 to 9999") from exc
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("outside the years 1 to 9999") from exc
