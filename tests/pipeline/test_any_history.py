"""Whatever happens to a portal, in whatever order: after a scan the warehouse equals it."""

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from include.errors import HubSpotDealsError
from include.scan import Window
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import Fault, Portal, portals
from tests.hubspot_simulator.record import Record
from tests.support.scans import assert_equals_the_portal, query, run, scan

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pauses")]

NUMBERS = st.integers(0, 1_000)
CHANGES = st.tuples(
    st.sampled_from(
        [
            *("create", "update", "archive", "restore", "merge", "purge", "return"),
            *("drift", "link", "unlink"),
        ]
    ),
    NUMBERS,
    NUMBERS,
)
#: What passes without help, and what ends the scan in the middle.
FAULTS = st.tuples(
    st.just("fault"),
    st.sampled_from(["500", "429", "reset", "truncated", "html", "401"]),
    st.integers(1, 6),
)
SCANS = st.tuples(st.just("scan"), st.sampled_from(["auto", "auto", "incremental", "full"]))
WINDOWS = st.tuples(st.just("window"), NUMBERS, NUMBERS)
HISTORIES = st.lists(st.one_of(CHANGES, CHANGES, CHANGES, FAULTS, SCANS, WINDOWS), max_size=25)

tenant_numbers = itertools.count(1)


@settings(
    max_examples=8,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(HISTORIES)
def test_after_every_successful_scan_the_warehouse_equals_the_portal(
    warehouse: Warehouse,
    serve: Serve,
    history: list[tuple[Any, ...]],
) -> None:
    portal = portals.generated(deals=12, archived=4, associations=True)
    tenant = f"tenant_{next(tenant_numbers)}"
    purged: list[Record] = []
    serve(**{tenant: portal})
    for number, step in enumerate([*history, ("scan", "auto"), ("scan", "full")]):
        take(warehouse, portal, tenant, f"run {number}", step, purged)


def take(
    warehouse: Warehouse,
    portal: Portal,
    tenant: str,
    run_id: str,
    step: tuple[Any, ...],
    purged: list[Record],
) -> None:
    if step[0] == "fault":
        portal.faults = [Fault(step[1], path="/crm/", nth=step[2], policy="TEN_SECONDLY_ROLLING")]
    elif step[0] == "window":
        take_window(warehouse, portal, tenant, run_id, *step[1:])
    elif step[0] == "scan":
        take_scan(warehouse, portal, tenant, run_id, step[1])
    else:
        change(portal, purged, *step)


def take_scan(warehouse: Warehouse, portal: Portal, tenant: str, run_id: str, mode: str) -> None:
    fatal = any(fault.kind == "401" for fault in portal.faults)
    try:
        done = run(scan(run_id, tenant, mode=mode, search_lag_s=0))
    except HubSpotDealsError:
        assert fatal
        portal.faults = []
        return
    portal.faults = []
    # a change of calculated values shows nowhere: finding it takes a full scan
    unseen = "" if done["mode"] == "full" else "amount_in_home_currency"
    assert_equals_the_portal(warehouse, portal, tenant, but=unseen)
    assert associations(warehouse, tenant) == truth_of_associations(portal)


def take_window(
    warehouse: Warehouse, portal: Portal, tenant: str, run_id: str, start: int, length: int
) -> None:
    """A window may be of any time: whatever it reads, later scans must come out right."""
    moments = sorted(deal.updated_at for deal in portal.deals.values())
    if not moments:
        return
    chosen = scan_window(moments, start, length)
    portal.faults = []
    run(scan(run_id, tenant, window=chosen, search_lag_s=0))


def scan_window(moments: list[str], start: int, length: int) -> Window:
    begin = datetime.fromisoformat(moments[start % len(moments)])
    return Window(begin, begin + timedelta(days=1 + length))


def change(portal: Portal, purged: list[Record], what: str, first: int, second: int) -> None:
    live, archived = portal.live_ids(), portal.archived_ids()
    if what == "create":
        portal.create(dealname=f"created {first}", amount=str(second))
    elif what == "restore" and archived:
        portal.restore(archived[first % len(archived)])
    elif what == "purge" and live + archived:
        gone = portal.deals[[*live, *archived][first % len([*live, *archived])]]
        purged.append(gone)
        portal.purge(gone.id)
    elif what == "return" and purged:
        # as it was: a token may have seen less for a while
        portal.add(purged.pop(first % len(purged)))
    elif what == "merge" and len(live) > 1:
        one, other = live[first % len(live)], live[second % len(live)]
        if one != other:
            portal.merge(one, other, survivor="new" if first % 2 else "primary")
    elif what in ("update", "archive", "drift", "link", "unlink") and live:
        change_one(portal, what, live[first % len(live)], second)


def change_one(portal: Portal, what: str, deal_id: int, value: int) -> None:
    companies = portal.associations.setdefault(deal_id, {}).setdefault("companies", [])
    if what == "update":
        portal.update(deal_id, amount=str(value))
    elif what == "archive":
        portal.archive(deal_id)
    elif what == "drift":
        portal.drift(deal_id, amount_in_home_currency=str(value))
    elif what == "link" and (value, 341, None) not in companies:
        companies.append((value, 341, None))
    elif what == "unlink":
        companies[:1] = []


Links = set[tuple[int, str, int, int]]


def associations(warehouse: Warehouse, tenant: str) -> Links:
    """Of live deals: what HubSpot says of archived ones is not known."""
    return {
        (row["from_id"], row["to_object"], row["to_id"], row["type_id"])
        for row in query(
            warehouse,
            "select link.* from associations as link join deals on deal_id = from_id"
            " and deals._tenant_id = link._tenant_id"
            " where deals._tenant_id = %s and not archived",
            tenant,
        )
    }


def truth_of_associations(portal: Portal) -> Links:
    return {
        (deal_id, to_type.replace(" ", "_"), to_id, type_id)
        for deal_id in portal.live_ids()
        for to_type, links in portal.associations.get(deal_id, {}).items()
        for to_id, type_id, _ in links
    }
