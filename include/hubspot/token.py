"""The token of one account, which may be replaced while it is in use."""

import threading
from collections.abc import Callable


class Token:
    """Thread-safe; never shows itself.

    :param read_again: asks where the token is kept; None: nobody can tell.
    :param accept: told a new token before it is used; raises to refuse it.
    """

    def __init__(
        self,
        text: str,
        read_again: Callable[[], str] | None = None,
        accept: Callable[[str], None] | None = None,
    ) -> None:
        self._text = text
        self._read_again = read_again
        self._accept = accept
        self._lock = threading.Lock()
        self._given_up = False

    @property
    def text(self) -> str:
        return self._text

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
