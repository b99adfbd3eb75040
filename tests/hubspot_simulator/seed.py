"""Deals from a seed: the same each time, with fixed times."""

import bisect
import itertools
import random
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.hubspot_simulator.definitions import CLOSED, STAGES
from tests.hubspot_simulator.links import Associations
from tests.hubspot_simulator.nasty import make_nasty
from tests.hubspot_simulator.record import Record, iso

EPOCH = datetime(2025, 1, 6, 9, 0, tzinfo=UTC)
#: Above 2^31.
FIRST_ID = 5_000_000_000
ADJECTIVES = ("New", "Annual", "Second", "Pilot", "Enterprise", "Upgrade for", "Renewal with")
NOUNS = ("licence", "platform", "training", "support", "rollout", "migration", "workshop")
PROBABILITY = {stage_id: probability for stage_id, _, probability in STAGES}
COMPANY_ID, CONTACT_ID = 442_222_000_000, 316_000_000
#: Contacts of the first deal: more than fit a page.
MANY_CONTACTS = 150


@dataclass(frozen=True)
class DealPlan:
    """Makes any deal of a portal, from its number alone. ``live``: how many are not archived."""

    portal_id: int
    seed: int
    live: int
    custom: list[str]
    filled: int
    nasty: bool
    #: By number, where the modification times are not the usual ones.
    modified: Callable[[int], datetime] | None = None

    def deal(self, number: int, deal_id: int) -> Record:
        rng = random.Random(self.seed * 1_000_003 + number)
        stage = rng.choice(STAGES)[0]
        name = f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} {number}"
        amount = f"{rng.randint(100, 10**6) / 100}"
        deal = plain_deal(self.portal_id, deal_id, number, name, stage, amount)
        for chosen in rng.sample(self.custom, min(self.filled, len(self.custom))):
            deal.properties[chosen] = f"value {rng.randint(0, 10**6)}"
        if self.nasty:
            make_nasty(deal, number, rng)
        if self.modified:
            _set_modified(deal, iso(self.modified(number)))
        if number >= self.live:
            deal.archived_at = iso(EPOCH + timedelta(days=300, seconds=number))
        return deal


class LazyDeals(MutableMapping[int, Record]):
    """Deals that are made when they are looked at, and kept only once they have changed."""

    def __init__(self, plan: DealPlan, ids: list[int]) -> None:
        self._plan, self._ids = plan, ids
        self._changed: dict[int, Record] = {}
        self._gone: set[int] = set()

    def __getitem__(self, deal_id: int) -> Record:
        if deal_id in self._changed:
            return self._changed[deal_id]
        number = bisect.bisect_left(self._ids, deal_id)
        if deal_id in self._gone or self._ids[number : number + 1] != [deal_id]:
            raise KeyError(deal_id)
        return self._plan.deal(number, deal_id)

    def __setitem__(self, deal_id: int, deal: Record) -> None:
        self._changed[deal_id] = deal

    def __delitem__(self, deal_id: int) -> None:
        self._changed.pop(deal_id, None)
        self._gone.add(deal_id)

    def __iter__(self) -> Iterator[int]:
        planned = (deal_id for deal_id in self._ids if deal_id not in self._gone)
        new = (deal_id for deal_id in self._changed if deal_id > self._ids[-1])
        return itertools.chain(planned, new)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _set_modified(deal: Record, moment: str) -> None:
    """Date the last change; nothing is created after it."""
    deal.created_at, deal.updated_at = min(deal.created_at, moment), moment
    deal.properties |= {"createdate": deal.created_at, "hs_lastmodifieddate": moment}


def always_at(moment: str) -> Callable[[int], datetime]:
    parsed = datetime.fromisoformat(moment)
    return lambda number: parsed


def spread(start: str, end: str, count: int, seed: int) -> Callable[[int], datetime]:
    """Return *count* moments with the same distance, the first and last included, shuffled."""
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    order = list(range(count))
    random.Random(seed).shuffle(order)
    step = (last - first) / max(1, count - 1)
    return lambda number: first + order[number] * step


def ids(seed: int, count: int) -> Iterator[int]:
    """Yield ascending ids, in clusters and with gaps, as real ones are."""
    rng, deal_id = random.Random(seed), FIRST_ID
    for _ in range(count):
        deal_id += rng.choice((1, 1, 1, 2, 7, 1_000, 1_000_000))
        yield deal_id


def skewed_ids(seed: int, count: int) -> Iterator[int]:
    """Yield ascending ids, most of them in a few dense clusters with next to nothing in between.

    Of ranges of ids that are equally wide, most hold no record, and a few hold nearly all.
    """
    rng, deal_id = random.Random(seed), FIRST_ID
    left_in_cluster = 0
    for _ in range(count):
        if not left_in_cluster:
            left_in_cluster = rng.choice((1, 2, 30, 400, 1_500))
            deal_id += rng.choice((10**5, 10**8, 10**10))
        left_in_cluster -= 1
        deal_id += rng.choice((1, 1, 1, 2, 3))
        yield deal_id


def plain_deal(
    portal_id: int, deal_id: int, number: int, name: str, stage: str, amount: str
) -> Record:
    """Return a deal as it is in a tidy account."""
    created = iso(EPOCH + timedelta(hours=number % 5_000))
    modified = iso(EPOCH + timedelta(hours=number % 5_000, days=10))
    properties: dict[str, str | None] = {
        "amount": amount,
        "amount_in_home_currency": amount,
        "closedate": iso(EPOCH + timedelta(days=90 + number % 400)),
        "createdate": created,
        "deal_currency_code": "USD",
        "dealname": name,
        "dealstage": stage,
        "dealtype": "newbusiness" if number % 2 else "existingbusiness",
        "hs_deal_stage_probability": f"{PROBABILITY[stage]}",
        "hs_is_closed": str(stage in CLOSED).lower(),
        "hs_is_closed_won": str(stage == "closedwon").lower(),
        "hs_lastmodifieddate": modified,
        "hs_object_id": str(deal_id),
        "hs_v2_date_entered_current_stage": modified,
        f"hs_v2_date_entered_{stage}": modified,
        "hubspot_owner_id": str(96_000_001 + number % 2),
        "pipeline": "default",
    }
    return Record(deal_id, properties, created, modified, portal_id)


def associate(associations: dict[int, Associations], deal_id: int, number: int) -> None:
    """Give every third deal no associations; of the others the first has a great many contacts."""
    if number % 3 == 2:
        return
    company = COMPANY_ID + number // 3
    contacts = MANY_CONTACTS if number == 0 else number % 3 + 1
    associations[deal_id] = {
        "companies": [(company, 5, "Primary"), (company, 341, None)],
        "contacts": [(CONTACT_ID + number + n, 3, None) for n in range(contacts)],
    }
