"""The deals that a scan wrote last: as pages, or all of them as a stream."""

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

import msgspec
from psycopg import sql
from psycopg.rows import kwargs_row

from include.warehouse.connection import Warehouse
from include.web.queries.cursor import InvalidCursorError, cursor_of, position_of
from include.web.warehouse import reading, tables

#: Rows that are fetched from PostgreSQL at once.
BATCH = 500
MAX_ID = 2**63


class Deal(msgspec.Struct, frozen=True):
    """A row of `deals`. Numbers as JSON numbers; ``properties`` has everything as HubSpot sent it.

    ``properties`` is the JSON text that PostgreSQL holds: it is passed on without being read.
    """

    deal_id: int
    deal_name: str | None
    deal_type: str | None
    pipeline_id: str | None
    stage_id: str | None
    owner_id: str | None
    amount: float | None
    amount_in_home_currency: float | None
    currency: str | None
    probability: float | None
    forecast_category: str | None
    priority: str | None
    is_closed: bool | None
    is_won: bool | None
    close_date: datetime | None
    stage_entered_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    archived: bool
    archived_at: datetime | None
    vanished_at: datetime | None
    merged_into_deal_id: int | None
    url: str | None
    extracted_at: datetime
    properties: msgspec.Raw


class DealPage(NamedTuple):
    deals: Sequence[Deal]
    next_cursor: str | None


_SELECT: LiteralString = """
    select deal_id, deal_name, deal_type, pipeline_id, stage_id, owner_id, amount::float8 as amount,
           amount_in_home_currency::float8 as amount_in_home_currency, currency,
           probability::float8 as probability, forecast_category, priority, is_closed, is_won,
           close_date, stage_entered_at, created_at, updated_at, archived, archived_at, vanished_at,
           merged_into_deal_id, url, _extracted_at as extracted_at, properties::text as properties
    from {deals} where _scan_id = %(scan_id)s and deal_id > %(above)s order by deal_id
"""


def deals_page(
    warehouse: Warehouse, scan_id: str, limit: int = 100, cursor: str | None = None
) -> DealPage:
    """Return deals in the order of their ids. Raises InvalidCursorError."""
    what = f"deals {scan_id}"
    above = _above(what, cursor) if cursor is not None else -1
    with reading(warehouse) as connection:
        rows = (
            connection.cursor(row_factory=kwargs_row(_deal))
            .execute(
                sql.SQL(_SELECT + " limit %(limit)s").format(**tables(warehouse, "deals")),
                {"scan_id": scan_id, "above": above, "limit": limit + 1},
            )
            .fetchall()
        )
    deals = rows[:limit]
    more = len(rows) > limit
    return DealPage(deals, cursor_of(what, [deals[-1].deal_id]) if more and deals else None)


def deals_stream(warehouse: Warehouse, scan_id: str) -> Generator[Sequence[Deal], None, None]:
    """Yield all of them, some at a time, as they were when the first ones were fetched."""
    with (
        reading(warehouse) as connection,
        connection.cursor(name="deals", row_factory=kwargs_row(_deal)) as cursor,
    ):
        cursor.execute(
            sql.SQL(_SELECT).format(**tables(warehouse, "deals")),
            {"scan_id": scan_id, "above": -1},
        )
        while rows := cursor.fetchmany(BATCH):
            yield rows


def _above(what: str, cursor: str) -> int:
    match position_of(what, cursor):
        case [int(above)] if 0 <= above < MAX_ID and above is not True:
            return above
    raise InvalidCursorError


def _deal(properties: str, **columns: Any) -> Deal:
    return Deal(**columns, properties=msgspec.Raw(properties.encode()))
