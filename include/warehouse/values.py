"""Values of HubSpot's definitions as PostgreSQL takes them: what does not fit is NULL."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation


def to_moment(text: str | None) -> datetime | None:
    """Return an aware time from ISO 8601, or None."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def to_flag(text: object) -> bool | None:
    # metadata values are strings: docs/api-integration.md#pipelines
    return {"true": True, "false": False}.get(str(text).lower())


def to_number(text: object) -> Decimal | None:
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
