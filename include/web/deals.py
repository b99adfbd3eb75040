"""`/scans/{id}/deals`: what a scan brought, as pages or as one stream."""

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Literal

import msgspec
from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from include.warehouse.connection import Warehouse
from include.web.access import User
from include.web.problems import Code, answers
from include.web.queries.deals import deals_page, deals_stream
from include.web.scans import ScanId, found_scan
from include.web.warehouse import CurrentWarehouse, StreamedWarehouse

NDJSON = "application/x-ndjson"

router = APIRouter(tags=["scans"], dependencies=[Depends(get_user)])
_encoder = msgspec.json.Encoder()


@router.get(
    "/scans/{scan_id}/deals",
    summary="Deals that this scan wrote last",
    response_class=Response,
    responses={
        200: {
            "description": "A page; or, as NDJSON, all of them: one deal a line.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/DealList"}},
                NDJSON: {"schema": {"type": "string"}},
            },
        },
        **answers(
            Code.UNAUTHENTICATED,
            Code.INVALID_REQUEST,
            Code.INVALID_CURSOR,
            Code.NOT_FOUND,
            Code.WAREHOUSE_UNAVAILABLE,
            Code.WAREHOUSE_NOT_READY,
        ),
    },
)
def read_deals(
    request: Request,
    user: User,
    warehouse: CurrentWarehouse,
    streamed: StreamedWarehouse,
    scan_id: ScanId,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    format: Annotated[
        Literal["json", "ndjson"] | None, Query(description="Wins over the header Accept.")
    ] = None,
) -> Response:
    found = found_scan(user, warehouse, scan_id)
    if format == "ndjson" or (format is None and NDJSON in request.headers.get("accept", "")):
        lines = _lines(streamed, scan_id)
        # here what goes wrong is still a problem, later it can only break the answer off
        first = next(lines, b"")
        return StreamingResponse(chain([first], lines), media_type=NDJSON)
    if found.row is None:
        return _json({"deals": [], "next_cursor": None})
    page = deals_page(warehouse, scan_id, limit, cursor)
    return _json({"deals": page.deals, "next_cursor": page.next_cursor})


def _json(content: object) -> Response:
    return Response(_encoder.encode(content), media_type="application/json")


def _lines(warehouse: Warehouse, scan_id: str) -> Iterator[bytes]:
    for deals in deals_stream(warehouse, scan_id):
        yield _encoder.encode_lines(deals)
