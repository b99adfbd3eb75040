"""How much is read again because of a kill. docs/how-scans-work.md#checkpoints"""

from collections.abc import Iterable

#: So many pages may be lost by a kill. Small, so that a scan has several chunks.
CHECKPOINT_PAGES = 8
#: Of a page that reaches beyond the ids that its reader was to read, the rest is dropped: a page
#: for each reader that is at the end of its ids when the kill comes.
READERS_AT_THEIR_END = 2
PAGE_SIZE = 100
#: False: retries begin at page one as yet.
IS_KEPT = True

#: The ids of a page's records.
ReadPage = tuple[int, ...]


def pages_allowed(kills: int) -> int:
    return kills * (CHECKPOINT_PAGES + READERS_AT_THEIR_END)


def pages_reread(attempts: Iterable[list[ReadPage]]) -> float:
    """Return how many pages' worth of records came to an attempt that had come to an earlier one.

    What comes twice to one attempt is not counted: kills don't do that, broken answers do.
    """
    known: set[int] = set()
    again = 0
    for pages in attempts:
        came = {record_id for page in pages for record_id in page}
        again += len(came & known)
        known |= came
    return again / PAGE_SIZE
