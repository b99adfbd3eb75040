"""Values of HubSpot's as PostgreSQL takes them: what does not fit is NULL.

What is part of a key can't be NULL: a row whose key does not fit is left out.
"""

import json
import math
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

#: An index row may have 2,704 bytes: of two such texts, the tenant, and what else there is.
KEY_BYTES = 1_000
MAX_INTEGER = 2**31 - 1
MAX_BIGINT = 2**63 - 1
#: Of a number. PostgreSQL's numeric has room for more.
MAX_DIGITS = 1_000


def to_moment(text: str | None) -> datetime | None:
    """Return an aware time from ISO 8601, or None."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def is_key(text: str) -> bool:
    """Tell whether a text fits into an index, beside another of its kind and the tenant."""
    # most are short: no need to encode them
    return len(text) <= KEY_BYTES // 4 or len(text.encode(errors="replace")) <= KEY_BYTES


def to_integer(value: int | None) -> int | None:
    """Return what fits into an integer."""
    return value if value is not None and abs(value) <= MAX_INTEGER else None


def to_bigint(value: int | None) -> int | None:
    """Return what fits into a bigint."""
    return value if value is not None and abs(value) <= MAX_BIGINT else None


def to_json(raw: bytes | memoryview) -> Any:
    """Decode JSON so that jsonb takes it: a number beyond all bounds, or what is nested too deep,
    becomes the text that it is.
    """
    text = bytes(raw).decode(errors="replace")
    try:
        return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=str)
    except RecursionError:
        return text


def _number(text: str) -> int | float | str:
    if len(text) > MAX_DIGITS:
        return text
    if text.lstrip("-").isdigit():
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else text


def to_flag(text: object) -> bool | None:
    # metadata values are strings: docs/api-integration.md#pipelines
    return {"true": True, "false": False}.get(str(text).lower())


def to_number(text: object) -> Decimal | None:
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        return None
    if not number.is_finite() or not -MAX_DIGITS < number.adjusted() < MAX_DIGITS:
        return None
    return number if len(number.as_tuple().digits) <= MAX_DIGITS else None
