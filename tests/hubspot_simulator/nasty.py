"""Values that real portals hold and that break a naive load."""

import random
from typing import Any

from tests.hubspot_simulator.definitions import (
    PARTNER_PIPELINE_ID,
    PARTNER_STAGE_ID,
    definition,
)
from tests.hubspot_simulator.record import Properties, Record

#: Names of more than 63 bytes (all that PostgreSQL keeps) that differ only after them.
LONG_NAME = "hs_v2_cumulative_time_in_a_stage_with_a_very_long_internal_name_"

#: SQL keywords, and names that clash with columns of a table of deals.
CLASHING = (
    "select",
    "order",
    "user",
    "table",
    "id",
    "deal_id",
    "_tenant_id",
    "properties",
    "archived",
    "ctid",
    "xmin",
)
TYPES = {
    **dict.fromkeys(CLASHING, "string"),
    "archived": "bool",
    "a_multi_select": "enumeration",
    "a_text": "string",
    "a_long_text": "string",
    "a_json": "json",
    f"{LONG_NAME}1": "number",
    f"{LONG_NAME}2": "number",
}

NUMBERS = (
    "",
    "NaN",
    "1;2",
    "1343.50;1376",
    "0.40000000000000002220446049250313080847263336181640625",
    "12345678901234567890123456789012345678901234567890",
    "1.5E7",
    "-0",
    "1e400",
    " 12.50 ",
    "twelve",
)
MOMENTS = (
    "",
    "9999-12-31T23:59:59.999Z",
    "10000-01-01T00:00:00Z",
    "2025-02-30",
    "2025-03-31",
    "1741000000000",
    "2025-06-01T10:00:00Z",
    "soon",
    "99999999999999999999",
)
TEXTS = (
    "",
    "emoji \U0001f600\U0001f680 and \u4e2d\u6587",
    "NUL \x00 inside",
    "half a pair \ud83d alone",
    "\udc00",
    "line one\nline two\r\n\ttabbed",
    '<p class="x">html &amp; "quotes"</p>',
    "back\\slash \\u0000 as text",
    "'; drop table deals; --",
    "null",
)
MULTI = (";won;lost", "won", "won;lost", "", None)
LONG_TEXT_CHARS = 60_000


def nasty_definitions() -> dict[str, dict[str, Any]]:
    found = {name: definition(name, type_) for name, type_ in TYPES.items()}
    found["a_multi_select"]["fieldType"] = "checkbox"
    found["an_archived_property"] = definition("an_archived_property", archived=True)
    return found


def make_nasty(deal: Record, number: int, rng: random.Random) -> None:
    """Give a deal some of these values: every kind occurs, in a known order."""
    deal.properties |= _standard_values(number)
    deal.properties |= _custom_values(number, rng)
    if number % 13 == 6:
        deal.absent = frozenset({"closedate", "dealtype", "a_text"})


def _standard_values(number: int) -> Properties:
    round_, turn = divmod(number, 7)
    found: Properties = {"hs_notes_last_activity": None if number % 2 else f"0-18:{number}"}
    if turn == 0:
        found["amount"] = NUMBERS[round_ % len(NUMBERS)]
    elif turn == 1:
        found["closedate"] = MOMENTS[round_ % len(MOMENTS)]
    elif turn == 2:
        found["dealname"] = TEXTS[round_ % len(TEXTS)]
    if number % 11 == 3:
        found |= {"pipeline": PARTNER_PIPELINE_ID, "dealstage": PARTNER_STAGE_ID}
    if number % 97 == 3:
        found["dealstage"] = "unlisted_stage"
    if number % 101 == 4:
        found["hs_is_closed"] = "yes"
    return found


def _custom_values(number: int, rng: random.Random) -> Properties:
    found: Properties = {"a_text": rng.choice(TEXTS), "a_multi_select": rng.choice(MULTI)}
    found |= {name: f"{name} {number}" for name in CLASHING if rng.random() < 0.3}
    if rng.random() < 0.1:
        found |= {f"{LONG_NAME}1": str(number), f"{LONG_NAME}2": f"-{number}"}
        found |= {"archived": "true", "a_json": '{"a": [1, null]}'}
    if number % 500 == 5:
        found["a_long_text"] = "x" * LONG_TEXT_CHARS
    return found
