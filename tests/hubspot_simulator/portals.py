"""Ready-made portals: the getting-started guide's, generated ones, and the demo's three."""

from tests.hubspot_simulator.cursors import Kind
from tests.hubspot_simulator.definitions import definition, partner_pipeline
from tests.hubspot_simulator.nasty import nasty_definitions
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.rate_limits import Quota
from tests.hubspot_simulator.seed import (
    DealPlan,
    LazyDeals,
    always_at,
    associate,
    ids,
    plain_deal,
    skewed_ids,
    spread,
)
from tests.hubspot_simulator.tokens import Token

#: Of the getting-started guide: name, stage, amount.
FIVE_DEALS = (
    ("Starter package", "qualifiedtobuy", "5000"),
    ("Team rollout", "presentationscheduled", "25000"),
    ("Regional licence", "closedwon", "50000"),
    ("Platform migration", "closedlost", "75000"),
    ("Enterprise agreement", "contractsent", "100000"),
)
FIRST_OF_FIVE_ID = 9_000_000_001


def getting_started(portal_id: int = 1_000_001, token: str = "pat-na1-demo-acme") -> Portal:
    """Return a portal with the five deals of the getting-started guide, none of them archived."""
    portal = Portal(portal_id, [Token(token)])
    for number, (name, stage, amount) in enumerate(FIVE_DEALS):
        portal.add(plain_deal(portal_id, FIRST_OF_FIVE_ID + number, number, name, stage, amount))
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
    cursor: Kind = "id",
    associations: bool = False,
    lazy: bool = False,
    skewed: bool = False,
    requests_per_window: int | None = None,
    daily_limit: int | None = None,
    modified_at: str | None = None,
    modified_between: tuple[str, str] | None = None,
) -> Portal:
    """Return a portal of seeded deals: the same arguments make the same portal.

    ``property_count``: definitions in all, the ones beyond the standard being custom ones with long
    names, ``filled`` of which have a value in each deal. ``lazy``: deals are made when they are
    read, so that a million of them need little memory; searching them is slow. ``skewed``: ids lie
    in a few dense clusters far apart. ``modified_at``: of all deals; ``modified_between``: of the
    first and the last change, the others evenly in between.
    """
    portal = Portal(
        portal_id,
        [Token(token)],
        cursor=cursor,
        requests_per_window=requests_per_window,
        quota=Quota(daily=daily_limit),
    )
    custom = [
        f"custom_property_number_{number:04d}_of_this_portal"
        for number in range(max(0, property_count - len(portal.definitions)))
    ]
    portal.definitions.update({name: definition(name) for name in custom})
    if nasty:
        portal.definitions.update(nasty_definitions())
        portal.pipelines.append(partner_pipeline())
    modified = always_at(modified_at) if modified_at else None
    if modified_between:
        modified = spread(*modified_between, deals + archived, seed)
    plan = DealPlan(portal_id, seed, deals, custom, filled, nasty, modified)
    deal_ids = list((skewed_ids if skewed else ids)(seed, deals + archived))
    if lazy and deal_ids:
        portal.records.fill(LazyDeals(plan, deal_ids), deal_ids[:deals], deal_ids[deals:])
    else:
        for number, deal_id in enumerate(deal_ids):
            portal.add(plan.deal(number, deal_id))
    if associations:
        for number, deal_id in enumerate(deal_ids):
            associate(portal.associations, deal_id, number)
    return portal


def demo() -> list[Portal]:
    """Return the three portals of `make demo`: small, nasty, and wide."""
    acme = getting_started()
    globex = generated(
        1_000_002, "pat-eu1-demo-globex", deals=2_500, archived=60, nasty=True, cursor="opaque"
    )
    globex.data_hosting = "eu1"
    initech = generated(
        1_000_003,
        "pat-na1-demo-initech",
        deals=1_200,
        archived=25,
        property_count=1_200,
        filled=40,
    )
    for portal in (acme, globex, initech):
        portal.requests_per_window, portal.quota = 190, Quota(daily=500_000)
    return [acme, globex, initech]
