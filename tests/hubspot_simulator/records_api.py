"""Reading deals: list, one, batch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.hubspot_simulator.associations_api import in_a_record
from tests.hubspot_simulator.deal import DEFAULTS, Deal, to_json, with_always
from tests.hubspot_simulator.errors import Answer, not_found
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request, times
from tests.hubspot_simulator.tokens import Token

LIST_DEFAULT, LIST_MAX = 10, 100
#: Of lists and batches that ask for the history of values.
HISTORY_MAX = 50
BATCH_MAX = 100


@dataclass(frozen=True)
class Selection:
    """Which parts of a deal are asked for. ``names`` come with the ones that always come."""

    names: tuple[str, ...]
    history: tuple[str, ...] = ()
    associations: tuple[str, ...] = ()


def list_deals(portal: Portal, request: Request) -> Answer:
    selection = _selected(portal, request)
    maximum = HISTORY_MAX if selection.history else LIST_MAX
    limit = request.limit(default=LIST_DEFAULT, maximum=maximum)
    deals, after = portal.page(request.archived, request.one("after") or None, limit)
    portal.statistics.served(deals, pages=1)
    parts = [b'{"results":[', b",".join(_written(portal, deals, selection)), b"]"]
    if after:
        next_ = {"after": after, "link": request.next_link(after)}
        parts.append(b',"paging":' + to_json({"next": next_}))
    return Answer(200, b"".join([*parts, b"}"]))


def get_deal(portal: Portal, request: Request) -> Answer:
    deal_id = int(request.variables["id"])
    deal = portal.records.find(deal_id, archived=request.archived)
    if deal is None:
        raise not_found(f"Object not found.  objectId are usually numeric: {deal_id}")
    portal.statistics.served([deal])
    return Answer(200, _written(portal, [deal], _selected(portal, request))[0])


def batch_read(portal: Portal, request: Request) -> Answer:
    history = readable(portal, request.token, request.strings("propertiesWithHistory"))
    asked = request.strings("properties") or DEFAULTS
    names = with_always(readable(portal, request.token, asked))
    maximum = HISTORY_MAX if history else BATCH_MAX
    inputs = request.inputs(maximum, _too_many(maximum))
    found: dict[int, Deal] = {}
    missing = []
    for deal_id in dict.fromkeys(str(entry["id"]) for entry in inputs):
        deal = portal.records.find(int(deal_id), archived=request.archived)
        if deal is None:
            missing.append(deal_id)
        else:
            found[deal.id] = deal
    # Not the order of the inputs: HubSpot does not promise it.
    deals = [found[deal_id] for deal_id in sorted(found, reverse=True)]
    portal.statistics.served(deals, pages=1)
    results = b",".join(_written(portal, deals, Selection(names, history)))
    rest: dict[str, Any] = times()
    if missing:
        rest |= {"numErrors": 1, "errors": [_missing(missing)]}
    body_ = b'{"status":"COMPLETE","results":[' + results + b"]," + to_json(rest)[1:]
    return Answer(207 if missing else 200, body_)


def readable(portal: Portal, token: Token, names: Iterable[str]) -> tuple[str, ...]:
    """Drop names that are unknown, as HubSpot silently does, or too sensitive for the token."""
    definitions = portal.definitions
    return tuple(
        name
        for name in dict.fromkeys(names)
        if name in definitions
        and not definitions[name]["archived"]
        and token.may_read(definitions[name]["dataSensitivity"])
    )


def _selected(portal: Portal, request: Request) -> Selection:
    names = request.names("properties") or DEFAULTS
    return Selection(
        with_always(readable(portal, request.token, names)),
        readable(portal, request.token, request.names("propertiesWithHistory")),
        request.names("associations"),
    )


def _written(portal: Portal, deals: list[Deal], selection: Selection) -> list[bytes]:
    if not selection.history and not selection.associations:
        return portal.records.written.all_of(deals, selection.names)
    return [to_json(_document(portal, deal, selection)) for deal in deals]


def _document(portal: Portal, deal: Deal, selection: Selection) -> dict[str, Any]:
    document = deal.document(selection.names)
    if selection.history:
        document["propertiesWithHistory"] = {name: deal.history(name) for name in selection.history}
    if found := in_a_record(portal, deal.id, selection.associations):
        document["associations"] = found
    return document


def _too_many(maximum: int) -> str:
    of_what = " for property histories" if maximum == HISTORY_MAX else ""
    return (
        f"The maximum number of inputs supported in a batch request{of_what} is {maximum}. "
        "Please reduce the number of items and try again"
    )


def _missing(ids: list[str]) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": "Could not get some DEAL objects, they may be deleted or not exist. "
        "Check that ids are valid.",
        "context": {"ids": ids},
    }
