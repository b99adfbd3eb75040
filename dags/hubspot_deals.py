"""### One tenant's HubSpot deals, in PostgreSQL

`validate_token` → `extract_deals` → `check_quality`

**What a run does.** It validates the token, loads the records that changed since the last
successful scan (all records if a full scan is due) into PostgreSQL, and compares PostgreSQL with
HubSpot. A successful run updates the asset `hubspot_deals/<tenant>/deals`, on which other DAGs can
be scheduled.

**Figures.** Each task has the link *Status of this scan*. The same figures are in the tasks' XComs
and in the tables `scans` and `scan_objects`.

**Params.** The defaults of the trigger form are almost always right. Each run of a backfill reads
the records that were modified in its data interval. Windows do not move the watermark, from which
the next scan reads.

**When a task fails,** the end of its log says what happened, why, and what to do, and names a
heading in `docs/runbook.md`.

- *Failed* at the first try: correct the token, scope or setting that the log names, then clear the
  task.
- *Up for retry*: no action is needed. The next try continues from the last checkpoint.
- *Up for reschedule*: HubSpot's daily quota is used up, or HubSpot is moving the account to another
  data region. The task waits and continues without using up retries.
- `check_quality` failed: the rows are loaded, but the scan does not count as successful.

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
from include.dag import ScanLink, deals_asset, params_of
from include.errors import NEVER_RETRIED, ComeBackLaterError
from include.metrics import record_outcome
from include.scan import Scan
from include.tenants import Tenant, load_tenants
from include.tenants.model import DAG_ID_PREFIX
from include.tenants.shards import shard_of

SCAN_LINK = ScanLink()
#: After a shorter wait, a busy scheduler can process the end of a try when the next one already
#: runs. It then takes it for the end of the new try and fails the task.
SHORTEST_WAIT = timedelta(seconds=30)
NO_RETRY = RetryRule([*NEVER_RETRIED], RetryAction.FAIL)


@contextmanager
def reschedule_until(alerts: Callbacks) -> Iterator[None]:
    """Reschedule the task when HubSpot refuses requests until a known time: frees the worker."""
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
        # HubSpot was founded in 2006, so a backfill can reach every deal
        start_date=datetime(2006, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        # unlike the task's callback, also called if a task was killed on its last try
        on_failure_callback=alerts.run_failed,
        deadline=alerts.deadlines,
        default_args={
            "owner": tenant.owner,
            "retries": tenant.retries,
            "retry_delay": timedelta(seconds=30),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(minutes=15),
            "retry_policy": ExceptionRetryPolicy([NO_RETRY]),
            # ends a task that hangs in a request, a lock or an endless list
            "execution_timeout": timedelta(seconds=tenant.task_timeout_s),
            "pool": tenant.pool,
            "priority_weight": tenant.priority,
            # later tasks have higher weights, so running scans end before others begin
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
            """Validate the token and its scopes; create or migrate PostgreSQL's tables.

            **If it fails:** the token is wrong, lacks `crm.objects.deals.read`, or belongs to
            another account than this tenant's. Nothing was read. Correct the connection, then
            clear this task.
            """
            from include.pipeline.validate_token import validate_token

            scan = Scan.of_run(tenant, dag_run, params)
            with reschedule_until(alerts), record_outcome(scan):
                return validate_token(scan)

        # backfills have their own limit of active runs
        @task(max_active_tis_per_dag=1)
        def extract_deals(
            dag_run: Any = None, params: Any = None, task_state_store: Any = None
        ) -> Any:
            """Load deals, related CRM data and the tenant's other objects into PostgreSQL.

            **If it fails:** loaded rows are kept. Clear this task; it continues from its last
            checkpoint.
            """
            from include.pipeline.extract_deals import extract_deals

            scan = Scan.of_run(tenant, dag_run, params)
            # only for the UI: the checkpoint that a retry uses is in PostgreSQL, with the rows
            show = partial(task_state_store.set, "checkpoint") if task_state_store else None
            with reschedule_until(alerts), record_outcome(scan):
                return extract_deals(scan, params["checkpoint_pages"], show)

        @task(outlets=[deals_asset(tenant)], on_success_callback=alerts.scan_succeeded)
        def check_quality(
            dag_run: Any = None, params: Any = None, outlet_events: Any = None
        ) -> Any:
            """Run the quality checks; if none of the blocking ones fails, the scan has succeeded.

            **If it fails:** its log and the table `quality_results` name the check, with the
            figures. Clear this task to check again, or also `extract_deals` to read again.
            """
            from include.pipeline.check_quality import check_quality

            scan = Scan.of_run(tenant, dag_run, params)
            with record_outcome(scan):
                checked = check_quality(scan)
            if outlet_events is not None:
                # Airflow sends it with the asset event
                outlet_events[deals_asset(tenant)].extra = dict(checked["scan"])
            return checked

        validate_token() >> extract_deals() >> check_quality()

    for built in hubspot_deals().tasks:
        built.operator_extra_links = [SCAN_LINK]


# A task's process builds only its own DAG, because 5,000 DAGs would take half a minute. The DAG
# processor builds all DAGs of a file, which may be one of several (docs/how-to/many-tenants.md).
wanted = get_parsing_context().dag_id
tenants = (
    load_tenants(only=wanted.removeprefix(DAG_ID_PREFIX))
    if wanted
    else load_tenants(shard=shard_of(Path(globals().get("dag_file", __file__))))
)
for tenant in tenants.enabled:
    build_dag(tenant)
