"""From HubSpot's records to one Arrow table per chunk, `properties` staying JSON text."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from include.errors import ContractError
from include.extract.columns import DEALS_SCHEMA, TIMESTAMP, TYPED_COLUMNS
from include.extract.values import to_timestamp
from include.hubspot.answers import Record

#: The typed columns' properties, and nothing else, become Python objects.
_StandardProperties = msgspec.defstruct(
    "_StandardProperties",
    [(column.name, str | None, None) for column in TYPED_COLUMNS],
    rename={column.name: column.hubspot_property for column in TYPED_COLUMNS},
)
_standard_decoder = msgspec.json.Decoder(_StandardProperties)
_read_columns: Callable[[Any], tuple[str | None, ...]] = msgspec.structs.astuple

_BIGINT_MAX = 2**63 - 1


@dataclass(frozen=True)
class Batch:
    """A chunk of deals ready to load, each id once.

    ``misfits`` counts, by column, the values that are NULL in the table because they did not fit.
    """

    table: pa.Table
    misfits: Counter[str]
    duplicates_dropped: int


def to_batch(
    records: Sequence[Record], *, tenant_id: str, scan_id: str, extracted_at: datetime
) -> Batch:
    """Convert *records*; of several with one id, the one modified last (then listed last) stays.

    Raises ContractError for an id that is no 64-bit number.
    """
    misfits: Counter[str] = Counter()
    updated = _timestamps("updated_at", (r.updated_at for r in records), misfits)
    keep = _newest_per_id(records, updated)
    kept = [records[index] for index in keep]
    columns = {
        "_tenant_id": pa.repeat(pa.scalar(tenant_id), len(kept)),
        "deal_id": [_deal_id(record.id, tenant_id) for record in kept],
        **_typed_columns(kept, misfits),
        "created_at": _timestamps("created_at", (r.created_at for r in kept), misfits),
        "updated_at": [updated[index] for index in keep],
        "archived": [record.archived for record in kept],
        "archived_at": _timestamps("archived_at", (r.archived_at for r in kept), misfits),
        "url": [record.url for record in kept],
        # pa.string() takes UTF-8 bytes as they are: no decoding, no copy in Python.
        "properties": [bytes(record.properties) for record in kept],
        "_scan_id": pa.repeat(pa.scalar(scan_id), len(kept)),
        "_extracted_at": pa.repeat(pa.scalar(extracted_at, TIMESTAMP), len(kept)),
    }
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, field.type)
        for field in DEALS_SCHEMA
        for values in (columns[field.name],)
    ]
    return Batch(
        pa.Table.from_arrays(arrays, schema=DEALS_SCHEMA), misfits, len(records) - len(kept)
    )


def _newest_per_id(records: Sequence[Record], updated: Sequence[datetime | None]) -> list[int]:
    """Return the positions to keep, in the order in which each id came first."""
    best: dict[str, int] = {}
    for index, record in enumerate(records):
        other = best.get(record.id)
        if other is None or _not_older(updated[index], updated[other]):
            best[record.id] = index
    return list(best.values())


def _not_older(moment: datetime | None, other: datetime | None) -> bool:
    return (moment is not None and (other is None or moment >= other)) or moment is other is None


def _deal_id(text: str, tenant_id: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _BIGINT_MAX:
        raise ContractError(
            f"HubSpot listed a deal whose id is no 64-bit number ({len(text)} characters).",
            tenant_id=tenant_id,
            remedy="Report it.",
        )
    return int(text)


def _typed_columns(records: Sequence[Record], misfits: Counter[str]) -> dict[str, list[Any]]:
    rows = [_standard_properties(record.properties) for record in records]
    by_column = zip(*rows, strict=True) if rows else ((),) * len(TYPED_COLUMNS)
    return {
        column.name: _convert_all(column.name, texts, column.convert, misfits)
        for column, texts in zip(TYPED_COLUMNS, by_column, strict=True)
    }


def _standard_properties(raw: msgspec.Raw) -> tuple[str | None, ...]:
    try:
        return _read_columns(_standard_decoder.decode(raw))
    except msgspec.ValidationError:
        # A bare number or boolean where HubSpot documents text: read it as the text it is.
        document = json.loads(bytes(raw), parse_float=str, parse_int=str)
        return tuple(_as_text(document.get(c.hubspot_property)) for c in TYPED_COLUMNS)


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _timestamps(
    column: str, texts: Iterable[str | None], misfits: Counter[str]
) -> list[datetime | None]:
    return _convert_all(column, texts, to_timestamp, misfits)


def _convert_all(
    column: str,
    texts: Iterable[str | None],
    convert: Callable[[str], Any],
    misfits: Counter[str],
) -> list[Any]:
    """Convert a column: no value and "" become None, and so does what does not fit, counted."""
    values: list[Any] = []
    for text in texts:
        try:
            values.append(convert(text) if text else None)
        except ValueError:
            values.append(None)
            misfits[column] += 1
    return values
