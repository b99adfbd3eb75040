"""Following the cursors of HubSpot's lists, which are opaque: each answer says where to go on."""

import math
import threading
from collections.abc import Callable, Hashable, Sequence

from include.errors import ContractError

#: Pages without a record that may follow each other: a page may be short, even empty.
EMPTY_PAGES_MAX = 100
#: Pages that bring exactly what an earlier one brought.
REPEATED_PAGES_MAX = 3
#: Records that may come beyond twice the number that was counted.
UNCOUNTED_RECORDS = 20_000


class CursorGuard:
    """Ends the reading of a list whose cursors lead nowhere. Thread-safe.

    :param path: of the list, for the message.
    :param announced: how many records were counted before.
    :param count: asks how many records there are; None: HubSpot can't tell. More than twice as many
        (and UNCOUNTED_RECORDS more) are not explained by changes while the list was read. It is not
        asked before more than that of the announced ones have come: meanwhile all readers wait.
    """

    def __init__(
        self,
        path: str,
        tenant_id: str | None,
        count: Callable[[], int] | None = None,
        *,
        announced: int = 0,
    ) -> None:
        self._path = path
        self._tenant_id = tenant_id
        self._count = count
        self._lock = threading.Lock()
        self._followed: set[str] = set()
        self._seen: set[Hashable] = set()
        self._empty = self._repeated = self._records = 0
        self._allowed: float = 2 * announced + UNCOUNTED_RECORDS if count else math.inf

    def next(self, after: str | None, ids: Sequence[str]) -> str | None:
        """Return the cursor that a page of *ids* leads to, or None at the end of the list.

        Raises ContractError for a cursor that was followed before, for EMPTY_PAGES_MAX empty pages
        in a row, for pages that repeat earlier ones, and for more records than there are.
        """
        with self._lock:
            if after is None:
                return None
            if after in self._followed:
                raise self._refuse("leads back to a page that was read before")
            self._followed.add(after)
            page = hash(tuple(ids))
            self._repeated += bool(ids) and page in self._seen
            self._seen.add(page)
            if self._repeated > REPEATED_PAGES_MAX:
                raise self._refuse("brings the same pages again and again")
            self._note(len(ids))
        return after

    def note(self, records: int) -> None:
        """Count a page whose cursor is not followed: readers of id ranges make their own."""
        with self._lock:
            self._note(records)

    def _note(self, records: int) -> None:
        self._empty = 0 if records else self._empty + 1
        if self._empty > EMPTY_PAGES_MAX:
            raise self._refuse(f"goes on after {EMPTY_PAGES_MAX} empty pages")
        self._records += records
        if self._count is not None and self._records > self._allowed:
            self._allowed = 2 * self._count() + UNCOUNTED_RECORDS
            if self._records > self._allowed:
                raise self._refuse(
                    f"has brought {self._records} records, which is more than HubSpot counts"
                )

    def _refuse(self, what: str) -> ContractError:
        return ContractError(
            f"HubSpot's list {self._path} {what}.",
            tenant_id=self._tenant_id,
            remedy="Report it; the next scan reads the list again.",
        )
