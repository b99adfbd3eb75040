"""One scan: what it was asked for, and what happened to it so far."""

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.promise import pages_reread
from tests.hubspot_simulator import Portal


@dataclass
class EventLog:
    """``restless``: the account is to change while the scan is retried; ``changed``: it did.

    ``orphans``: attempts of this or an earlier scan that went on beside this one's.
    """

    scan_id: str
    run_id: str
    mode: str
    portal: Portal
    faults_left: int
    restless: bool
    may_leave_orphans: bool
    changed: bool = False
    kills: int = 0
    orphans: int = 0
    extracted: dict[str, Any] = field(default_factory=dict)
    #: To find out what went wrong.
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        #: How many pages had been served when each attempt began.
        self._pages_before: list[int] = []

    def attempt_begins(self) -> None:
        self._pages_before.append(len(self.portal.statistics.read_pages))

    def write(self, line: str) -> None:
        self.lines.append(f"    {line}")

    @property
    def was_full(self) -> bool:
        """Whether every record was read: also when that was cheaper than to search."""
        return bool(self.extracted["mode"] == "full")

    @property
    def disturbed(self) -> bool:
        """Whether something else than kills made it read twice."""
        return self.changed or self.orphans > 0

    @property
    def pages_reread(self) -> float:
        served = self.portal.statistics.read_pages
        ends = [*self._pages_before[1:], len(served)]
        return pages_reread(
            served[begin:end] for begin, end in zip(self._pages_before, ends, strict=True)
        )

    @property
    def summary(self) -> str:
        restless = ", the account changed meanwhile" if self.changed else ""
        return (
            f"{self.run_id} ({self.mode}): {self.kills} kills, {self.orphans} orphans,"
            f" {self.pages_reread:.1f} pages read again{restless}"
        )

    def __str__(self) -> str:
        return "\n".join([self.summary, *self.lines])
