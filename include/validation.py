"""The first task of a scan: is the token good, and is it this tenant's?"""

import logging
from contextlib import closing
from typing import TypedDict

from include.hubspot.hook import HubSpotHook
from include.hubspot.identity import Identity
from include.scan import Scan
from include.warehouse.binding import require_same_portal
from include.warehouse.connection import open_warehouse
from include.warehouse.migrations import migrate
from include.warehouse.oauth_tokens import SharedTokens
from include.warehouse.rate_limits import SharedLimits
from include.warehouse.scan_log import ScanLog

log = logging.getLogger(__name__)


class Validated(TypedDict):
    """What `validate_token` hands on through XCom."""

    scan_id: str
    portal_id: int


def validate_token(scan: Scan) -> Validated:
    """Open the scan and ask HubSpot whose token this is. Writes nothing but the scan's own row.

    Raises TokenMissingError, TokenRejectedError, ScopeMissingError or PortalMismatchError (a person
    must act), or a TransientError.
    """
    warehouse = open_warehouse(scan.tenant.id)
    # what dlt can't take is refused before anything is read
    _ = warehouse.url
    migrate(warehouse, scan.tenant.id)
    scan_log = ScanLog(warehouse, scan)
    scan_log.open()
    with (
        scan_log.step("validating"),
        closing(SharedLimits(warehouse, scan.tenant.id)) as limits,
    ):
        client = HubSpotHook(scan.tenant.connection_id).get_conn(
            limits,
            SharedTokens(warehouse, scan.tenant.id),
            daily_quota_share=scan.tenant.daily_quota_share,
        )
        identity = Identity(client)
        account, scopes = identity.account, identity.scopes
        require_same_portal(warehouse, scan, account.portal_id)
        log.info(
            "tenant %s: HubSpot account %s, time zone %s, %d scopes, scan %s",
            scan.tenant.id,
            account.portal_id,
            account.time_zone,
            len(scopes),
            scan.id,
        )
    return {"scan_id": scan.id, "portal_id": account.portal_id}
