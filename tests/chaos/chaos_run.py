"""One tenant's scans, and what is done to them."""

import random
import threading
from collections.abc import Callable
from typing import Any

from include.errors import ScanKilledError
from include.scan import scan_id
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.scans import end_scan
from tests.chaos import promise
from tests.chaos.accounts import change, change_little
from tests.chaos.budget import Budget
from tests.chaos.event_log import EventLog
from tests.chaos.fault_points import SPANS, After, Moment, Scene, Span, any_moment
from tests.chaos.orphans import Orphans
from tests.chaos.phases import phase_of
from tests.chaos.proof import Proof
from tests.chaos.result import ChaosResult
from tests.chaos.worker_pool import Worker, WorkerPool
from tests.hubspot_simulator import Portal

#: How often to look whether the moment has come.
GLANCE_S = 0.003
ATTEMPT_TIMEOUT_S = 150.0
#: The most faults at one scan.
MOST_FAULTS = 7
#: Every so many scans a full one is asked for.
FULL_EACH = 3
#: What else than kills may happen to a scan, and how likely that is: the account changes while it
#: is retried; a worker is only stopped, and goes on beside its retry.
DISTURBANCES = {"": 5, "changes": 2, "orphans": 2, "changes and orphans": 1}
#: How likely it is, where it may happen, that a worker is only stopped; that a scan is given up
#: after a fault, for the next one; that even its end is not noticed, and its process lives on.
ORPHANED, GIVEN_UP, FORGOTTEN = 0.4, 0.05, 0.05
#: And that one of the tasks around the extraction is killed, which take about so long.
SMALL_TASKS_KILLED, SMALL_TASK_S = 0.15, 0.2


class StoppedError(Exception):
    """The run of another tenant has failed."""


class ChaosRun:
    """Runs scans of one tenant, interrupts them, and proves each that gets through.

    :param tenant: its entry in the tenants file.
    :param stop: set when the run of another tenant has failed.
    :param say: called with a line about the end of each scan.
    """

    def __init__(
        self,
        tenant: dict[str, Any],
        portal: Portal,
        warehouse: Warehouse,
        worker_pool: WorkerPool,
        budget: Budget,
        stop: threading.Event,
        say: Callable[[str], None],
    ) -> None:
        self._tenant = Tenant.model_validate(tenant)
        self._entry = tenant
        self._portal = portal
        self._warehouse = warehouse
        self._pool = worker_pool
        self._budget = budget
        self._stop = stop
        self._say = say
        self._rng = random.Random(f"{budget.seed} {self._tenant.id}")
        self.result = ChaosResult()
        self._orphans = Orphans(warehouse, worker_pool, self.result, self._rng)
        self._proof = Proof(warehouse, portal, self._tenant)
        self._spans = dict(SPANS)
        self._succeeded: list[str] = []
        self._scans = 0

    def run(self) -> None:
        """Go on until the budget is spent; end with a full scan that nothing happens to."""
        self._pool.wait()
        while not self._budget.spent(self.result.kills):
            faults = self._budget.kills_left(self.result.kills, self._rng.randint(2, MOST_FAULTS))
            self._scan("full" if self._scans % FULL_EACH == FULL_EACH - 1 else "auto", faults)
            change(self._portal, self._rng)
        self._scan("full", 0)

    def _scan(self, mode: str, faults: int) -> None:
        self._scans += 1
        run_id = f"run {self._scans}"
        disturbances = self._rng.choices(list(DISTURBANCES), list(DISTURBANCES.values()))[0]
        event_log = EventLog(
            scan_id(self._tenant.dag_id, run_id),
            run_id,
            mode,
            self._portal,
            faults,
            restless="changes" in disturbances,
            may_leave_orphans="orphans" in disturbances,
        )
        try:
            self._do("validate_token", event_log)
            if self._extract(event_log):
                self._orphans.finish(event_log)
                self._do("check_quality", event_log)
                self._prove(event_log)
                self._say(f"{self._tenant.id}: {event_log.summary}")
            else:
                self.result.given_up += 1
                self._say(f"{self._tenant.id}: {event_log.summary}, given up")
        except BaseException as exc:
            exc.add_note(f"tenant {self._tenant.id}, seed {self._budget.seed}, {event_log}")
            exc.add_note(f"{self._pool.log} ends with\n{self._pool.last_lines()}")
            raise

    def _extract(self, event_log: EventLog) -> bool:
        """Try until it succeeds; say False if it was given up."""
        while True:
            event_log.attempt_begins()
            moment = self._moment(event_log)
            worker = self._begin("extract_deals", event_log)
            scene = Scene(worker, self._portal, lambda: self._proof.chunks(event_log.scan_id))
            if not self._watch(scene, moment) or not self._pool.stop(worker):
                self._require_success(worker, event_log)
                event_log.extracted = worker.returned
                if not event_log.kills and not event_log.orphans:
                    chunks = self._proof.chunks(event_log.scan_id)
                    self._spans[self._kind(event_log)] = Span(scene.requests, scene.seconds, chunks)
                return True
            phase = phase_of(scene)
            self.result.phases[phase] += 1
            event_log.write(f"attempt {worker.number}: {moment}, interrupted in {phase!r}")
            # An account belongs to a tenant once a scan has succeeded: the first one must.
            may_be_given_up = self._succeeded and not self._orphans
            if may_be_given_up and self._rng.random() < FORGOTTEN:
                self._orphans.forget(worker, event_log)
                return False
            self._kill_worker(worker, event_log)
            if event_log.restless:
                change_little(self._portal, self._rng)
                event_log.changed = True
            if may_be_given_up and not self._orphans and self._rng.random() < GIVEN_UP:
                self._end(event_log)
                return False

    def _end(self, event_log: EventLog) -> None:
        """Do what the DAG's callback does once there is no retry left."""
        error = ScanKilledError("Airflow has given it up.", tenant_id=self._tenant.id)
        with self._warehouse.connect() as connection:
            assert end_scan(connection, event_log.scan_id, error)

    def _moment(self, event_log: EventLog) -> Moment | None:
        if event_log.faults_left <= 0:
            return None
        span = self._spans[self._kind(event_log)]
        return any_moment(self._rng, span.left(self._proof.chunks(event_log.scan_id)))

    def _kind(self, event_log: EventLog) -> str:
        return "full" if event_log.mode == "full" or not self._succeeded else "incremental"

    def _watch(self, scene: Scene, moment: Moment | None) -> bool:
        """Wait for the moment; say False if the worker ends before that."""
        while not self._pool.ended(scene.worker, GLANCE_S):
            if self._stop.is_set():
                raise StoppedError
            if scene.seconds > ATTEMPT_TIMEOUT_S:
                self._pool.show_stacks(scene.worker)
                raise AssertionError("an attempt does not end")
            self._orphans.wake()
            if moment is not None:
                scene.look()
                if moment.reached(scene):
                    return True
        return False

    def _kill_worker(self, worker: Worker, event_log: EventLog) -> None:
        """Kill a stopped worker, or leave it alone."""
        event_log.faults_left -= 1
        may_be_orphaned = event_log.may_leave_orphans and not self._orphans
        if may_be_orphaned and self._rng.random() < ORPHANED:
            self._orphans.adopt(worker, event_log)
        else:
            self._pool.kill(worker)
            self.result.kills += 1
            event_log.kills += 1

    def _do(self, task: str, event_log: EventLog) -> None:
        """Do one of the small tasks around the extraction; sometimes it takes two attempts."""
        worker = self._begin(task, event_log)
        if event_log.faults_left and self._rng.random() < SMALL_TASKS_KILLED:
            scene = Scene(worker, self._portal, lambda: 0)
            if self._watch(scene, After(self._rng.uniform(0.0, SMALL_TASK_S))):
                self._pool.kill(worker)
                self.result.phases[task] += 1
                event_log.write(f"attempt {worker.number} at {task}: killed")
                worker = self._begin(task, event_log)
        assert self._pool.ended(worker, ATTEMPT_TIMEOUT_S), f"{task} does not end"
        self._require_success(worker, event_log)

    def _begin(self, task: str, event_log: EventLog) -> Worker:
        return self._pool.begin(
            task,
            tenant=self._entry,
            run_id=event_log.run_id,
            mode=event_log.mode,
            checkpoint_pages=promise.CHECKPOINT_PAGES,
        )

    def _require_success(self, worker: Worker, event_log: EventLog) -> None:
        event_log.write(f"attempt {worker.number} ended: {worker.report}")
        assert worker.report
        assert worker.succeeded, f"an attempt ended with {worker.outcome}"
        assert worker.report["threads"] == ["MainThread"]
        assert not list(worker.working_directory.iterdir()), "it has left files behind"

    def _prove(self, event_log: EventLog) -> None:
        self._succeeded.append(event_log.scan_id)
        self.result.scans += 1
        if not event_log.changed:
            self._proof.equals_the_account(full=event_log.was_full)
        self._proof.is_clean(event_log.scan_id, self._succeeded)
        if event_log.kills and not event_log.disturbed:
            self.result.reread.append(event_log.pages_reread / event_log.kills)
            if promise.IS_KEPT:
                assert event_log.pages_reread <= promise.pages_allowed(event_log.kills)
