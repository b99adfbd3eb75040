"""Where access tokens of OAuth apps are kept between the processes that use them."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol


class Kept(NamedTuple):
    """A sealed grant, and for how many more seconds its access token is good."""

    sealed: str
    left_s: float


class TokenRow(Protocol):
    """One installation's row, as long as nobody else can have it."""

    @property
    def kept(self) -> Kept | None: ...

    def keep(self, sealed: str, left_s: float) -> None: ...


class TokenStore(Protocol):
    """Errors: `include.errors.TransientError` when waiting helps; any other ends the scan."""

    def read(self, key: str) -> Kept | None:
        """Return what is kept, without waiting for anybody."""
        ...

    def exclusively(self, key: str) -> AbstractContextManager[TokenRow]:
        """Yield the row once nobody else has it; what was kept is there when the block ends."""
        ...


class LocalTokens:
    """In this process alone, for one client that has no warehouse."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, tuple[str, float]] = {}

    def read(self, key: str) -> Kept | None:
        if key not in self._rows:
            return None
        sealed, until = self._rows[key]
        return Kept(sealed, until - self._clock())

    @contextmanager
    def exclusively(self, key: str) -> Iterator[TokenRow]:
        yield _LocalRow(self, key)

    def keep(self, key: str, sealed: str, left_s: float) -> None:
        self._rows[key] = (sealed, self._clock() + left_s)


class _LocalRow:
    def __init__(self, tokens: LocalTokens, key: str) -> None:
        self._tokens, self._key = tokens, key

    @property
    def kept(self) -> Kept | None:
        return self._tokens.read(self._key)

    def keep(self, sealed: str, left_s: float) -> None:
        self._tokens.keep(self._key, sealed, left_s)
