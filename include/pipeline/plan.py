"""Decide whether a scan reads all records of an object, or those modified in a window. No I/O.

docs/how-scans-work.md#which-scan-reads-what
"""

import zoneinfo
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal

from croniter import croniter

from include.hubspot.answers import PropertyDefinition
from include.hubspot.endpoints import (
    LIST_PAGE_SIZE,
    READ_BATCH_SIZE,
    SEARCH_PAGE_SIZE,
    SEARCHES_PER_S,
)
from include.scan import Scan
from include.warehouse.checkpoints import Past
from include.warehouse.values import to_moment

_NAMES_SHOWN = 5

#: Why an object is read in full by every scan.
NOT_SEARCHABLE = "HubSpot's search refuses this object, so each scan reads its whole list"


@dataclass(frozen=True)
class Plan:
    """How to read one object. Modification times ``[window_start, window_end)``; None is open.

    ``watermark``: the next `Past.watermark` if the scan succeeds; None: it does not move.
    ``modified``: the number of records in the window, if it was counted. ``expected``: the number
    of records that the scan will receive, if known.
    """

    mode: Literal["full", "incremental", "window"]
    reason: str
    window_start: datetime | None = None
    window_end: datetime | None = None
    watermark: datetime | None = None
    modified: int | None = None
    expected: int | None = None

    @property
    def searchable(self) -> bool:
        return self.reason != NOT_SEARCHABLE

    def columns(self) -> dict[str, Any]:
        """Return the columns of `scan_objects` that hold the plan."""
        return {name: getattr(self, name) for name in _COLUMNS}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Plan":
        """Return the plan of an earlier try, from a row of `scan_objects`."""
        return cls(**{name: row[name] for name in _COLUMNS})


#: A resumed scan counts again what was modified.
_COLUMNS = [field.name for field in fields(Plan) if field.name != "modified"]


def plan_scan(
    scan: Scan,
    past: Past,
    now: datetime,
    asked: Sequence[str],
    definitions: Iterable[PropertyDefinition],
    recreated: Collection[str] = (),
) -> Plan:
    """Decide how to read one object at *now*, asking for the properties *asked*.

    *recreated* are properties of which rows may have values of a deleted one.

    Search lags behind, so the watermark stays ``search_lag_s`` before *now*: the next scan reads
    what becomes visible after this one. It never moves backwards, and windows don't move it.
    """
    if scan.window:
        return Plan("window", "a window was requested", scan.window.start, scan.window.end)
    watermark = now - timedelta(seconds=scan.tenant.search_lag_s)
    if past.watermark:
        watermark = max(watermark, past.watermark)
    if reason := _why_full(scan, past, now, asked, definitions, recreated):
        return Plan("full", reason, watermark=watermark)
    return Plan(
        "incremental",
        "only changes since the last successful scan are needed",
        window_start=past.watermark,
        watermark=watermark,
    )


def cheaper_plan(
    plan: Plan, total: int, requests_per_s: float, *, requests_a_page: int = 1
) -> Plan:
    """Return a plan to read all *total* records if that takes less time than the modified ones.

    A search request returns 200 ids, under a separate limit, and each 100 of them need a batch
    read. A page of a list has 100 records and takes *requests_a_page*.
    """
    modified = plan.modified or 0
    searching_s = max(
        modified / SEARCH_PAGE_SIZE / SEARCHES_PER_S,
        (modified / SEARCH_PAGE_SIZE + modified / READ_BATCH_SIZE) / requests_per_s,
    )
    listing_s = total / LIST_PAGE_SIZE * requests_a_page / requests_per_s
    if searching_s <= listing_s:
        return plan
    reason = (
        f"{modified} of {total} records were modified: listing takes {listing_s:.0f} s, "
        f"searching {searching_s:.0f} s"
    )
    return Plan("full", reason, watermark=plan.watermark)


def _why_full(
    scan: Scan,
    past: Past,
    now: datetime,
    asked: Sequence[str],
    definitions: Iterable[PropertyDefinition],
    recreated: Collection[str],
) -> str | None:
    if scan.rewrite_rows:
        return "rewriting all rows was requested"
    if scan.mode == "full":
        return "it was requested"
    if past.watermark is None or past.last_full_at is None:
        return "there was no successful full scan before"
    if scan.mode == "incremental":
        return None
    if _is_due(scan, past.last_full_at, now):
        return f"full_scan_schedule {scan.tenant.full_scan_schedule!r} is due"
    if unread := _unread(past, asked, definitions):
        return f"properties not read before: {_shown(unread)}"
    if again := [name for name in asked if name in recreated]:
        return f"properties deleted and created again: {_shown(again)}"
    return None


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (" …" if len(names) > _NAMES_SHOWN else "")


def _is_due(scan: Scan, last_full_at: datetime, now: datetime) -> bool:
    schedule = scan.tenant.full_scan_schedule
    if schedule is None:
        return False
    local_now = now.astimezone(zoneinfo.ZoneInfo(scan.tenant.timezone))
    latest: datetime = croniter(schedule, local_now).get_prev(datetime)
    return last_full_at < latest


def _unread(
    past: Past, asked: Sequence[str], definitions: Iterable[PropertyDefinition]
) -> list[str]:
    """Return the properties of which rows may lack values."""
    defined = {definition.name: definition for definition in definitions}
    return [name for name in asked if name in defined and not _is_read(defined[name], past)]


def _is_read(definition: PropertyDefinition, past: Past) -> bool:
    """Return whether all values of a property have been read, or will be by an incremental scan.

    A scan that does not ask for a property removes it from the rows that it writes. A property that
    is new is empty at first, and filling it in modifies the record: it is read if no scan went past
    its creation without asking for it. This does not hold for a calculated property.
    """
    has_it = [definition.name in scan.names for scan in past.asked]
    if all(has_it):
        return True
    if has_it != sorted(has_it) or definition.calculated:
        return False
    created_at = to_moment(definition.created_at)
    went_past = [s.watermark for s, has in zip(past.asked, has_it, strict=True) if not has]
    latest = max(filter(None, went_past), default=past.watermark)
    return created_at is not None and latest is not None and created_at >= latest
