"""Values that real portals hold and that break a naive load."""

import random

from tests.hubspot_simulator.deal import Deal

#: Property names that are SQL keywords, or that clash with columns of a table of deals.
NASTY_PROPERTIES = {
    "select": "string",
    "order": "string",
    "user": "string",
    "table": "string",
    "id": "string",
    "deal_id": "string",
    "_tenant_id": "string",
    "properties": "string",
    "archived": "bool",
    "ctid": "string",
    "xmin": "string",
    "a_multi_select": "enumeration",
    "a_text": "string",
    "a_long_text": "string",
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


def make_nasty(deal: Deal, number: int, rng: random.Random) -> None:
    """Give a deal some of these values: every kind occurs, in a known order."""
    properties = deal.properties
    if number % 7 == 0:
        properties["amount"] = NUMBERS[number // 7 % len(NUMBERS)]
    if number % 7 == 1:
        properties["closedate"] = MOMENTS[number // 7 % len(MOMENTS)]
    if number % 7 == 2:
        properties["dealname"] = TEXTS[number // 7 % len(TEXTS)]
    if number % 97 == 3:
        properties["dealstage"] = "a_stage_nobody_lists"
    if number % 101 == 4:
        properties["hs_is_closed"] = "yes"
    if number % 500 == 5:
        properties["a_long_text"] = "x" * 60_000
    properties["a_text"] = rng.choice(TEXTS)
    properties["a_multi_select"] = rng.choice(MULTI)
    for name in ("select", "id", "deal_id", "_tenant_id", "properties", "ctid"):
        if rng.random() < 0.3:
            properties[name] = f"{name} {number}"
    if rng.random() < 0.1:
        properties["archived"] = "true"
