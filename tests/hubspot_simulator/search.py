"""POST …/search: filters, one sort, offset paging up to 10,000 results."""

import json
import time
from collections.abc import Sequence
from typing import Any

from tests.hubspot_simulator import filters
from tests.hubspot_simulator.deal import DEFAULTS, Deal, Properties, with_always
from tests.hubspot_simulator.deals_api import readable
from tests.hubspot_simulator.errors import Answer, invalid, json_answer
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request, number_between

RESULT_CAP = 10_000
PAGE_DEFAULT, PAGE_MAX = 10, 200
#: Characters of the full-text `query`.
QUERY_MAX = 3_000
#: What the full-text `query` looks into.
QUERIED = ("dealname", "pipeline", "dealstage", "description", "dealtype")

#: A deal and what search knows of it.
Found = tuple[Deal, Properties]


def search_deals(portal: Portal, request: Request) -> Answer:
    """Search what is indexed: no archived deals, no changes that are younger than the lag."""
    body = request.json()
    limit = number_between(body.get("limit") or PAGE_DEFAULT, "limit", 1, PAGE_MAX)
    offset = number_between(body.get("after") or 0, "after", 0, RESULT_CAP)
    if offset + limit > RESULT_CAP:
        raise invalid(f"The maximum number of results of a search is {RESULT_CAP}.")
    found = _found(portal, body)
    asked = request.strings("properties") or DEFAULTS
    names = with_always(readable(portal, request.token, asked))
    page = found[offset : offset + limit]
    portal.statistics.served([deal for deal, _ in page], pages=1)
    answer: dict[str, Any] = {
        "total": len(found),
        "results": [_document(deal, seen, names) for deal, seen in page],
    }
    if offset + limit < len(found):
        after = str(offset + limit)
        answer["paging"] = {"next": {"after": after, "link": request.next_link(after)}}
    return json_answer(answer)


def _found(portal: Portal, body: dict[str, Any]) -> list[Found]:
    """Return all that match, sorted. Kept until something changes: a walk asks many times."""
    groups, sort = filters.groups_of(body), _sort_of(body)
    text = _query_of(body)
    asked = json.dumps([groups, sort, text])
    # While a change waits for its indexing, the same question may have another answer soon.
    cache = portal.search_cache
    if cache is not None and cache[:2] == (asked, portal.records.version):
        return cache[2]
    now, passes = time.time(), filters.predicate(groups)
    seen_by_deal = [
        (portal.deals[deal_id], _indexed(portal.deals[deal_id], now))
        for deal_id in portal.records.ids(archived=False)
    ]
    found = [
        (deal, seen)
        for deal, seen in seen_by_deal
        if seen is not None and passes(seen) and _holds(seen, text)
    ]
    name, descending = sort
    found.sort(key=lambda entry: filters.key(entry[1].get(name) or ""), reverse=descending)
    settled = all(deal.indexed_at <= now for deal, _ in seen_by_deal)
    portal.search_cache = (asked, portal.records.version, found) if settled else None
    return found


def _indexed(deal: Deal, now: float) -> Properties | None:
    return deal.properties if now >= deal.indexed_at else deal.indexed


def _document(deal: Deal, seen: Properties, names: Sequence[str]) -> dict[str, Any]:
    document = deal.document(names)
    document["properties"] = {name: seen.get(name) for name in document["properties"]}
    document["updatedAt"] = seen.get("hs_lastmodifieddate") or deal.updated_at
    return document


def _query_of(body: dict[str, Any]) -> str:
    text = str(body.get("query") or "").lower()
    if len(text) > QUERY_MAX:
        raise invalid(f"query must be at most {QUERY_MAX} characters")
    return text


def _holds(seen: Properties, text: str) -> bool:
    return not text or any(text in (seen.get(name) or "").lower() for name in QUERIED)


def _sort_of(body: dict[str, Any]) -> tuple[str, bool]:
    """Return the property to sort by, and whether descending."""
    sorts = body.get("sorts") or []
    if not isinstance(sorts, list) or len(sorts) > 1:
        raise invalid("Only one sort is allowed.")
    rule = sorts[0] if sorts else {"propertyName": "createdate"}
    if isinstance(rule, str):
        return rule.lstrip("-"), rule.startswith("-")
    if not isinstance(rule, dict) or not rule.get("propertyName"):
        raise invalid("A sort needs a propertyName.")
    return str(rule["propertyName"]), str(rule.get("direction", "ASCENDING")).startswith("DESC")
