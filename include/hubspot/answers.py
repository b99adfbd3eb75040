"""The shapes of HubSpot's answers that this package reads, decoded with msgspec.

Only what is used is declared; everything else in an answer is skipped without becoming a Python
object. A record's `properties` stay JSON text (`msgspec.Raw`): HubSpot's own bytes.
"""

from typing import Any

import msgspec

from include.hubspot.json_repair import Repairs, needs_repair, repair

_EMPTY_OBJECT = msgspec.Raw(b"{}")


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


class Page(msgspec.Struct):
    """One page of records; `repairs` counts what had to be changed to make it storable."""

    results: list[Record]
    paging: _Paging | None = None
    repairs: Repairs = msgspec.field(default_factory=Repairs)

    @property
    def after(self) -> str | None:
        """The cursor of the next page. Only its absence means the end: a page may be short."""
        return self.paging.next.after if self.paging and self.paging.next else None


class Account(msgspec.Struct, rename="camel"):
    """GET /account-info/…/details: whose token this is."""

    portal_id: int
    time_zone: str = "UTC"


class TokenInfo(msgspec.Struct, rename="camel"):
    """POST …/access-token-info: what a private-app token or service key may do."""

    hub_id: int
    scopes: list[str] = []


class PropertyDefinition(msgspec.Struct):
    name: str


class Stage(msgspec.Struct, rename="camel"):
    id: str
    label: str = ""
    metadata: dict[str, Any] = {}


class Pipeline(msgspec.Struct, rename="camel"):
    id: str
    label: str = ""
    stages: list[Stage] = []


class PropertyDefinitions(msgspec.Struct):
    results: list[PropertyDefinition]


class Pipelines(msgspec.Struct):
    results: list[Pipeline]


_page_decoder = msgspec.json.Decoder(Page)


def decode_page(body: bytes) -> Page:
    """Decode a page of records, repairing what PostgreSQL or JSON itself would refuse.

    Raises ValueError (msgspec.DecodeError is one) when it is no page of records.
    """
    if not needs_repair(body):
        try:
            return _page_decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # NaN, Infinity or a bare control character: Python's parser is more patient.
            pass
    repaired, repairs = repair(body)
    page = _page_decoder.decode(repaired)
    page.repairs = repairs
    return page
