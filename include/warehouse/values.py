"""Convert HubSpot's texts and numbers to PostgreSQL's types, if they fit.

Times are defined twice, here and in the SQL function `as_timestamptz`;
tests/warehouse/tenant_views/test_values.py compares the two. docs/api-integration.md#values
"""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

#: An index row has at most 2,704 bytes, for two such texts, the tenant and other columns.
KEY_BYTES = 1_000
MAX_INTEGER = 2**31 - 1
MAX_BIGINT = 2**63 - 1
#: Digits of a number in JSON. PostgreSQL's numeric can hold more.
MAX_DIGITS = 1_000

#: Ignored around numbers and times.
BLANKS = " \t\n\r\f\v"
MAX_NUMBER_LENGTH = 400

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
#: The part of ISO 8601 that is accepted. `datetime.fromisoformat` accepts more, and refuses days
#: that do not exist.
_ISO_8601 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
    r"(?:[Zz]|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)?)?"
)
_FINER_THAN_US = re.compile(r"\.[0-9]{7,9}")
#: `YYYY-MM-DDTHH:MM:SS.ffffff`: what is longer may have a finer fraction.
_LENGTH_WITH_US = 26
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_FIRST_MS, _END_MS = -62_135_596_800_000, 253_402_300_800_000
_EXACT = Context(prec=2 * MAX_NUMBER_LENGTH)


def number_of(value: str) -> Decimal:
    """Parse a number. Raises ValueError."""
    text = value.strip(BLANKS)
    if len(value) > MAX_NUMBER_LENGTH or not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return Decimal(text)


def to_timestamp(value: str) -> datetime:
    """Parse a time: an aware datetime in UTC, rounded to a microsecond. Raises ValueError."""
    text = value.strip(BLANKS)
    try:
        if _ISO_8601.fullmatch(text):
            return _of_iso_8601(text)
        return _of_milliseconds(number_of(value))
    except OverflowError as exc:
        raise ValueError("outside the years 1 to 9999") from exc


def to_moment(text: str | None) -> datetime | None:
    """Parse a time; None if it is invalid."""
    try:
        return to_timestamp(text) if text else None
    except ValueError:
        return None


def to_flag(text: object) -> bool | None:
    # metadata values are strings: docs/api-integration.md#pipelines
    return {"true": True, "false": False}.get(str(text).lower())


def to_number(text: object) -> Decimal | None:
    """Parse a number; None if it is invalid."""
    try:
        return number_of(str(text))
    except ValueError:
        return None


def is_key(text: str) -> bool:
    """Return whether a text fits into an index, beside another of its kind and the tenant."""
    # most are short: no need to encode them
    return len(text) <= KEY_BYTES // 4 or len(text.encode(errors="replace")) <= KEY_BYTES


def to_integer(value: int | None) -> int | None:
    """Return *value*, or None if it does not fit into an integer."""
    return value if value is not None and abs(value) <= MAX_INTEGER else None


def to_bigint(value: int | None) -> int | None:
    """Return *value*, or None if it does not fit into a bigint."""
    return value if value is not None and abs(value) <= MAX_BIGINT else None


def to_id(text: str | None) -> int | None:
    """Parse an id; None if it is invalid or does not fit into a bigint."""
    digits = text is not None and text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
    return to_bigint(int(text)) if text and digits else None


def to_json(raw: bytes | memoryview) -> Any:
    """Decode JSON for jsonb. Numbers out of range, and JSON nested too deeply, become text."""
    text = bytes(raw).decode(errors="replace")
    try:
        return json.loads(
            text, parse_int=_json_number, parse_float=_json_number, parse_constant=str
        )
    except RecursionError:
        return text


def _json_number(text: str) -> int | float | str:
    if len(text) > MAX_DIGITS:
        return text
    if text.lstrip("-").isdigit():
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else text


def _of_iso_8601(text: str) -> datetime:
    finer = _FINER_THAN_US.search(text) if len(text) > _LENGTH_WITH_US else None
    if finer:
        text = text.replace(finer[0], "")
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    elif moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    # as PostgreSQL rounds: in double precision, ties to even
    return moment + round(float(finer[0]) * 1_000_000) * _US if finer else moment


def _of_milliseconds(number: Decimal) -> datetime:
    if not _FIRST_MS - 1 < number < _END_MS:
        raise ValueError("outside the years 1 to 9999")
    microseconds = _EXACT.multiply(number, Decimal(1_000)).to_integral_value(ROUND_HALF_UP)
    return _EPOCH + int(microseconds) * _US
