"""How far a running scan is: only from what was counted at checkpoints."""

from collections.abc import Collection
from datetime import datetime
from typing import TypedDict

from include.status.scans import Scan


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
