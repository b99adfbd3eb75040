"""The typed columns of `deals`: which HubSpot property each comes from, and of which kind it is.

One list for everybody: the property request, the conversion, dlt's hints, the views. A test holds
it against the migrations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from include.extract.values import to_bool, to_decimal, to_key, to_text
from include.warehouse.values import to_timestamp


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
