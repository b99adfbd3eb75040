"""Every check is shown to pass on good rows and to find what it is there for."""

import re
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest

import include.pipeline.check_quality as module
from include.errors import OutdatedAttemptError, QualityError
from include.pipeline.check_quality import check_quality, status_of
from include.pipeline.quality_rules import RULES, Rule, Severity
from include.scan import Scan
from include.tenants import Tenant
from include.warehouse.checkpoints import Chunk, ScanObjects
from include.warehouse.connection import Warehouse
from include.warehouse.scans import ScanLog
from tests.support.scans import query

SCAN = Scan(Tenant(id="acme"), "manual__1")

Execute = Callable[[str], None]


@pytest.fixture
def execute(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Execute:
    """Run SQL in a warehouse that holds one good scan of two deals."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DLT_DATABASE_SCHEMA", warehouse.schema)

    def run(statement: str) -> None:
        with warehouse.connect() as connection:
            connection.execute(f"set search_path to {warehouse.schema}")
            connection.execute(statement.replace("$scan", f"'{SCAN.id}'"))

    log = ScanLog(warehouse, SCAN)
    log.open()
    log.set(portal_id=7, extraction_started_at=datetime.now(UTC))
    deals = ScanObjects(warehouse, SCAN, "deals")
    deals.open(mode="full", reason="test", unexplained=0)
    modified_us = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1_000_000
    deals.checkpoint(
        log, Chunk([1, 2], [10, 20], [modified_us, modified_us]), {"pages": 1}, {"pages": 1}
    )
    run(
        """
        insert into pipeline_stages
        values ('acme', 'deals', 'default', 'won', 'Sales', 'Won', true, 1, null, $scan);
        insert into deals (_tenant_id, deal_id, pipeline_id, stage_id, created_at, updated_at,
                           archived, properties, _content_hash, _scan_id, _extracted_at)
        select 'acme', id, 'default', 'won', timestamptz '2026-10-31Z', timestamptz '2026-11-01Z',
               false, jsonb_build_object('hs_object_id', id::text), id * 10, $scan,
               now() - interval '1 minute'
        from generate_series(1, 2) as id
        """
    )
    log.set(extraction_finished_at=datetime.now(UTC))
    return run


def statuses(warehouse: Warehouse) -> dict[str, str]:
    with warehouse.connect() as connection:
        return dict(
            connection.execute(
                f"select check_name, status from {warehouse.schema}.quality_results"
            ).fetchall()
        )


@pytest.mark.usefixtures("execute")
def test_a_good_scan_passes_every_check_and_succeeds(warehouse: Warehouse) -> None:
    checked = {**check_quality(SCAN)}

    assert checked.pop("scan")["scan_id"] == SCAN.id
    assert checked == {
        "scan_id": SCAN.id,
        "passed": True,
        "checks": len(RULES),
        "failed": 0,
        "warned": 0,
        "no_rows": 0,
    }
    assert set(statuses(warehouse).values()) == {"passed"}
    with warehouse.connect() as connection:
        scan = connection.execute(
            f"select state, finished_at is not null, error from {warehouse.schema}.scans"
        ).fetchone()
    assert scan == ("succeeded", True, None)


@pytest.mark.usefixtures("execute")
def test_the_first_successful_scan_binds_the_tenant_to_its_account(warehouse: Warehouse) -> None:
    check_quality(SCAN)

    with warehouse.connect() as connection:
        bound = connection.execute(
            f"select tenant_id, portal_id, bound_by_scan_id from {warehouse.schema}.tenants"
        ).fetchall()
    assert bound == [("acme", 7, SCAN.id)]


BLOCKING = [
    pytest.param("delete from deals where deal_id = 2", "received_records_are_held", id="lost row"),
    pytest.param(
        "update deals set _content_hash = 21 where deal_id = 2",
        "received_records_are_held",
        id="other content than was sent",
    ),
    pytest.param(
        "insert into scan_chunks values ($scan, 'contacts', 1, '{5}', '{50}', '{null}')",
        "received_records_are_held",
        id="lost record of another object",
    ),
    pytest.param(
        "update scans set extraction_finished_at = null",
        "extraction_has_ended",
        id="a task that a person marked as successful",
    ),
    pytest.param(
        "update scan_objects set unexplained = 2", "portal_count_is_explained", id="difference"
    ),
    pytest.param(
        "update scan_objects set vanished = 101, live_rows = 100",
        "most_records_are_still_there",
        id="most of it is gone",
    ),
    pytest.param(
        "alter table deals drop constraint deals_pkey; "
        "alter table deals alter deal_id drop not null; "
        "update deals set deal_id = null where deal_id = 2",
        "keys_not_null",
        id="null key",
    ),
    pytest.param(
        "alter table deals drop constraint deals_pkey; "
        "insert into deals select * from deals where deal_id = 1",
        "keys_unique",
        id="doubled key",
    ),
    pytest.param(
        "update deals set _tenant_id = 'globex' where deal_id = 2",
        "rows_carry_this_tenant",
        id="row of another tenant",
    ),
    pytest.param(
        """update deals set properties = '{"hs_object_id": "1"}' where deal_id = 2""",
        "properties_belong_to_their_deal",
        id="foreign properties",
    ),
    pytest.param(
        "update deals set updated_at = now() + interval '2 days' where deal_id = 2",
        "modified_not_in_the_future",
        id="future",
    ),
]


@pytest.mark.parametrize(("damage", "check"), BLOCKING)
def test_a_blocking_check_fails_the_scan_with_its_figures(
    warehouse: Warehouse, execute: Execute, damage: str, check: str
) -> None:
    execute(damage)

    with pytest.raises(QualityError, match=rf"tenant acme: .*{check} = [12] \(at most 0"):
        check_quality(SCAN)

    assert statuses(warehouse)[check] == "failed"
    with warehouse.connect() as connection:
        row = connection.execute(f"select state, error from {warehouse.schema}.scans").fetchone()
        bound = connection.execute(f"select from {warehouse.schema}.tenants").fetchall()
    assert row is not None
    assert row[0] == "failed"
    assert check in row[1]
    assert bound == []


WARNING = [
    pytest.param(
        "update deals set created_at = updated_at + interval '1 s' where deal_id = 2",
        "modified_not_before_created",
        id="wrong order",
    ),
    pytest.param(
        "update deals set created_at = null where deal_id = 2", "timestamps_present", id="none"
    ),
    pytest.param(
        "update deals set archived = true where deal_id = 2",
        "archived_rows_have_their_time",
        id="archived, but when",
    ),
    pytest.param(
        "update deals set stage_id = 'gone' where deal_id = 2",
        "stages_known_to_the_portal",
        id="unknown stage",
    ),
    pytest.param(
        "update pipeline_stages set listed = false; insert into pipeline_stages values"
        " ('acme', 'deals', 'default', 'open', 'Sales', 'Open', false, 0.5, null, $scan)",
        "stages_known_to_the_portal",
        id="stage no longer listed",
    ),
    pytest.param(
        """update scans set misfits = '{"amount": 2, "close_date": 1}'""",
        "values_fit_their_columns",
        id="misfit values",
    ),
    pytest.param(
        """update scans set warnings = '["owners were not read"]'""",
        "everything_wanted_was_read",
        id="missing scope",
    ),
]


@pytest.mark.parametrize(("damage", "check"), WARNING)
def test_a_warning_is_written_down_and_the_scan_succeeds(
    warehouse: Warehouse, execute: Execute, damage: str, check: str
) -> None:
    execute(damage)

    checked = check_quality(SCAN)

    assert (checked["passed"], checked["warned"]) == (True, 1)
    assert statuses(warehouse)[check] == "warned"


#: Of these, the figure is all that is known.
COUNTED_ONLY = {
    *("portal_count_is_explained", "most_records_are_still_there", "keys_not_null"),
    *("everything_wanted_was_read", "extraction_has_ended"),
}
#: What is said of the record, beside its id.
DETAILS = {
    "stages_known_to_the_portal": "stage (gone|won) of pipeline default",
    "properties_belong_to_their_deal": "hs_object_id 1",
    "modified_not_in_the_future": "modified 20.*",
    "modified_not_before_created": "modified 2026-11-01.*, created 2026-11-01.*",
    "keys_unique": "2 rows",
}


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        p
        for p in [*BLOCKING, *WARNING]
        if not {*COUNTED_ONLY, "values_fit_their_columns"} & {*p.values}
    ],
)
def test_the_records_that_a_check_found_are_stored(
    warehouse: Warehouse, execute: Execute, damage: str, check: str
) -> None:
    execute(damage)
    with suppress(QualityError):
        check_quality(SCAN)

    (row, *others) = query(
        warehouse,
        "select number, object, record_id, detail from quality_records"
        " where check_name = %s order by number",
        check,
    )
    assert row["number"] == 1
    assert (row["object"], row["record_id"]) in {("deals", 1), ("deals", 2), ("contacts", 5)}
    assert re.fullmatch(DETAILS.get(check, ""), row["detail"] or "")
    (result,) = query(
        warehouse, "select observed from quality_results where check_name = %s", check
    )
    assert 1 + len(others) == result["observed"]


@pytest.mark.usefixtures("execute")
def test_a_check_that_passes_stores_no_records(warehouse: Warehouse) -> None:
    check_quality(SCAN)

    assert query(warehouse, "select from quality_records") == []


def test_of_many_wrong_records_the_first_ones_are_stored(
    warehouse: Warehouse, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 1)
    execute("update deals set created_at = null")

    check_quality(SCAN)

    found = query(warehouse, "select check_name, record_id from quality_records")
    assert found == [{"check_name": "timestamps_present", "record_id": 1}]


def test_a_scan_without_deals_is_a_result_of_its_own(
    warehouse: Warehouse, execute: Execute
) -> None:
    execute("delete from deals; delete from scan_chunks")

    checked = check_quality(SCAN)

    found = statuses(warehouse)
    assert found.pop("deals_present") == "warned"
    assert found.pop("extraction_has_ended") == "passed"
    assert found.pop("received_records_are_held") == "passed"
    assert found.pop("portal_count_is_explained") == "passed"
    assert found.pop("most_records_are_still_there") == "passed"
    assert found.pop("everything_wanted_was_read") == "passed"
    assert found.pop("records_came_with_properties") == "passed"
    assert set(found.values()) == {"no_rows"}
    assert checked["warned"] == 1


def write_as_another_scan(execute: Execute, extraction: int) -> None:
    execute(
        "insert into scans (scan_id, tenant_id, dag_id, run_id, mode, state, last_extraction)"
        f" values ('another', 'acme', 'd', 'r', 'auto', 'extracting', {extraction})"
    )
    execute("update deals set _content_hash = 11, _scan_id = 'another' where deal_id = 1")


def test_a_row_that_a_later_scan_wrote_is_no_loss(warehouse: Warehouse, execute: Execute) -> None:
    execute("update scans set first_extraction = 5, last_extraction = 5")
    write_as_another_scan(execute, 6)

    check_quality(SCAN)

    assert statuses(warehouse)["received_records_are_held"] == "passed"


def test_a_row_that_an_earlier_scan_wrote_is_a_loss_whatever_the_clocks_say(
    warehouse: Warehouse, execute: Execute
) -> None:
    execute("update scans set first_extraction = 5, last_extraction = 5")
    write_as_another_scan(execute, 4)
    execute(
        "update deals set updated_at = now() + interval '1 year',"
        " _extracted_at = now() + interval '1 year' where deal_id = 1"
    )

    with pytest.raises(QualityError, match="received_records_are_held = 1"):
        check_quality(SCAN)


def test_a_row_of_a_try_that_was_killed_before_it_wrote_down_what_it_received_is_no_loss(
    warehouse: Warehouse, execute: Execute
) -> None:
    execute("update deals set _content_hash = 21, _extracted_at = now() where deal_id = 2")

    check_quality(SCAN)

    assert statuses(warehouse)["received_records_are_held"] == "passed"


def test_a_modification_time_that_is_newer_excuses_nothing(
    warehouse: Warehouse, execute: Execute
) -> None:
    execute("update deals set _content_hash = 11, updated_at = '2026-11-02Z' where deal_id = 1")

    with pytest.raises(QualityError, match="received_records_are_held = 1"):
        check_quality(SCAN)


@pytest.mark.parametrize(("held", "passes"), [(12, True), (10, False)])
def test_of_a_record_that_came_twice_what_came_last_must_be_held(
    warehouse: Warehouse, execute: Execute, held: int, passes: bool
) -> None:
    execute(
        "insert into scan_chunks (scan_id, object, chunk, ids, hashes, modified_at)"
        " values ($scan, 'deals', 2, '{1}', '{12}', '{2026-10-01Z}')"
    )
    execute(f"update deals set _content_hash = {held} where deal_id = 1")

    with nullcontext() if passes else pytest.raises(QualityError, match="are_held = 1"):
        check_quality(SCAN)


def test_a_scan_that_compared_nothing_passes_no_comparison(
    warehouse: Warehouse, execute: Execute
) -> None:
    execute("update scan_objects set unexplained = null")

    check_quality(SCAN)

    assert statuses(warehouse)["portal_count_is_explained"] == "no_rows"


def test_checking_again_replaces_the_results(warehouse: Warehouse, execute: Execute) -> None:
    execute("update deals set created_at = null where deal_id = 2")
    check_quality(SCAN)
    execute("update deals set created_at = updated_at")

    check_quality(SCAN)

    assert set(statuses(warehouse).values()) == {"passed"}
    assert len(statuses(warehouse)) == len(RULES)


def test_another_tenants_rows_do_not_count(warehouse: Warehouse, execute: Execute) -> None:
    execute(
        "insert into deals (_tenant_id, deal_id, archived, properties, _scan_id, _extracted_at) "
        "values ('globex', 1, true, '{}', 'another scan', now())"
    )

    assert check_quality(SCAN)["warned"] == 0


def test_no_figure_is_never_a_pass() -> None:
    rule = Rule("any", Severity.BLOCK, "because", figure="select null")

    assert status_of(rule, None, applies=True) == "failed"
    assert status_of(rule, Decimal(0), applies=True) == "passed"
    assert status_of(rule, Decimal(0), applies=False) == "no_rows"


def test_rule_names_are_unique_and_every_rule_has_a_reason() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.why for rule in RULES)


@pytest.mark.usefixtures("execute")
def test_a_check_of_an_extraction_that_began_anew_meanwhile_finishes_nothing(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bind(*arguments: object) -> None:
        ScanLog(warehouse, SCAN).next_attempt().set(state="extracting", extraction_finished_at=None)

    monkeypatch.setattr(module, "bind", bind)

    with pytest.raises(OutdatedAttemptError):
        check_quality(SCAN)

    assert query(warehouse, "select state from scans") == [{"state": "extracting"}]
