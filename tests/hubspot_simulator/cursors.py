"""The `after` of lists: a position that a client hands back as it got it."""

import base64
import random
from typing import Literal

from tests.hubspot_simulator.errors import invalid

Kind = Literal["id", "last id", "opaque"]


class Cursors:
    """Writes and reads positions in a list: ids that the next page starts at."""

    def __init__(self, portal_id: int) -> None:
        # An opaque cursor can't be made from an id without this.
        self._salt = random.Random(portal_id).randbytes(6).hex()

    def write(self, position: int, kind: Kind) -> str:
        if kind != "opaque":
            return str(position - (kind == "last id"))
        return base64.urlsafe_b64encode(f"{self._salt}:{position}".encode()).decode()

    def read(self, after: str, kind: Kind) -> int:
        """Return the position. Raises the 400 of a cursor that was never given out."""
        text = after if kind != "opaque" else self._unsalted(after)
        if not text.isascii() or not text.isdigit():
            raise invalid(f"Invalid after: {after}")
        return int(text) + (kind == "last id")

    def _unsalted(self, after: str) -> str:
        try:
            salt, _, text = base64.urlsafe_b64decode(after.encode()).decode().partition(":")
        except ValueError:
            return ""
        return text if salt == self._salt else ""
