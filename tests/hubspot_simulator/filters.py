"""The filters of a search: which values pass which operator, and what orders values."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.hubspot_simulator.errors import invalid
from tests.hubspot_simulator.record import Properties

GROUPS_MAX, FILTERS_PER_GROUP_MAX, FILTERS_MAX = 5, 6, 18
#: Deals without a value pass these.
NEGATIVE = ("NEQ", "NOT_IN", "NOT_CONTAINS_TOKEN")

Rule = dict[str, Any]
Key = tuple[int, float, str]


def groups_of(body: dict[str, Any]) -> list[list[Rule]]:
    """Return the filters of a search: groups are ORed, the filters of one ANDed."""
    groups = [_objects(group, "filters") for group in _objects(body, "filterGroups")]
    if body.get("filters"):
        groups.append(_objects(body, "filters"))
    if len(groups) > GROUPS_MAX or any(len(group) > FILTERS_PER_GROUP_MAX for group in groups):
        raise invalid(f"Too many filters: {GROUPS_MAX} groups of {FILTERS_PER_GROUP_MAX} at most")
    if sum(map(len, groups)) > FILTERS_MAX:
        raise invalid(f"Too many filters: {FILTERS_MAX} at most")
    for group in groups:
        for rule in group:
            _require_complete(rule)
    return groups


def predicate(groups: list[list[Rule]]) -> Callable[[Properties], bool]:
    """Return a predicate of a deal's properties."""
    tests = [[_test(rule) for rule in group] for group in groups]

    def passes(seen: Properties) -> bool:
        return not tests or any(all(test(seen) for test in group) for group in tests)

    return passes


def key(value: str) -> Key:
    """Return what orders values: numbers and moments (as ms) before text."""
    try:
        number = float(value)
    except ValueError:
        return _key_of_text(value)
    return (1, 0.0, "nan") if math.isnan(number) else (0, number, "")


def _key_of_text(value: str) -> Key:
    try:
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (0, moment.timestamp() * 1000, "")
    except (ValueError, OverflowError):
        return (1, 0.0, value.lower())


def _objects(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = holder.get(name) or []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise invalid(f"Invalid input JSON: {name} must be a list of objects")
    return value


def _require_complete(rule: Rule) -> None:
    operator = rule.get("operator")
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise invalid(f"Invalid operator {operator}")
    needed = ("propertyName", *_NEEDED.get(operator, ("value",)))
    if missing := [name for name in needed if rule.get(name) is None]:
        raise invalid(f"A filter with {operator} needs {missing}")
    if "values" in needed and not isinstance(rule["values"], list):
        raise invalid("values must be a list")


#: What a filter needs beside the property's name, if not one value.
_NEEDED: dict[str, tuple[str, ...]] = {
    "HAS_PROPERTY": (),
    "NOT_HAS_PROPERTY": (),
    "IN": ("values",),
    "NOT_IN": ("values",),
    "BETWEEN": ("value", "highValue"),
}


def _test(rule: Rule) -> Callable[[Properties], bool]:
    name, operator = str(rule["propertyName"]), rule["operator"]
    passes = _OPERATORS[operator](rule)
    if operator.endswith("HAS_PROPERTY"):
        return lambda seen: passes(seen.get(name) or "")
    without_value = operator in NEGATIVE

    def test(seen: Properties) -> bool:
        value = seen.get(name)
        return passes(value) if value else without_value

    return test


Passes = Callable[[str], bool]


def _equal(rule: Rule) -> Passes:
    wanted = key(str(rule["value"]))
    return lambda value: key(value) == wanted


def _greater(rule: Rule) -> Passes:
    bound = key(str(rule["value"]))
    return lambda value: key(value) > bound


def _less(rule: Rule) -> Passes:
    bound = key(str(rule["value"]))
    return lambda value: key(value) < bound


def _between(rule: Rule) -> Passes:
    low, high = key(str(rule["value"])), key(str(rule["highValue"]))
    return lambda value: low <= key(value) <= high


def _one_of(rule: Rule) -> Passes:
    wanted = {str(value).lower() for value in rule["values"]}
    return lambda value: value.lower() in wanted


def _has_token(rule: Rule) -> Passes:
    wanted = set(str(rule["value"]).lower().strip("*").split())
    return lambda value: wanted <= set(value.lower().split())


def _not(operator: Callable[[Rule], Passes]) -> Callable[[Rule], Passes]:
    def negated(rule: Rule) -> Passes:
        passes = operator(rule)
        return lambda value: not passes(value)

    return negated


_OPERATORS: dict[str, Callable[[Rule], Passes]] = {
    "EQ": _equal,
    "NEQ": _not(_equal),
    "GT": _greater,
    "GTE": _not(_less),
    "LT": _less,
    "LTE": _not(_greater),
    "BETWEEN": _between,
    "IN": _one_of,
    "NOT_IN": _not(_one_of),
    "CONTAINS_TOKEN": _has_token,
    "NOT_CONTAINS_TOKEN": _not(_has_token),
    "HAS_PROPERTY": lambda rule: bool,
    "NOT_HAS_PROPERTY": lambda rule: lambda value: not value,
}
