"""What must hold after a scan that has succeeded, whatever was done to it."""

import time

from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.locks import lock_key
from tests.chaos.facts import Facts, Rows
from tests.chaos.holdings import Holdings
from tests.hubspot_simulator import Portal
from tests.scans import query

#: How long PostgreSQL may take to notice that a client is gone.
NOTICED_WITHIN_S = 10.0
#: Of what differs.
SHOWN = 5
CALCULATED = "amount_in_home_currency"


class Proof:
    """Compares what is held of one tenant with its account."""

    def __init__(self, warehouse: Warehouse, portal: Portal, tenant: Tenant) -> None:
        self._warehouse = warehouse
        self._portal = portal
        self._tenant = tenant
        self._facts = Facts(portal)
        self._held = Holdings(warehouse, tenant.id)

    def equals_the_account(self, *, full: bool) -> None:
        """Everything is as it is in the account, which has not changed since the scan began."""
        facts, held = self._facts, self._held
        # nothing tells that calculated values changed: that takes a full scan
        unseen = "" if full else CALCULATED
        _same(held.values(unseen), facts.values(unseen))
        _same(held.merged(), facts.survivors(held.merged(), held.known()))
        if full or self._tenant.refresh_after_s == 0:
            _same(held.associations(), facts.associations())
        historic = self._tenant.objects.deal_property_history or ()
        _same(held.histories(), facts.histories(historic))
        assert held.live_in_view() == len(self._portal.live_ids())

    def is_clean(self, scan_id: str, succeeded: list[str]) -> None:
        """What must hold even if the account changed during the scan.

        :param succeeded: every scan that succeeded, this one included.
        """
        assert self._held.of_other_accounts(self._portal.portal_id) == 0
        assert self._held.doubled() == 0
        assert self._held.verdict(scan_id) in ("passed", "no_rows")
        _same(self._held.states(succeeded), {("succeeded",)})
        _same(self._held.scans_with_chunks() | {(scan_id,)}, {(scan_id,)})
        tenants_lock = lock_key(f"{self._warehouse.schema}:tenant:{self._tenant.id}")
        nothing_is_locked(self._warehouse, tenants_lock)

    def chunks(self, scan_id: str) -> int:
        """Return how many chunks of a scan are written down."""
        return self._held.chunks(scan_id)


def _same(held: Rows, true: Rows) -> None:
    missing, wrong = sorted(true - held), sorted(held - true)
    assert not missing, f"{len(missing)} are missing: {missing[:SHOWN]}"
    assert not wrong, f"{len(wrong)} should not be there: {wrong[:SHOWN]}"


def nothing_is_locked(warehouse: Warehouse, key: int | None = None) -> None:
    """No advisory lock (of this *key*) is held, once PostgreSQL knows who is gone."""
    deadline = time.monotonic() + NOTICED_WITHIN_S
    while held := query(
        warehouse,
        "select pid from pg_locks where locktype = 'advisory' and granted and database ="
        " (select oid from pg_database where datname = current_database())"
        " and (classid::bigint << 32) + objid::bigint = coalesce(%s,"
        " (classid::bigint << 32) + objid::bigint)",
        key,
    ):
        assert time.monotonic() < deadline, f"sessions {held} hold locks"
        time.sleep(0.05)
