"""POST …/search: filters, one sort, offset paging up to 10,000 results."""

import json
import time
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from tests.hubspot_simulator import filters
from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.errors import Answer, invalid, json_answer, not_found
from tests.hubspot_simulator.record import Properties, Record
from tests.hubspot_simulator.records_api import readable
from tests.hubspot_simulator.request import Request, number_between

RESULT_CAP = 10_000
PAGE_DEFAULT, PAGE_MAX = 10, 200
#: Characters of the full-text `query`.
QUERY_MAX = 3_000
#: A record and what search knows of it.
Found = tuple[Record, Properties]


def search(crm_object: CrmObject, request: Request) -> Answer:
    """Search what is indexed: no archived records, no changes that are younger than the lag."""
    if not crm_object.type.searchable:
        raise not_found()
    body = request.json()
    limit = number_between(body.get("limit") or PAGE_DEFAULT, "limit", 1, PAGE_MAX)
    offset = number_between(body.get("after") or 0, "after", 0, RESULT_CAP)
    if offset + limit > RESULT_CAP:
        raise invalid(f"The maximum number of results of a search is {RESULT_CAP}.")
    found = _found(crm_object, body)
    asked = request.strings("properties") or crm_object.type.defaults
    names = crm_object.with_always(readable(crm_object, request.token, asked))
    page = found[offset : offset + limit]
    crm_object.portal.statistics.served(
        crm_object.type.name, [record for record, _ in page], pages=1
    )
    answer: dict[str, Any] = {
        "total": len(found),
        "results": [_document(record, seen, names) for record, seen in page],
    }
    if offset + limit < len(found):
        after = str(offset + limit)
        answer["paging"] = {"next": {"after": after, "link": request.next_link(after)}}
    return json_answer(answer)


def _found(crm_object: CrmObject, body: dict[str, Any]) -> list[Found]:
    """Return all that match, sorted.

    A walk by ascending id asks for the same again and again, above another id each time.
    """
    groups, sort = filters.groups_of(body), _sort_of(body, crm_object.type.created_property)
    if sort == ("hs_object_id", False) and len(groups) == 1:
        bounds = [rule for rule in groups[0] if _is_lower_bound(rule)]
        rest = [rule for rule in groups[0] if not _is_lower_bound(rule)]
        found = _matching(crm_object, [rest] if rest else [], sort, _query_of(body))
        above = max((int(rule["value"]) for rule in bounds), default=0)
        return found[bisect_right(found, above, key=lambda entry: entry[0].id) :]
    return _matching(crm_object, groups, sort, _query_of(body))


def _is_lower_bound(rule: filters.Rule) -> bool:
    by_id = (rule["propertyName"], rule["operator"]) == ("hs_object_id", "GT")
    return by_id and str(rule["value"]).isdigit()


def _matching(
    crm_object: CrmObject, groups: list[list[filters.Rule]], sort: tuple[str, bool], text: str
) -> list[Found]:
    """Return all that match, sorted. Kept until something changes."""
    asked = json.dumps([groups, sort, text])
    # While a change waits for its indexing, the same question may have another answer soon.
    cache = crm_object.search_cache
    if cache is not None and cache[:2] == (asked, crm_object.records.version):
        return cache[2]
    now, passes = time.time(), filters.predicate(groups)
    records = [crm_object.by_id[record_id] for record_id in crm_object.records.ids(archived=False)]
    seen_of_each = [(record, _indexed(record, now)) for record in records]
    found = [
        (record, seen)
        for record, seen in seen_of_each
        if seen is not None and passes(seen) and _holds(seen, text, crm_object.type.searched)
    ]
    name, descending = sort
    found.sort(key=lambda entry: filters.key(entry[1].get(name) or ""), reverse=descending)
    settled = all(record.indexed_at <= now for record, _ in seen_of_each)
    crm_object.search_cache = (asked, crm_object.records.version, found) if settled else None
    return found


def _indexed(record: Record, now: float) -> Properties | None:
    return record.properties if now >= record.indexed_at else record.indexed


def _document(record: Record, seen: Properties, names: Sequence[str]) -> dict[str, Any]:
    document = record.document(names)
    document["properties"] = {name: seen.get(name) for name in document["properties"]}
    document["updatedAt"] = seen.get(record.type.modified_property) or record.updated_at
    return document


def _query_of(body: dict[str, Any]) -> str:
    text = str(body.get("query") or "").lower()
    if len(text) > QUERY_MAX:
        raise invalid(f"query must be at most {QUERY_MAX} characters")
    return text


def _holds(seen: Properties, text: str, names: Sequence[str]) -> bool:
    return not text or any(text in (seen.get(name) or "").lower() for name in names)


def _sort_of(body: dict[str, Any], default: str) -> tuple[str, bool]:
    """Return the property to sort by, and whether descending."""
    sorts = body.get("sorts") or []
    if not isinstance(sorts, list) or len(sorts) > 1:
        raise invalid("Only one sort is allowed.")
    rule = sorts[0] if sorts else {"propertyName": default}
    if isinstance(rule, str):
        return rule.lstrip("-"), rule.startswith("-")
    if not isinstance(rule, dict) or not rule.get("propertyName"):
        raise invalid("A sort needs a propertyName.")
    return str(rule["propertyName"]), str(rule.get("direction", "ASCENDING")).startswith("DESC")
