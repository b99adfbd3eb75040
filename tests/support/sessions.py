"""How many sessions of PostgreSQL are there at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

LOOKED_EVERY_S = 0.002


@dataclass
class Sessions:
    """``most``: of all that were seen at once."""

    most: int = 0


@contextmanager
def sessions_seen(database_url: str, names: str = "%") -> Iterator[Sessions]:
    """Look until the block ends. *names*: a pattern of application_name, in SQL's `like`."""
    seen, ended = Sessions(), threading.Event()

    def look() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not ended.wait(LOOKED_EVERY_S):
                row = connection.execute(
                    "select count(*) from pg_stat_activity where datname = current_database()"
                    " and backend_type = 'client backend' and pid <> pg_backend_pid()"
                    " and application_name like %s",
                    [names],
                ).fetchone()
                seen.most = max(seen.most, row[0] if row else 0)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        ended.set()
        looking.join()
