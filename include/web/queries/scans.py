"""Scans, as lists and one by one, and how far a running one is."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, LiteralString, TypedDict, cast

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from include.warehouse.connection import Warehouse
from include.web.queries.cursor import InvalidCursorError, cursor_of, position_of
from include.web.warehouse import reading, tables


class Progress(TypedDict):
    """None wherever nothing is known. Counts are of all objects together.

    ``fraction``: 0 to 1. ``records_per_s``: over the last few checkpoints. ``requests_per_s``:
    since the extraction began. ``updated_at``: when all of this was counted.
    """

    pages: int
    records_received: int
    expected: int | None
    fraction: float | None
    records_per_s: float | None
    requests_per_s: float | None
    time_left_s: float | None
    updated_at: datetime | None


NONE_YET: Progress = {
    "pages": 0,
    "records_received": 0,
    "expected": None,
    "fraction": None,
    "records_per_s": None,
    "requests_per_s": None,
    "time_left_s": None,
    "updated_at": None,
}


class ScanSummary(TypedDict):
    """One line of a list. ``mode``: what was asked for. ``seconds``: of a scan that has ended."""

    scan_id: str
    tenant: str
    dag_id: str
    run_id: str
    mode: str
    state: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    deals_received: int
    deals_written: int
    requests: int
    throttled: int
    attempt: int
    warnings: int
    error_type: str | None


class ScanPage(TypedDict):
    scans: list[ScanSummary]
    next_cursor: str | None


class ScanObject(TypedDict):
    """What a scan did about one object. ``expected``: None where it was not known."""

    object: str
    mode: str
    reason: str
    pages: int
    expected: int | None
    records_received: int
    records_archived: int
    duplicates_dropped: int
    rows_written: int
    restored: int
    merged: int
    vanished: int
    associations: int | None
    portal_live: int | None
    warehouse_live: int | None
    difference: int | None
    unexplained: int | None


class QualityResult(TypedDict):
    check: str
    status: str
    severity: str
    observed: float | None
    at_most: float
    why: str


class Scan(ScanSummary):
    """All that the warehouse knows of one scan.

    ``received_lately``, ``took_s``: of the last few checkpoints, for a rate.
    """

    window_start: datetime | None
    window_end: datetime | None
    pages: int
    error: str | None
    remedy: str | None
    extraction_started_at: datetime | None
    figures_at: datetime | None
    received_lately: int | None
    took_s: float | None
    messages: list[str]
    misfits: dict[str, int]
    objects: list[ScanObject]
    quality: list[QualityResult]


_SCAN_ID = re.compile(r"[0-9a-f-]{36}")
#: Checkpoints that a rate is made of.
_RECENT_CHECKPOINTS = 6

SUMMARY: LiteralString = """
    scan.scan_id, scan.tenant_id as tenant, scan.dag_id, scan.run_id, scan.mode, scan.state,
    scan.started_at, scan.finished_at,
    extract(epoch from scan.finished_at - scan.started_at)::float8 as seconds,
    coalesce(deals.records_received, 0) as deals_received,
    coalesce(deals.rows_written, 0) as deals_written,
    scan.requests, scan.throttled, scan.attempt,
    jsonb_array_length(scan.warnings) as warnings,
    substring(scan.error from '^[A-Za-z_][A-Za-z0-9_]*') as error_type
"""
_FROM: LiteralString = """
    from {scans} as scan
    left join {scan_objects} as deals on deals.scan_id = scan.scan_id and deals.object = 'deals'
"""


def list_scans(
    warehouse: Warehouse,
    dag_ids: Collection[str],
    *,
    tenant_id: str | None = None,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> ScanPage:
    """Return the newest scans of some DAGs, and the cursor of what follows.

    Raises InvalidCursorError.
    """
    what = f"scans tenant={tenant_id} state={state}"
    started_at, scan_id = _position(what, cursor)
    with reading(warehouse) as connection:
        rows = _dicts(
            connection,
            warehouse,
            f"select {SUMMARY} {_FROM}"
            " where scan.dag_id = any(%(dag_ids)s)"
            " and (%(tenant_id)s::text is null or scan.tenant_id = %(tenant_id)s)"
            " and (%(state)s::text is null or scan.state = %(state)s)"
            " and (%(started_at)s::timestamptz is null"
            " or (scan.started_at, scan.scan_id) < (%(started_at)s::timestamptz, %(scan_id)s))"
            " order by scan.started_at desc, scan.scan_id desc limit %(limit)s",
            dag_ids=list(dag_ids),
            tenant_id=tenant_id,
            state=state,
            started_at=started_at,
            scan_id=scan_id,
            limit=limit + 1,
        )
    scans = cast("list[ScanSummary]", rows[:limit])
    more = len(rows) > limit
    return {"scans": scans, "next_cursor": _cursor(what, scans[-1]) if more and scans else None}


def first_scans_cursor(tenant_id: str | None, state: str | None) -> str:
    """Return the cursor of the very first page: for who has shown something else before it."""
    return cursor_of(f"scans tenant={tenant_id} state={state}", [None, None])


def known_scans(warehouse: Warehouse, scan_ids: Collection[str]) -> set[str]:
    """Return which of these scans have a row."""
    if not scan_ids:
        return set()
    with reading(warehouse) as connection:
        rows = connection.execute(
            sql.SQL("select scan_id from {scans} where scan_id = any(%s)").format(
                **tables(warehouse, "scans")
            ),
            [list(scan_ids)],
        ).fetchall()
    return {scan_id for (scan_id,) in rows}


def find_scan(warehouse: Warehouse, scan_id: str) -> Scan | None:
    """Return one scan with its objects and quality results, None if it has no row."""
    with reading(warehouse) as connection:
        rows = _dicts(
            connection,
            warehouse,
            f"""
            select {SUMMARY}, scan.window_start, scan.window_end, scan.pages, scan.error,
                   scan.remedy, scan.extraction_started_at, scan.figures_at,
                   scan.warnings as messages, scan.misfits, lately.received_lately, lately.took_s
            {_FROM}
            left join lateral (
                select sum(cardinality(ids))::bigint as received_lately,
                       extract(epoch from max(loaded_at) - min(since))::float8 as took_s
                from (
                    select ids, loaded_at,
                           lag(loaded_at, 1, scan.extraction_started_at)
                               over (order by loaded_at) as since
                    from {{scan_chunks}} where scan_id = scan.scan_id
                    order by loaded_at desc limit %(recent)s
                ) as chunk
            ) as lately on true
            where scan.scan_id = %(scan_id)s
            """,  # noqa: S608 - literals of this module
            scan_id=scan_id,
            recent=_RECENT_CHECKPOINTS,
        )
        if not rows:
            return None
        objects = _dicts(connection, warehouse, _OBJECTS, scan_id=scan_id)
        quality = _dicts(connection, warehouse, _QUALITY, scan_id=scan_id)
    return cast("Scan", {**rows[0], "objects": objects, "quality": quality})


_OBJECTS: LiteralString = """
    select object, mode, reason, pages, expected, records_received, records_archived,
           duplicates_dropped, rows_written, restored, merged, vanished, associations, portal_live,
           warehouse_live, difference, unexplained
    from {scan_objects} where scan_id = %(scan_id)s
    order by object <> 'deals', object
"""
_QUALITY: LiteralString = """
    select check_name as check, status, severity, observed::float8 as observed,
           at_most::float8 as at_most, why
    from {quality_results} where scan_id = %(scan_id)s
    order by array_position(array['failed', 'warned', 'passed', 'no_rows'], status), check_name
"""


def _position(what: str, cursor: str | None) -> tuple[datetime | None, str | None]:
    if cursor is None:
        return None, None
    match position_of(what, cursor):
        case [None, None]:
            return None, None
        case [str(started_at), str(scan_id)] if _SCAN_ID.fullmatch(scan_id):
            try:
                return datetime.fromisoformat(started_at), scan_id
            except ValueError:
                raise InvalidCursorError from None
    # a cursor that the client made up
    raise InvalidCursorError


def _cursor(what: str, last: ScanSummary) -> str:
    return cursor_of(what, [last["started_at"].isoformat(), last["scan_id"]])


def _dicts(
    connection: psycopg.Connection, warehouse: Warehouse, statement: LiteralString, **values: Any
) -> Sequence[dict[str, Any]]:
    names = ("scans", "scan_objects", "scan_chunks", "quality_results")
    composed = sql.SQL(statement).format(**tables(warehouse, *names))
    return connection.cursor(row_factory=dict_row).execute(composed, values).fetchall()


def progress_of(scan: Scan, wanted: Collection[str] | None) -> Progress:
    """Return a scan's progress.

    :param wanted: the objects that the tenant loads: one of which nothing is known yet makes the
        whole unknown. None: only those that were begun.
    """
    received = sum(part["records_received"] for part in scan["objects"])
    expected = _expected(scan, wanted)
    fraction = _fraction(scan["state"], received, expected)
    records_per_s = _rate(scan["received_lately"], scan["took_s"])
    return {
        "pages": scan["pages"],
        "records_received": received,
        "expected": expected,
        "fraction": fraction,
        "records_per_s": records_per_s,
        "requests_per_s": _rate(scan["requests"], _counted_for_s(scan)),
        "time_left_s": _time_left_s(scan["state"], received, expected, records_per_s),
        "updated_at": scan["figures_at"],
    }


def _expected(scan: Scan, wanted: Collection[str] | None) -> int | None:
    parts = {part["object"]: part for part in scan["objects"] if part["mode"] != "skipped"}
    skipped = {part["object"] for part in scan["objects"]} - parts.keys()
    if not parts or (wanted is not None and set(wanted) - parts.keys() - skipped):
        return None
    known = [part["expected"] for part in parts.values()]
    numbers = [number for number in known if number is not None]
    return sum(numbers) if len(numbers) == len(known) else None


def _fraction(state: str, received: int, expected: int | None) -> float | None:
    if state in ("checking", "succeeded"):
        return 1.0
    if expected is None:
        return None
    # the portal may have grown since it was counted
    return min(1.0, received / expected) if expected else 1.0


def _time_left_s(
    state: str, received: int, expected: int | None, records_per_s: float | None
) -> float | None:
    if state != "extracting" or expected is None or not records_per_s:
        return None
    return max(0.0, (expected - received) / records_per_s)


def _counted_for_s(scan: Scan) -> float | None:
    if scan["extraction_started_at"] is None or scan["figures_at"] is None:
        return None
    return (scan["figures_at"] - scan["extraction_started_at"]).total_seconds()


def _rate(count: int | None, took_s: float | None) -> float | None:
    return count / took_s if count is not None and took_s and took_s > 0 else None
