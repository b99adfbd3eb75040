"""What objects are made of: property definitions, pipelines, owners."""

from typing import Any

from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.errors import Answer, invalid, json_answer, not_found
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request, number_between

SENSITIVITIES = ("non_sensitive", "sensitive", "highly_sensitive")
OWNERS_DEFAULT, OWNERS_MAX = 100, 500


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


def pipelines(portal: Portal, request: Request) -> Answer:
    return json_answer({"results": portal.pipelines})


def owners(portal: Portal, request: Request) -> Answer:
    everybody = portal.archived_owners if request.archived else portal.owners
    if email := request.one("email"):
        everybody = [owner for owner in everybody if owner["email"] == email]
    start = number_between(request.one("after") or 0, "after", 0, len(everybody))
    end = start + request.limit(default=OWNERS_DEFAULT, maximum=OWNERS_MAX)
    answer: dict[str, Any] = {"results": everybody[start:end]}
    if end < len(everybody):
        answer["paging"] = {"next": {"after": str(end), "link": request.next_link(str(end))}}
    return json_answer(answer)
