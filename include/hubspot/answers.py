"""The types of HubSpot's answers, decoded with msgspec.

Only fields that are used are declared; others are skipped without becoming Python objects. A
record's `properties` stay JSON text (`msgspec.Raw`): the bytes that HubSpot sent.

HubSpot's specification calls nearly every field optional. Here, a field has a default only if its
absence loses nothing; a missing list of results must not be mistaken for an empty one. If HubSpot
sends null or a number where it documents text, `_read_leniently` reads it.
"""

import types
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import (
    Annotated,
    Any,
    Generic,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

import msgspec

from include.errors import ContractError
from include.hubspot.json_repair import Repairs, needs_repair, repair

#: More records than any account has; a larger total is invalid.
MAX_RECORDS = 10**12

_Item = TypeVar("_Item")

_EMPTY_OBJECT = msgspec.Raw(b"{}")
_EMPTY_LIST = msgspec.Raw(b"[]")


class Record(msgspec.Struct, rename="camel", gc=False):
    """One CRM record as listed or batch-read. Timestamps are ISO 8601 text, as sent."""

    id: str
    properties: msgspec.Raw = _EMPTY_OBJECT
    created_at: str | None = None
    updated_at: str | None = None
    #: None: not stated. `HubSpotClient` fills it in from the list or batch that was requested.
    archived: bool | None = None
    archived_at: str | None = None
    url: str | None = None

    @property
    def is_bare(self) -> bool:
        """Whether the record came without any property, which HubSpot never sends on purpose."""
        sent = memoryview(self.properties)
        return sent.nbytes <= len(b"{}") or sent[0] != ord("{")

    def empty(self) -> None:
        """Replace invalid properties by none."""
        self.properties = _EMPTY_OBJECT


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
    """Why some inputs of a batch (HTTP 207) are not among its results.

    ``context`` names them: {"ids": […]} of records, {"fromObjectId": […]} of associations.
    """

    category: str = ""
    message: str = ""
    context: Any = None

    @property
    def is_not_found(self) -> bool:
        """Whether the only problem is that records were not found."""
        return self.category == "OBJECT_NOT_FOUND"

    @property
    def ids(self) -> set[str]:
        """The inputs that it names, if any."""
        context = self.context if isinstance(self.context, dict) else {}
        named = [context.get(key) for key in ("ids", "fromObjectId")]
        return {str(record_id) for ids in named if isinstance(ids, list) for record_id in ids}


def unexplained(
    asked: Iterable[str], answered: Iterable[str], problems: Iterable[BatchProblem]
) -> list[str]:
    """Return the inputs of a batch that an answer neither contains nor reports as not found.

    A problem that names no input explains all of them, but only if the answer has no results.
    """
    missing = dict.fromkeys(asked)
    found = set(answered)
    for problem in problems:
        if problem.is_not_found:
            found |= problem.ids or (set() if found else set(missing))
    return [record_id for record_id in missing if record_id not in found]


class Page(_Paged):
    """One page of records; `repairs` counts the changes that made it storable."""

    results: list[Record]
    errors: list[BatchProblem] = []
    repairs: Repairs = msgspec.field(default_factory=Repairs)


class ListedPage(NamedTuple):
    """A page of a list: its ids, the next cursor (None: the end), and the records.

    There may be fewer records than ids, if one was deleted between two requests.
    """

    ids: list[str]
    after: str | None
    page: Page


class PastValue(msgspec.Struct, rename="camel"):
    """A value that a property had from `timestamp` on, and where it came from."""

    timestamp: str = ""
    value: str | None = None
    source_type: str | None = None
    source_id: str | None = None


class RecordHistory(msgspec.Struct, rename="camel"):
    """Property → its values, the newest first; None: HubSpot sent no history of the record."""

    id: str
    properties_with_history: dict[str, list[PastValue]] | None = None


class HistoryPage(msgspec.Struct):
    """``unanswered``: requested ids without an answer."""

    results: list[RecordHistory]
    errors: list[BatchProblem] = []
    unanswered: list[str] = []
    repairs: Repairs = msgspec.field(default_factory=Repairs)


class Found(msgspec.Struct):
    """A result of a search."""

    id: str


class SearchPage(msgspec.Struct):
    """``total``: how many records pass the filters, on all pages together."""

    total: Annotated[int, msgspec.Meta(ge=0, le=MAX_RECORDS)]
    results: list[Found]

    @property
    def ids(self) -> list[str]:
        return [found.id for found in self.results]

    @property
    def left(self) -> int:
        """How many records are on later pages."""
        return self.total - len(self.results)


class AssociationType(msgspec.Struct, rename="camel"):
    category: str
    type_id: int
    label: str | None = None


class AssociatedRecord(msgspec.Struct, rename="camel"):
    """``to_object_id`` is a number in HubSpot's answers and text in its specification."""

    to_object_id: int | str
    association_types: list[AssociationType]


class _AssociationSource(msgspec.Struct):
    id: str | int


class AssociationResult(_Paged, kw_only=True):
    """The associations of one record."""

    source: _AssociationSource = msgspec.field(name="from")
    to: list[AssociatedRecord]


class AssociationPage(msgspec.Struct):
    """One answer for a batch of records."""

    results: list[AssociationResult]
    errors: list[BatchProblem] = []
    repairs: Repairs = msgspec.field(default_factory=Repairs)


class Account(msgspec.Struct, rename="camel"):
    """GET /account-info/…/details: the token's account."""

    portal_id: Annotated[int, msgspec.Meta(gt=0, le=2**63 - 1)]
    time_zone: str = "UTC"
    #: STANDARD, DEVELOPER_TEST, SANDBOX or APP_DEVELOPER.
    account_type: str = ""
    company_currency: str | None = None
    additional_currencies: msgspec.Raw = _EMPTY_LIST
    #: The hublet: na1, eu1 …
    data_hosting_location: str | None = None
    ui_domain: str | None = None


class TokenInfo(msgspec.Struct, rename="camel"):
    """POST …/access-token-info: the scopes of a private app's token or a service key."""

    hub_id: int
    scopes: list[str] = []


class PropertyDefinition(msgspec.Struct, rename="camel"):
    """A property's definition; ``document`` is HubSpot's JSON of it."""

    name: str
    label: str | None = None
    type: str | None = None
    field_type: str | None = None
    calculated: bool = False
    archived: bool = False
    data_sensitivity: str | None = None
    options: msgspec.Raw = _EMPTY_LIST
    created_at: str | None = None
    document: msgspec.Raw = _EMPTY_OBJECT


class Stage(msgspec.Struct, rename="camel"):
    id: str
    label: str | None = None
    display_order: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    metadata: dict[str, Any] = {}


class Pipeline(msgspec.Struct, rename="camel"):
    """``stages`` is None if HubSpot does not list them."""

    id: str
    label: str | None = None
    display_order: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    stages: list[Stage] | None = None


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


class User(msgspec.Struct, rename="camel"):
    """A user of the account, as the settings API lists it; `Owner` is another list."""

    id: str
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    role_ids: list[str] = []
    #: The older field; older answers have only this one.
    role_id: str | None = None
    primary_team_id: str | None = None
    secondary_team_ids: list[str] = []
    super_admin: bool | None = None


class Team(msgspec.Struct, rename="camel"):
    id: str
    name: str
    user_ids: list[str] = []
    secondary_user_ids: list[str] = []


class Role(msgspec.Struct, rename="camel"):
    """A role, which HubSpot's documentation also calls a permission set."""

    id: str
    name: str
    requires_billing_write: bool | None = None


class Listed(_Paged, Generic[_Item]):
    """A list, or a page of one."""

    results: list[_Item]


_Shape = TypeVar("_Shape")


def decoder_of(shape: type[_Shape]) -> Callable[[bytes], _Shape]:
    """Return a decoder of a type, which repairs what PostgreSQL or JSON does not allow.

    It counts this in a page's `repairs`, and raises ValueError (msgspec.DecodeError is one) for
    anything but this type.
    """
    read = _reader_of(shape)

    def decode(body: bytes) -> _Shape:
        if not needs_repair(body):
            try:
                return read(body)
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                # NaN, Infinity or a bare control character: Python's parser accepts them.
                pass
        repaired, repairs = repair(body)
        found = read(repaired)
        if isinstance(found, Page | HistoryPage | AssociationPage):
            found.repairs = repairs
        return found

    return decode


def decode_definitions(body: bytes) -> list[PropertyDefinition]:
    """Decode a list of property definitions, keeping the JSON of each."""
    return [decode_definition(document) for document in _decode_definitions(body).results]


def decode_definition(document: msgspec.Raw | bytes) -> PropertyDefinition:
    """Decode one property definition, keeping its JSON."""
    definition = _decode_definition(bytes(document))
    definition.document = msgspec.Raw(document)
    return definition


def _reader_of(shape: type[_Shape]) -> Callable[[bytes], _Shape]:
    """Return a decoder of a type: strict, which is fast, and lenient if that fails."""
    decoder = msgspec.json.Decoder(shape)

    def decode(body: bytes) -> _Shape:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            found: _Shape = _read_leniently(body, shape)
            return found

    return decode


def _read_leniently(document: msgspec.Raw | bytes, wanted: Any) -> Any:
    """Read JSON as *wanted* although fields are null or of another scalar type than documented.

    A null becomes the field's default, if it has one; a number or a boolean becomes text if text is
    documented, and text becomes a number or a boolean. Raises msgspec.ValidationError for all else,
    so that unknown data is not mistaken for missing data.
    """
    kind = get_origin(wanted)
    if wanted is msgspec.Raw:
        return msgspec.Raw(document).copy()
    if kind is Annotated:
        return msgspec.convert(_read_leniently(document, get_args(wanted)[0]), wanted)
    if kind in (Union, types.UnionType):
        return _read_one_of(document, get_args(wanted))
    if kind is list:
        (item,) = get_args(wanted)
        documents = msgspec.json.decode(document, type=list[msgspec.Raw])
        return [_read_leniently(each, item) for each in documents]
    if kind is dict:
        _, item = get_args(wanted)
        by_key = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
        return {key: _read_leniently(each, item) for key, each in by_key.items()}
    if issubclass(kind or wanted, msgspec.Struct):
        return _read_struct(document, wanted)
    value = msgspec.json.decode(document)
    if wanted is str and isinstance(value, int | float):
        # the original digits, because an id of 19 digits does not fit into a float
        return bytes(document).decode().strip()
    return msgspec.convert(value, wanted, strict=False)


def _read_one_of(document: msgspec.Raw | bytes, options: tuple[Any, ...]) -> Any:
    if types.NoneType in options and _is_null(document):
        return None
    (*others, last) = (option for option in options if option is not types.NoneType)
    for option in others:
        try:
            return _read_leniently(document, option)
        except msgspec.ValidationError:
            continue
    return _read_leniently(document, last)


def _read_struct(document: msgspec.Raw | bytes, wanted: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        given = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
        values = {}
        for field in msgspec.structs.fields(wanted):
            value = given.get(field.encode_name)
            if field.required and value is None:
                raise msgspec.ValidationError(
                    f"Object missing required field `{field.encode_name}`"
                )
            if value is not None and (field.required or not _is_null(value)):
                values[field.name] = _read_leniently(value, field.type)
        return wanted(**values)
    except msgspec.ValidationError:
        if wanted is BatchProblem:
            # whatever it is, it is a problem, without a category
            return BatchProblem()
        raise


def _is_null(document: msgspec.Raw | bytes) -> bool:
    return bytes(document).strip() == b"null"


decode_page = decoder_of(Page)
decode_history = decoder_of(HistoryPage)
_decode_definitions = decoder_of(Listed[msgspec.Raw])
_decode_definition = _reader_of(PropertyDefinition)

#: Pages without a record that may follow each other: a page may be short, even empty.
EMPTY_PAGES_MAX = 100
#: Pages that may have exactly the ids of an earlier one.
REPEATED_PAGES_MAX = 3
#: Records that a list may have beyond twice the counted number.
UNCOUNTED_RECORDS = 20_000


class CursorGuard:
    """Stops the reading of a list whose cursors never reach the end.

    :param path: of the list, for the message.
    :param count: counts the records; None if HubSpot can't. Changes during the read don't explain
        more than twice as many plus UNCOUNTED_RECORDS. It is called only if more were read than
        `expect` allows: without it, UNCOUNTED_RECORDS.
    """

    def __init__(self, path: str, count: Callable[[], int] | None = None) -> None:
        self._path = path
        self._count = count
        self._followed: set[str] = set()
        self._seen: set[Hashable] = set()
        self._empty = self._repeated = self._records = 0
        self._allowed = UNCOUNTED_RECORDS

    def next(self, after: str | None, ids: Sequence[str]) -> str | None:
        """Note a page of *ids*, and return its next cursor *after*; None: the end of the list.

        Raises ContractError for a cursor that was followed before, for EMPTY_PAGES_MAX empty pages
        in a row, for pages that repeat earlier ones, and for more records than there are.
        """
        if after is None:
            return None
        if after in self._followed:
            raise self._refuse("leads back to a page that was read before")
        self._followed.add(after)
        page = hash(tuple(ids))
        self._repeated += bool(ids) and page in self._seen
        self._seen.add(page)
        if self._repeated > REPEATED_PAGES_MAX:
            raise self._refuse("repeats the same pages")
        self.note(len(ids))
        return after

    def note(self, records: int) -> None:
        """Count the records of a page. Readers of id ranges, which make cursors, use only this."""
        self._empty = 0 if records else self._empty + 1
        if self._empty > EMPTY_PAGES_MAX:
            raise self._refuse(f"continues after {EMPTY_PAGES_MAX} empty pages")
        self._records += records
        if self._count is not None and self._records > self._allowed:
            self.expect(self._count())
            if self._records > self._allowed:
                raise self._refuse(
                    f"has returned {self._records} records, more than HubSpot counts"
                )

    def expect(self, records: int) -> None:
        """Allow as many records as were counted, and what may be added during the read."""
        self._allowed = 2 * records + UNCOUNTED_RECORDS

    def _refuse(self, what: str) -> ContractError:
        remedy = "Report it; the next scan reads the list again."
        return ContractError(f"HubSpot's list {self._path} {what}.", remedy=remedy)
