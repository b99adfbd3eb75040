"""How records look as Arrow tables, and which table each shape is loaded into."""

from dataclasses import dataclass

import pyarrow as pa

from include.extract.typed_columns import TYPED_COLUMNS, Kind, TypedColumn
from include.extract.values import DECIMAL_PRECISION, DECIMAL_SCALE

TEXT = pa.string()
TIMESTAMP = pa.timestamp("us", tz="UTC")
BOOL = pa.bool_()

_TYPES: dict[Kind, pa.DataType] = {
    Kind.TEXT: TEXT,
    Kind.KEY: TEXT,
    Kind.NUMBER: pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE),
    Kind.TIMESTAMP: TIMESTAMP,
    Kind.BOOL: BOOL,
}

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
            *(pa.field(column.name, _TYPES[column.kind]) for column in typed_columns),
            *_COMMON,
        ]
    )
    return Shape(table, key, schema, typed_columns)


DEALS = _shape("deals", ("_tenant_id", "deal_id"), TYPED_COLUMNS)
#: All other objects: their typed columns are those of the tenant's views.
RECORDS = _shape("records", ("_tenant_id", "object", "record_id"), ())


def shape_of(object_name: str) -> Shape:
    return DEALS if object_name == "deals" else RECORDS
