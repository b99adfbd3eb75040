"""Cron expressions with Jenkins' `H`: each tenant gets its own minute, hour and day.

`H` stands for one value of its field, `H(0-29)` for one of a range, `H/15` for every 15th from one
on. Which one follows from the tenant's id and the field alone, so it never changes.

Not croniter's own `H`: it takes every field from the same few bits of one CRC, so that "H H * * *"
knows 240 of the day's 1,440 minutes; its days go up to 31, which most months skip, and its
weekdays from 0 to 7, which is Sunday twice.
"""

import hashlib
import re
from functools import lru_cache
from typing import Final

from croniter import croniter

#: Minute, hour, day of the month (every month has 28), month, day of the week (0 is Sunday).
_RANGES: Final = ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))
_HASHED: Final = re.compile(r"H(?:\((\d{1,2})-(\d{1,2})\))?(?:/(\d{1,2}))?")
#: To croniter a value drawn anew each time: each parse would make another schedule.
_RANDOM: Final = re.compile(r"(?:^|[\s,])[rR](?:$|[\s,(/])")


def plain_cron(expression: str, tenant_id: str) -> str:
    """Return *expression* with the tenant's own values for `H`. Raises ValueError, in words."""
    fields = expression.split()
    if not any(_HASHED.fullmatch(term) for field in fields for term in field.split(",")):
        plain = expression
    elif len(fields) != len(_RANGES):
        raise ValueError(f"{expression!r} has H, and so must have five fields, as in 'H 3 * * *'")
    else:
        plain = " ".join(
            ",".join(_value(expression, term, position, tenant_id) for term in field.split(","))
            for position, field in enumerate(fields)
        )
    if not _is_cron(plain):
        raise ValueError(f"{expression!r} is not a cron expression such as 'H 3 * * *'")
    return plain


@lru_cache(maxsize=4096)
def _is_cron(expression: str) -> bool:
    return not _RANDOM.search(expression) and croniter.is_valid(expression)


def _value(expression: str, term: str, position: int, tenant_id: str) -> str:
    hashed = _HASHED.fullmatch(term)
    if not hashed:
        return term
    lowest, highest = _RANGES[position]
    first, last = (int(hashed[1]), int(hashed[2])) if hashed[1] else (lowest, highest)
    if not lowest <= first < last <= highest:
        raise ValueError(
            f"{expression!r}: {term!r} must have a range that rises, within {lowest}-{highest}"
        )
    if hashed[3] is None:
        return str(first + _draw(tenant_id, position) % (last - first + 1))
    step = int(hashed[3])
    if not 1 <= step <= last - first:
        raise ValueError(f"{expression!r}: the step of {term!r} must be 1 to {last - first}")
    return f"{first + _draw(tenant_id, position) % step}-{last}/{step}"


def _draw(tenant_id: str, position: int) -> int:
    digest = hashlib.sha256(f"{position}/{tenant_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
