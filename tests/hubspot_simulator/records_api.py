"""Reading the records of an object: list, one, batch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.hubspot_simulator.associations_api import in_a_record
from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.errors import Answer, invalid, not_found
from tests.hubspot_simulator.record import Record, to_json
from tests.hubspot_simulator.request import Request, times
from tests.hubspot_simulator.tokens import Token

LIST_DEFAULT, LIST_MAX = 10, 100
#: Of lists and batches that ask for the history of values.
HISTORY_MAX = 50
BATCH_MAX = 100


@dataclass(frozen=True)
class Selection:
    """Which parts of a record are asked for. ``names`` come with the ones that always come."""

    names: tuple[str, ...]
    history: tuple[str, ...] = ()
    associations: tuple[str, ...] = ()


def list_records(crm_object: CrmObject, request: Request) -> Answer:
    selection = _selected(crm_object, request)
    maximum = HISTORY_MAX if selection.history else LIST_MAX
    limit = request.limit(default=LIST_DEFAULT, maximum=maximum)
    records, after = crm_object.page(request.archived, request.one("after") or None, limit)
    crm_object.portal.statistics.read(
        crm_object.type.name, records, history=bool(selection.history)
    )
    parts = [b'{"results":[', b",".join(_written(crm_object, records, selection)), b"]"]
    if after:
        next_ = {"after": after, "link": request.next_link(after)}
        parts.append(b',"paging":' + to_json({"next": next_}))
    return Answer(200, b"".join([*parts, b"}"]))


def get_record(crm_object: CrmObject, request: Request) -> Answer:
    record_id = int(request.variables["id"])
    record = crm_object.records.find(record_id, archived=request.archived)
    if record is None:
        raise not_found(f"Object not found.  objectId are usually numeric: {record_id}")
    crm_object.portal.statistics.served(crm_object.type.name, [record])
    return Answer(200, _written(crm_object, [record], _selected(crm_object, request))[0])


def batch_read(crm_object: CrmObject, request: Request) -> Answer:
    history = readable(crm_object, request.token, request.strings("propertiesWithHistory"))
    _require_history_allowed(crm_object, history)
    asked = request.strings("properties") or crm_object.type.defaults
    names = crm_object.with_always(readable(crm_object, request.token, asked))
    maximum = HISTORY_MAX if history else BATCH_MAX
    inputs = request.inputs(maximum, _too_many(maximum))
    found: dict[int, Record] = {}
    missing = []
    for record_id in dict.fromkeys(str(entry["id"]) for entry in inputs):
        record = crm_object.records.find(int(record_id), archived=request.archived)
        if record is None:
            missing.append(record_id)
        else:
            found[record.id] = record
    # Not the order of the inputs: HubSpot does not promise it.
    records = [found[record_id] for record_id in sorted(found, reverse=True)]
    crm_object.portal.statistics.read(crm_object.type.name, records, history=bool(history))
    results = b",".join(_written(crm_object, records, Selection(names, history)))
    rest: dict[str, Any] = times()
    if missing:
        rest |= {"numErrors": 1, "errors": [_missing(crm_object.type.singular, missing)]}
    body_ = b'{"status":"COMPLETE","results":[' + results + b"]," + to_json(rest)[1:]
    return Answer(207 if missing else 200, body_)


def _require_history_allowed(crm_object: CrmObject, names: tuple[str, ...]) -> None:
    portal = crm_object.portal
    if portal.history_names_max is not None and len(names) > portal.history_names_max:
        raise invalid(f"At most {portal.history_names_max} histories can be asked for at once.")
    if refused := set(names) & set(portal.history_refused):
        raise invalid(f"There is no history of {', '.join(sorted(refused))}.")


def readable(crm_object: CrmObject, token: Token, names: Iterable[str]) -> tuple[str, ...]:
    """Drop names that are unknown, as HubSpot silently does, or too sensitive for the token."""
    definitions = crm_object.definitions
    return tuple(
        name
        for name in dict.fromkeys(names)
        if name in definitions
        and not definitions[name]["archived"]
        and token.may_read(definitions[name]["dataSensitivity"], crm_object.type.scope_name)
    )


def _selected(crm_object: CrmObject, request: Request) -> Selection:
    names = request.names("properties") or crm_object.type.defaults
    return Selection(
        crm_object.with_always(readable(crm_object, request.token, names)),
        readable(crm_object, request.token, request.names("propertiesWithHistory")),
        request.names("associations"),
    )


def _written(crm_object: CrmObject, records: list[Record], selection: Selection) -> list[bytes]:
    if not selection.history and not selection.associations:
        return crm_object.records.written.all_of(records, selection.names)
    return [to_json(_document(crm_object, record, selection)) for record in records]


def _document(crm_object: CrmObject, record: Record, selection: Selection) -> dict[str, Any]:
    document = record.document(selection.names)
    if selection.history:
        document["propertiesWithHistory"] = {
            name: record.history(name) for name in selection.history
        }
    if found := in_a_record(crm_object, record.id, selection.associations):
        document["associations"] = found
    return document


def _too_many(maximum: int) -> str:
    of_what = " for property histories" if maximum == HISTORY_MAX else ""
    return (
        f"The maximum number of inputs supported in a batch request{of_what} is {maximum}. "
        "Please reduce the number of items and try again"
    )


def _missing(singular: str, ids: list[str]) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": f"Could not get some {singular.upper()} objects, they may be deleted or not "
        "exist. Check that ids are valid.",
        "context": {"ids": ids},
    }
