"""Convert HubSpot's records to Arrow tables.

HubSpot sends every value as text. The typed columns are converted, `properties` stays JSON text.
docs/api-integration.md#values
"""

import json
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from itertools import accumulate
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa
from xxhash import xxh3_64

from include.errors import ContractError
from include.hubspot.answers import Record
from include.pipeline.load.typed_columns import (
    DECIMAL_PRECISION,
    DECIMAL_SCALE,
    TYPED_COLUMNS,
    Kind,
    TypedColumn,
)
from include.warehouse.checkpoints import Chunk
from include.warehouse.values import MAX_BIGINT, to_id, to_json, to_timestamp

TEXT = pa.string()
TIMESTAMP = pa.timestamp("us", tz="UTC")
BOOL = pa.bool_()

_TYPES: dict[Kind, pa.DataType] = {
    "text": TEXT,
    "key": TEXT,
    "number": pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE),
    "timestamp": TIMESTAMP,
    "bool": BOOL,
}

#: The columns of every object, besides its key.
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
    """The table of an object's records; ``key`` is its primary key, the id last."""

    table: str
    key: tuple[str, ...]
    typed_columns: tuple[TypedColumn, ...] = ()

    @property
    def id_column(self) -> str:
        return self.key[-1]

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                *(pa.field(name, TEXT, nullable=False) for name in self.key[:-1]),
                pa.field(self.id_column, pa.int64(), nullable=False),
                *(pa.field(column.name, _TYPES[column.kind]) for column in self.typed_columns),
                *_COMMON,
            ]
        )


DEALS = Shape("deals", ("_tenant_id", "deal_id"), TYPED_COLUMNS)
#: All other objects: only the tenant's views have typed columns of them.
RECORDS = Shape("records", ("_tenant_id", "object", "record_id"))


def shape_of(object_name: str) -> Shape:
    return DEALS if object_name == "deals" else RECORDS


#: HubSpot's list of the records that were merged into this one, as "1;2".
MERGED_IDS = "hs_merged_object_ids"

_as_tuple: Callable[[Any], tuple[str | None, ...]] = msgspec.structs.astuple

#: In a binary COPY, a jsonb value is this and its text. Staged as jsonb, it is parsed only once.
JSONB_VERSION = b"\x01"


@dataclass(frozen=True)
class Batch:
    """Records ready to load, each id once.

    ``misfits`` counts, by column, the values that are NULL in the table because they did not fit.
    ``merges``: id of a record that was merged away → id of its survivor.
    """

    table: pa.Table
    misfits: Counter[str]
    merges: dict[int, int]
    duplicates_dropped: int


def to_batch(
    records: Sequence[Record],
    shape: Shape,
    *,
    tenant_id: str,
    object_name: str,
    scan_id: str,
    extracted_at: datetime,
) -> Batch:
    """Convert *records*; of several with the same id, only the last one, which is the newest.

    Raises ContractError for an id that is not a 64-bit number.
    """
    misfits: Counter[str] = Counter()
    kept = [records[index] for index in _last_per_id([record.id for record in records])]
    ids = [_record_id(record.id, tenant_id) for record in kept]
    hashes = [_content_hash(record) for record in kept]
    *typed, merged_ids = _standard_values(kept, shape)
    known: dict[Callable[[str], Any], dict[str | None, Any]] = {}
    columns = {
        "_tenant_id": pa.repeat(pa.scalar(tenant_id), len(kept)),
        "object": pa.repeat(pa.scalar(object_name), len(kept)),
        shape.id_column: ids,
        **{
            column.name: _converted(column.name, column.convert, texts, misfits, known)
            for column, texts in zip(shape.typed_columns, typed, strict=True)
        },
        **{
            name: _converted(name, to_timestamp, map(attrgetter(name), kept), misfits, known)
            for name in ("created_at", "updated_at", "archived_at")
        },
        "archived": [bool(record.archived) for record in kept],
        "url": [record.url for record in kept],
        "properties": _properties_texts(kept),
        "_content_hash": hashes,
        "_scan_id": pa.repeat(pa.scalar(scan_id), len(kept)),
        "_extracted_at": pa.repeat(pa.scalar(extracted_at, TIMESTAMP), len(kept)),
    }
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, field.type)
        for field in shape.schema
        for values in (columns[field.name],)
    ]
    return Batch(
        table=pa.Table.from_arrays(arrays, schema=shape.schema),
        misfits=misfits,
        merges=merges_of(
            (survivor, text) for survivor, text in zip(ids, merged_ids, strict=True) if text
        ),
        duplicates_dropped=len(records) - len(kept),
    )


def joined(batches: Sequence[Batch], shape: Shape) -> Batch:
    """Join batches, oldest first; of several records with the same id, only the last one."""
    table = pa.concat_tables([batch.table for batch in batches])
    ids = table[shape.id_column].to_pylist()
    duplicates = len(ids) - len(set(ids))
    if duplicates:
        table = table.take(_last_per_id(ids))
    return Batch(
        table=table,
        misfits=sum((batch.misfits for batch in batches), Counter()),
        merges={gone: into for batch in batches for gone, into in batch.merges.items()},
        duplicates_dropped=duplicates + sum(batch.duplicates_dropped for batch in batches),
    )


def chunk_of(table: pa.Table, shape: Shape) -> Chunk:
    """Return the part of a loaded table that its checkpoint stores."""
    return Chunk(
        ids=table[shape.id_column].to_pylist(),
        hashes=table["_content_hash"].to_pylist(),
        modified_us=table["updated_at"].cast(pa.int64()).to_pylist(),
    )


def within_bounds(table: pa.Table) -> pa.Table:
    """Return *table* with bare numbers in `properties` as text if PostgreSQL's numeric can't hold
    them. Slow, and rarely needed.
    """
    version = JSONB_VERSION.decode()
    texts = [
        version + json.dumps(to_json(text.removeprefix(version).encode()), ensure_ascii=False)
        for text in table["properties"].to_pylist()
    ]
    position = table.schema.get_field_index("properties")
    return table.set_column(position, table.schema.field(position), pa.array(texts, pa.string()))


def _properties_texts(records: Sequence[Record]) -> pa.Array:
    """Return HubSpot's bytes, unparsed, as text: the decoder of answers ensures UTF-8."""
    raws = [record.properties for record in records]
    sizes = (len(JSONB_VERSION) + memoryview(raw).nbytes for raw in raws)
    offsets = array("i", accumulate(sizes, initial=0))
    texts = JSONB_VERSION.join([b"", *raws])
    return pa.StringArray.from_buffers(len(raws), pa.py_buffer(offsets), pa.py_buffer(texts))


def merges_of(pairs: Iterable[tuple[int, str]]) -> dict[int, int]:
    """Turn (survivor, "1;2;3") into id → survivor. Texts that are not ids are left out."""
    return {
        gone: survivor
        for survivor, text in pairs
        for part in text.split(";")
        if (gone := to_id(part.strip())) is not None and gone != survivor
    }


def _content_hash(record: Record) -> int:
    """Return a signed 64-bit hash of everything that HubSpot sent for a record."""
    digest = xxh3_64(record.properties)
    digest.update(
        f"\0{bool(record.archived)}\0{record.archived_at}\0{record.created_at}"
        f"\0{record.updated_at}\0{record.url}".encode()
    )
    unsigned = digest.intdigest()
    return unsigned if unsigned <= MAX_BIGINT else unsigned - 2**64


def _last_per_id(ids: Sequence[Hashable]) -> list[int]:
    """Return the last position of each id, in the order in which each id came first."""
    return list({record_id: index for index, record_id in enumerate(ids)}.values())


def _record_id(text: str, tenant_id: str) -> int:
    record_id = to_id(text)
    if record_id is None:
        raise ContractError(
            f"HubSpot sent a record whose id is not a 64-bit number ({len(text)} characters).",
            tenant_id=tenant_id,
            remedy="Report it.",
        )
    return record_id


def _standard_values(records: Sequence[Record], shape: Shape) -> list[Sequence[str | None]]:
    """Return the values of the typed columns' properties, column by column, and the merged ids."""
    decode, names = _decoder_of(shape)
    rows = [_values(record.properties, decode, names) for record in records]
    return list(zip(*rows, strict=True)) if rows else [()] * len(names)


@cache
def _decoder_of(shape: Shape) -> tuple[Callable[[Any], Any], tuple[str, ...]]:
    """Return a decoder of the few properties that are needed as Python objects, and their names."""
    names = (*(column.hubspot_property for column in shape.typed_columns), MERGED_IDS)
    fields = [f"value_{number}" for number in range(len(names))]
    struct = msgspec.defstruct(
        "_StandardProperties",
        [(field, str | None, None) for field in fields],
        rename=dict(zip(fields, names, strict=True)),
        gc=False,
    )
    return msgspec.json.Decoder(struct).decode, names


def _values(
    raw: msgspec.Raw, decode: Callable[[Any], Any], names: Sequence[str]
) -> tuple[str | None, ...]:
    try:
        return _as_tuple(decode(raw))
    except msgspec.ValidationError:
        # HubSpot documents text, but a value is a bare number or boolean: read it as text.
        document = json.loads(bytes(raw), parse_float=str, parse_int=str)
        return tuple(_as_text(document.get(name)) for name in names)


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _converted(
    column: str,
    convert: Callable[[str], Any],
    texts: Iterable[str | None],
    misfits: Counter[str],
    known: dict[Callable[[str], Any], dict[str | None, Any]],
) -> list[Any]:
    """Convert a column. None, "" and values that do not fit, which are counted, become None.

    :param known: by converter, the values of texts that were converted before: most are repeated,
        and looking one up is cheaper.
    """
    if convert is str:
        return [text or None for text in texts]
    converted = known.setdefault(convert, {None: None, "": None})
    values: list[Any] = []
    for text in texts:
        value = converted.get(text, converted)
        if value is converted:
            try:
                value = converted[text] = convert(str(text))
            except ValueError:
                value = None
                misfits[column] += 1
        values.append(value)
    return values
