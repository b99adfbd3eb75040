"""The typed columns of `deals`: which HubSpot property each comes from, and of which kind it is.

One list for everybody: the property request, the conversion, dlt's hints, the views. A test holds
it against the migrations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from typing import Any

from include.warehouse.values import is_key, number_of, to_timestamp

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


class Kind(Enum):
    """What the values of a column are."""

    TEXT = "text"
    #: Text that is part of an index: not every length fits.
    KEY = "key"
    NUMBER = "number"
    TIMESTAMP = "timestamp"
    BOOL = "bool"


_CONVERTERS: dict[Kind, Callable[[str], Any]] = {
    Kind.TEXT: to_text,
    Kind.KEY: to_key,
    Kind.NUMBER: to_decimal,
    Kind.TIMESTAMP: to_timestamp,
    Kind.BOOL: to_bool,
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
    TypedColumn("deal_name", "dealname", Kind.TEXT),
    TypedColumn("deal_type", "dealtype", Kind.TEXT),
    TypedColumn("pipeline_id", "pipeline", Kind.KEY),
    TypedColumn("stage_id", "dealstage", Kind.KEY),
    TypedColumn("owner_id", "hubspot_owner_id", Kind.KEY),
    TypedColumn("amount", "amount", Kind.NUMBER),
    TypedColumn("amount_in_home_currency", "amount_in_home_currency", Kind.NUMBER),
    TypedColumn("currency", "deal_currency_code", Kind.TEXT),
    TypedColumn("probability", "hs_deal_stage_probability", Kind.NUMBER),
    TypedColumn("forecast_category", "hs_manual_forecast_category", Kind.TEXT),
    TypedColumn("priority", "hs_priority", Kind.TEXT),
    TypedColumn("is_closed", "hs_is_closed", Kind.BOOL),
    TypedColumn("is_won", "hs_is_closed_won", Kind.BOOL),
    TypedColumn("close_date", "closedate", Kind.TIMESTAMP),
    TypedColumn("stage_entered_at", "hs_v2_date_entered_current_stage", Kind.TIMESTAMP),
)
COLUMNS_BY_PROPERTY = {column.hubspot_property: column.name for column in TYPED_COLUMNS}
