"""Records of a scan, as pages or all at once.

`/scans/{id}/deals`: deals that it wrote. `/scans/{id}/checks/{check}`: records that a check found.
"""

import csv
import io
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from fastapi import Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from psycopg.rows import class_row, kwargs_row
from pydantic import Field, TypeAdapter

from include.warehouse.connection import Warehouse
from include.web import models
from include.web.access import User, not_found
from include.web.cursor import Cursor, Limit, page_of, position_of
from include.web.problems import Code, signed_in_router
from include.web.scans import ScanId, found_scan
from include.web.warehouse import (
    CurrentWarehouse,
    StreamedWarehouse,
    WarehouseEmptyError,
    columns,
    fetch,
    reading,
)

#: Rows per fetch from PostgreSQL.
BATCH = 500
MAX_ID = 2**63
#: A page begins above this id of a deal, or number of a checked record.
_POSITION = TypeAdapter(tuple[Annotated[int, Field(strict=True, ge=0, lt=MAX_ID)]])

#: Fields of `models.Deal`. ``properties`` is PostgreSQL's JSON text, which is not parsed.
Deal = Mapping[str, Any]

_NUMBERS = ("amount", "amount_in_home_currency", "probability")
_COLUMNS = columns(
    models.Deal,
    "deal",
    **{name: f"deal.{name}::float8" for name in _NUMBERS},
    extracted_at="deal._extracted_at",
    properties="deal.properties::text",
)
_SELECT = f"""
    select {_COLUMNS} from {{deals}} as deal
    where _scan_id = %(scan_id)s and deal_id > %(above)s order by deal_id
"""  # noqa: S608 - literals of this package


class DealPage(NamedTuple):
    deals: Sequence[Deal]
    next_cursor: str | None


NDJSON = "application/x-ndjson"
CSV = "text/csv"
#: Spreadsheets execute a text with this beginning as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_CHECKED = """
    select found.number, found.object, found.record_id, found.detail,
           coalesce(deal.url, record.url) as url
    from {quality_records} as found
    left join {deals} as deal on found.object = 'deals'
        and deal._tenant_id = found.tenant_id and deal.deal_id = found.record_id
    left join {records} as record on record._tenant_id = found.tenant_id
        and record.object = found.object and record.record_id = found.record_id
    where found.scan_id = %(scan_id)s and found.check_name = %(check)s and found.number > %(above)s
    order by found.number limit %(limit)s
"""

router = signed_in_router(
    "scans",
    Code.INVALID_CURSOR,
    Code.NOT_FOUND,
    Code.WAREHOUSE_UNAVAILABLE,
    Code.WAREHOUSE_NOT_READY,
)
_encoder = msgspec.json.Encoder()


@router.get(
    "/scans/{scan_id}/deals",
    summary="Deals that this scan wrote last",
    response_class=Response,
    responses={
        200: {
            "description": "JSON: a page. NDJSON: all deals, one per line.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/DealList"}},
                NDJSON: {"schema": {"type": "string"}},
            },
        },
    },
)
def read_deals(
    request: Request,
    user: User,
    warehouse: CurrentWarehouse,
    streamed: StreamedWarehouse,
    scan_id: ScanId,
    limit: Limit = 100,
    cursor: Cursor = None,
    format: Annotated[
        Literal["json", "ndjson"] | None, Query(description="Overrides the header Accept.")
    ] = None,
) -> Response:
    found_scan(user, warehouse, scan_id)
    if format == "ndjson" or (format is None and NDJSON in request.headers.get("accept", "")):
        lines = map(_encoder.encode_lines, deals_stream(streamed, scan_id))
        # before the response begins, a failure still becomes a problem; a later one breaks it off
        first = next(lines, b"")
        return StreamingResponse(chain([first], lines), media_type=NDJSON)
    page = deals_page(warehouse, scan_id, limit, cursor)
    return Response(_encoder.encode(page._asdict()), media_type="application/json")


def deals_page(
    warehouse: Warehouse, scan_id: str, limit: int = 100, cursor: str | None = None
) -> DealPage:
    """Return deals in the order of their ids. Raises InvalidCursorError."""
    what = f"deals {scan_id}"
    (above,) = position_of(what, cursor, _POSITION, (-1,))
    values = {"scan_id": scan_id, "above": above, "limit": limit + 1}
    rows = fetch(warehouse, kwargs_row(_deal), f"{_SELECT} limit %(limit)s", values)
    return DealPage(*page_of(what, rows, limit, lambda deal: [deal["deal_id"]]))


def deals_stream(warehouse: Warehouse, scan_id: str) -> Generator[Sequence[Deal], None, None]:
    """Yield batches of all deals, from one snapshot; none before there are tables."""
    with (
        suppress(WarehouseEmptyError),
        reading(warehouse) as connection,
        connection.cursor(name="deals", row_factory=kwargs_row(_deal)) as cursor,
    ):
        cursor.execute(connection.composed(_SELECT), {"scan_id": scan_id, "above": -1})
        while rows := cursor.fetchmany(BATCH):
            yield rows


def _deal(properties: str, **others: Any) -> Deal:
    return {**others, "properties": msgspec.Raw(properties.encode())}


class _Checked(models.CheckedRecord):
    number: int


@router.get(
    "/scans/{scan_id}/checks/{check}",
    summary="Records that a check of this scan found",
    response_class=Response,
    responses={
        200: {
            "description": "JSON: a page. CSV: all records.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/CheckedRecordList"}},
                CSV: {"schema": {"type": "string"}},
            },
        },
    },
)
def read_checked_records(
    user: User,
    warehouse: CurrentWarehouse,
    scan_id: ScanId,
    check: Annotated[str, Path(max_length=100, description="Name of the quality check.")],
    limit: Limit = 100,
    cursor: Cursor = None,
    format: Annotated[Literal["json", "csv"], Query()] = "json",
) -> Response:
    scan, _ = found_scan(user, warehouse, scan_id)
    if check not in {result.check for result in scan.quality}:
        raise not_found("check")
    what = f"checks {scan_id} {check}"
    (above,) = position_of(what, cursor, _POSITION, (0,))
    values = {
        "scan_id": scan_id,
        "check": check,
        "above": above,
        "limit": None if format == "csv" else limit + 1,
    }
    found = fetch(warehouse, class_row(_Checked), _CHECKED, values)
    if format == "csv":
        name = f"{scan.tenant}-{check}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(_csv(found), media_type=CSV, headers=headers)
    records, following = page_of(what, found, limit, lambda row: [row.number])
    page = models.CheckedRecordList(records=list(records), next_cursor=following)
    return Response(page.model_dump_json(), media_type="application/json")


def _csv(found: Sequence[_Checked]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["object", "record_id", "detail", "url"])
    for row in found:
        detail = row.detail or ""
        quoted = f"'{detail}" if detail.startswith(_FORMULA) else detail
        writer.writerow([row.object, row.record_id, quoted, row.url or ""])
    return text.getvalue()
