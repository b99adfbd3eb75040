"""`/scans`: lists scans, and starts, cancels and retries one."""

from collections.abc import Collection
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Path, Query, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from psycopg.rows import class_row, tuple_row
from pydantic import AwareDatetime, StringConstraints, TypeAdapter

from include.errors import QualityError, ScanRequestError, runbook_url
from include.scan import Scan
from include.scan import scan_id as scan_id_of
from include.tenants import Tenant
from include.warehouse.connection import Warehouse
from include.warehouse.errors import RecordedError
from include.warehouse.fencing import start_lock
from include.warehouse.scans import FINAL_STATES, CancelledRun, cancel
from include.web import models
from include.web.access import (
    SameOrigin,
    User,
    known_tenant,
    not_found,
    require,
    tenants_by_id,
    visible_dag_ids,
)
from include.web.airflow import (
    ActiveRun,
    active_runs,
    clear_tasks,
    dags,
    fail_run,
    mark_orphaned_scans_failed,
    run_facts,
    trigger_run,
    unsuccessful_tasks,
)
from include.web.cursor import Cursor, Limit, page_of, position_of
from include.web.page import airflow_root, headings
from include.web.problems import Code, Problem, answers, signed_in_router
from include.web.warehouse import CurrentWarehouse, WarehouseEmptyError, columns, fetch, reading

#: The current rate is computed from so many checkpoints.
_RECENT_CHECKPOINTS = 6
#: Whether a scan is queued, when it was requested or started, and its id.
_Position = tuple[
    bool, AwareDatetime, Annotated[str, StringConstraints(pattern=models.SCAN_ID_PATTERN)]
]
#: A page begins after this scan; None: it is the first page.
_POSITION = TypeAdapter[_Position | None](_Position | None)


def _seconds(start: str, end: str) -> str:
    """Return SQL for a duration; null if one of the times is.

    The times are of several machines, and if all tasks are cleared, `started_at` is set again: the
    end can be before the start.
    """
    return f"case when {end} < {start} then 0 else extract(epoch from {end} - {start})::float8 end"


#: Fields of scans that are not columns of `scans`.
COMPUTED = {
    "tenant": "scan.tenant_id",
    "seconds": _seconds("scan.started_at", "scan.finished_at"),
    "token_s": _seconds(
        "scan.started_at", "coalesce(scan.extraction_started_at, scan.finished_at)"
    ),
    "read_s": _seconds(
        # a scan that was cleared and resumes began to extract before its start
        "case when scan.extraction_started_at is not null"
        " then greatest(scan.started_at, scan.extraction_started_at) end",
        "coalesce(scan.extraction_finished_at, scan.finished_at)",
    ),
    "check_s": _seconds("scan.extraction_finished_at", "scan.finished_at"),
    "deals_received": "coalesce(deals.records_received, 0)",
    "deals_written": "coalesce(deals.rows_written, 0)",
    "error_type": "substring(scan.error from '^[A-Za-z_][A-Za-z0-9_]*')",
}
#: The column begins with the error's class.
_FIRST_SENTENCE = (
    # two steps: in one expression, the first quantifier makes all of them greedy
    "rtrim(substring(regexp_replace(scan.error, '^[A-Za-z_][A-Za-z0-9_]*: (tenant [^ :]+: )?', '')"
    " from '^.*?(?:[.] |$)'))"
)
SUMMARY = columns(
    models.ScanSummary,
    "scan",
    **COMPUTED,
    warnings="jsonb_array_length(scan.warnings)",
    error=_FIRST_SENTENCE,
)
_EVERYTHING = columns(
    models.ScanRow,
    "scan",
    **COMPUTED,
    records_per_s="lately.records_per_s",
    objects="objects.objects",
    quality="quality.quality",
)
OF_DEALS = (
    "left join {scan_objects} as deals on deals.scan_id = scan.scan_id and deals.object = 'deals'"
)
_OF_CHECKS = {
    "check": "result.check_name",
    "runbook": "null",
    "records": "(select count(*) from {quality_records} as found where"
    " found.scan_id = result.scan_id and found.check_name = result.check_name)",
}
_LIST = f"""
    select {SUMMARY}
    from {{scans}} as scan {OF_DEALS}
    where scan.dag_id = any(%(dag_ids)s)
      and (%(tenant_id)s::text is null or scan.tenant_id = %(tenant_id)s)
      and (%(state)s::text is null or scan.state = %(state)s)
      and (%(started_at)s::timestamptz is null
           or (scan.started_at, scan.scan_id) < (%(started_at)s::timestamptz, %(scan_id)s))
    order by scan.started_at desc, scan.scan_id desc limit %(limit)s
"""  # noqa: S608 - literals of this package
_ONE = f"""
    select {_EVERYTHING}
    from {{scans}} as scan {OF_DEALS}
    left join lateral (
        -- the median: a chunk that was loaded after a wait or a retry seems to have taken hours
        select percentile_cont(0.5) within group (
            order by cardinality(ids) / nullif(extract(epoch from loaded_at - since)::float8, 0)
        ) as records_per_s
        from (
            select ids, loaded_at,
                   lag(loaded_at, 1, scan.extraction_started_at)
                       over (order by loaded_at) as since
            from {{scan_chunks}} where scan_id = scan.scan_id
            order by loaded_at desc limit %(recent)s
        ) as chunk
    ) as lately on true
    cross join lateral (
        select coalesce(json_agg(part order by object <> 'deals', object), '[]') as objects
        from (
            select {columns(models.ScanObject, "part")} from {{scan_objects}} as part
            where part.scan_id = scan.scan_id
        ) as part
    ) as objects
    cross join lateral (
        select coalesce(json_agg(result order by array_position(
            array['failed', 'warned', 'passed', 'no_rows'], status), "check"), '[]') as quality
        from (
            select {columns(models.QualityResult, "result", **_OF_CHECKS)}
            from {{quality_results}} as result where result.scan_id = scan.scan_id
        ) as result
    ) as quality
    where scan.scan_id = %(scan_id)s
"""  # noqa: S608 - literals of this package

router = signed_in_router(
    "scans",
    Code.TENANTS_FILE,
    Code.WAREHOUSE_UNAVAILABLE,
    Code.WAREHOUSE_NOT_READY,
)
#: Errors of all requests that change something in Airflow.
_OF_CHANGES = (Code.FORBIDDEN, Code.CROSS_SITE, Code.NOT_FOUND, Code.AIRFLOW_REFUSED)
ScanId = Annotated[str, Path(pattern=models.SCAN_ID_PATTERN, description="A UUID.")]


@router.get(
    "/scans",
    summary="Scans that you may see: queued, then newest",
    responses=answers(Code.INVALID_CURSOR, Code.NOT_FOUND),
)
def read_scans(
    user: User,
    warehouse: CurrentWarehouse,
    tenant: Annotated[models.TenantId | None, Query(description="Only this tenant's.")] = None,
    state: Annotated[models.ScanState | None, Query(description="Only this state.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> models.ScanList:
    visible = visible_dag_ids(user)
    known = tenants_by_id().get(tenant or "")
    if (
        tenant is not None
        and not (known and known.dag_id in visible)
        # one that was removed from the tenants file
        and not list_scans(warehouse, visible, tenant_id=tenant, limit=1).scans
    ):
        known_tenant(tenant, user)
    queued = _queued_scans(warehouse, visible, tenant) if state in (None, "queued") else []
    mark_orphaned_scans_failed(warehouse, visible)
    return list_scans(
        warehouse,
        visible,
        tenant_id=tenant,
        state=state,
        limit=limit,
        cursor=cursor,
        queued=queued,
    )


def _queued_scans(
    warehouse: Warehouse, visible: set[str], tenant: str | None
) -> list[models.ScanSummary]:
    """Return the runs whose scans have no row yet."""
    tenant_of = {t.dag_id: t.id for t in tenants_by_id().values() if tenant in (None, t.id)}
    runs = active_runs(visible & tenant_of.keys())
    known = states_of(warehouse, runs)
    scans = [queued_scan(run, tenant_of[run.dag_id]) for run in runs if run.scan_id not in known]
    return [
        models.ScanSummary.model_validate({**dict(scan), "warnings": 0, "error": None})
        for scan in scans
    ]


def queued_scan(run: ActiveRun, tenant_id: str) -> models.ScanRow:
    """Return the scan of a run that has not begun."""
    return models.ScanRow(
        scan_id=run.scan_id,
        tenant=tenant_id,
        dag_id=run.dag_id,
        run_id=run.run_id,
        mode=run.mode,
        state="queued",
        started_at=run.since,
        finished_at=None,
        seconds=None,
        deals_received=0,
        deals_written=0,
        requests=0,
        throttled=0,
    )


@router.get(
    "/scans/{scan_id}",
    summary="One scan: progress, objects, quality, error",
    responses=answers(Code.NOT_FOUND),
)
def read_scan(
    request: Request, user: User, warehouse: CurrentWarehouse, scan_id: ScanId
) -> models.ScanDetail:
    scan, run = found_scan(user, warehouse, scan_id)
    tenant = tenants_by_id().get(scan.tenant)
    # the tenant may have been removed from the tenants file
    wanted = [crm_object.name for crm_object in tenant.crm_objects] if tenant else None
    airflow = airflow_root(request)
    error = error_of(scan, airflow)
    runbook = error.runbook if error else None
    quality = [
        result.model_copy(update={"runbook": runbook_url(airflow, heading_of(result.check))})
        if result.status in ("warned", "failed")
        else result
        for result in scan.quality
    ]
    facts = run_facts(scan.dag_id, scan.run_id)
    return models.ScanDetail.model_validate(
        {
            **dict(scan),
            "tries": facts.tries,
            "task": task_of(scan, facts.failed),
            "will_retry": scan.state == "failed" and run is not None,
            "phases": models.Phases(
                queued=models.seconds_between(facts.queued_at, scan.started_at),
                token=scan.token_s,
                read=scan.read_s,
                check=scan.check_s,
            ),
            "progress": models.Progress.of(scan, wanted),
            "quality": quality,
            "error": error,
            "links": links(request, scan_id, scan.dag_id, scan.run_id, runbook),
        }
    )


#: In the order of the tasks.
_TASK_OF_STATE: dict[str, models.TaskId] = {
    "queued": "validate_token",
    "validating": "validate_token",
    "extracting": "extract_deals",
    "checking": "check_quality",
}


def task_of(scan: models.ScanRow, failed: Collection[str] = ()) -> models.TaskId:
    """Return the task that a scan is in, or that ended it.

    :param failed: its tasks that have failed. Without them, a scan all of whose tasks were cleared
        seems to be where it was before.
    """
    if scan.state in _TASK_OF_STATE:
        return _TASK_OF_STATE[scan.state]
    if known := next((task for task in _TASK_OF_STATE.values() if task in failed), None):
        return known
    if scan.extraction_finished_at:
        return "check_quality"
    return "extract_deals" if scan.extraction_started_at else "validate_token"


def heading_of(check: str) -> str:
    """Return the runbook's heading for a check: its own, or the general one."""
    return check if check in headings("runbook") else QualityError.runbook_heading


def found_scan(
    user: BaseUser, warehouse: Warehouse, scan_id: str
) -> tuple[models.ScanRow, ActiveRun | None]:
    """Return a scan that *user* may see, and its run if it is active. Raises Problem."""
    scan = find_scan(warehouse, scan_id)
    if scan is not None:
        require(user, "GET", scan.dag_id, "scan")
        if scan.state not in FINAL_STATES:
            mark_orphaned_scans_failed(warehouse, [scan.dag_id])
            scan = find_scan(warehouse, scan_id) or scan
        runs = active_runs([scan.dag_id])
        return scan, next((run for run in runs if run.scan_id == scan_id), None)
    tenant_of = {tenant.dag_id: tenant.id for tenant in tenants_by_id().values()}
    for run in active_runs(visible_dag_ids(user) & tenant_of.keys()):
        if run.scan_id == scan_id:
            return queued_scan(run, tenant_of[run.dag_id]), run
    raise not_found("scan")


def error_of(scan: models.ScanRow, airflow: str = "") -> models.ScanError | None:
    """Return the parts of the columns `error` and `remedy`.

    :param airflow: the path that Airflow is served below.
    """
    if scan.error is None:
        return None
    found = RecordedError.of_columns(scan.error, scan.remedy)
    return models.ScanError(
        type=found.type,
        message=found.message,
        remedy=found.remedy,
        runbook=runbook_url(airflow, found.heading) if found.heading else None,
    )


def links(
    request: Request, scan_id: str, dag_id: str, run_id: str, runbook: str | None = None
) -> models.ScanLinks:
    """Return paths, including the prefix that Airflow is served below."""
    base, airflow = request.scope.get("root_path", ""), airflow_root(request)
    dag, run = quote(dag_id, safe=""), quote(run_id, safe="")
    return models.ScanLinks(
        self=f"{base}/scans/{scan_id}",
        deals=f"{base}/scans/{scan_id}/deals",
        cancel=f"{base}/scans/{scan_id}/cancel",
        # by its run: if that fails before the scan has a row, the page can still link to it
        page=f"{base}/ui?dag_id={dag}&run_id={run}",
        airflow_run=f"{airflow}/dags/{dag}/runs/{run}",
        runbook=runbook,
    )


@router.post(
    "/scans",
    status_code=201,
    summary="Start a scan",
    dependencies=[SameOrigin],
    responses=answers(*_OF_CHANGES, Code.NOT_JSON, Code.SCAN_RUNNING, Code.DAG_PAUSED),
)
async def start_scan(
    request: Request,
    response: Response,
    user: User,
    warehouse: CurrentWarehouse,
    start: models.StartScan,
) -> models.Started:
    tenant = await run_in_threadpool(_startable, user, start)
    # until Airflow has the run, other requests to start a scan of the tenant wait
    async with contextmanager_in_threadpool(start_lock(warehouse, tenant.id)):
        if not start.force:
            await run_in_threadpool(_require_idle, tenant)
        run_id = f"api__{datetime.now(UTC).isoformat()}"
        note = f"started by {user.get_name()} through the REST API"
        await trigger_run(request, tenant.dag_id, run_id, _conf(start), note)
    scan_id = scan_id_of(tenant.dag_id, run_id)
    where = links(request, scan_id, tenant.dag_id, run_id)
    response.headers["Location"] = where.self
    return models.Started(scan_id=scan_id, run_id=run_id, tenant=tenant.id, links=where)


def _startable(user: BaseUser, start: models.StartScan) -> Tenant:
    """Return the tenant. Raises Problem if the requested scan can't be started."""
    tenant = known_tenant(start.tenant, user)
    require(user, "POST", tenant.dag_id, "tenant")
    run: Any = SimpleNamespace(run_id="", run_type="manual", start_date=None)
    try:
        # the scan's first task would reject the same requests
        Scan.of_run(tenant, run, _conf(start))
    except ScanRequestError as exc:
        raise Problem(Code.INVALID_REQUEST, exc.what, remedy=exc.remedy) from None
    _require_runnable(tenant.dag_id)
    return tenant


def _require_runnable(dag_id: str) -> None:
    """Raise a problem if Airflow would leave a run of this DAG queued."""
    dag = dags([dag_id]).get(dag_id)
    if dag is None or dag.is_stale:
        raise Problem(
            Code.NOT_FOUND,
            f"Airflow does not find DAG {dag_id}.",
            remedy="If the tenant is new, repeat the request in a minute. Otherwise look at"
            " Airflow's import errors and at its DAG processor.",
        )
    if dag.is_paused:
        raise Problem(
            Code.DAG_PAUSED,
            f"DAG {dag_id} is paused; a run would stay queued.",
            remedy="Unpause the DAG in Airflow, then repeat the request.",
        )


def _conf(start: models.StartScan) -> dict[str, Any]:
    """Return the run's params without those that have the DAG's defaults."""
    conf: dict[str, Any] = {"mode": start.mode}
    for name in ("window_start", "window_end"):
        if moment := getattr(start, name):
            conf[name] = moment.astimezone(UTC).isoformat()
    if start.rewrite_rows:
        conf["rewrite_rows"] = True
    if start.checkpoint_pages is not None:
        conf["checkpoint_pages"] = start.checkpoint_pages
    return conf


def _require_idle(tenant: Tenant) -> None:
    if runs := active_runs([tenant.dag_id]):
        run = runs[0]
        raise Problem(
            Code.SCAN_RUNNING,
            f"A scan of tenant {tenant.id} is {run.state}.",
            remedy='Wait until it ends, or send "force": true to queue another one after it.',
            scan_id=run.scan_id,
            run_id=run.run_id,
        )


@router.post(
    "/scans/{scan_id}/cancel",
    status_code=202,
    summary="Cancel a scan",
    dependencies=[SameOrigin],
    responses=answers(*_OF_CHANGES, Code.SCAN_FINISHED),
)
async def cancel_scan(
    request: Request, user: User, warehouse: CurrentWarehouse, scan_id: ScanId
) -> models.Cancelled:
    scan, run = await run_in_threadpool(_cancellable, user, warehouse, scan_id)
    ended = CancelledRun(scan.scan_id, scan.tenant, scan.dag_id, scan.run_id, scan.mode)
    # before the run ends, so that its callbacks find a cancelled scan and do not alert
    await run_in_threadpool(record_cancelled, warehouse, ended)
    if run is not None:
        note = f"cancelled by {user.get_name()} through the REST API"
        await fail_run(request, scan.dag_id, scan.run_id, note)
        # a task that began in between may have opened the scan again
        await run_in_threadpool(record_cancelled, warehouse, ended)
    return models.Cancelled(scan_id=scan_id)


def record_cancelled(warehouse: Warehouse, run: CancelledRun) -> None:
    """Write the scan's row, unless no scan has created the tables yet."""
    try:
        with reading(warehouse) as connection:
            connection.run("select from {scans} limit 0")
    except WarehouseEmptyError:
        return
    cancel(warehouse, run)


@router.post(
    "/scans/{scan_id}/retry",
    status_code=202,
    summary="Clear the failed task of a scan, so that Airflow runs it again",
    dependencies=[SameOrigin],
    responses=answers(*_OF_CHANGES, Code.SCAN_NOT_FAILED, Code.DAG_PAUSED),
)
async def retry_scan(
    request: Request, user: User, warehouse: CurrentWarehouse, scan_id: ScanId
) -> models.Retried:
    scan, tasks = await run_in_threadpool(_retryable, user, warehouse, scan_id)
    await clear_tasks(request, scan.dag_id, scan.run_id, tasks)
    return models.Retried(scan_id=scan_id)


def _retryable(
    user: BaseUser, warehouse: Warehouse, scan_id: str
) -> tuple[models.ScanRow, set[str]]:
    """Return a failed scan and the tasks to clear. Raises Problem."""
    scan, run = found_scan(user, warehouse, scan_id)
    require(user, "PUT", scan.dag_id, "scan")
    if scan.state == "failed" and run is not None:
        raise Problem(
            Code.SCAN_NOT_FAILED,
            "Airflow has not ended the run of this scan: it will retry the task.",
            remedy="Wait for the next try, or cancel the scan.",
        )
    if scan.state != "failed":
        raise Problem(
            Code.SCAN_NOT_FAILED,
            "Only a scan that has failed can be retried.",
            remedy="Start a new scan instead.",
        )
    _require_runnable(scan.dag_id)
    # If a person ended the run, its tasks are skipped, or succeeded although they were not done.
    return scan, {task_of(scan), *unsuccessful_tasks(scan.dag_id, scan.run_id)}


def _cancellable(
    user: BaseUser, warehouse: Warehouse, scan_id: str
) -> tuple[models.ScanRow, ActiveRun | None]:
    scan, run = found_scan(user, warehouse, scan_id)
    require(user, "PUT", scan.dag_id, "scan")
    # while its run is active, a scan has the state failed between two tries
    if scan.state in ("cancelled", "succeeded") or (run is None and scan.state in FINAL_STATES):
        raise Problem(Code.SCAN_FINISHED, "The scan has already ended.")
    return scan, run


def list_scans(
    warehouse: Warehouse,
    dag_ids: Collection[str],
    *,
    tenant_id: str | None = None,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    queued: Collection[models.ScanSummary] = (),
) -> models.ScanList:
    """Return scans of these DAGs and the cursor of the next page: queued ones, then newest first.

    Raises InvalidCursorError.

    :param queued: scans that had no row when they were read.
    """
    what = f"scans tenant={tenant_id} state={state}"
    after = position_of(what, cursor, _POSITION, None)
    # rows follow all queued scans
    _, started_at, scan_id = (None, None, None) if after is None or after[0] else after
    values = {
        "dag_ids": list(dag_ids),
        "tenant_id": tenant_id,
        "state": state,
        "started_at": started_at,
        "scan_id": scan_id,
        "limit": limit + 1,
    }
    rows = fetch(warehouse, class_row(models.ScanSummary), _LIST, values)
    begun = {scan.scan_id for scan in rows}
    rest = [
        scan
        for scan in queued
        if scan.scan_id not in begun and (after is None or _position(scan) < after)
    ]
    scans = sorted([*rest, *rows], key=_position, reverse=True)
    shown, following = page_of(what, scans, limit, _position)
    return models.ScanList(scans=shown, next_cursor=following)


def _position(scan: models.ScanSummary) -> _Position:
    """Return the scan's place. A queued scan that begins moves to where a client still reads."""
    return scan.state == "queued", scan.started_at, scan.scan_id


def states_of(warehouse: Warehouse, runs: Collection[ActiveRun]) -> dict[str, str]:
    """Return the states of the scans of these runs that have a row, by scan id."""
    statement = "select scan_id, state from {scans} where scan_id = any(%(scan_ids)s)"
    values = {"scan_ids": [run.scan_id for run in runs]}
    return dict(fetch(warehouse, tuple_row, statement, values)) if runs else {}


def find_scan(warehouse: Warehouse, scan_id: str) -> models.ScanRow | None:
    """Return a scan with its objects and quality results, None if it has no row."""
    values = {"scan_id": scan_id, "recent": _RECENT_CHECKPOINTS}
    return next(iter(fetch(warehouse, class_row(models.ScanRow), _ONE, values)), None)
