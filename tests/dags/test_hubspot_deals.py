"""The DAG file, parsed by Airflow itself."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowRescheduleException, ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from include.errors import (
    ComeBackLaterError,
    ConfigError,
    ContractError,
    DailyLimitError,
    HubSpotUnavailableError,
    PortalMigratingError,
    QualityError,
    TokenRejectedError,
)
from include.scan import scan_id
from include.tenants import Tenant

THREE_TENANTS = """
tenants:
  - id: acme
  - {id: globex, schedule: null, owner: sales, retries: 1, checkpoint_pages: 7}
  - {id: initech, schedule: "30 4 * * *", timezone: Europe/Berlin}
"""


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_root: Path) -> Any:
    def parse_dags(tenants: str) -> DagBag:
        file = tmp_path / "tenants.yaml"
        file.write_text(tenants)
        monkeypatch.setenv("HUBSPOT_DEALS_TENANTS_FILE", str(file))
        return DagBag(project_root / "dags")

    return parse_dags


def test_every_tenant_has_a_dag_of_three_tasks_in_a_row(parse: Any) -> None:
    bag = parse(THREE_TENANTS)

    assert bag.import_errors == {}
    assert set(bag.dags) == {
        "hubspot_deals__acme",
        "hubspot_deals__globex",
        "hubspot_deals__initech",
    }
    for dag in bag.dags.values():
        chain = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}
        assert chain == {
            "validate_token": ["extract_deals"],
            "extract_deals": ["check_quality"],
            "check_quality": [],
        }


def test_the_tenants_settings_are_the_dags(parse: Any) -> None:
    dag = parse(THREE_TENANTS).dags["hubspot_deals__globex"]

    assert dag.timetable.can_be_scheduled is False
    assert dag.params["checkpoint_pages"] == 7
    assert {(task.owner, task.retries) for task in dag.tasks} == {("sales", 1)}


def test_a_schedule_has_data_intervals_in_the_tenants_time_zone(parse: Any) -> None:
    timetable = parse(THREE_TENANTS).dags["hubspot_deals__initech"].timetable

    assert isinstance(timetable, CronDataIntervalTimetable)
    assert str(timetable.timezone) == "Europe/Berlin" or timetable.timezone.name == "Europe/Berlin"


def test_a_bad_entry_shows_as_an_import_error_and_the_others_load(parse: Any) -> None:
    bag = parse("tenants: [{id: acme}, {id: globex, schedul: null}]")

    assert set(bag.dags) == {"hubspot_deals__acme"}
    ((file, error),) = bag.import_errors.items()
    assert Path(file).name == "tenants_file_check.py"
    assert "tenant 'globex': unknown key 'schedul' (did you mean 'schedule'?)" in error


def test_a_file_that_is_no_yaml_is_an_import_error(parse: Any) -> None:
    bag = parse("tenants: [")

    assert bag.dags == {}
    assert all("is not valid YAML" in error for error in bag.import_errors.values())


@pytest.mark.parametrize(
    ("error", "action"),
    [
        pytest.param(TokenRejectedError("no"), "fail", id="a person must act"),
        pytest.param(ConfigError("no"), "fail", id="setting"),
        pytest.param(ContractError("no"), "fail", id="a developer must act"),
        pytest.param(QualityError("no"), "fail", id="quality"),
        pytest.param(HubSpotUnavailableError("no"), "default", id="waiting helps"),
        pytest.param(ConnectionError("no"), "default", id="anything else"),
    ],
)
def test_only_what_waiting_can_heal_is_retried(parse: Any, error: Exception, action: str) -> None:
    task = parse(THREE_TENANTS).dags["hubspot_deals__acme"].get_task("extract_deals")

    assert task.retry_policy.evaluate(error, 1, 3).action.value == action
    assert task.retry_delay == timedelta(seconds=30)


def test_retries_come_later_each_time_and_after_a_quarter_of_an_hour_at_most(parse: Any) -> None:
    tasks = parse(THREE_TENANTS).dags["hubspot_deals__acme"].tasks

    assert {task.retries for task in tasks} == {3}
    assert {task.retry_exponential_backoff for task in tasks} == {2.0}
    assert {task.max_retry_delay for task in tasks} == {timedelta(minutes=15)}


@pytest.mark.parametrize("error", [DailyLimitError, PortalMigratingError])
@pytest.mark.parametrize(
    ("task_id", "called"),
    [
        ("validate_token", "include.pipeline.validate_token.validate_token"),
        ("extract_deals", "include.pipeline.extract_deals.extract_deals"),
    ],
)
def test_a_task_that_can_go_on_at_a_known_time_gives_its_slot_back_until_then(
    parse: Any,
    monkeypatch: pytest.MonkeyPatch,
    task_id: str,
    called: str,
    error: type[ComeBackLaterError],
) -> None:
    task = parse(THREE_TENANTS).dags["hubspot_deals__acme"].get_task(task_id)
    resume_at = datetime.now(UTC) + timedelta(hours=5)

    def come_back_later(*_: object) -> None:
        raise error("not now.", resume_at=resume_at)

    monkeypatch.setattr(called, come_back_later)
    run = SimpleNamespace(run_id="manual__1", run_type="manual", start_date=None)

    with pytest.raises(AirflowRescheduleException) as caught:
        task.python_callable(dag_run=run, params={"checkpoint_pages": 10})

    assert caught.value.reschedule_date == resume_at


def test_a_task_comes_back_after_airflow_has_noticed_that_it_left(
    parse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = parse(THREE_TENANTS).dags["hubspot_deals__acme"].get_task("validate_token")
    now = datetime.now(UTC)

    def come_back_soon(*_: object) -> None:
        raise PortalMigratingError("not now.", resume_at=now + timedelta(seconds=3))

    monkeypatch.setattr("include.pipeline.validate_token.validate_token", come_back_soon)
    run = SimpleNamespace(run_id="manual__1", run_type="manual", start_date=None)

    with pytest.raises(AirflowRescheduleException) as caught:
        task.python_callable(dag_run=run, params={"checkpoint_pages": 10})

    assert caught.value.reschedule_date >= now + timedelta(seconds=30)


def test_a_tenant_never_extracts_twice_at_once(parse: Any) -> None:
    dag = parse(THREE_TENANTS).dags["hubspot_deals__acme"]

    assert dag.max_active_runs == 1
    assert dag.get_task("extract_deals").max_active_tis_per_dag == 1


def test_the_trigger_form_has_a_title_and_a_description_for_every_param(parse: Any) -> None:
    dag = parse(THREE_TENANTS).dags["hubspot_deals__acme"]

    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.schema["title"], name
        assert param.description, name


def test_the_trigger_form_says_what_a_first_scan_costs(parse: Any) -> None:
    dag = parse(THREE_TENANTS).dags["hubspot_deals__acme"]

    description = dag.params.get_param("mode").description
    assert "for each 10,000 records: deals 340 (histories 200)" in description


def test_a_run_can_be_given_a_mode_and_a_window(parse: Any) -> None:
    dag = parse(THREE_TENANTS).dags["hubspot_deals__acme"]

    mode = dag.params.get_param("mode")
    assert (mode.value, mode.schema["enum"]) == ("auto", ["auto", "incremental", "full"])
    assert mode.schema["values_display"].keys() == set(mode.schema["enum"])
    for name in ("window_start", "window_end"):
        param = dag.params.get_param(name)
        assert param.value is None
        assert (param.schema["type"], param.schema["format"]) == (["null", "string"], "date-time")


def test_the_dag_explains_itself(parse: Any) -> None:
    dag = parse(THREE_TENANTS).dags["hubspot_deals__acme"]

    assert "When a task fails" in dag.doc_md
    assert dag.tags == {"hubspot", "tenant:acme"}
    for task in dag.tasks:
        assert "If it fails" in task.doc_md, task.task_id


def test_the_owner_leads_to_the_tenants_link(parse: Any) -> None:
    bag = parse("tenants: [{id: acme, owner: sales, owner_link: 'mailto:s@example.com'}, {id: b}]")

    assert bag.dags["hubspot_deals__acme"].owner_links == {"sales": "mailto:s@example.com"}
    assert bag.dags["hubspot_deals__b"].owner_links == {}


@pytest.mark.parametrize("window_start", ["yesterday", "2026-01-31", "2026-01-31 10:00", "", 7])
def test_the_form_refuses_a_window_that_is_no_date_and_time(
    parse: Any, window_start: object
) -> None:
    param = parse(THREE_TENANTS).dags["hubspot_deals__acme"].params.get_param("window_start")

    with pytest.raises(ParamValidationError):
        param.resolve(window_start)


@pytest.mark.parametrize(
    ("name", "value"),
    [("mode", "fast"), ("mode", None), ("rewrite_rows", "false"), ("rewrite_rows", 1)],
)
def test_airflow_refuses_a_mode_or_a_switch_that_there_is_not(
    parse: Any, name: str, value: object
) -> None:
    param = parse(THREE_TENANTS).dags["hubspot_deals__acme"].params.get_param(name)

    with pytest.raises(ParamValidationError):
        param.resolve(value)


@pytest.mark.parametrize("window_start", ["2026-01-31T10:00:00Z", "2026-01-31T10:00:00+01:00"])
def test_the_form_takes_a_date_and_time_with_a_zone(parse: Any, window_start: str) -> None:
    param = parse(THREE_TENANTS).dags["hubspot_deals__acme"].params.get_param("window_start")

    assert param.resolve(window_start) == window_start


def test_every_task_links_to_the_page_of_its_scan(parse: Any) -> None:
    dag = parse(THREE_TENANTS).dags["hubspot_deals__acme"]
    run = SimpleNamespace(dag_id=dag.dag_id, run_id="manual__1")

    for task in dag.tasks:
        (link,) = task.operator_extra_links
        assert link.name == "Status of this scan"
        page = link.get_link(task, ti_key=run)
        assert (
            page
            == f"/plugin/hubspot-scans/hubspot-deals/ui?scan={scan_id(dag.dag_id, 'manual__1')}"
        )


def test_the_link_is_there_while_the_task_runs(parse: Any) -> None:
    dag = parse(THREE_TENANTS).dags["hubspot_deals__acme"]
    pushed: dict[str, str] = {}
    ti = SimpleNamespace(dag_id=dag.dag_id, run_id="manual__1", xcom_push=pushed.__setitem__)
    task = dag.get_task("extract_deals")

    task._pre_execute_hook({"ti": ti})

    (link,) = task.operator_extra_links
    assert pushed == {link.xcom_key: link.get_link(task, ti_key=ti)}


def test_only_the_last_task_updates_the_tenants_asset(parse: Any) -> None:
    dag = parse(THREE_TENANTS).dags["hubspot_deals__acme"]

    outlets = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks}

    assert outlets == {
        "validate_token": [],
        "extract_deals": [],
        "check_quality": ["hubspot_deals/acme/deals"],
    }


def test_the_asset_event_carries_what_the_scan_came_to(
    parse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = parse(THREE_TENANTS).dags["hubspot_deals__acme"].get_task("check_quality")
    (asset,) = task.outlets
    events = {asset: SimpleNamespace(extra={})}
    monkeypatch.setattr(
        "include.pipeline.check_quality.check_quality", lambda scan: {"scan": {"scan_id": scan.id}}
    )
    run = SimpleNamespace(run_id="manual__1", run_type="manual", start_date=None)

    task.python_callable(dag_run=run, params={}, outlet_events=events)

    assert events[asset].extra == {"scan_id": scan_id("hubspot_deals__acme", "manual__1")}


@pytest.mark.parametrize(
    ("setting", "dags"),
    [
        pytest.param(None, [], id="not set"),
        pytest.param("1", [], id="something else"),
        pytest.param("true", ["example_dbt", "example_deals_report"], id="wanted"),
    ],
)
def test_the_examples_are_only_there_if_they_are_wanted(
    parse: Any, monkeypatch: pytest.MonkeyPatch, setting: str | None, dags: list[str]
) -> None:
    if setting is not None:
        monkeypatch.setenv("HUBSPOT_DEALS_EXAMPLE_DAGS", setting)

    bag = parse("tenants: [{id: acme}]")

    assert bag.import_errors == {}
    assert sorted(dag_id for dag_id in bag.dags if dag_id.startswith("example")) == dags


def test_parsing_imports_neither_dlt_nor_what_it_loads_with(
    tmp_path: Path, project_root: Path
) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(THREE_TENANTS)
    code = """
import sys
from airflow.dag_processing.dagbag import DagBag
before = set(sys.modules)
bag = DagBag("dags")
assert len(bag.dags) == 3, bag.import_errors
heavy = {"dlt", "pyarrow", "psycopg", "requests", "msgspec"}
print("imported by the DAG files:", sorted(heavy & (set(sys.modules) - before)))
"""

    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project_root,
        env={**os.environ, "PYTHONPATH": ".", "HUBSPOT_DEALS_TENANTS_FILE": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "imported by the DAG files: []" in run.stdout, run.stderr


def test_a_task_process_builds_only_its_own_dag(
    parse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "hubspot_deals__globex")

    assert set(parse(THREE_TENANTS).dags) == {"hubspot_deals__globex"}


def test_a_schedule_with_h_reaches_airflow_as_a_plain_one(parse: Any) -> None:
    dag = parse("tenants: [{id: acme, schedule: 'H H * * *'}]").dags["hubspot_deals__acme"]

    assert dag.timetable.expression == Tenant(id="acme", schedule="H H * * *").schedule
    assert "H" not in dag.timetable.expression


def test_all_tasks_take_their_slots_from_the_tenants_pool(parse: Any) -> None:
    text = "pools: {large: 2}\ntenants: [{id: acme, pool: large, priority: 7}, {id: globex}]"

    dags = parse(text).dags

    assert {task.pool for task in dags["hubspot_deals__acme"].tasks} == {"large"}
    assert {task.pool for task in dags["hubspot_deals__globex"].tasks} == {"default_pool"}


def test_no_task_of_a_scan_runs_for_ever(parse: Any) -> None:
    dags = parse("tenants: [{id: acme}, {id: globex, task_timeout_s: 600}]").dags

    limits = {
        name: {task.execution_timeout for task in dags[f"hubspot_deals__{name}"].tasks}
        for name in ("acme", "globex")
    }

    assert limits == {"acme": {timedelta(days=1)}, "globex": {timedelta(minutes=10)}}


def test_scans_that_run_end_before_others_begin_and_priority_goes_first(parse: Any) -> None:
    dags = parse("tenants: [{id: acme}, {id: globex, priority: 4}]").dags

    weights = [weights_of(dags[f"hubspot_deals__{name}"]) for name in ("acme", "globex")]

    assert weights == [[1, 2, 3], [4, 8, 12]]


def weights_of(dag: Any) -> list[int]:
    """What the scheduler orders waiting tasks by, as it computes it: from the serialized DAG."""
    serialized = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    return [
        task.weight_rule.get_weight(SimpleNamespace(task=task))
        for name in ("validate_token", "extract_deals", "check_quality")
        for task in [serialized.get_task(name)]
    ]
