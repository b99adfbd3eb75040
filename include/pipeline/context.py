"""The state that the steps of a scan share: client, warehouse, clocks and counters."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from include.errors import AccessDeniedError, ContractError, ScopeMissingError
from include.hubspot.client import HubSpotClient
from include.hubspot.json_repair import Repairs
from include.pipeline.read.ranges import Position
from include.scan import Scan
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.scans import Freshness, ScanLog

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far one object has been read, and its counts, named like columns of `scan_objects`."""

    pages: int = 0
    #: A record that was received twice counts twice until the object is done.
    records_received: int = 0
    duplicates_dropped: int = 0
    restored: int = 0
    merged: int = 0
    vanished: int = 0
    position: Position = field(default_factory=Position)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Progress":
        """Return the progress of earlier tries, from a row of `scan_objects`."""
        counts = {f.name: row[f.name] for f in fields(cls) if f.name != "position"}
        return cls(**counts, position=Position.from_json(row["position"]))

    def columns(self) -> dict[str, Any]:
        return {**asdict(self), "position": self.position.to_json()}


@dataclass
class ScanContext:
    """One try of a scan.

    ``clock`` returns PostgreSQL's time, and ``started_at`` is when the extraction started, by that
    clock. ``hubspot_now`` is the same moment by HubSpot's clock if that is behind, because
    modification times are HubSpot's. ``resumed``: an earlier try left a checkpoint; ``begun``: the
    rows of `scan_objects` that it left, by object.

    The counts include those of earlier tries: ``progress`` by object, ``misfits`` by column
    ("contacts.updated_at"). ``requests_before`` and ``throttled_before`` are only those of earlier
    tries; the client counts this one's.
    """

    scan_log: ScanLog
    client: HubSpotClient
    clock: Callable[[], datetime]
    started_at: datetime
    hubspot_now: datetime
    resumed: bool = False
    begun: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    requests_before: int = 0
    throttled_before: int = 0
    misfits: Counter[str] = field(default_factory=Counter)
    repairs: Repairs = field(default_factory=Repairs)
    warnings: list[str] = field(default_factory=list)
    schema_drift: dict[str, Any] = field(default_factory=dict)

    @property
    def scan(self) -> Scan:
        return self.scan_log.scan

    @property
    def tenant(self) -> Tenant:
        return self.scan_log.scan.tenant

    @property
    def warehouse(self) -> Warehouse:
        return self.scan_log.warehouse

    @property
    def freshness(self) -> Freshness:
        return Freshness(self.warehouse, self.tenant.id)

    @property
    def requests(self) -> int:
        return self.requests_before + self.client.transport.requests

    @property
    def throttled(self) -> int:
        return self.throttled_before + self.client.transport.throttled

    def is_fresh(self, what: str, at_most_s: float = float("inf")) -> bool:
        """Return whether *what* was read so recently that this scan can skip it.

        A full scan skips nothing.

        :param at_most_s: a limit of the age, in addition to `refresh_after_s`.
        """
        max_age_s = 0 if self.scan.mode == "full" else self.tenant.refresh_after_s
        return self.freshness.is_fresh(what, min(max_age_s, at_most_s))

    def note_fresh(self, what: str) -> None:
        """Record that *what* has just been read, and stored, completely.

        Its warnings are stored first: a retry does not read it again, and would not find them.
        """
        if self.warnings:
            self.scan_log.set(warnings=self.warnings)
        self.freshness.note(what)

    def warn(self, *sentences: str) -> None:
        """Log warnings, and store them with the scan, which continues."""
        for sentence in sentences:
            log.warning("tenant %s: %s", self.tenant.id, sentence)
            if sentence not in self.warnings:
                self.warnings.append(sentence)

    @contextmanager
    def optional(self, what: str, scope: str = "a scope") -> Iterator[None]:
        """Continue with a warning if HubSpot refuses to send *what*, which is not the records.

        :param scope: what the token lacks if HubSpot does not name it.
        """
        try:
            yield
        except (AccessDeniedError, ContractError) as exc:
            self.warn(f"{what} were not read: {reason_of(exc, scope)}.")

    def counts(self) -> dict[str, Any]:
        """Return the columns of the scan's row that hold counts and warnings."""
        return {
            "pages": sum(progress.pages for progress in self.progress.values()),
            "requests": self.requests,
            "throttled": self.throttled,
            "repairs": asdict(self.repairs),
            "misfits": dict(self.misfits),
            "warnings": self.warnings,
            "schema_drift": self.schema_drift,
        }

    def columns(self) -> dict[str, Any]:
        """Return the columns of the scan's row that show its progress."""
        transport = self.client.transport
        quota = transport.daily_quota
        return {
            **self.counts(),
            "figures_at": self.clock(),
            "quota_limit": quota.limit if quota else None,
            "quota_remaining": quota.remaining if quota else None,
            "quota_resets_at": transport.quota_resets_at if quota else None,
        }


def reason_of(exc: AccessDeniedError | ContractError, scope: str) -> str:
    """Return why HubSpot refused something, without a full stop.

    :param scope: what the token lacks if HubSpot does not name it.
    """
    if isinstance(exc, ScopeMissingError):
        return f"the token lacks {', '.join(exc.scopes) or scope}"
    return exc.what.removesuffix(".")
