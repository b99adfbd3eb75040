"""The columns of `deals`: which HubSpot property each comes from, and its type in Arrow.

One list for everybody: the property request, the conversion, dlt's hints. A test holds it against
the migrations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from include.extract.values import (
    DECIMAL_PRECISION,
    DECIMAL_SCALE,
    to_bool,
    to_decimal,
    to_text,
    to_timestamp,
)

TEXT = pa.string()
NUMBER = pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)
TIMESTAMP = pa.timestamp("us", tz="UTC")
BOOL = pa.bool_()

_CONVERTERS: dict[pa.DataType, Callable[[str], Any]] = {
    TEXT: to_text,
    NUMBER: to_decimal,
    TIMESTAMP: to_timestamp,
    BOOL: to_bool,
}


@dataclass(frozen=True)
class TypedColumn:
    """A column filled from one HubSpot property."""

    name: str
    hubspot_property: str
    type: pa.DataType

    @property
    def convert(self) -> Callable[[str], Any]:
        return _CONVERTERS[self.type]


#: Internal names of HubSpot's standard deal properties: docs/api-integration.md#standard-properties
TYPED_COLUMNS = (
    TypedColumn("deal_name", "dealname", TEXT),
    TypedColumn("deal_type", "dealtype", TEXT),
    TypedColumn("pipeline_id", "pipeline", TEXT),
    TypedColumn("stage_id", "dealstage", TEXT),
    TypedColumn("owner_id", "hubspot_owner_id", TEXT),
    TypedColumn("amount", "amount", NUMBER),
    TypedColumn("amount_in_home_currency", "amount_in_home_currency", NUMBER),
    TypedColumn("currency", "deal_currency_code", TEXT),
    TypedColumn("probability", "hs_deal_stage_probability", NUMBER),
    TypedColumn("forecast_category", "hs_manual_forecast_category", TEXT),
    TypedColumn("priority", "hs_priority", TEXT),
    TypedColumn("is_closed", "hs_is_closed", BOOL),
    TypedColumn("is_won", "hs_is_closed_won", BOOL),
    TypedColumn("close_date", "closedate", TIMESTAMP),
    TypedColumn("stage_entered_at", "hs_v2_date_entered_current_stage", TIMESTAMP),
)

#: What every record has, besides its key.
_COMMON = [
    pa.field("created_at", TIMESTAMP),
    pa.field("updated_at", TIMESTAMP),
    pa.field("archived", BOOL, nullable=False),
    pa.field("archived_at", TIMESTAMP),
    pa.field("url", TEXT),
    pa.field("properties", TEXT, nullable=False),
    pa.field("_content_hash", pa.int64(), nullable=False),
    pa.field("_scan_id", TEXT, nullable=False),
    pa.field("_extracted_at", TIMESTAMP, nullable=False),
]


@dataclass(frozen=True)
class Shape:
    """How an object's records look as a table: ``key`` is its primary key, the id last."""

    table: str
    key: tuple[str, ...]
    schema: pa.Schema
    typed_columns: tuple[TypedColumn, ...] = ()

    @property
    def id_column(self) -> str:
        return self.key[-1]


def _shape(table: str, key: tuple[str, ...], typed_columns: tuple[TypedColumn, ...]) -> Shape:
    keys = [pa.field(name, TEXT, nullable=False) for name in key[:-1]]
    schema = pa.schema(
        [
            *keys,
            pa.field(key[-1], pa.int64(), nullable=False),
            *(pa.field(column.name, column.type) for column in typed_columns),
            *_COMMON,
        ]
    )
    return Shape(table, key, schema, typed_columns)


DEALS = _shape("deals", ("_tenant_id", "deal_id"), TYPED_COLUMNS)
#: All other objects: their typed columns are those of the tenant's views.
RECORDS = _shape("records", ("_tenant_id", "object", "record_id"), ())


def shape_of(object_name: str) -> Shape:
    return DEALS if object_name == "deals" else RECORDS
