"""What HubSpot does not have: looking at a portal's truth, and making things happen to it.

`/_simulator/portals/<portal id>/…`: GET truth (NDJSON), associations, stats, POST objects, faults,
mutations, tokens, oauth_apps, settings. Listed in README.md. Open to everybody on 127.0.0.1.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.errors import Answer, json_answer
from tests.hubspot_simulator.faults import Fault
from tests.hubspot_simulator.oauth_app import OAuthApp
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
CHANGES = (
    "create",
    "update",
    "drift",
    "archive",
    "restore",
    "purge",
    "merge",
    "associate",
    "dissociate",
)


def control(portals: dict[int, Portal], method: str, target: str, body: bytes) -> Answer:
    path, _, query = target.partition("?")
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
        return action(portal, json.loads(body) if body else dict(parse_qsl(query)))
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        return json_answer({"error": f"{type(exc).__name__}: {exc}"}, 400)


def _truth(portal: Portal, document: Any) -> Answer:
    """Write deals, or the records of ?object=…"""
    # In ASCII with escapes: no reader has to guess an encoding.
    crm_object = _object(portal, document)
    with portal.lock:
        lines = "\n".join(json.dumps(deal) for deal in crm_object.each_truth())
    return Answer(200, lines.encode(), "application/x-ndjson")


def _associations(portal: Portal, document: Any) -> Answer:
    """Write what the live deals, or the live records of ?object=…, are associated with."""
    truth = _object(portal, document).associations_truth()
    return json_answer({str(record_id): found for record_id, found in truth.items()})


def _object(portal: Portal, document: Any) -> CrmObject:
    found = portal.find_object(document.get("object", "deals"))
    if found is None:
        raise KeyError(document["object"])
    return found


def _objects(portal: Portal, document: Any) -> Answer:
    """Take the arguments of `Portal.add_object`."""
    added = portal.add_object(**document)
    return json_answer({"objects": list(portal.objects), "count": len(added.by_id)})


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
    associations = bool(document.get("associations"))
    if rate:
        seed = int(document.get("seed", 0))
        portal.start_mutating(float(rate), seed, associations=associations)
    else:
        portal.stop_mutating()
    return json_answer({"changes_per_s": rate})


def _change(portal: Portal, changes: list[Any]) -> int:
    """Do a list of [change, arguments…, {properties}, object], and count them."""
    _require_known(changes)
    for name, *arguments in changes:
        other = portal.find_object(str(arguments[-1])) if arguments else None
        crm_object = other or portal.objects["deals"]
        arguments = arguments[:-1] if other else arguments
        properties = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        getattr(crm_object, name)(*arguments, **properties)
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


def _oauth_apps(portal: Portal, document: Any) -> Answer:
    """Take the fields of an `OAuthApp`; of one that is there, by client id, what changes."""
    if "scopes" in document:
        document["scopes"] = tuple(document["scopes"])
    wanted = OAuthApp(**document)
    for app in portal.oauth_apps:
        if app.client_id == wanted.client_id:
            for name, value in document.items():
                setattr(app, name, value)
            break
    else:
        portal.oauth_apps.append(wanted)
    return json_answer({"oauth_apps": len(portal.oauth_apps)})


def _settings(portal: Portal, document: Any) -> Answer:
    if unknown := document.keys() - {*SETTINGS, *QUOTA_SETTINGS}:
        raise ValueError(f"unknown settings {sorted(unknown)}")
    for name, value in document.items():
        setattr(portal.quota if name in QUOTA_SETTINGS else portal, name, value)
    return json_answer(document)


_ACTIONS: dict[tuple[str, str], Callable[[Portal, Any], Answer]] = {
    ("GET", "truth"): _truth,
    ("GET", "associations"): _associations,
    ("GET", "stats"): _stats,
    ("POST", "objects"): _objects,
    ("POST", "faults"): _faults,
    ("POST", "mutations"): _mutations,
    ("POST", "tokens"): _tokens,
    ("POST", "oauth_apps"): _oauth_apps,
    ("POST", "settings"): _settings,
}
