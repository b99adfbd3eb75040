"""A simulated HubSpot account: its tokens, its deals, and what can happen to them."""

import base64
import bisect
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from tests.hubspot_simulator.deal import Deal, iso
from tests.hubspot_simulator.definitions import (
    CLOSED,
    STAGES,
    owner,
    sales_pipeline,
    standard_definitions,
)
from tests.hubspot_simulator.errors import invalid
from tests.hubspot_simulator.faults import Fault
from tests.hubspot_simulator.rate_limits import App, Quota

ALL_SCOPES = (
    "crm.objects.deals.read",
    "crm.schemas.deals.read",
    "crm.objects.owners.read",
    "crm.objects.companies.read",
    "crm.objects.contacts.read",
    "oauth",
)


@dataclass
class Token:
    """A bearer token. ``kind`` "oauth": the private-app introspection does not know it."""

    text: str
    state: Literal["valid", "expired", "revoked"] = "valid"
    scopes: tuple[str, ...] = ALL_SCOPES
    app: str = "app"
    kind: Literal["private", "oauth"] = "private"


@dataclass
class Portal:
    """One account. Every change and every read happens under ``lock``."""

    portal_id: int
    tokens: list[Token]
    time_zone: str = "US/Eastern"
    currency: str = "USD"
    #: "id": a plain number, last id + 1. "opaque": text that tells nothing.
    cursor: Literal["id", "opaque"] = "id"
    requests_per_window: int | None = None
    send_rate_headers: bool = True
    quota: Quota = field(default_factory=Quota)
    latency_s: float = 0.0
    #: How long a change stays unseen by search.
    index_lag_s: float = 0.0
    #: Of every page, this many records less than asked for; the first page then is empty.
    short_pages_by: int = 0
    definitions: dict[str, dict[str, Any]] = field(default_factory=standard_definitions)
    pipelines: list[dict[str, Any]] = field(default_factory=lambda: [sales_pipeline()])
    owners: list[dict[str, Any]] = field(default_factory=lambda: [owner(1), owner(2)])
    archived_owners: list[dict[str, Any]] = field(default_factory=lambda: [owner(3, archived=True)])
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.deals: dict[int, Deal] = {}
        #: deal id → object type → [(id, type id, label)]
        self.associations: dict[int, dict[str, list[tuple[int, int, str | None]]]] = {}
        self.merged: dict[int, int] = {}
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.deals_served = 0
        self._live: list[int] = []
        self._archived: list[int] = []
        self._apps: dict[str, App] = {}
        self._after_lists: list[tuple[int, Callable[[Portal], object]]] = []
        self._salt = random.Random(self.portal_id).randbytes(6).hex()

    def app(self, token: Token) -> App:
        return self._apps.setdefault(token.app, App(token.app, self.requests_per_window))

    # What a client should find

    def truth(self) -> list[dict[str, Any]]:
        """Return every deal, live and archived, with all its properties, by ascending id."""
        with self.lock:
            names = tuple(self.definitions)
            return [self.deals[deal_id].document(names) for deal_id in sorted(self.deals)]

    def stats(self) -> dict[str, Any]:
        """Return what was asked of this account so far."""
        with self.lock:
            return {
                "requests": dict(self.requests),
                "statuses": {str(status): n for status, n in self.statuses.items()},
                "throttled": self.statuses[429],
                "deals_served": self.deals_served,
                "max_requests_in_any_window": {
                    app.name: app.max_in_any_window() for app in self._apps.values()
                },
            }

    # Listing

    def page(self, archived: bool, after: str | None, limit: int) -> tuple[list[Deal], str | None]:
        """Return a page of deals by ascending id, and the cursor of the next one."""
        ids = self._archived if archived else self._live
        start = bisect.bisect_left(ids, self._position(after)) if after is not None else 0
        if self.short_pages_by and after is None:
            return [], self._cursor(ids[0]) if ids else None
        size = max(1, limit - self.short_pages_by)
        chosen = ids[start : start + size]
        more = start + size < len(ids)
        self.deals_served += len(chosen)
        return [self.deals[i] for i in chosen], self._cursor(chosen[-1] + 1) if more else None

    def after_list_request(self, nth: int, change: Callable[["Portal"], object]) -> None:
        """Run *change* when the *nth* list request from now on has been answered."""
        self._after_lists.append((self.requests["list"] + nth, change))

    def list_was_answered(self) -> None:
        due = [entry for entry in self._after_lists if entry[0] <= self.requests["list"]]
        for entry in due:
            self._after_lists.remove(entry)
            entry[1](self)

    def _cursor(self, position: int) -> str:
        if self.cursor == "id":
            return str(position)
        return base64.urlsafe_b64encode(f"{self._salt}:{position}".encode()).decode()

    def _position(self, after: str) -> int:
        text = after
        if self.cursor == "opaque":
            try:
                salt, _, text = base64.urlsafe_b64decode(after.encode()).decode().partition(":")
            except ValueError:
                salt = ""
            if salt != self._salt:
                raise invalid(f"Invalid after: {after}")
        if not text.isdigit():
            raise invalid(f"Invalid after: {after}")
        return int(text)

    # Changes

    def add(self, deal: Deal) -> Deal:
        """Put a deal in as it is (seeding)."""
        self.deals[deal.id] = deal
        bisect.insort(self._archived if deal.archived else self._live, deal.id)
        return deal

    def create(self, **properties: str | None) -> Deal:
        with self.lock:
            moment, deal_id = iso(datetime.now(UTC)), max(self.deals, default=1_000) + 1
            deal = Deal(deal_id, {}, moment, moment, self.portal_id)
            deal.properties = {
                "createdate": moment,
                "hs_object_id": str(deal_id),
                "dealstage": STAGES[0][0],
                "pipeline": "default",
                **properties,
            }
            self._touch(deal, before=None)
            return self.add(deal)

    def update(self, deal_id: int, **properties: str | None) -> None:
        with self.lock:
            deal = self.deals[deal_id]
            before = dict(deal.properties)
            deal.properties.update(properties)
            stage = deal.properties.get("dealstage")
            deal.properties["hs_is_closed"] = str(stage in CLOSED).lower()
            self._touch(deal, before)

    def drift(self, deal_id: int, **calculated: str | None) -> None:
        """Change calculated values: no modification time moves."""
        with self.lock:
            self.deals[deal_id].properties.update(calculated)
            self.deals[deal_id].changed()

    def archive(self, deal_id: int) -> None:
        """Archive a deal: no modification time moves, search forgets it."""
        with self.lock:
            self._move(deal_id, iso(datetime.now(UTC)))

    def restore(self, deal_id: int) -> None:
        with self.lock:
            self._move(deal_id, None)

    def purge(self, deal_id: int) -> None:
        """Remove a deal without a trace, as 90 days after it was archived."""
        with self.lock:
            self._ids_of(self.deals[deal_id]).remove(deal_id)
            del self.deals[deal_id]

    def merge(self, first: int, second: int) -> Deal:
        """Merge two deals into a new one; the two vanish from both lists."""
        with self.lock:
            gone = [self.deals[first], self.deals[second]]
            merged_ids = ";".join(
                filter(None, (d.properties.get("hs_merged_object_ids") for d in gone))
            )
            names = f"{first};{second}" + (f";{merged_ids}" if merged_ids else "")
            kept = {k: v for k, v in gone[0].properties.items() if k != "hs_object_id"}
            survivor = self.create(**{**kept, "hs_merged_object_ids": names})
            for deal in gone:
                self.purge(deal.id)
                self.merged[deal.id] = survivor.id
            return survivor

    def mutate(self, rng: random.Random) -> None:
        """Do one random change."""
        with self.lock:
            live, archived = list(self._live), list(self._archived)
            change = rng.choice(("create", "update", "update", "archive", "restore", "merge"))
            if change == "create" or len(live) < 3:
                self.create(dealname=f"created {rng.random()}", amount=str(rng.randint(1, 9999)))
            elif change == "update":
                self.update(rng.choice(live), amount=str(rng.randint(1, 9999)))
            elif change == "archive":
                self.archive(rng.choice(live))
            elif change == "restore" and archived:
                self.restore(rng.choice(archived))
            elif change == "merge":
                self.merge(*rng.sample(live, 2))

    @contextmanager
    def mutating(self, changes_per_s: float, seed: int = 0) -> Iterator[None]:
        """Keep changing deals in the background, in an order that the seed decides."""
        stop, rng = threading.Event(), random.Random(seed)

        def run() -> None:
            while not stop.wait(1 / changes_per_s):
                self.mutate(rng)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _touch(self, deal: Deal, before: dict[str, str | None] | None) -> None:
        moment = iso(datetime.now(UTC))
        deal.updated_at = deal.properties["hs_lastmodifieddate"] = moment
        deal.indexed, deal.indexed_at = before, time.time() + self.index_lag_s
        deal.changed()

    def _move(self, deal_id: int, archived_at: str | None) -> None:
        deal = self.deals[deal_id]
        self._ids_of(deal).remove(deal_id)
        deal.archived_at = archived_at
        deal.changed()
        bisect.insort(self._ids_of(deal), deal_id)

    def _ids_of(self, deal: Deal) -> list[int]:
        return self._archived if deal.archived else self._live


def properties_of(text: str | None, repeated: Sequence[str]) -> tuple[str, ...] | None:
    """Read the `properties` parameter: a comma list, repeated or not. None: not given."""
    names = [name for part in (text, *repeated) if part for name in part.split(",")]
    return tuple(dict.fromkeys(names)) or None


def to_json(document: Any) -> bytes:
    return json.dumps(document).encode()
