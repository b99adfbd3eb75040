"""What HubSpot does not have: looking at a portal's truth, and making things happen to it.

`/_simulator/portals/<portal id>/…`: GET truth (NDJSON), GET stats, POST faults, mutations, tokens,
settings. Listed in README.md. Open to everybody on 127.0.0.1.
"""

import json
from collections.abc import Callable
from typing import Any

from tests.hubspot_simulator.errors import Answer, json_answer
from tests.hubspot_simulator.faults import Fault
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.tokens import ALL_SCOPES, Token

PREFIX = "/_simulator/"
SETTINGS = (
    "latency_s",
    "index_lag_s",
    "cursor",
    "short_pages_by",
    "send_rate_headers",
    "requests_per_window",
)
QUOTA_SETTINGS = ("daily", "used_today", "searches_per_second")
CHANGES = ("create", "update", "drift", "archive", "restore", "purge", "merge")


def control(portals: dict[int, Portal], method: str, path: str, body: bytes) -> Answer:
    parts = path.removeprefix(PREFIX).split("/")
    try:
        resource, portal_id, what = parts
        portal = portals[int(portal_id)]
        action = _ACTIONS[method, what] if resource == "portals" else None
    except (KeyError, ValueError):
        action = None
    if action is None:
        return json_answer({"error": f"no such control: {method} {path}"}, 404)
    try:
        return action(portal, json.loads(body) if body else {})
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        return json_answer({"error": f"{type(exc).__name__}: {exc}"}, 400)


def _truth(portal: Portal, _: Any) -> Answer:
    # In ASCII with escapes: no reader has to guess an encoding.
    with portal.lock:
        lines = "\n".join(json.dumps(deal) for deal in portal.each_truth())
    return Answer(200, lines.encode(), "application/x-ndjson")


def _stats(portal: Portal, _: Any) -> Answer:
    return json_answer(portal.stats())


def _faults(portal: Portal, document: Any) -> Answer:
    """Take a list of faults, each with the fields of `Fault`; they replace the ones before."""
    portal.faults = [Fault(**fault) for fault in document]
    return json_answer({"faults": len(portal.faults)})


def _mutations(portal: Portal, document: Any) -> Answer:
    """Take changes for now, changes for after a list request, or a rate for the background."""
    if isinstance(document, list):
        return json_answer({"changes": _change(portal, document)})
    if "after_list_request" in document:
        changes = document["changes"]
        _require_known(changes)
        portal.after_list_request(
            int(document["after_list_request"]), lambda portal: _change(portal, changes)
        )
        return json_answer({"scheduled": len(changes)})
    rate = document["changes_per_s"]
    if rate:
        portal.start_mutating(float(rate), int(document.get("seed", 0)))
    else:
        portal.stop_mutating()
    return json_answer({"changes_per_s": rate})


def _change(portal: Portal, changes: list[Any]) -> int:
    """Do a list of [change, arguments…, {properties}], and count them."""
    _require_known(changes)
    for name, *arguments in changes:
        properties = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        getattr(portal, name)(*arguments, **properties)
    return len(changes)


def _require_known(changes: list[Any]) -> None:
    for name, *_ in changes:
        if name not in CHANGES:
            raise ValueError(f"unknown change {name!r}")


def _tokens(portal: Portal, document: Any) -> Answer:
    """Take the fields of a `Token`; one with the same text is replaced."""
    document["scopes"] = tuple(document.get("scopes", ALL_SCOPES))
    token = Token(**document)
    portal.tokens = [t for t in portal.tokens if t.text != token.text] + [token]
    return json_answer({"tokens": len(portal.tokens)})


def _settings(portal: Portal, document: Any) -> Answer:
    if unknown := document.keys() - {*SETTINGS, *QUOTA_SETTINGS}:
        raise ValueError(f"unknown settings {sorted(unknown)}")
    for name, value in document.items():
        setattr(portal.quota if name in QUOTA_SETTINGS else portal, name, value)
    return json_answer(document)


_ACTIONS: dict[tuple[str, str], Callable[[Portal, Any], Answer]] = {
    ("GET", "truth"): _truth,
    ("GET", "stats"): _stats,
    ("POST", "faults"): _faults,
    ("POST", "mutations"): _mutations,
    ("POST", "tokens"): _tokens,
    ("POST", "settings"): _settings,
}
