"""What all parts of one scan's extraction share."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from include.errors import AccessDeniedError, ContractError, ScopeMissingError
from include.extract.tally import Tally
from include.hubspot.client import HubSpotClient
from include.hubspot.identity import Identity
from include.scan import Scan
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.freshness import Freshness
from include.warehouse.locks import TenantLock
from include.warehouse.scan_log import ScanLog

if TYPE_CHECKING:
    from include.extract.loader import Loader

log = logging.getLogger(__name__)

#: What a checkpoint tells: {"object": …, "pages": …, "position": …}; JSON.
Checkpoint = dict[str, Any]


@dataclass
class Extraction:
    """One try of a scan.

    ``clock`` goes with PostgreSQL's. ``started_at`` is read from it, when the extraction began
    anew; ``hubspot_now`` is the same moment by HubSpot's clock if that is behind: modification
    times are HubSpot's. ``goes_on``: an earlier try left a checkpoint. ``resources`` are given
    back when the try ends.
    """

    scan: Scan
    warehouse: Warehouse
    client: HubSpotClient
    identity: Identity
    lock: TenantLock
    resources: ExitStack
    scan_log: ScanLog
    freshness: Freshness
    clock: Callable[[], datetime]
    started_at: datetime
    hubspot_now: datetime
    checkpoint_pages: int
    goes_on: bool = False
    tally: Tally = field(default_factory=Tally)
    on_checkpoint: Callable[[Checkpoint], None] | None = None

    @cached_property
    def loader(self) -> "Loader":
        """One for the whole try. dlt and Arrow cost a second of CPU to import: a scan that finds
        nothing does without them.
        """
        from include.extract.loader import Loader

        return self.resources.enter_context(Loader(self.warehouse, self.tenant.id, self.lock))

    @property
    def tenant(self) -> Tenant:
        return self.scan.tenant

    def is_fresh(self, what: str, at_most_s: int | None = None) -> bool:
        """Tell whether something was read so recently that this scan may do without it.

        A scan that was asked to read everything does read everything.

        :param at_most_s: an age that is too old in any case.
        """
        max_age_s = 0 if self.scan.mode == "full" else self.tenant.refresh_after_s
        if at_most_s is not None:
            max_age_s = min(max_age_s, at_most_s)
        return self.freshness.is_fresh(what, max_age_s)

    def warn(self, sentence: str) -> None:
        """Note what an operator should know though the scan goes on."""
        log.warning("tenant %s: %s", self.tenant.id, sentence)
        if sentence not in self.tally.warnings:
            self.tally.warnings.append(sentence)

    @contextmanager
    def optional(self, what: str, scope: str = "a scope") -> Iterator[None]:
        """Go on with a warning if HubSpot refuses to send *what*: it is not the records themselves.

        :param scope: what the token lacks, where HubSpot does not say.
        """
        try:
            yield
        except (AccessDeniedError, ContractError) as exc:
            self.warn(f"{what} were not read: {reason_of(exc, scope)}")

    def progress(self) -> dict[str, Any]:
        """Return the columns of the scan's row that tell how far it is."""
        quota = self.client.daily_quota
        return {
            **self.tally.columns(self.client.requests, self.client.throttled),
            "figures_at": self.clock(),
            "quota_limit": quota.limit if quota else None,
            "quota_remaining": quota.remaining if quota else None,
            "quota_resets_at": self.client.quota_resets_at if quota else None,
        }


def reason_of(exc: AccessDeniedError | ContractError, scope: str) -> str:
    """Return why HubSpot did not send something, for a warning.

    :param scope: what the token lacks, where HubSpot does not say.
    """
    if isinstance(exc, ScopeMissingError):
        return f"the token lacks {', '.join(exc.scopes) or scope}"
    return exc.what
