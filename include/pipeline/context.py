"""What all parts of a scan's extraction share: the client, the warehouse, the counters."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from include.errors import AccessDeniedError, ContractError, ScopeMissingError
from include.hubspot.client import HubSpotClient, Identity
from include.hubspot.json_repair import Repairs
from include.pipeline.read.ranges import Position
from include.scan import Scan
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.fencing import TenantLease
from include.warehouse.scans import Freshness, ScanLog

if TYPE_CHECKING:
    from include.pipeline.load.dlt_loader import Loader


@dataclass
class ObjectProgress:
    """Counts, named as the columns of `scan_objects`, and how far the object is read."""

    pages: int = 0
    #: One that came twice counts twice, until the object is done.
    records_received: int = 0
    duplicates_dropped: int = 0
    restored: int = 0
    merged: int = 0
    vanished: int = 0
    position: Position = field(default_factory=Position)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "ObjectProgress":
        """Take up what earlier tries left: a row of `scan_objects`."""
        counts = {f.name: row[f.name] for f in fields(cls) if f.name != "position"}
        return cls(**counts, position=Position.from_json(row["position"]))

    def columns(self) -> dict[str, Any]:
        return {**asdict(self), "position": self.position.to_json()}


@dataclass
class ScanTotals:
    """Grows page by page and chunk by chunk. ``misfits``: by column, "contacts.updated_at".

    ``requests`` and ``throttled`` are those of earlier tries: the client counts its own.
    """

    pages: int = 0
    records: int = 0
    requests: int = 0
    throttled: int = 0
    misfits: Counter[str] = field(default_factory=Counter)
    repairs: Repairs = field(default_factory=Repairs)
    warnings: list[str] = field(default_factory=list)
    drift: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_row(cls, scan_row: Mapping[str, Any]) -> "ScanTotals":
        """Take up what earlier tries counted: a row of `scans`."""
        return cls(
            pages=scan_row["pages"],
            requests=scan_row["requests"],
            throttled=scan_row["throttled"],
            misfits=Counter(scan_row["misfits"]),
            repairs=Repairs(**scan_row["repairs"]),
            warnings=list(scan_row["warnings"]),
            drift=dict(scan_row["schema_drift"]),
        )

    def columns(self, requests: int, throttled: int) -> dict[str, Any]:
        """Return the columns of `scans` that show it, with what this try's client counted."""
        return {
            "pages": self.pages,
            "requests": self.requests + requests,
            "throttled": self.throttled + throttled,
            "repairs": asdict(self.repairs),
            "misfits": dict(self.misfits),
            "warnings": self.warnings,
            "schema_drift": self.drift,
        }


log = logging.getLogger(__name__)

#: What a checkpoint states: {"object": …, "pages": …, "position": …}; JSON.
Checkpoint = dict[str, Any]


@dataclass
class ScanContext:
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
    lock: TenantLease
    resources: ExitStack
    scan_log: ScanLog
    freshness: Freshness
    clock: Callable[[], datetime]
    started_at: datetime
    hubspot_now: datetime
    checkpoint_pages: int
    goes_on: bool = False
    totals: ScanTotals = field(default_factory=ScanTotals)
    on_checkpoint: Callable[[Checkpoint], None] | None = None

    @cached_property
    def loader(self) -> "Loader":
        """One for the whole try. dlt and Arrow cost a second of CPU to import: a scan that finds
        nothing does without them.
        """
        from include.pipeline.load.dlt_loader import Loader

        return self.resources.enter_context(Loader(self.warehouse, self.tenant.id, self.lock))

    @property
    def tenant(self) -> Tenant:
        return self.scan.tenant

    def is_fresh(self, what: str, at_most_s: int | None = None) -> bool:
        """Return whether something was read so recently that this scan may do without it.

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
        if sentence not in self.totals.warnings:
            self.totals.warnings.append(sentence)

    @contextmanager
    def optional(self, what: str, scope: str = "a scope") -> Iterator[None]:
        """Go on with a warning if HubSpot refuses to send *what*: it is not the records themselves.

        :param scope: what the token lacks, where HubSpot does not say.
        """
        try:
            yield
        except (AccessDeniedError, ContractError) as exc:
            self.warn(f"{what} were not read: {reason_of(exc, scope)}")

    def progress_columns(self) -> dict[str, Any]:
        """Return the columns of the scan's row that show how far it is."""
        quota = self.client.daily_quota
        return {
            **self.totals.columns(self.client.requests, self.client.throttled),
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
