"""What objects are made of: property definitions, pipelines, owners; users, teams, roles."""

from typing import Any

from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.errors import Answer, invalid, json_answer, not_found
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request, number_between

SENSITIVITIES = ("non_sensitive", "sensitive", "highly_sensitive")
OWNERS_DEFAULT, OWNERS_MAX = 100, 500
USERS_MAX = 100
#: Types that HubSpot has pipelines of; custom ones too.
WITH_PIPELINES = frozenset(
    {"deals", "tickets", "leads", "orders", "services", "appointments", "courses", "listings"}
)


def properties(crm_object: CrmObject, request: Request) -> Answer:
    sensitivity = request.one("dataSensitivity", SENSITIVITIES[0])
    if sensitivity not in SENSITIVITIES:
        raise invalid(f"dataSensitivity must be one of {SENSITIVITIES}")
    found = [
        definition
        for definition in crm_object.definitions.values()
        if definition["dataSensitivity"] == sensitivity
        and definition["archived"] == request.archived
    ]
    return json_answer({"results": found})


def one_property(crm_object: CrmObject, request: Request) -> Answer:
    definition = crm_object.definitions.get(request.variables["name"])
    if definition is None or definition["archived"] != request.archived:
        raise not_found()
    return json_answer(definition)


def pipelines(crm_object: CrmObject, request: Request) -> Answer:
    type_ = crm_object.type
    if not (type_.custom or type_.name in WITH_PIPELINES):
        raise invalid(f"{type_.name} does not support pipelines")
    if type_.name == "deals":
        return json_answer({"results": crm_object.portal.pipelines})
    return json_answer({"results": crm_object.pipelines})


def owners(portal: Portal, request: Request) -> Answer:
    everybody = portal.archived_owners if request.archived else portal.owners
    if email := request.one("email"):
        everybody = [owner for owner in everybody if owner["email"] == email]
    return _page(everybody, request, OWNERS_DEFAULT, OWNERS_MAX)


def users(portal: Portal, request: Request) -> Answer:
    return _page(portal.users, request, USERS_MAX, USERS_MAX)


def teams(portal: Portal, request: Request) -> Answer:
    return json_answer({"results": portal.teams})


def roles(portal: Portal, request: Request) -> Answer:
    return json_answer({"results": portal.roles})


def _page(items: list[dict[str, Any]], request: Request, default: int, maximum: int) -> Answer:
    start = number_between(request.one("after") or 0, "after", 0, len(items))
    end = start + request.limit(default=default, maximum=maximum)
    answer: dict[str, Any] = {"results": items[start:end]}
    if end < len(items):
        answer["paging"] = {"next": {"after": str(end), "link": request.next_link(str(end))}}
    return json_answer(answer)
