"""The typed columns of `deals`: which HubSpot property each comes from, and of which kind it is.

The property request, the conversion, dlt's hints and the views use this list. A test compares it
with the migrations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Literal

from include.warehouse.values import is_key, number_of, to_timestamp

#: numeric(38, 9): 29 digits before the point, 9 behind.
DECIMAL_SCALE = 9
DECIMAL_PRECISION = 38
_QUANTUM = Decimal(1).scaleb(-DECIMAL_SCALE)
#: Wide enough for the longest number that can round into the column.
_ROUNDING = Context(prec=DECIMAL_PRECISION, rounding=ROUND_HALF_EVEN)


def to_key(value: str) -> str:
    """Return *value* if it is short enough for an index. Raises ValueError."""
    if not is_key(value):
        raise ValueError("too long for an index")
    return value


def to_decimal(value: str) -> Decimal:
    """Return the number rounded half-even to 9 decimal places. Raises ValueError.

    HubSpot's floats have up to 50 decimal places of noise, so rounding does not make a value a
    misfit; more than 29 digits before the point do.
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


#: Types of columns. A "key" is text that is part of an index, which limits its length.
Kind = Literal["text", "key", "number", "timestamp", "bool"]

_CONVERTERS: dict[Kind, Callable[[str], Any]] = {
    "text": str,
    "key": to_key,
    "number": to_decimal,
    "timestamp": to_timestamp,
    "bool": to_bool,
}


@dataclass(frozen=True)
class TypedColumn:
    """A column filled from one HubSpot property."""

    name: str
    hubspot_property: str
    kind: Kind

    @property
    def convert(self) -> Callable[[str], Any]:
        return _CONVERTERS[self.kind]


#: Internal names of HubSpot's standard deal properties: docs/api-integration.md#standard-properties
TYPED_COLUMNS = (
    TypedColumn("deal_name", "dealname", "text"),
    TypedColumn("deal_type", "dealtype", "text"),
    TypedColumn("pipeline_id", "pipeline", "key"),
    TypedColumn("stage_id", "dealstage", "key"),
    TypedColumn("owner_id", "hubspot_owner_id", "key"),
    TypedColumn("amount", "amount", "number"),
    TypedColumn("amount_in_home_currency", "amount_in_home_currency", "number"),
    TypedColumn("currency", "deal_currency_code", "text"),
    TypedColumn("probability", "hs_deal_stage_probability", "number"),
    TypedColumn("forecast_category", "hs_manual_forecast_category", "text"),
    TypedColumn("priority", "hs_priority", "text"),
    TypedColumn("is_closed", "hs_is_closed", "bool"),
    TypedColumn("is_won", "hs_is_closed_won", "bool"),
    TypedColumn("close_date", "closedate", "timestamp"),
    TypedColumn("stage_entered_at", "hs_v2_date_entered_current_stage", "timestamp"),
)
COLUMNS_BY_PROPERTY = {column.hubspot_property: column.name for column in TYPED_COLUMNS}
