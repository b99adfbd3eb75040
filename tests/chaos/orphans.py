"""Attempts that were given up and live on: stopped, cut off, and later beside their successors."""

import random
import time
from dataclasses import dataclass

import psycopg

from include.warehouse.connection import Warehouse
from tests.chaos.event_log import EventLog
from tests.chaos.result import ChaosResult
from tests.chaos.sessions import sever
from tests.chaos.worker_pool import Worker, WorkerPool

#: How likely each kind of estrangement is.
STOPPED, NO_SESSIONS = "stopped", "lost all its sessions"
ESTRANGED = {STOPPED: 5, NO_SESSIONS: 6}
FORGOTTEN = "forgotten with its scan, woke in the next one"
#: Of those without any session, how many sleep until the next scan: others hold locks of rows.
LONG_SLEEPERS = 0.5
WAKES_WITHIN_S = 1.5
END_TIMEOUT_S = 150.0


@dataclass
class Orphan:
    """``wakes_at``: by the monotonic clock; None: in the next scan."""

    worker: Worker
    wakes_at: float | None
    sleeps_long: bool
    awake: bool = False


class Orphans:
    """A tenant's orphans: one at a time."""

    def __init__(
        self, warehouse: Warehouse, worker_pool: WorkerPool, result: ChaosResult, rng: random.Random
    ) -> None:
        self._warehouse = warehouse
        self._pool = worker_pool
        self._result = result
        self._rng = rng
        self._all: list[Orphan] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def adopt(self, worker: Worker, event_log: EventLog) -> None:
        """Estrange a stopped worker, and wake it later."""
        kind = self._rng.choices(list(ESTRANGED), weights=list(ESTRANGED.values()))[0]
        wakes_at: float | None = time.monotonic() + self._rng.uniform(0.0, WAKES_WITHIN_S)
        if kind == NO_SESSIONS:
            self._sever(event_log)
        sleeps_long = kind == NO_SESSIONS and self._rng.random() < LONG_SLEEPERS
        if sleeps_long:
            kind, wakes_at = f"{kind}, woke in the next scan", None
        self._all.append(Orphan(worker, wakes_at, sleeps_long))
        self._result.orphans[kind] += 1
        event_log.orphans += 1

    def forget(self, worker: Worker, event_log: EventLog) -> None:
        """Leave a stopped worker alone; its scan is neither ended nor retried.

        It wakes in the next scan, which finds its lease run out.
        """
        self._sever(event_log)
        with psycopg.connect(**self._warehouse.parameters, autocommit=True) as connection:
            connection.execute(
                f"update {self._warehouse.schema}.tenant_leases set expires_at = now()"
                " where scan_id = %s",
                [event_log.scan_id],
            )
        self._all.append(Orphan(worker, time.monotonic() + WAKES_WITHIN_S, sleeps_long=False))
        self._result.orphans[FORGOTTEN] += 1
        event_log.orphans += 1

    def _sever(self, event_log: EventLog) -> None:
        with psycopg.connect(**self._warehouse.parameters, autocommit=True) as connection:
            event_log.write(f"  it lost {sever(connection, event_log.scan_id)} sessions")

    def wake(self) -> None:
        """Let those go on whose time has come."""
        for orphan in self._all:
            due = orphan.wakes_at is not None and time.monotonic() >= orphan.wakes_at
            if due and not orphan.awake:
                self._pool.go_on(orphan.worker)
                orphan.awake = True

    def finish(self, event_log: EventLog) -> None:
        """Wait for the end of those that go on in this scan; the others do so in the next one."""
        for orphan in list(self._all):
            if orphan.wakes_at is None:
                orphan.wakes_at = time.monotonic()
                continue
            orphan.wakes_at = time.monotonic()
            self.wake()
            assert self._pool.ended(orphan.worker, END_TIMEOUT_S), "an orphan does not end"
            self._all.remove(orphan)
            self._result.orphans_ended[orphan.worker.outcome] += 1
            event_log.write(f"orphan {orphan.worker.number} ended: {orphan.worker.report}")
            event_log.orphans += 1
            # Its scan has ended without it.
            assert not (orphan.sleeps_long and orphan.worker.succeeded)
