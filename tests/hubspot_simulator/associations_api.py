"""What records are associated with: inside a record, of one deal, and in batches."""

import base64
import itertools
from typing import Any

from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.errors import Answer, invalid, json_answer, not_found
from tests.hubspot_simulator.links import Link
from tests.hubspot_simulator.object_type import ObjectType
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request, times

BATCH_MAX = 1_000
#: Associated ids per record: inside a record and in a batch, and of one deal.
PAGE, PAGE_OF_ONE = 100, 500

#: Type of an association without a label, where there is a labelled one beside it.
UNLABELLED = 341


def in_a_record(crm_object: CrmObject, record_id: int, asked: tuple[str, ...]) -> dict[str, Any]:
    """Return the `associations` of a record; an id is there once for each of its types."""
    answer = {}
    for name in asked:
        end = crm_object.portal.find_end(name)
        links = crm_object.associations.of(record_id, end.end) if end else []
        if end and links:
            shown, more = _page(_by_id(links), 0, PAGE)
            results = [
                {"id": str(to_id), "type": _type_name(crm_object.type, end, type_id)}
                for to_id, types in shown
                for _, type_id, _ in types
            ]
            answer[_key(crm_object.portal, end)] = {"results": results} | _paging(more)
    return answer


def of_one(crm_object: CrmObject, request: Request) -> Answer:
    """GET …/deals/{id}/associations/{type}."""
    record_id = int(request.variables["id"])
    if crm_object.records.find(record_id, archived=False) is None:
        raise not_found()
    end = _end(crm_object, request)
    category = _category(crm_object.type, end)
    links = crm_object.associations.of(record_id, end.end)
    start = _position(request.one("after"))
    shown, more = _page(_by_id(links), start, request.limit(default=PAGE_OF_ONE, maximum=500))
    results = [_target(*entry, category) for entry in shown]
    return json_answer({"results": results} | _paging(more))


def batch_read(crm_object: CrmObject, request: Request) -> Answer:
    end = _end(crm_object, request)
    category = _category(crm_object.type, end)
    inputs = request.inputs(BATCH_MAX, f"The maximum number of inputs is {BATCH_MAX}.")
    results, errors = [], []
    for entry in inputs:
        links = crm_object.associations.of(int(entry["id"]), end.end)
        if not links:
            errors.append(_no_associations(crm_object.type, str(entry["id"]), end))
            continue
        shown, more = _page(_by_id(links), _position(str(entry.get("after") or "")), PAGE)
        targets = [_target(*found, category) for found in shown]
        results.append({"from": {"id": str(entry["id"])}, "to": targets} | _paging(more))
    answer: dict[str, Any] = {"status": "COMPLETE", "results": results, **times()}
    if errors:
        answer |= {"numErrors": len(errors), "errors": errors}
    return json_answer(answer, 207 if errors else 200)


def _end(crm_object: CrmObject, request: Request) -> ObjectType:
    end = crm_object.portal.find_end(request.variables["to"])
    if end is None:
        raise invalid(f"Unable to infer object type from: {request.variables['to']}")
    return end


def _key(portal: Portal, end: ObjectType) -> str:
    """Return the key in a record: with a space for line items, custom names with the account."""
    return f"p{portal.portal_id}_{end.name}" if end.custom else end.name.replace("_", " ")


def _category(start: ObjectType, end: ObjectType) -> str:
    return "USER_DEFINED" if start.custom or end.custom else "HUBSPOT_DEFINED"


def _by_id(links: list[Link]) -> list[tuple[int, list[Link]]]:
    """Group links by the id they lead to, ascending."""
    ordered = sorted(links, key=lambda link: link[0])
    groups = itertools.groupby(ordered, key=lambda link: link[0])
    return [(to_id, list(types)) for to_id, types in groups]


def _page(
    found: list[tuple[int, list[Link]]], start: int, size: int
) -> tuple[list[tuple[int, list[Link]]], int | None]:
    """Return one page, and where the next one starts."""
    return found[start : start + size], start + size if start + size < len(found) else None


def _paging(more: int | None) -> dict[str, Any]:
    if more is None:
        return {}
    after = base64.b64encode(f"0-2-{more}".encode()).decode()
    return {"paging": {"next": {"after": after, "link": f"?after={after}"}}}


def _position(after: str) -> int:
    if not after:
        return 0
    try:
        return abs(int(base64.b64decode(after).decode().rpartition("-")[2]))
    except ValueError:
        raise invalid(f"Invalid after: {after}") from None


def _target(to_id: int, types: list[Link], category: str) -> dict[str, Any]:
    return {
        "toObjectId": to_id,
        "associationTypes": [
            {"category": category, "typeId": type_id, "label": label} for _, type_id, label in types
        ],
    }


def _type_name(start: ObjectType, end: ObjectType, type_id: int) -> str:
    ending = "_unlabeled" if type_id == UNLABELLED else ""
    return f"{start.singular}_to_{end.singular}{ending}"


def _no_associations(start: ObjectType, record_id: str, end: ObjectType) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {end.singular} is associated with {start.singular} {record_id}.",
        "context": {
            "fromObjectId": [record_id],
            "fromObjectType": [start.singular],
            "toObjectType": [end.singular],
        },
    }
