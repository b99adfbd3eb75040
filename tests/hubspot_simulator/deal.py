"""One deal, and its JSON as HubSpot would send it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

#: Sent whatever was asked for.
ALWAYS = ("createdate", "hs_lastmodifieddate", "hs_object_id")
#: Sent when nothing was asked for.
DEFAULTS = ("amount", "closedate", *ALWAYS, "dealname", "dealstage", "pipeline")


def iso(moment: datetime) -> str:
    """Write a moment as HubSpot does: UTC with milliseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + (
        f"{moment.microsecond // 1000:03d}Z"
    )


@dataclass
class Deal:
    """A deal's state. ``properties`` holds values as HubSpot sends them: text, or None."""

    id: int
    properties: dict[str, str | None]
    created_at: str
    updated_at: str
    portal_id: int
    archived_at: str | None = None
    #: When search will see the last change, and what it sees until then (None: nothing).
    indexed_at: float = 0.0
    indexed: dict[str, str | None] | None = None
    _bytes: dict[Sequence[str] | None, bytes] = field(default_factory=dict, repr=False)

    @property
    def archived(self) -> bool:
        return self.archived_at is not None

    def changed(self) -> None:
        """Forget what was written of the deal before a change."""
        self._bytes.clear()

    def document(self, names: Sequence[str] | None) -> dict[str, Any]:
        """Return the deal with the properties *names* (None: HubSpot's default ones)."""
        wanted = dict.fromkeys((*(DEFAULTS if names is None else names), *ALWAYS))
        document: dict[str, Any] = {
            "id": str(self.id),
            "properties": {name: self.properties.get(name) for name in wanted},
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "archived": self.archived,
            "url": f"https://app.hubspot.com/contacts/{self.portal_id}/record/0-3/{self.id}",
        }
        if self.archived_at:
            document["archivedAt"] = self.archived_at
        return document

    def as_bytes(self, names: Sequence[str] | None) -> bytes:
        """Return the deal as JSON. Kept per selection: a page is then joining bytes."""
        found = self._bytes.get(names)
        if found is None:
            found = self._bytes[names] = json.dumps(self.document(names)).encode()
        return found
