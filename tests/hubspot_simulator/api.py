"""HubSpot's endpoints over a portal: what each needs, and what it answers."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.hubspot_simulator.deal import iso
from tests.hubspot_simulator.errors import Answer, invalid, json_answer, not_found
from tests.hubspot_simulator.portal import Portal, Token, properties_of
from tests.hubspot_simulator.search import search

LIST_MAX = 100
BATCH_MAX = 100
ASSOCIATIONS_MAX = 1_000
ASSOCIATIONS_PAGE = 100
#: Characters of the request line above which the edge answers 414.
REQUEST_LINE_MAX = 16_000


@dataclass(frozen=True)
class Request:
    """One request, taken apart. ``query``: name → every value given."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    token: Token
    variables: dict[str, str]

    def one(self, name: str, default: str | None = None) -> str | None:
        return self.query.get(name, [default])[0]

    @property
    def archived(self) -> bool:
        return (self.one("archived") or "").lower() == "true"

    def json(self) -> dict[str, Any]:
        try:
            document = json.loads(self.body)
        except ValueError:
            raise invalid("Invalid input JSON") from None
        if not isinstance(document, dict):
            raise invalid("Invalid input JSON")
        return document


def list_deals(portal: Portal, request: Request) -> Answer:
    limit_text = request.one("limit") or "10"
    if not limit_text.isdigit() or not 1 <= int(limit_text) <= LIST_MAX:
        raise invalid(f"limit must be between 1 and {LIST_MAX}")
    given = request.query.get("properties", [])
    names = _defined(portal, properties_of(None, given))
    deals, after = portal.page(request.archived, request.one("after"), int(limit_text))
    results = b",".join(deal.as_bytes(names) for deal in deals)
    paging = f',"paging":{{"next":{{"after":"{after}","link":"{request.path}"}}}}' if after else ""
    return Answer(200, b'{"results":[' + results + b"]" + paging.encode() + b"}")


def get_deal(portal: Portal, request: Request) -> Answer:
    deal_id = int(request.variables["id"])
    deal = portal.deals.get(portal.merged.get(deal_id, deal_id))
    if deal is None or deal.archived != request.archived:
        raise not_found(f"Object not found.  objectId are usually numeric: {deal_id}")
    names = _defined(portal, properties_of(None, request.query.get("properties", [])))
    return Answer(200, deal.as_bytes(names))


def batch_read(portal: Portal, request: Request) -> Answer:
    body = request.json()
    asked = [str(entry.get("id")) for entry in body.get("inputs") or []]
    if not asked or len(asked) > BATCH_MAX:
        raise invalid(f"The maximum number of inputs supported in a batch request is {BATCH_MAX}.")
    if not all(deal_id.isdigit() for deal_id in asked):
        raise invalid("Invalid id")
    names = _defined(portal, properties_of(None, body.get("properties") or []))
    found, missing = [], []
    for deal_id in dict.fromkeys(asked):
        deal = portal.deals.get(portal.merged.get(int(deal_id), int(deal_id)))
        if deal is None or deal.archived != request.archived:
            missing.append(deal_id)
        else:
            found.append(deal.as_bytes(names))
    portal.deals_served += len(found)
    # Not the order of the inputs: HubSpot does not promise it.
    head = b'{"status":"COMPLETE","results":[' + b",".join(reversed(found)) + b"]"
    if not missing:
        return Answer(200, head + _times() + b"}")
    errors = [
        {
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "message": "Could not get some DEAL objects, they may be deleted or not exist. "
            "Check that ids are valid.",
            "context": {"ids": missing},
        }
    ]
    tail = f',"numErrors":{len(errors)},"errors":{json.dumps(errors)}'.encode()
    return Answer(207, head + _times() + tail + b"}")


def search_deals(portal: Portal, request: Request) -> Answer:
    return json_answer(search(portal, request.json()))


def properties(portal: Portal, request: Request) -> Answer:
    sensitivity = request.one("dataSensitivity", "non_sensitive")
    return json_answer(
        {
            "results": [
                definition
                for definition in portal.definitions.values()
                if definition["dataSensitivity"] == sensitivity
                and definition["archived"] == request.archived
            ]
        }
    )


def pipelines(portal: Portal, request: Request) -> Answer:
    return json_answer({"results": portal.pipelines})


def owners(portal: Portal, request: Request) -> Answer:
    everybody = portal.archived_owners if request.archived else portal.owners
    start, limit = int(request.one("after") or 0), int(request.one("limit") or 100)
    answer: dict[str, Any] = {"results": everybody[start : start + limit]}
    if start + limit < len(everybody):
        answer["paging"] = {"next": {"after": str(start + limit)}}
    return json_answer(answer)


def associations(portal: Portal, request: Request) -> Answer:
    inputs = request.json().get("inputs") or []
    if not 0 < len(inputs) <= ASSOCIATIONS_MAX:
        raise invalid(f"The maximum number of inputs is {ASSOCIATIONS_MAX}.")
    to_type = request.variables["to"]
    results, errors = [], []
    for entry in inputs:
        linked = portal.associations.get(int(entry["id"]), {}).get(to_type, [])
        start = int(entry.get("after") or 0)
        if not linked:
            errors.append(_no_associations(entry["id"], to_type))
            continue
        result: dict[str, Any] = {
            "from": {"id": str(entry["id"])},
            "to": [
                {
                    "toObjectId": to_id,
                    "associationTypes": [
                        {"category": "HUBSPOT_DEFINED", "typeId": type_id, "label": label}
                    ],
                }
                for to_id, type_id, label in linked[start : start + ASSOCIATIONS_PAGE]
            ],
        }
        if start + ASSOCIATIONS_PAGE < len(linked):
            result["paging"] = {"next": {"after": str(start + ASSOCIATIONS_PAGE)}}
        results.append(result)
    answer: dict[str, Any] = {"status": "COMPLETE", "results": results}
    answer |= json.loads(b"{" + _times()[1:] + b"}")
    if errors:
        answer |= {"numErrors": len(errors), "errors": errors}
    return json_answer(answer, 207 if errors else 200)


def token_info(portal: Portal, request: Request) -> Answer:
    known = next(
        (t for t in portal.tokens if t.text == request.json().get("tokenKey")), request.token
    )
    if known.kind == "oauth":
        raise not_found()
    return json_answer(
        {"userId": 1, "hubId": portal.portal_id, "appId": 7, "scopes": list(known.scopes)}
    )


def account(portal: Portal, request: Request) -> Answer:
    return json_answer(
        {
            "portalId": portal.portal_id,
            "accountType": "STANDARD",
            "timeZone": portal.time_zone,
            "companyCurrency": portal.currency,
            "additionalCurrencies": [],
            "utcOffset": "-05:00",
            "utcOffsetMilliseconds": -18_000_000,
            "uiDomain": "app.hubspot.com",
            "dataHostingLocation": "na1",
        }
    )


def daily_usage(portal: Portal, request: Request) -> Answer:
    return json_answer(
        {
            "results": [
                {
                    "name": "private-apps-api-calls-daily",
                    "usageLimit": portal.quota.daily or 0,
                    "currentUsage": portal.quota.used_today,
                    "collectedAt": iso(datetime.now(UTC)),
                    "fetchStatus": "SUCCESS",
                }
            ]
        }
    )


def record_limits(portal: Portal, request: Request) -> Answer:
    usage = sum(not deal.archived for deal in portal.deals.values())
    entry = {"objectTypeId": "0-3", "limit": 15_000_000, "usage": usage, "percentage": 0.0}
    return json_answer({"hubspotDefinedObjectTypes": [entry]})


def _defined(portal: Portal, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Drop unknown names, as HubSpot silently does."""
    if names is None:
        return None
    return tuple(name for name in names if name in portal.definitions)


def _times() -> bytes:
    moment = iso(datetime.now(UTC))
    return f',"startedAt":"{moment}","completedAt":"{moment}"'.encode()


def _no_associations(deal_id: object, to_type: str) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {to_type} is associated with deal {deal_id}.",
        "context": {
            "fromObjectId": [str(deal_id)],
            "fromObjectType": ["deal"],
            "toObjectType": [to_type],
        },
    }


Handler = Callable[[Portal, Request], Answer]
DEALS_READ = ("crm.objects.deals.read",)
DEFINITIONS_READ = ("crm.objects.deals.read", "crm.schemas.deals.read")
_VERSION = r"(?:v3|v4|20\d\d-0[39])"
_CRM = r"/crm/(?:v3/{0}|{0}/20\d\d-0[39])"
_DEALS = _CRM.format("objects") + r"/(?:deals|0-3|deal)"

#: name, method, path, any of these scopes suffices, handler. The names are those of the statistics.
ROUTES: tuple[tuple[str, str, str, tuple[str, ...], Handler], ...] = (
    ("list", "GET", _DEALS, DEALS_READ, list_deals),
    ("batch_read", "POST", _DEALS + "/batch/read", DEALS_READ, batch_read),
    ("search", "POST", _DEALS + "/search", DEALS_READ, search_deals),
    ("get", "GET", _DEALS + r"/(?P<id>\d+)", DEALS_READ, get_deal),
    (
        "properties",
        "GET",
        _CRM.format("properties") + "/(?:deals|0-3|deal)",
        DEFINITIONS_READ,
        properties,
    ),
    (
        "pipelines",
        "GET",
        _CRM.format("pipelines") + "/(?:deals|0-3|deal)",
        DEFINITIONS_READ,
        pipelines,
    ),
    (
        "owners",
        "GET",
        r"/crm/(?:v3/owners|owners/20\d\d-0[39])/?",
        ("crm.objects.owners.read",),
        owners,
    ),
    (
        "associations",
        "POST",
        r"/crm/(?:v4/associations|associations/20\d\d-0[39])/(?:deals|0-3|deal)"
        r"/(?P<to>[a-z0-9_-]+)/batch/read",
        DEALS_READ,
        associations,
    ),
    ("token_info", "POST", "/oauth/v2/private-apps/get/access-token-info", (), token_info),
    ("account", "GET", rf"/account-info/{_VERSION}/details", (), account),
    (
        "daily_usage",
        "GET",
        rf"/account-info/{_VERSION}/api-usage/daily/private-apps",
        (),
        daily_usage,
    ),
    (
        "record_limits",
        "GET",
        r"/crm/(?:v3/limits|limits/20\d\d-0[39])/records",
        (),
        record_limits,
    ),
)
