"""What all parts of one scan's extraction share."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime

from include.extract.loader import Loader
from include.extract.tally import Tally
from include.hubspot.client import HubSpotClient
from include.hubspot.identity import Identity
from include.scan import Scan
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.property_definitions import Drift
from include.warehouse.scan_log import ScanLog

log = logging.getLogger(__name__)


@dataclass
class Extraction:
    """One try of a scan.

    ``clock`` goes with PostgreSQL's; ``started_at`` is read from it. ``hubspot_now`` is the same
    moment by HubSpot's clock if that is behind: modification times are HubSpot's.
    """

    scan: Scan
    warehouse: Warehouse
    client: HubSpotClient
    identity: Identity
    loader: Loader
    scan_log: ScanLog
    clock: Callable[[], datetime]
    started_at: datetime
    hubspot_now: datetime
    checkpoint_pages: int
    tally: Tally = field(default_factory=Tally)
    warnings: list[str] = field(default_factory=list)
    drift: dict[str, Drift] = field(default_factory=dict)

    @property
    def tenant(self) -> Tenant:
        return self.scan.tenant

    def warn(self, sentence: str) -> None:
        """Note what an operator should know though the scan goes on."""
        log.warning("tenant %s: %s", self.tenant.id, sentence)
        self.warnings.append(sentence)

    def record_progress(self) -> None:
        """Write to the scan's row how far it is."""
        self.scan_log.set(
            pages=self.tally.pages,
            requests=self.client.requests,
            throttled=self.client.throttled,
            repairs=asdict(self.tally.repairs),
            misfits=dict(self.tally.misfits),
            warnings=self.warnings,
            schema_drift=self.drift,
        )
