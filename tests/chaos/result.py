"""What was done to scans, and what it cost them."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class ChaosResult:
    """``phases``: where workers were interrupted. ``reread``: pages read again for each kill."""

    scans: int = 0
    given_up: int = 0
    kills: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    orphans: Counter[str] = field(default_factory=Counter)
    orphans_ended: Counter[str] = field(default_factory=Counter)
    reread: list[float] = field(default_factory=list)

    def __add__(self, other: "ChaosResult") -> "ChaosResult":
        return ChaosResult(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )

    def __str__(self) -> str:
        lines = [
            f"{self.scans} scans succeeded, {self.given_up} were given up;"
            f" {self.kills} attempts were killed, {self.orphans.total()} orphaned",
            *(f"  {n:4} interrupted in {phase}" for phase, n in sorted(self.phases.items())),
            *(f"  {n:4} orphans: {kind}" for kind, n in sorted(self.orphans.items())),
            *(f"  {n:4} orphans ended: {end}" for end, n in sorted(self.orphans_ended.items())),
        ]
        if self.reread:
            mean = sum(self.reread) / len(self.reread)
            lines.append(
                f"  pages read again, for each kill: {mean:.1f} on average, {max(self.reread):.1f}"
                " at most"
            )
        return "\n".join(lines)
