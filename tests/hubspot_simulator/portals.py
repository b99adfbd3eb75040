"""Ready-made portals: the getting-started guide's, generated ones, and the demo's three."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from tests.hubspot_simulator.deal import Deal, iso
from tests.hubspot_simulator.definitions import CLOSED, STAGES, definition
from tests.hubspot_simulator.nasty import NASTY_PROPERTIES, make_nasty
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.rate_limits import Quota
from tests.hubspot_simulator.tokens import Token

EPOCH = datetime(2025, 1, 6, 9, 0, tzinfo=UTC)
ADJECTIVES = ("New", "Annual", "Second", "Pilot", "Enterprise", "Upgrade for", "Renewal with")
NOUNS = ("licence", "platform", "training", "support", "rollout", "migration", "workshop")

PROBABILITY = {stage_id: probability for stage_id, _, probability in STAGES}

#: Of the getting-started guide: name, stage, amount.
FIVE_DEALS = (
    ("Starter package", "qualifiedtobuy", "5000"),
    ("Team rollout", "presentationscheduled", "25000"),
    ("Regional licence", "closedwon", "50000"),
    ("Platform migration", "closedlost", "75000"),
    ("Enterprise agreement", "contractsent", "100000"),
)


def getting_started(portal_id: int = 1_000_001, token: str = "pat-na1-demo-acme") -> Portal:
    """Return a portal with the five deals of the getting-started guide, none of them archived."""
    portal = Portal(portal_id, [Token(token)])
    for number, (name, stage, amount) in enumerate(FIVE_DEALS, start=1):
        portal.add(_deal(portal_id, 9_000_000_000 + number, number, name, stage, amount))
    return portal


def generated(
    portal_id: int = 2_000_001,
    token: str = "pat-na1-generated",
    *,
    deals: int = 250,
    archived: int = 0,
    nasty: bool = False,
    seed: int = 1,
    property_count: int = 0,
    filled: int = 0,
    cursor: Literal["id", "opaque"] = "id",
    requests_per_window: int | None = None,
    daily_limit: int | None = None,
) -> Portal:
    """Return a portal of seeded deals.

    ``property_count``: definitions in all, the ones beyond the standard being custom ones with long
    names, ``filled`` of which have a value in each deal.
    """
    portal = Portal(
        portal_id,
        [Token(token)],
        cursor=cursor,
        requests_per_window=requests_per_window,
        quota=Quota(daily=daily_limit),
    )
    rng = random.Random(seed)
    custom = [
        f"custom_property_number_{number:04d}_of_this_portal"
        for number in range(max(0, property_count - len(portal.definitions)))
    ]
    portal.definitions.update({name: definition(name) for name in custom})
    if nasty:
        portal.definitions.update(
            {name: definition(name, type_) for name, type_ in NASTY_PROPERTIES.items()}
        )
    for number, deal_id in enumerate(_ids(random.Random(seed), deals + archived)):
        stage = rng.choice(STAGES)[0]
        name = f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} {number}"
        deal = _deal(portal_id, deal_id, number, name, stage, f"{rng.randint(100, 10**6) / 100}")
        for chosen in rng.sample(custom, min(filled, len(custom))):
            deal.properties[chosen] = f"value {rng.randint(0, 10**6)}"
        if nasty:
            make_nasty(deal, number, rng)
        if number % (deals + archived) >= deals:
            deal.archived_at = iso(EPOCH + timedelta(days=300, seconds=number))
        portal.add(deal)
    return portal


def demo() -> list[Portal]:
    """Return the three portals of `make demo`: small, nasty, and wide."""
    acme = getting_started()
    acme.requests_per_window, acme.quota = 190, Quota(daily=500_000)
    globex = generated(
        1_000_002,
        "pat-eu1-demo-globex",
        deals=2_500,
        archived=60,
        nasty=True,
        cursor="opaque",
        requests_per_window=190,
        daily_limit=500_000,
    )
    initech = generated(
        1_000_003,
        "pat-na1-demo-initech",
        deals=1_200,
        archived=25,
        property_count=1_200,
        filled=40,
        requests_per_window=190,
        daily_limit=500_000,
    )
    return [acme, globex, initech]


def _ids(rng: random.Random, count: int) -> Iterator[int]:
    """Yield ascending ids above 2^31, in clusters and with gaps, as real ones are."""
    deal_id = 5_000_000_000
    for _ in range(count):
        deal_id += rng.choice((1, 1, 1, 2, 7, 1_000, 1_000_000))
        yield deal_id


def _deal(portal_id: int, deal_id: int, number: int, name: str, stage: str, amount: str) -> Deal:
    created = iso(EPOCH + timedelta(hours=number % 5_000))
    modified = iso(EPOCH + timedelta(hours=number % 5_000, days=10))
    return Deal(
        deal_id,
        {
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
            "hubspot_owner_id": str(96_000_001 + number % 2),
            "pipeline": "default",
        },
        created,
        modified,
        portal_id,
    )
