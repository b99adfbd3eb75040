"""POST …/search: filters, one sort, offset paging up to 10,000 results."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from tests.hubspot_simulator.deal import Deal
from tests.hubspot_simulator.errors import invalid
from tests.hubspot_simulator.portal import Portal

RESULT_CAP = 10_000
PAGE_MAX = 200
MAX_GROUPS, MAX_FILTERS = 5, 18

Properties = dict[str, str | None]


def search(portal: Portal, body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a search. Archived deals, and changes not yet indexed, are not seen."""
    limit = int(body.get("limit") or 10)
    offset = int(body.get("after") or 0)
    if limit > PAGE_MAX:
        raise invalid(f"limit must be at most {PAGE_MAX}")
    if offset + limit > RESULT_CAP:
        raise invalid(f"A search returns at most {RESULT_CAP} results.")
    found = [
        (deal, seen)
        for deal in portal.deals.values()
        if (seen := _indexed(deal)) is not None and _matches(seen, _groups(body))
    ]
    _sort(found, body.get("sorts") or [])
    names = tuple(body.get("properties") or ()) or None
    page = found[offset : offset + limit]
    answer: dict[str, Any] = {
        "total": len(found),
        "results": [_document(deal, seen, names) for deal, seen in page],
    }
    if offset + limit < len(found):
        answer["paging"] = {"next": {"after": str(offset + limit)}}
    return answer


def _indexed(deal: Deal) -> Properties | None:
    if deal.archived:
        return None
    return deal.properties if time.time() >= deal.indexed_at else deal.indexed


def _document(deal: Deal, seen: Properties, names: Sequence[str] | None) -> dict[str, Any]:
    document = deal.document(names)
    document["properties"] = {name: seen.get(name) for name in document["properties"]}
    document["updatedAt"] = seen.get("hs_lastmodifieddate") or deal.updated_at
    return document


def _groups(body: dict[str, Any]) -> list[list[dict[str, Any]]]:
    groups = [group.get("filters", []) for group in body.get("filterGroups") or []]
    if body.get("filters"):
        groups.append(body["filters"])
    if len(groups) > MAX_GROUPS or sum(map(len, groups)) > MAX_FILTERS:
        raise invalid("Too many filters.")
    return groups


def _matches(seen: Properties, groups: list[list[dict[str, Any]]]) -> bool:
    return not groups or any(all(_passes(seen, rule) for rule in group) for group in groups)


def _passes(seen: Properties, rule: dict[str, Any]) -> bool:
    value = seen.get(rule["propertyName"])
    operator = rule["operator"]
    if operator in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
        return bool(value) == (operator == "HAS_PROPERTY")
    if operator not in _COMPARE:
        raise invalid(f"Invalid operator {operator}")
    if not value:
        return operator in ("NEQ", "NOT_IN", "NOT_CONTAINS_TOKEN")
    compare: Callable[[str, dict[str, Any]], bool] = _COMPARE[operator]
    return compare(value, rule)


def _key(value: str) -> tuple[int, float, str]:
    """Return what orders values: numbers and moments (as ms) before text."""
    try:
        return (0, float(value), "")
    except ValueError:
        pass
    try:
        return (0, datetime.fromisoformat(value).timestamp() * 1000, "")
    except ValueError:
        return (1, 0.0, value.lower())


def _tokens(value: str) -> set[str]:
    return set(value.lower().split())


_COMPARE: dict[str, Callable[[str, dict[str, Any]], bool]] = {
    "EQ": lambda value, rule: _key(value) == _key(str(rule["value"])),
    "NEQ": lambda value, rule: _key(value) != _key(str(rule["value"])),
    "GT": lambda value, rule: _key(value) > _key(str(rule["value"])),
    "GTE": lambda value, rule: _key(value) >= _key(str(rule["value"])),
    "LT": lambda value, rule: _key(value) < _key(str(rule["value"])),
    "LTE": lambda value, rule: _key(value) <= _key(str(rule["value"])),
    "BETWEEN": lambda value, rule: (
        _key(str(rule["value"])) <= _key(value) <= _key(str(rule["highValue"]))
    ),
    "IN": lambda value, rule: value.lower() in {str(v).lower() for v in rule["values"]},
    "NOT_IN": lambda value, rule: value.lower() not in {str(v).lower() for v in rule["values"]},
    "CONTAINS_TOKEN": lambda value, rule: _tokens(str(rule["value"])) <= _tokens(value),
    "NOT_CONTAINS_TOKEN": lambda value, rule: not _tokens(str(rule["value"])) <= _tokens(value),
}


def _sort(found: list[tuple[Deal, Properties]], sorts: list[Any]) -> None:
    if len(sorts) > 1:
        raise invalid("Only one sort is allowed.")
    rule = sorts[0] if sorts else {"propertyName": "createdate"}
    if isinstance(rule, str):
        rule = {"propertyName": rule.lstrip("-"), "direction": "DESC" if rule[0] == "-" else "ASC"}
    found.sort(
        key=lambda entry: (_key(entry[1].get(rule["propertyName"]) or ""), entry[0].id),
        reverse=str(rule.get("direction", "ASCENDING")).startswith("DESC"),
    )
