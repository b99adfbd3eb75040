"""### One tenant's HubSpot deals, in PostgreSQL

`validate_token` → `extract_deals` → `check_quality`

**What a run does.** It asks HubSpot whose token this is, reads what changed since the last
successful scan (or everything, if that is due) into PostgreSQL, and checks what PostgreSQL holds
against what HubSpot sent. A run that succeeds updates the asset `hubspot_deals/<tenant>/deals`:
other DAGs can be scheduled on it.

**Where the figures are.** Each task has a link *Status of this scan*; the same figures are in the
tasks' XComs, and in rows of the tables `scans` and `scan_objects`.

**What you can ask for.** The form of *Trigger* explains itself. Nothing filled in is right nearly
always. Each run of a backfill reads what was modified in its data interval. Windows never move the
point from which the next scan goes on.

**When it fails.** The failed task's log ends with one sentence that says what happened, why and
what to do, and names its heading in `docs/runbook.md`.

- *Failed* at the first try: a person must act, on a token, a scope or a setting. Do what the
  sentence says, then clear the failed task.
- *Up for retry*: no action is needed. The next try goes on from the last checkpoint.
- *Up for reschedule*: HubSpot's quota of the day is used up, or it moves the account. The task
  sleeps until there is use in going on.
- `check_quality` failed: the rows are there to look at, but the scan does not count as successful.

Clearing a task is always safe.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from airflow.sdk import (
    CronDataIntervalTimetable,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    dag,
    get_parsing_context,
    task,
)
from airflow.sdk.exceptions import AirflowRescheduleException

from include.alerts.callbacks import Callbacks
from include.dag import ScanLink, deals_asset, emit, params_of
from include.errors import ComeBackLaterError, ConfigError, ContractError, QualityError
from include.metrics import record_outcome
from include.scan import Scan
from include.tenants import Tenant, load_tenants
from include.tenants.model import DAG_ID_PREFIX
from include.tenants.shards import shard_of

SCAN_LINK = ScanLink()
#: A busy scheduler may read that a try has ended only when the task runs again, after a wait of a
#: few seconds. It then takes the end for that of the new try, and fails the task.
SHORTEST_WAIT = timedelta(seconds=30)
NO_USE_IN_RETRYING = RetryRule([ConfigError, ContractError, QualityError], RetryAction.FAIL)


@contextmanager
def reschedule_until(alerts: Callbacks) -> Iterator[None]:
    """Give the worker slot back if it is known when to go on: it may be a day, and is no retry."""
    try:
        yield
    except ComeBackLaterError as exc:
        alerts.scan_waits(exc)
        resume_at = max(exc.resume_at, datetime.now(UTC) + SHORTEST_WAIT)
        raise AirflowRescheduleException(resume_at) from exc  # type: ignore[no-untyped-call]


def build_dag(tenant: Tenant) -> None:
    alerts = Callbacks(tenant)

    @dag(
        dag_id=tenant.dag_id,
        schedule=CronDataIntervalTimetable(tenant.schedule, timezone=tenant.timezone)
        if tenant.schedule
        else None,
        # HubSpot was founded in 2006: backfills may go back as far as any deal
        start_date=datetime(2006, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        # also called when a task was killed on its last try; the task's own callback is not
        on_failure_callback=alerts.run_failed,
        deadline=alerts.deadlines,
        default_args={
            "owner": tenant.owner,
            "retries": tenant.retries,
            "retry_delay": timedelta(seconds=30),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(minutes=15),
            "retry_policy": ExceptionRetryPolicy([NO_USE_IN_RETRYING]),
            # nothing of a scan may go on for ever: not a list, not a lock, not an answer
            "execution_timeout": timedelta(seconds=tenant.task_timeout_s),
            "pool": tenant.pool,
            "priority_weight": tenant.priority,
            # a task counts for more the later it comes: scans that run end before others begin
            "weight_rule": "upstream",
            "pre_execute": SCAN_LINK.show,
            "on_failure_callback": alerts.task_failed,
        },
        owner_links={tenant.owner: tenant.owner_link} if tenant.owner_link else {},
        params=params_of(tenant),
        tags=["hubspot", f"tenant:{tenant.id}"],
        doc_md=__doc__,
    )
    def hubspot_deals() -> None:
        @task
        def validate_token(dag_run: Any = None, params: Any = None) -> Any:
            """Ask HubSpot whose token this is and what it may do; make PostgreSQL's tables.

            **When it fails:** the token is wrong, lacks `crm.objects.deals.read`, or belongs to
            another account than this tenant's. Nothing was read. Correct the connection, then
            clear this task.
            """
            from include.pipeline.validate_token import validate_token

            scan = Scan.of_run(tenant, dag_run, params)
            with reschedule_until(alerts), record_outcome(scan):
                return validate_token(scan)

        # one extraction of a tenant at a time, backfills included
        @task(max_active_tis_per_dag=1)
        def extract_deals(
            dag_run: Any = None, params: Any = None, task_state_store: Any = None
        ) -> Any:
            """Read deals, what lies around them and the tenant's other objects into PostgreSQL.

            **When it fails:** what was loaded stays, and is of use. Clear this task: it goes on
            from its last checkpoint.
            """
            from include.pipeline.extract_deals import extract_deals

            scan = Scan.of_run(tenant, dag_run, params)
            # shown in the UI; what a retry goes on from is in PostgreSQL, with the rows
            show = partial(task_state_store.set, "checkpoint") if task_state_store else None
            with reschedule_until(alerts), record_outcome(scan):
                return extract_deals(scan, params["checkpoint_pages"], show)

        @task(outlets=[deals_asset(tenant)], on_success_callback=alerts.scan_succeeded)
        def check_quality(
            dag_run: Any = None, params: Any = None, outlet_events: Any = None
        ) -> Any:
            """Check what PostgreSQL holds against what HubSpot sent; then the scan has succeeded.

            **When it fails:** its log and the table `quality_results` say which check, with the
            figures. Clearing this task checks again; clearing `extract_deals` too reads again.
            """
            from include.pipeline.check_quality import check_quality

            scan = Scan.of_run(tenant, dag_run, params)
            with record_outcome(scan):
                checked = check_quality(scan)
            if outlet_events is not None:
                emit(outlet_events, tenant, checked["scan"])
            return checked

        validate_token() >> extract_deals() >> check_quality()

    for built in hubspot_deals().tasks:
        built.operator_extra_links = [SCAN_LINK]


# A task process builds only its own DAG: 5,000 tenants would cost it half a minute. The DAG
# processor builds all those of one file: there may be several (docs/how-to/many-tenants.md).
wanted = get_parsing_context().dag_id
tenants = (
    load_tenants(only=wanted.removeprefix(DAG_ID_PREFIX))
    if wanted
    else load_tenants(shard=shard_of(Path(globals().get("dag_file", __file__))))
)
for tenant in tenants.enabled:
    build_dag(tenant)
