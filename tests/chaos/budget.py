"""How much is to be done to a tenant before it is left in peace."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Budget:
    """Ends with so many kills, or after so many seconds. ``seed``: decides all that chance does."""

    seed: int
    kills: int | None = None
    seconds: float | None = None
    started_at: float = field(default_factory=time.monotonic)

    def kills_left(self, done: int, at_most: int) -> int:
        return at_most if self.kills is None else min(at_most, self.kills - done)

    def spent(self, done: int) -> bool:
        over = self.seconds is not None and time.monotonic() - self.started_at > self.seconds
        return over or self.kills_left(done, 1) <= 0
