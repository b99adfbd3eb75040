"""The shapes of HubSpot's answers that this package reads, decoded with msgspec.

Only what is used is declared; everything else in an answer is skipped without becoming a Python
object. A record's `properties` stay JSON text (`msgspec.Raw`): HubSpot's own bytes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from include.errors import HubSpotUnavailableError
from include.hubspot.json_repair import Repairs, needs_repair, repair

_EMPTY_OBJECT = msgspec.Raw(b"{}")
_EMPTY_LIST = msgspec.Raw(b"[]")


class Record(msgspec.Struct, rename="camel"):
    """One CRM record as listed or batch-read. Timestamps are ISO 8601 text, as sent."""

    id: str
    properties: msgspec.Raw = _EMPTY_OBJECT
    created_at: str | None = None
    updated_at: str | None = None
    archived: bool = False
    archived_at: str | None = None
    url: str | None = None


class _Next(msgspec.Struct):
    after: str


class _Paging(msgspec.Struct):
    next: _Next | None = None


class _Paged(msgspec.Struct, kw_only=True):
    paging: _Paging | None = None

    @property
    def after(self) -> str | None:
        """The cursor of the next page. Only its absence means the end: a page may be short."""
        return self.paging.next.after if self.paging and self.paging.next else None


class BatchProblem(msgspec.Struct, rename="camel"):
    """Why some inputs of a batch (HTTP 207) are not among its results."""

    category: str = ""
    message: str = ""


class Page(_Paged):
    """One page of records; `repairs` counts what had to be changed to make it storable."""

    results: list[Record]
    errors: list[BatchProblem] = []
    repairs: Repairs = msgspec.field(default_factory=Repairs)


class ListedPage(NamedTuple):
    """A page of a list: the ids it listed, the cursor that follows (None: the end), the records.

    Records can be fewer: one may have gone between two requests.
    """

    ids: list[str]
    after: str | None
    page: Page


class PastValue(msgspec.Struct, rename="camel"):
    """A value that a property had from `timestamp` on, and where it came from."""

    timestamp: str
    value: str | None = None
    source_type: str | None = None
    source_id: str | None = None


class RecordHistory(msgspec.Struct, rename="camel"):
    """Property → its values, the newest first."""

    id: str
    properties_with_history: dict[str, list[PastValue]] = {}


class HistoryPage(msgspec.Struct):
    results: list[RecordHistory]
    errors: list[BatchProblem] = []
    repairs: Repairs = msgspec.field(default_factory=Repairs)


class Found(msgspec.Struct):
    """What is used of a search's result."""

    id: str


class SearchPage(msgspec.Struct):
    """``total``: how many records pass the filters, on all pages together."""

    total: int
    results: list[Found]


class AssociationType(msgspec.Struct, rename="camel"):
    category: str
    type_id: int
    label: str | None = None


class AssociatedRecord(msgspec.Struct, rename="camel"):
    """``to_object_id`` is a number in HubSpot's answers and text in its specification."""

    to_object_id: int | str
    association_types: list[AssociationType] = []


class _AssociationSource(msgspec.Struct):
    id: str | int


class AssociationResult(_Paged):
    """What one record is associated with."""

    source: _AssociationSource = msgspec.field(name="from")
    to: list[AssociatedRecord] = []


class AssociationPage(msgspec.Struct):
    """One answer for a batch of records."""

    results: list[AssociationResult]
    errors: list[BatchProblem] = []

    @property
    def next_inputs(self) -> list[dict[str, str]]:
        """What to ask next: the records of which there is more."""
        return [
            {"id": str(result.source.id), "after": result.after}
            for result in self.results
            if result.after is not None
        ]


def raise_for_problems(problems: list[BatchProblem], request: str, tenant_id: str | None) -> None:
    """Raise HubSpotUnavailableError unless all that is wrong is that something is not there.

    Records that HubSpot could not read just now must not be taken for records that are gone.
    """
    for problem in problems:
        if problem.category != "OBJECT_NOT_FOUND":
            raise HubSpotUnavailableError(
                f"HubSpot could not read part of a batch at {request}: {problem.category} "
                f"{problem.message[:200]!r}.",
                tenant_id=tenant_id,
                remedy="The task is retried; if it goes on, look at HubSpot's status page.",
            )


class Account(msgspec.Struct, rename="camel"):
    """GET /account-info/…/details: whose token this is."""

    portal_id: int
    time_zone: str = "UTC"
    #: STANDARD, DEVELOPER_TEST, SANDBOX or APP_DEVELOPER.
    account_type: str = ""


class TokenInfo(msgspec.Struct, rename="camel"):
    """POST …/access-token-info: what a private-app token or service key may do."""

    hub_id: int
    scopes: list[str] = []


class PropertyDefinition(msgspec.Struct, rename="camel"):
    """What is used of a property's definition; ``document`` is all that HubSpot sent of it."""

    name: str
    label: str | None = None
    type: str | None = None
    field_type: str | None = None
    calculated: bool = False
    archived: bool = False
    options: msgspec.Raw = _EMPTY_LIST
    created_at: str | None = None
    document: msgspec.Raw = _EMPTY_OBJECT


class Stage(msgspec.Struct, rename="camel"):
    id: str
    label: str = ""
    display_order: int | None = None
    metadata: dict[str, Any] = {}


class Pipeline(msgspec.Struct, rename="camel"):
    id: str
    label: str = ""
    display_order: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    stages: list[Stage] = []


class Owner(msgspec.Struct, rename="camel"):
    """A user that records can belong to; ``id`` is what hubspot_owner_id holds."""

    id: str
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    type: str | None = None
    user_id: int | None = None
    user_id_including_inactive: int | None = None
    teams: msgspec.Raw = _EMPTY_LIST
    archived: bool = False
    created_at: str | None = None
    updated_at: str | None = None


class _PropertyDefinitions(msgspec.Struct):
    results: list[msgspec.Raw]


class Pipelines(msgspec.Struct):
    results: list[Pipeline]


class Owners(_Paged):
    results: list[Owner]


_Repaired = TypeVar("_Repaired", Page, HistoryPage)
_Shape = TypeVar("_Shape")

_page_decoder = msgspec.json.Decoder(Page)
_history_decoder = msgspec.json.Decoder(HistoryPage)


def decode_page(body: bytes) -> Page:
    """Decode a page of records, repairing what PostgreSQL or JSON itself would refuse.

    Raises ValueError (msgspec.DecodeError is one) when it is no page of records.
    """
    return _decode(body, _page_decoder)


def decode_history(body: bytes) -> HistoryPage:
    """Decode a batch of histories; else as `decode_page`."""
    return _decode(body, _history_decoder)


def decoder_of(shape: type[_Shape]) -> Callable[[bytes], _Shape]:
    """Return what decodes one of the shapes that are read whole, and repairs it if need be."""
    decoder = msgspec.json.Decoder(shape)

    def decode(body: bytes) -> _Shape:
        return decoder.decode(repair(body)[0] if needs_repair(body) else body)

    return decode


_decode_definitions = decoder_of(_PropertyDefinitions)
_definition_decoder = msgspec.json.Decoder(PropertyDefinition)


def decode_definitions(body: bytes) -> list[PropertyDefinition]:
    """Decode a list of property definitions, keeping each as it came."""
    return [decode_definition(document) for document in _decode_definitions(body).results]


def decode_definition(document: msgspec.Raw | bytes) -> PropertyDefinition:
    """Decode one property definition, keeping it as it came."""
    definition = _definition_decoder.decode(document)
    definition.document = msgspec.Raw(document)
    return definition


def _decode(body: bytes, decoder: msgspec.json.Decoder[_Repaired]) -> _Repaired:
    if not needs_repair(body):
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # NaN, Infinity or a bare control character: Python's parser is more patient.
            pass
    repaired, repairs = repair(body)
    page = decoder.decode(repaired)
    page.repairs = repairs
    return page
