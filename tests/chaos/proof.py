"""What must hold after a scan that has succeeded, whatever was done to it."""

from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from tests.chaos.facts import Facts, Rows
from tests.chaos.holdings import Holdings
from tests.hubspot_simulator import Portal
from tests.support.scans import query

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
        # changed calculated values change no timestamp: finding them takes a full scan
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
        nothing_is_held(self._warehouse, self._tenant.id)

    def chunks(self, scan_id: str) -> int:
        """Return how many chunks of a scan are written down."""
        return self._held.chunks(scan_id)


def _same(held: Rows, true: Rows) -> None:
    missing, wrong = sorted(true - held), sorted(held - true)
    assert not missing, f"{len(missing)} are missing: {missing[:SHOWN]}"
    assert not wrong, f"{len(wrong)} should not be there: {wrong[:SHOWN]}"


def nothing_is_held(warehouse: Warehouse, tenant_id: str | None = None) -> None:
    """No lease (of this tenant) is left: a staging slot is free without one."""
    leases = query(
        warehouse,
        "select * from tenant_leases where tenant_id = coalesce(%s, tenant_id)",
        tenant_id,
    )
    assert not leases, f"held are {leases}"
