"""A simulated HubSpot account: what it is set to, its objects, and what can happen to them."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.hubspot_simulator import cursors, mutator, object_seed
from tests.hubspot_simulator import object_type as types
from tests.hubspot_simulator.changes import CrmObject, Deals
from tests.hubspot_simulator.definitions import (
    owner,
    role,
    sales_pipeline,
    standard_definitions,
    team,
    user,
)
from tests.hubspot_simulator.faults import Fault
from tests.hubspot_simulator.links import Associations, Links
from tests.hubspot_simulator.oauth_app import OAuthApp
from tests.hubspot_simulator.object_type import ObjectType
from tests.hubspot_simulator.rate_limits import WINDOW_S, App, Quota
from tests.hubspot_simulator.record import Record
from tests.hubspot_simulator.records import Records
from tests.hubspot_simulator.statistics import Statistics
from tests.hubspot_simulator.tokens import Token


@dataclass
class Portal:
    """One account. Every change and every read happens under ``lock``."""

    portal_id: int
    tokens: list[Token]
    account_type: Literal["STANDARD", "DEVELOPER_TEST", "SANDBOX", "APP_DEVELOPER"] = "STANDARD"
    time_zone: str = "US/Eastern"
    currency: str = "USD"
    additional_currencies: tuple[str, ...] = ()
    data_hosting: str = "na1"
    #: "id": a plain number, last id + 1. "last id": the last id itself, which then does not come
    #: again. "opaque": text without a meaning.
    cursor: cursors.Kind = "id"
    #: The burst limit of each app. None: no limit, and a million is announced.
    requests_per_window: int | None = None
    send_rate_headers: bool = True
    quota: Quota = field(default_factory=Quota)
    #: Every answer takes at least this long.
    latency_s: float = 0.0
    #: How long a change stays unseen by search.
    index_lag_s: float = 0.0
    #: Of every page, this many records less than asked for; the first page then is empty.
    short_pages_by: int = 0
    pipelines: list[dict[str, Any]] = field(default_factory=lambda: [sales_pipeline()])
    owners: list[dict[str, Any]] = field(default_factory=lambda: [owner(1), owner(2)])
    archived_owners: list[dict[str, Any]] = field(default_factory=lambda: [owner(3, archived=True)])
    users: list[dict[str, Any]] = field(
        default_factory=lambda: [user(1, roleIds=["7"], primaryTeamId="5"), user(2), user(4)]
    )
    teams: list[dict[str, Any]] = field(default_factory=lambda: [team(5, "Sales", "1001")])
    roles: list[dict[str, Any]] = field(default_factory=lambda: [role(7, "Closer")])
    faults: list[Fault] = field(default_factory=list)
    #: Installed here; the access tokens they get are added to ``tokens``.
    oauth_apps: list[OAuthApp] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.statistics = Statistics()
        self.cursors = cursors.Cursors(self.portal_id)
        deals = Deals(self, types.DEALS, standard_definitions())
        #: By the plural name; deals are always there.
        self.objects: dict[str, CrmObject] = {"deals": deals}
        self._ends = {
            alias: known
            for known in types.STANDARD_TYPES
            for alias in known.aliases(self.portal_id)
        }
        self._apps: dict[str, App] = {}
        self._mutator: mutator.Mutator | None = None

    # Object types

    def add_object(
        self,
        name: str,
        *,
        object_type: str | None = None,
        modified_property: str | None = None,
        count: int = 0,
        archived: int = 0,
        seed: int = 0,
    ) -> CrmObject:
        """Give the account seeded records of one more type. Custom ones need their type id."""
        type_ = types.named(name, object_type)
        if modified_property:
            type_ = replace(type_, modified_property=modified_property)
        with self.lock:
            self._know(type_)
            added = CrmObject(self, type_, object_seed.definitions_of(type_))
            object_seed.fill(added, count, archived, seed)
            self.objects[type_.name] = added
        return added

    def find_object(self, alias: str) -> CrmObject | None:
        """Return what a path means by a name or a type id, if the account has it."""
        known = self._ends.get(alias)
        return self.objects.get(known.name) if known else None

    def find_end(self, alias: str) -> ObjectType | None:
        """Return a type that associations can lead to; no records of it need to be here."""
        return self._ends.get(alias)

    def end(self, alias: str) -> ObjectType:
        """Return a type for new associations; custom ones are known by their id from now on."""
        if alias not in self._ends:
            self._know(types.named(alias, None))
        return self._ends[alias]

    def _know(self, type_: ObjectType) -> None:
        self._ends |= dict.fromkeys(type_.aliases(self.portal_id), type_)

    # Deals, by the short way

    @property
    def records(self) -> Records:
        return self.objects["deals"].records

    @property
    def definitions(self) -> dict[str, dict[str, Any]]:
        return self.objects["deals"].definitions

    @property
    def associations(self) -> Links:
        return self.objects["deals"].associations

    @property
    def deals(self) -> MutableMapping[int, Record]:
        """Every deal by id, live and archived."""
        return self.records.by_id

    @property
    def merged(self) -> dict[int, int]:
        """A deal that was merged away → the one it went into."""
        return self.records.merged

    @property
    def requests(self) -> Counter[str]:
        """How often each endpoint was asked; the names are those of `routes.ROUTES`."""
        return self.statistics.requests

    def live_ids(self) -> list[int]:
        return self.objects["deals"].live_ids()

    def archived_ids(self) -> list[int]:
        return self.objects["deals"].archived_ids()

    def app(self, token: Token) -> App:
        app = self._apps.setdefault(token.app, App(token.app))
        app.requests_per_window = self.requests_per_window
        return app

    def is_good(self, token: Token) -> bool:
        """Return whether a token opens this account now."""
        return not token.is_expired and token.state == "valid" and not self._uninstalled(token)

    def _uninstalled(self, token: Token) -> bool:
        """Return whether a token is one of an app that is not there any more."""
        states = {app.state for app in self.oauth_apps if app.client_id == token.app}
        return token.kind == "oauth" and states == {"uninstalled"}

    def add_fault(self, fault: Fault) -> Fault:
        """Put a fault into the queue: of those that match a request, the first one applies."""
        with self.lock:
            self.faults.append(fault)
        return fault

    # What a client should find, and what it asked

    def truth(self) -> list[dict[str, Any]]:
        """Return every deal, live and archived, with all its properties, by ascending id.

        ``mergedIds`` is there where deals were merged into this one.
        """
        return self.objects["deals"].truth()

    def each_truth(self) -> Iterator[dict[str, Any]]:
        return self.objects["deals"].each_truth()

    def associations_truth(self) -> dict[int, Associations]:
        """Return live deal → object type → sorted (id, type id, label)."""
        return self.objects["deals"].associations_truth()

    def stats(self) -> dict[str, Any]:
        """Return what was asked of this account so far; times are of the monotonic clock."""
        with self.lock:
            return {
                **self.statistics.document(),
                "max_requests_in_any_window": {
                    app.name: app.max_in_any_window() for app in self._apps.values()
                },
                "refreshes": {app.client_id: app.refreshes for app in self.oauth_apps},
                "accepted_at_s": {app.name: list(app.accepted) for app in self._apps.values()},
            }

    def max_in_any_window(self, window_s: float = WINDOW_S, app: str = "app") -> int:
        """Return the most accepted requests of an app that any rolling window held."""
        with self.lock:
            return self._apps[app].max_in_any_window(window_s) if app in self._apps else 0

    # Of deals: as in `StoredObject` and `CrmObject`

    def page(
        self, archived: bool, after: str | None, limit: int
    ) -> tuple[list[Record], str | None]:
        return self.objects["deals"].page(archived, after, limit)

    def after_list_request(self, nth: int, change: Callable[["Portal"], object]) -> None:
        self.objects["deals"].after_list_request(nth, change)

    def list_was_answered(self, endpoint: str) -> None:
        for crm_object in self.objects.values():
            if crm_object.endpoint("list") == endpoint:
                crm_object.list_was_answered()

    def add(self, deal: Record) -> Record:
        return self.objects["deals"].add(deal)

    def create(self, **properties: str | None) -> Record:
        return self.objects["deals"].create(**properties)

    def update(self, deal_id: int, **properties: str | None) -> None:
        self.objects["deals"].update(deal_id, **properties)

    def drift(self, deal_id: int, **calculated: str | None) -> None:
        self.objects["deals"].drift(deal_id, **calculated)

    def archive(self, deal_id: int) -> None:
        self.objects["deals"].archive(deal_id)

    def restore(self, deal_id: int) -> None:
        self.objects["deals"].restore(deal_id)

    def purge(self, deal_id: int) -> None:
        self.objects["deals"].purge(deal_id)

    def merge(self, first: int, second: int, survivor: Literal["new", "primary"] = "new") -> Record:
        return self.objects["deals"].merge(first, second, survivor)

    def associate(
        self,
        deal_id: int,
        to_type: str,
        to_id: int,
        type_id: int | None = None,
        label: str | None = None,
    ) -> None:
        self.objects["deals"].associate(deal_id, to_type, to_id, type_id, label)

    def dissociate(
        self, deal_id: int, to_type: str, to_id: int, type_id: int | None = None
    ) -> None:
        self.objects["deals"].dissociate(deal_id, to_type, to_id, type_id)

    # By chance

    def mutate(self, rng: random.Random, *, associations: bool = False) -> None:
        """Do one random change of deals, or of what they are associated with too."""
        mutator.mutate(self, rng, associations=associations)

    @contextmanager
    def mutating(
        self, changes_per_s: float, seed: int = 0, *, associations: bool = False
    ) -> Iterator[None]:
        """Keep changing deals in the background, in an order that the seed decides."""
        self.start_mutating(changes_per_s, seed, associations=associations)
        try:
            yield
        finally:
            self.stop_mutating()

    def start_mutating(
        self, changes_per_s: float, seed: int = 0, *, associations: bool = False
    ) -> None:
        self.stop_mutating()
        self._mutator = mutator.Mutator(self, changes_per_s, seed, associations=associations)

    def stop_mutating(self) -> None:
        if self._mutator is not None:
            self._mutator.stop()
            self._mutator = None
