"""The token of one account, which may be replaced while it is in use."""

import threading
from collections.abc import Callable
from typing import Protocol


class AnyToken(Protocol):
    """What a request needs of a token. Thread-safe; never shows itself."""

    @property
    def oauth(self) -> bool:
        """Whether it is an OAuth app's."""
        ...

    @property
    def text(self) -> str:
        """What to send now. Raises the classes of `include.errors`."""
        ...

    @property
    def limited_as(self) -> str:
        """What has the rate limit that requests with this token count for; a secret too."""
        ...

    def replaced(self, refused: str) -> bool:
        """Tell whether there is another token than *refused*, which HubSpot answered 401 to."""
        ...


class Token:
    """One that nothing here renews: a private app's, or a service key.

    :param read_again: asks where the token is kept; None: nobody can tell.
    :param accept: told a new token before it is used; raises to refuse it.
    :param limited_as: what has its rate limit, for one of an OAuth app; None: the token itself, as
        far as can be known.
    """

    def __init__(
        self,
        text: str,
        read_again: Callable[[], str] | None = None,
        accept: Callable[[str], None] | None = None,
        limited_as: str | None = None,
    ) -> None:
        self._text = text
        self._limited_as = limited_as
        self.oauth = limited_as is not None
        self._read_again = read_again
        self._accept = accept
        self._lock = threading.Lock()
        self._given_up = False

    @property
    def text(self) -> str:
        return self._text

    @property
    def limited_as(self) -> str:
        return self._limited_as or self._text

    def replaced(self, refused: str) -> bool:
        """Tell whether there is another token than *refused*, the one that HubSpot answered 401 to.

        Many threads may ask at once: one reads, the others get its answer. Raises what reading
        the new token and `accept` raise.
        """
        with self._lock:
            if self._text != refused:
                return True
            if self._read_again is None or self._given_up:
                return False
            self._given_up = True
            text = self._read_again()
            if text == refused:
                return False
            if self._accept:
                self._accept(text)
            self._text, self._given_up = text, False
            return True
