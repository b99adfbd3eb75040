"""### One tenant's HubSpot deals, in PostgreSQL

`validate_token` → `extract_deals` → `check_quality`

**What a run does.** It asks HubSpot whose token this is, reads what changed since the last
successful scan (or everything, if that is due) into PostgreSQL, and checks what PostgreSQL holds
against what HubSpot sent. Rows of the tables `scans` and `scan_objects` and the tasks' XComs tell
the figures.

**Modes.** `auto` reads what is due. `full` reads everything. `incremental` never reads more than
what changed. With `window_start` and `window_end` a run reads what was modified in `[start, end)`,
and so does each run of a backfill, whose window is its data interval. Windows never move the point
from which the next scan goes on.

**When it fails.** The failed task's log ends with one sentence that says what happened, why and
what to do; `docs/runbook.md` has a heading for each. A wrong token, a missing scope or a token of
another account fail at once; what waiting can heal is retried. If HubSpot's quota of the day is
used up, or it moves the account, the task sleeps until there is use in going on ("up for
reschedule"). Clearing a task is always safe.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from airflow.sdk import (
    CronDataIntervalTimetable,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    dag,
    get_parsing_context,
    task,
)
from airflow.sdk.exceptions import AirflowRescheduleException

from include.errors import ComeBackLaterError, ConfigError, ContractError, QualityError
from include.scan import MODES, Scan
from include.tenants import Tenant, load_tenants

NO_USE_IN_RETRYING = RetryRule([ConfigError, ContractError, QualityError], RetryAction.FAIL)


@contextmanager
def given_back_until_later() -> Iterator[None]:
    """Give the worker slot back if it is known when to go on: it may be a day, and is no retry."""
    try:
        yield
    except ComeBackLaterError as exc:
        raise AirflowRescheduleException(exc.resume_at) from exc  # type: ignore[no-untyped-call]


def build_dag(tenant: Tenant) -> None:
    @dag(
        dag_id=tenant.dag_id,
        schedule=CronDataIntervalTimetable(tenant.schedule, timezone=tenant.timezone)
        if tenant.schedule
        else None,
        # HubSpot was founded in 2006: backfills may go back as far as any deal
        start_date=datetime(2006, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        default_args={
            "owner": tenant.owner,
            "retries": tenant.retries,
            "retry_delay": timedelta(seconds=30),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(minutes=15),
            "retry_policy": ExceptionRetryPolicy([NO_USE_IN_RETRYING]),
        },
        params={
            "mode": Param(
                "auto",
                enum=list(MODES),
                title="Mode",
                description="auto: what is due. incremental: what changed since the last scan. "
                "full: everything again.",
            ),
            "window_start": Param(
                None,
                type=["null", "string"],
                format="date-time",
                title="Window start",
                description="Read what was modified from here on (included). Empty: no window.",
            ),
            "window_end": Param(
                None,
                type=["null", "string"],
                format="date-time",
                title="Window end",
                description="Read what was modified before this. Empty: until now.",
            ),
            "checkpoint_pages": Param(
                tenant.checkpoint_pages,
                type="integer",
                minimum=1,
                maximum=1000,
                title="Pages between checkpoints",
                description="Pages of 100 deals that a kill costs at most; half of them are "
                "loaded and committed together.",
            ),
        },
        tags=["hubspot", f"tenant:{tenant.id}"],
        doc_md=__doc__,
    )
    def hubspot_deals() -> None:
        @task
        def validate_token(dag_run: Any = None, params: Any = None) -> Any:
            from include.validation import validate_token

            with given_back_until_later():
                return validate_token(Scan.of_run(tenant, dag_run, params))

        # one extraction of a tenant at a time, backfills included
        @task(max_active_tis_per_dag=1)
        def extract_deals(
            dag_run: Any = None, params: Any = None, task_state_store: Any = None
        ) -> Any:
            from include.extract.pipeline import extract_deals

            scan = Scan.of_run(tenant, dag_run, params)
            # shown in the UI; what a retry goes on from is in PostgreSQL, with the rows
            show = partial(task_state_store.set, "checkpoint") if task_state_store else None
            with given_back_until_later():
                return extract_deals(scan, params["checkpoint_pages"], show)

        @task
        def check_quality(dag_run: Any = None, params: Any = None) -> Any:
            from include.quality.checks import check_quality

            return check_quality(Scan.of_run(tenant, dag_run, params))

        validate_token() >> extract_deals() >> check_quality()

    hubspot_deals()


# A task process builds only its own DAG: with 1,000 tenants the others would cost seconds.
wanted = get_parsing_context().dag_id
for tenant in load_tenants().enabled:
    if wanted in (None, tenant.dag_id):
        build_dag(tenant)
