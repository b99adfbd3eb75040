"""A simulated HubSpot account: what it is set to, its deals, and what can happen to them."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.hubspot_simulator import cursors, mutator
from tests.hubspot_simulator.deal import Deal, Properties, now_iso, with_always
from tests.hubspot_simulator.definitions import (
    CLOSED,
    STAGES,
    owner,
    sales_pipeline,
    standard_definitions,
)
from tests.hubspot_simulator.faults import Fault
from tests.hubspot_simulator.rate_limits import WINDOW_S, App, Quota
from tests.hubspot_simulator.records import Records
from tests.hubspot_simulator.statistics import Statistics
from tests.hubspot_simulator.tokens import Token

#: Object type → [(id, type id, label)]; an id is there once for each type of association.
Associations = dict[str, list[tuple[int, int, str | None]]]


@dataclass
class Portal:
    """One account. Every change and every read happens under ``lock``."""

    portal_id: int
    tokens: list[Token]
    time_zone: str = "US/Eastern"
    currency: str = "USD"
    data_hosting: str = "na1"
    #: "id": a plain number, last id + 1. "opaque": text that tells nothing.
    cursor: cursors.Kind = "id"
    #: The burst limit of each app. None: no limit.
    requests_per_window: int | None = None
    send_rate_headers: bool = True
    quota: Quota = field(default_factory=Quota)
    #: Every answer takes at least this long.
    latency_s: float = 0.0
    #: How long a change stays unseen by search.
    index_lag_s: float = 0.0
    #: Of every page, this many records less than asked for; the first page then is empty.
    short_pages_by: int = 0
    definitions: dict[str, dict[str, Any]] = field(default_factory=standard_definitions)
    pipelines: list[dict[str, Any]] = field(default_factory=lambda: [sales_pipeline()])
    owners: list[dict[str, Any]] = field(default_factory=lambda: [owner(1), owner(2)])
    archived_owners: list[dict[str, Any]] = field(default_factory=lambda: [owner(3, archived=True)])
    associations: dict[int, Associations] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.records = Records()
        self.statistics = Statistics()
        #: The last search: what was asked, of which version of the records, and all it found.
        self.search_cache: tuple[str, int, list[tuple[Deal, Properties]]] | None = None
        self._apps: dict[str, App] = {}
        self._after_lists: list[tuple[int, Callable[[Portal], object]]] = []
        self._cursors = cursors.Cursors(self.portal_id)
        self._mutator: mutator.Mutator | None = None

    @property
    def deals(self) -> MutableMapping[int, Deal]:
        """Every deal by id, live and archived."""
        return self.records.deals

    @property
    def merged(self) -> dict[int, int]:
        """A deal that was merged away → the one it went into."""
        return self.records.merged

    @property
    def requests(self) -> Counter[str]:
        """How often each endpoint was asked; the names are those of `routes.ROUTES`."""
        return self.statistics.requests

    def live_ids(self) -> list[int]:
        return list(self.records.ids(archived=False))

    def archived_ids(self) -> list[int]:
        return list(self.records.ids(archived=True))

    def app(self, token: Token) -> App:
        app = self._apps.setdefault(token.app, App(token.app))
        app.requests_per_window = self.requests_per_window
        return app

    def add_fault(self, fault: Fault) -> Fault:
        """Put a fault into the queue: of those that match a request, the first one strikes."""
        with self.lock:
            self.faults.append(fault)
        return fault

    # What a client should find, and what it asked

    def truth(self) -> list[dict[str, Any]]:
        """Return every deal, live and archived, with all its properties, by ascending id.

        ``mergedIds`` is there where deals were merged into this one.
        """
        with self.lock:
            return list(self.each_truth())

    def each_truth(self) -> Iterator[dict[str, Any]]:
        names = with_always(n for n, defined in self.definitions.items() if not defined["archived"])
        for deal_id in sorted(self.deals):
            deal = self.deals[deal_id]
            document = deal.document(names)
            if deal.merged_ids:
                document["mergedIds"] = [str(merged_id) for merged_id in deal.merged_ids]
            yield document

    def stats(self) -> dict[str, Any]:
        """Return what was asked of this account so far; times are of the monotonic clock."""
        with self.lock:
            return {
                **self.statistics.document(),
                "max_requests_in_any_window": {
                    app.name: app.max_in_any_window() for app in self._apps.values()
                },
                "accepted_at_s": {app.name: list(app.accepted) for app in self._apps.values()},
            }

    def max_in_any_window(self, window_s: float = WINDOW_S, app: str = "app") -> int:
        """Return the most accepted requests of an app that any rolling window held."""
        with self.lock:
            return self._apps[app].max_in_any_window(window_s) if app in self._apps else 0

    # Listing

    def page(self, archived: bool, after: str | None, limit: int) -> tuple[list[Deal], str | None]:
        """Return a page of deals by ascending id, and the cursor of the next one."""
        ids = self.records.ids(archived=archived)
        if self.short_pages_by and after is None:
            return [], self._cursors.write(ids[0], self.cursor) if ids else None
        start = None if after is None else self._cursors.read(after, self.cursor)
        size = max(1, limit - self.short_pages_by)
        deals, more = self.records.page(archived=archived, start=start, size=size)
        return deals, self._cursors.write(deals[-1].id + 1, self.cursor) if more else None

    def after_list_request(self, nth: int, change: Callable[["Portal"], object]) -> None:
        """Run *change* when the *nth* list request from now on has been answered."""
        with self.lock:
            self._after_lists.append((self.requests["list"] + nth, change))

    def list_was_answered(self) -> None:
        due = [entry for entry in self._after_lists if entry[0] <= self.requests["list"]]
        for entry in due:
            self._after_lists.remove(entry)
            entry[1](self)

    # Changes

    def add(self, deal: Deal) -> Deal:
        """Put a deal in as it is (seeding)."""
        with self.lock:
            return self.records.add(deal)

    def create(self, **properties: str | None) -> Deal:
        with self.lock:
            self._require_defined(properties)
            moment, deal_id = now_iso(), self.records.next_id()
            deal = Deal(deal_id, {}, moment, moment, self.portal_id)
            deal.properties = {
                "createdate": moment,
                "hs_object_id": str(deal_id),
                "dealstage": STAGES[0][0],
                "pipeline": "default",
                **properties,
            }
            self._touch(deal, {}, before=None)
            return self.records.add(deal)

    def update(self, deal_id: int, **properties: str | None) -> None:
        """Write values: calculated ones follow, and the modification time moves."""
        with self.lock:
            self._require_defined(properties)
            deal = self.deals[deal_id]
            indexed = time.time() >= deal.indexed_at
            before = dict(deal.properties) if indexed else deal.indexed
            self._touch(deal, properties, before)
            self.records.changed(deal)

    def drift(self, deal_id: int, **calculated: str | None) -> None:
        """Change calculated values: no modification time moves."""
        with self.lock:
            self._require_defined(calculated)
            deal = self.deals[deal_id]
            deal.change(calculated, now_iso())
            self.records.changed(deal)

    def archive(self, deal_id: int) -> None:
        """Archive a deal: no modification time moves, search forgets it."""
        with self.lock:
            self.records.move(self.deals[deal_id], now_iso())

    def restore(self, deal_id: int) -> None:
        """Undo archiving: no modification time moves."""
        with self.lock:
            self.records.move(self.deals[deal_id], None)

    def purge(self, deal_id: int) -> None:
        """Remove a deal without a trace, as 90 days after it was archived."""
        with self.lock:
            self.records.remove(self.deals[deal_id])
            self.associations.pop(deal_id, None)

    def merge(self, first: int, second: int, survivor: Literal["new", "primary"] = "new") -> Deal:
        """Merge two deals, into a new one or into the first; who is merged vanishes from the lists.

        HubSpot's announcement speaks of a new deal, its specification of the primary one.
        """
        with self.lock:
            one, other = self.deals[first], self.deals[second]
            gone = [one, other] if survivor == "new" else [other]
            ids = (*(deal.id for deal in gone), *one.merged_ids, *other.merged_ids)
            values = {"hs_merged_object_ids": ";".join(map(str, ids))}
            if survivor == "new":
                own = ("hs_object_id", "createdate", "hs_lastmodifieddate")
                kept = {name: v for name, v in one.properties.items() if name not in own}
                into = self.create(**{**kept, **values})
            else:
                self.update(first, **values)
                into = self.deals[first]
            into.merged_ids = ids
            self._move_associations(gone, into)
            for deal in gone:
                self.purge(deal.id)
                self.merged[deal.id] = into.id
            return into

    def mutate(self, rng: random.Random) -> None:
        """Do one random change."""
        mutator.mutate(self, rng)

    @contextmanager
    def mutating(self, changes_per_s: float, seed: int = 0) -> Iterator[None]:
        """Keep changing deals in the background, in an order that the seed decides."""
        self.start_mutating(changes_per_s, seed)
        try:
            yield
        finally:
            self.stop_mutating()

    def start_mutating(self, changes_per_s: float, seed: int = 0) -> None:
        self.stop_mutating()
        self._mutator = mutator.Mutator(self, changes_per_s, seed)

    def stop_mutating(self) -> None:
        if self._mutator is not None:
            self._mutator.stop()
            self._mutator = None

    def _require_defined(self, properties: Properties) -> None:
        if unknown := properties.keys() - self.definitions.keys():
            raise ValueError(f"no such properties: {sorted(unknown)}")

    def _touch(self, deal: Deal, properties: Properties, before: Properties | None) -> None:
        moment = now_iso()
        stage = properties.get("dealstage", deal.properties.get("dealstage"))
        calculated = {
            "hs_is_closed": str(stage in CLOSED).lower(),
            "hs_is_closed_won": str(stage == "closedwon").lower(),
        }
        deal.change({**properties, **calculated, "hs_lastmodifieddate": moment}, moment)
        deal.updated_at = moment
        deal.indexed, deal.indexed_at = before, time.time() + self.index_lag_s

    def _move_associations(self, gone: list[Deal], into: Deal) -> None:
        target = self.associations.setdefault(into.id, {})
        for deal in gone:
            for to_type, links in self.associations.get(deal.id, {}).items():
                target[to_type] = list(dict.fromkeys([*target.get(to_type, []), *links]))
