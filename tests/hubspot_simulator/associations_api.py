"""What deals are associated with: inside a record, of one deal, and in batches."""

import base64
import itertools
from typing import Any

from tests.hubspot_simulator.errors import Answer, invalid, json_answer, not_found
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request, times

BATCH_MAX = 1_000
#: Associated ids per deal: inside a record and in a batch, and of one deal.
PAGE, PAGE_OF_ONE = 100, 500

#: Name or id of an object type → (its name in associations, its key in a record, its singular).
OBJECT_TYPES = {
    alias: kind
    for kind, aliases in (
        (("companies", "companies", "company"), ("companies", "company", "0-2")),
        (("contacts", "contacts", "contact"), ("contacts", "contact", "0-1")),
        (("line_items", "line items", "line_item"), ("line_items", "line_item", "0-8")),
        (("tickets", "tickets", "ticket"), ("tickets", "ticket", "0-5")),
    )
    for alias in aliases
}
#: Type of an association without a label, where there is a labelled one beside it.
UNLABELLED = 341

Link = tuple[int, int, str | None]


def in_a_record(portal: Portal, deal_id: int, asked: tuple[str, ...]) -> dict[str, Any]:
    """Return the `associations` of a record; an id is there once for each of its types."""
    answer = {}
    for name in asked:
        if name not in OBJECT_TYPES:
            continue
        to_type, key, singular = OBJECT_TYPES[name]
        links = portal.associations.get(deal_id, {}).get(to_type, [])
        if links:
            shown, more = _page(_by_id(links), 0, PAGE)
            results = [
                {"id": str(to_id), "type": _type_name(singular, type_id)}
                for to_id, types in shown
                for _, type_id, _ in types
            ]
            answer[key] = {"results": results} | _paging(more)
    return answer


def of_one_deal(portal: Portal, request: Request) -> Answer:
    """GET …/deals/{id}/associations/{type}."""
    deal_id = int(request.variables["id"])
    if portal.records.find(deal_id, archived=False) is None:
        raise not_found()
    to_type, _, _ = _object_type(request)
    links = portal.associations.get(deal_id, {}).get(to_type, [])
    start = _position(request.one("after"))
    shown, more = _page(_by_id(links), start, request.limit(default=PAGE_OF_ONE, maximum=500))
    return json_answer({"results": [_target(*entry) for entry in shown]} | _paging(more))


def batch_read(portal: Portal, request: Request) -> Answer:
    to_type, _, singular = _object_type(request)
    inputs = request.inputs(BATCH_MAX, f"The maximum number of inputs is {BATCH_MAX}.")
    results, errors = [], []
    for entry in inputs:
        links = portal.associations.get(int(entry["id"]), {}).get(to_type, [])
        if not links:
            errors.append(_no_associations(str(entry["id"]), singular))
            continue
        shown, more = _page(_by_id(links), _position(str(entry.get("after") or "")), PAGE)
        targets = [_target(*found) for found in shown]
        results.append({"from": {"id": str(entry["id"])}, "to": targets} | _paging(more))
    answer: dict[str, Any] = {"status": "COMPLETE", "results": results, **times()}
    if errors:
        answer |= {"numErrors": len(errors), "errors": errors}
    return json_answer(answer, 207 if errors else 200)


def _object_type(request: Request) -> tuple[str, str, str]:
    name = request.variables["to"]
    if name not in OBJECT_TYPES:
        raise invalid(f"Unable to infer object type from: {name}")
    return OBJECT_TYPES[name]


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


def _target(to_id: int, types: list[Link]) -> dict[str, Any]:
    return {
        "toObjectId": to_id,
        "associationTypes": [
            {"category": "HUBSPOT_DEFINED", "typeId": type_id, "label": label}
            for _, type_id, label in types
        ],
    }


def _type_name(singular: str, type_id: int) -> str:
    return f"deal_to_{singular}" + ("_unlabeled" if type_id == UNLABELLED else "")


def _no_associations(deal_id: str, to_type: str) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {to_type} is associated with deal {deal_id}.",
        "context": {
            "fromObjectId": [deal_id],
            "fromObjectType": ["deal"],
            "toObjectType": [to_type],
        },
    }
