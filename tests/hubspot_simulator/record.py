"""One record of a CRM object, and how HubSpot writes it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from tests.hubspot_simulator.object_type import DEALS, ObjectType

#: Property name → what HubSpot sends: text, or None.
Properties = dict[str, str | None]


def iso(moment: datetime) -> str:
    """Write a moment as HubSpot does: UTC with milliseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + (
        f"{moment.microsecond // 1000:03d}Z"
    )


def now_iso() -> str:
    return iso(datetime.now(UTC))


def to_json(document: Any) -> bytes:
    """Write JSON: UTF-8, but `\\ud83d` escapes where halves of pairs have no UTF-8."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document, separators=(",", ":")).encode()


@dataclass(slots=True)
class Record:
    """A record's state.

    ``absent``: properties whose key is missing from answers, where others say null.
    ``merged_ids``: the records that were merged into this one.
    """

    id: int
    properties: Properties
    created_at: str
    updated_at: str
    portal_id: int
    type: ObjectType = DEALS
    archived_at: str | None = None
    absent: frozenset[str] = frozenset()
    merged_ids: tuple[int, ...] = ()
    #: When search will see the last change, and what it sees until then (None: nothing).
    indexed_at: float = 0.0
    indexed: Properties | None = None
    #: Name → (moment, value), newest first; only of properties that changed since the seed.
    _past: dict[str, list[tuple[str, str | None]]] = field(default_factory=dict, repr=False)

    @property
    def archived(self) -> bool:
        return self.archived_at is not None

    def change(self, values: Properties, moment: str) -> None:
        """Take new values, and remember the old ones for the history."""
        for name, value in values.items():
            before = self.properties.get(name)
            if value != before:
                past = self._past.setdefault(
                    name, [] if before is None else [(self.created_at, before)]
                )
                past.insert(0, (moment, value))
                self.properties[name] = value
        self.absent -= values.keys()

    def forget(self, name: str, value: str | None) -> None:
        """Leave a value out of the history, as may happen to old ones."""
        self._past[name] = [entry for entry in self._past.get(name, []) if entry[1] != value]

    def history(self, name: str) -> list[dict[str, Any]]:
        """Return every value a property had, newest first."""
        value = self.properties.get(name)
        seeded = [] if value is None else [(self.created_at, value)]
        return [
            {
                "value": before or "",
                "timestamp": moment,
                "sourceType": "CRM_UI",
                "sourceId": "userId:1",
            }
            for moment, before in self._past.get(name, seeded)
        ]

    def document(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the record with the properties *names*, which include those always sent."""
        properties = {name: self.properties.get(name) for name in names}
        for name in self.absent & properties.keys():
            del properties[name]
        document: dict[str, Any] = {
            "id": str(self.id),
            "properties": properties,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "archived": self.archived,
            "url": f"https://app.hubspot.com/contacts/{self.portal_id}/record/"
            f"{self.type.type_id}/{self.id}",
        }
        if self.archived_at:
            document["archivedAt"] = self.archived_at
        return document
