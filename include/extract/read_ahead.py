"""How many pages may have been read without being stored: what a kill can cost."""

import threading
from collections.abc import Callable


class ReadAhead:
    """Lets readers be up to *pages* ahead of what is committed. Thread-safe."""

    def __init__(self, pages: int) -> None:
        self._pages = self._free = pages
        self._changed = threading.Condition()

    def take(self, given_up: Callable[[], bool]) -> bool:
        """Wait until one more page may be read; False when it is given up before that."""
        with self._changed:
            self._changed.wait_for(lambda: self._free > 0 or given_up())
            if given_up():
                return False
            self._free -= 1
            return True

    def give_back(self, pages: int = 1) -> None:
        """So many pages have been stored, or thrown away."""
        with self._changed:
            self._free += pages
            self._changed.notify_all()

    def shrink_to(self, pages: int) -> None:
        """Allow fewer pages from now on: they turn out to be large."""
        with self._changed:
            if pages < self._pages:
                self._free -= self._pages - pages
                self._pages = pages

    def wake(self) -> None:
        """Let those who wait see whether they should give up."""
        with self._changed:
            self._changed.notify_all()
