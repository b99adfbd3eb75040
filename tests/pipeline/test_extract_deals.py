"""Whole scans, step by step as the DAG does, from a simulated HubSpot into a real PostgreSQL."""

import logging
from typing import Any

import pytest

from include.errors import (
    DailyLimitError,
    HubSpotUnavailableError,
    PortalMismatchError,
    ScopeMissingError,
    TokenMissingError,
    TokenRejectedError,
    WarehouseUnavailableError,
)
from include.hubspot.hook import HubSpotHook
from include.pipeline.check_quality import check_quality
from include.pipeline.extract_deals import extract_deals
from include.pipeline.validate_token import validate_token
from include.warehouse.connection import Warehouse
from tests.conftest import Serve, connect
from tests.hubspot_simulator import Fault, Portal, Token, portals
from tests.support.scans import BARE, PAGES, deals, ids_received, query, run, scan, scan_row
from tests.support.truth import as_stored

pytestmark = pytest.mark.slow

#: What migrations leave, and what all processes share.
MIGRATED = {"schema_migrations", "staging_slots"}
SHARED = {"rate_limits"}


@pytest.mark.parametrize(
    "portal",
    [
        pytest.param(portals.getting_started(), id="getting started"),
        pytest.param(
            portals.generated(deals=1_100, archived=130, nasty=True, cursor="opaque"), id="nasty"
        ),
        pytest.param(
            portals.generated(deals=230, archived=120, property_count=1_200, filled=30), id="wide"
        ),
        pytest.param(portals.generated(deals=0), id="empty"),
        pytest.param(portals.generated(deals=0, archived=3), id="only archived"),
    ],
)
def test_the_table_equals_the_account_property_by_property(
    warehouse: Warehouse, serve: Serve, portal: Portal
) -> None:
    serve(acme=portal)

    extracted = run(scan())

    truth = as_stored(portal.truth())
    assert deals(warehouse) == truth
    assert extracted["deals_extracted"] == extracted["deals_loaded"] == len(truth)
    assert extracted["deals_archived"] == sum(archived for archived, _ in truth.values())
    assert scan_row(warehouse, scan())["state"] == "succeeded"


def test_a_second_scan_changes_no_row_but_its_scan(warehouse: Warehouse, serve: Serve) -> None:
    serve(acme=portals.generated(deals=250, archived=20))
    run(scan("first"))
    before = deals(warehouse)

    run(scan("second"))

    assert deals(warehouse) == before


def test_two_accounts_with_the_same_deal_ids_stay_apart(warehouse: Warehouse, serve: Serve) -> None:
    ours = portals.generated(7, "token-of-acme", deals=120, seed=1)
    theirs = portals.generated(8, "token-of-globex", deals=120, seed=1, nasty=True)
    serve(acme=ours, globex=theirs)

    run(scan())
    run(scan(tenant_id="globex"))

    assert deals(warehouse, "acme") == as_stored(ours.truth())
    assert deals(warehouse, "globex") == as_stored(theirs.truth())
    assert deals(warehouse, "acme").keys() == deals(warehouse, "globex").keys()


def test_what_was_repaired_and_what_did_not_fit_is_counted_on_the_scan(
    warehouse: Warehouse, serve: Serve
) -> None:
    serve(acme=portals.generated(deals=700, nasty=True))

    run(scan())

    row = scan_row(warehouse, scan())
    assert row["repairs"]["nul_characters"] > 0
    assert row["repairs"]["lone_surrogates"] > 0
    assert row["misfits"]["amount"] > 0
    assert row["misfits"]["close_date"] > 0


def test_short_and_empty_pages_do_not_end_a_listing(warehouse: Warehouse, serve: Serve) -> None:
    portal = portals.generated(deals=250, archived=110)
    portal.short_pages_by = 37
    serve(acme=portal)

    run(scan())

    assert deals(warehouse) == as_stored(portal.truth())


def test_a_deal_archived_while_the_scan_runs_is_there_once(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=350)
    serve(acme=portal)
    first = min(portal.deals)
    portal.after_list_request(2, lambda p: p.archive(first))

    run(scan())

    assert deals(warehouse)[str(first)][0] is True
    assert deals(warehouse) == as_stored(portal.truth())


def test_many_properties_are_read_by_id_and_a_deal_gone_meanwhile_is_no_error(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=150, property_count=1_200, filled=5)
    serve(acme=portal)
    gone = max(portal.deals)
    portal.after_list_request(2, lambda p: p.purge(gone))

    extracted = run(scan(objects={"deal_property_history": False}))

    assert portal.requests["batch_read"] == 2
    assert str(gone) not in deals(warehouse)
    assert extracted["deals_loaded"] == 149


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("500"), id="500"),
        pytest.param(Fault("502"), id="502 in HTML"),
        pytest.param(Fault("423"), id="locked"),
        pytest.param(Fault("429", policy="SECONDLY"), id="429"),
        pytest.param(Fault("reset"), id="connection reset"),
        pytest.param(Fault("truncated"), id="body breaks off"),
        pytest.param(Fault("cut_json"), id="JSON cut short"),
        pytest.param(Fault("html"), id="a page instead of JSON"),
    ],
)
def test_a_scan_outlives_a_passing_fault_and_loses_nothing(
    warehouse: Warehouse, serve: Serve, fault: Fault
) -> None:
    portal = portals.generated(deals=250)
    serve(acme=portal)
    validate_token(scan())
    fault.path, fault.nth = "/deals$", 3
    portal.faults = [fault]

    extracted = extract_deals(scan(), PAGES)
    check_quality(scan())

    assert deals(warehouse) == as_stored(portal.truth())
    assert extracted["throttled"] == (1 if fault.kind == "429" else 0)


def test_the_limiters_rate_never_meets_a_429(serve: Serve) -> None:
    portal = portals.generated(deals=200, requests_per_window=9)
    serve(acme=portal)

    extracted = run(scan(objects=BARE))

    assert extracted["throttled"] == 0
    assert portal.stats()["throttled"] == 0
    assert portal.stats()["max_requests_in_any_window"] == {"app": 9}


def test_a_deal_that_vanished_between_two_tries_is_no_row_of_the_scan(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=20)
    serve(acme=portal)
    validate_token(scan())
    extract_deals(scan(), PAGES)
    portal.purge(min(portal.deals))

    extracted = extract_deals(scan(), PAGES)

    assert check_quality(scan())["passed"]
    assert extracted["deals_extracted"] == extracted["deals_loaded"] == 19
    assert len(deals(warehouse)) == 20


def test_a_token_that_is_good_leaves_no_row_of_what_hubspot_holds(
    warehouse: Warehouse, serve: Serve
) -> None:
    serve(acme=portals.getting_started())

    validate_token(scan())

    tables = query(
        warehouse,
        "select table_schema as s, table_name as t from information_schema.tables"
        " where table_type = 'BASE TABLE' and table_schema like %s",
        f"{warehouse.schema}%",
    )
    written = {
        row["t"] for row in tables if query(warehouse, f"select from {row['s']}.{row['t']} limit 1")
    }
    assert written == {"scans"} | MIGRATED | SHARED


# Bad cases: the documented error, and nothing half written


def broken(portal: Portal, **changes: Any) -> Portal:
    for name, value in changes.items():
        setattr(portal.tokens[0], name, value)
    return portal


@pytest.mark.parametrize(
    ("portal", "error", "said"),
    [
        pytest.param(
            broken(portals.getting_started(), state="expired"),
            TokenRejectedError,
            "has expired",
            id="expired token",
        ),
        pytest.param(
            broken(portals.getting_started(), state="revoked"),
            TokenRejectedError,
            "is wrong, or was revoked",
            id="revoked token",
        ),
        pytest.param(
            broken(portals.getting_started(), scopes=("oauth", "crm.objects.contacts.read")),
            ScopeMissingError,
            "lacks the scope crm.objects.deals.read",
            id="missing scope",
        ),
        pytest.param(
            broken(portals.getting_started(), scopes=("oauth",), kind="oauth"),
            ScopeMissingError,
            "lacks the scope crm.objects.deals.read",
            id="missing scope of a token that can't be introspected",
        ),
    ],
)
def test_a_token_that_is_no_good_fails_before_anything_is_written(
    warehouse: Warehouse, serve: Serve, portal: Portal, error: type[Exception], said: str
) -> None:
    serve(acme=portal)

    with pytest.raises(error) as caught:
        validate_token(scan())

    assert str(caught.value).startswith("tenant acme: ")
    assert said in str(caught.value)
    assert deals(warehouse) == {}
    row = scan_row(warehouse, scan())
    assert row["state"] == "failed"
    assert said in row["error"]
    assert portal.requests["list"] <= 1


@pytest.mark.usefixtures("airflow_environment")
def test_no_token_at_all_fails_before_anything_is_written(warehouse: Warehouse) -> None:
    with pytest.raises(TokenMissingError, match="tenant acme: there is no HubSpot token"):
        validate_token(scan())

    assert deals(warehouse) == {}
    assert scan_row(warehouse, scan())["state"] == "failed"


def test_a_token_of_another_account_never_writes_a_row(
    warehouse: Warehouse, serve: Serve, airflow_environment: pytest.MonkeyPatch
) -> None:
    ours = portals.generated(7, "ours", deals=20)
    theirs = portals.generated(8, "theirs", deals=20, seed=2)
    simulator = serve(acme=ours, globex=theirs)
    run(scan("first"))
    connect(airflow_environment, "acme", simulator, "theirs")

    for step in (validate_token, lambda what: extract_deals(what, PAGES)):
        with pytest.raises(
            PortalMismatchError, match=r"account 8, but this tenant is bound to .* 7"
        ):
            step(scan("second"))

    assert deals(warehouse) == as_stored(ours.truth())
    assert theirs.requests["list"] == 0


def test_a_failed_first_scan_that_wrote_rows_keeps_another_account_out(
    warehouse: Warehouse, serve: Serve, airflow_environment: pytest.MonkeyPatch
) -> None:
    ours = portals.generated(7, "ours", deals=20)
    simulator = serve(acme=ours, globex=portals.generated(8, "theirs", deals=20))
    validate_token(scan("first"))
    extract_deals(scan("first"), PAGES)
    connect(airflow_environment, "acme", simulator, "theirs")

    with pytest.raises(PortalMismatchError):
        validate_token(scan("second"))

    assert deals(warehouse) == as_stored(ours.truth())


def test_the_tenants_file_can_not_move_a_tenant_to_another_account(
    warehouse: Warehouse, serve: Serve, airflow_environment: pytest.MonkeyPatch
) -> None:
    ours = portals.generated(7, "ours", deals=20)
    simulator = serve(acme=ours, globex=portals.generated(8, "theirs", deals=20))
    run(scan("first"))
    connect(airflow_environment, "acme", simulator, "theirs")

    with pytest.raises(PortalMismatchError, match="bound to account 7"):
        validate_token(scan("second", portal_id=8))

    assert deals(warehouse) == as_stored(ours.truth())


def test_the_account_named_in_the_tenants_file_is_the_only_one(serve: Serve) -> None:
    serve(acme=portals.getting_started(portal_id=7))

    with pytest.raises(
        PortalMismatchError, match="account 7, but this tenant is bound to account 8"
    ):
        validate_token(scan(portal_id=8))


def test_hubspot_down_is_worth_a_retry_and_says_where(
    warehouse: Warehouse, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = serve(acme=portals.getting_started())
    simulator.portal(1_000_001).faults = [Fault("reset", count=1_000)]
    monkeypatch.setitem(HubSpotHook.get_conn.__kwdefaults__, "retry_timeout_s", 0.1)

    with pytest.raises(HubSpotUnavailableError, match=simulator.base_url):
        validate_token(scan())

    assert deals(warehouse) == {}
    assert scan_row(warehouse, scan())["state"] == "failed"


def test_at_the_daily_limit_the_scan_waits_and_says_until_when(
    warehouse: Warehouse, serve: Serve
) -> None:
    portal = portals.generated(deals=1_500, daily_limit=12)
    serve(acme=portal)
    validate_token(scan())

    with pytest.raises(DailyLimitError, match="daily API limit") as caught:
        extract_deals(scan(), PAGES)

    row = scan_row(warehouse, scan())
    assert (row["state"], row["finished_at"]) == ("waiting", None)
    assert row["error"] == f"DailyLimitError: {caught.value}"
    assert f"until {caught.value.resume_at:%Y-%m-%d %H:%M} UTC" in row["error"]


@pytest.fixture
def waiting(warehouse: Warehouse, serve: Serve, fast_searches: None) -> Portal:
    """An account whose daily limit a scan has met when half of the deals were loaded."""
    portal = portals.generated(deals=600, daily_limit=10)
    serve(acme=portal)
    validate_token(scan(objects=BARE))
    with pytest.raises(DailyLimitError):
        extract_deals(scan(objects=BARE), checkpoint_pages=4)
    assert 0 < len(deals(warehouse)) < 600
    return portal


@pytest.mark.usefixtures("waiting")
def test_a_scan_that_waits_for_hubspot_leaves_the_tenant_free(warehouse: Warehouse) -> None:
    assert query(warehouse, "select from tenant_leases") == []


def test_a_scan_that_waited_goes_on_from_its_checkpoint(
    warehouse: Warehouse, waiting: Portal
) -> None:
    waiting.quota.daily = None

    extracted = extract_deals(scan(objects=BARE), checkpoint_pages=4)

    assert extracted["went_on"]
    assert ids_received(warehouse, scan(objects=BARE)) == waiting.live_ids()
    assert deals(warehouse) == as_stored(waiting.truth())


def test_postgresql_down_is_worth_a_retry(
    serve: Serve, airflow_environment: pytest.MonkeyPatch
) -> None:
    serve(acme=portals.getting_started())
    airflow_environment.setenv("DATABASE_URL", "postgresql://user:geheim@127.0.0.1:9/warehouse")

    with pytest.raises(WarehouseUnavailableError) as caught:
        validate_token(scan())

    assert "geheim" not in str(caught.value)


def test_no_secret_reaches_a_log_or_an_error(
    serve: Serve, caplog: pytest.LogCaptureFixture, database_url: str
) -> None:
    portal = portals.generated(token="pat-na1-very-secret", deals=120)
    portal.faults = [Fault("500"), Fault("401", path="/deals$", nth=2)]
    serve(acme=portal)
    caplog.set_level(logging.DEBUG)
    validate_token(scan())

    with pytest.raises(TokenRejectedError) as caught:
        extract_deals(scan(), PAGES)

    password = database_url.split(":")[2].split("@")[0]
    for secret in ("pat-na1-very-secret", password):
        assert secret not in caplog.text
        assert secret not in str(caught.value)


def test_a_tenant_default_needs_nothing_but_the_environment(
    warehouse: Warehouse, serve: Serve, airflow_environment: pytest.MonkeyPatch
) -> None:
    portal = portals.getting_started()
    simulator = serve(acme=portal)
    airflow_environment.setenv("HUBSPOT_ACCESS_TOKEN", portal.tokens[0].text)
    airflow_environment.setenv("HUBSPOT_API_BASE_URL", simulator.base_url)

    run(scan(tenant_id="default"))

    assert deals(warehouse, "default") == as_stored(portal.truth())


def test_a_scan_can_use_every_version_of_the_api(
    warehouse: Warehouse, serve: Serve, airflow_environment: pytest.MonkeyPatch
) -> None:
    portal = portals.getting_started()
    simulator = serve(acme=portal)
    for version in ("v3", "2026-03", "2026-09"):
        airflow_environment.setenv(
            "AIRFLOW_CONN_HUBSPOT_ACME",
            f'{{"conn_type": "http", "host": "{simulator.base_url}",'
            f' "password": "{portal.tokens[0].text}", "extra": {{"api_version": "{version}"}}}}',
        )
        run(scan(version))

    assert deals(warehouse) == as_stored(portal.truth())


def test_a_token_added_for_sensitive_values_reads_them(warehouse: Warehouse, serve: Serve) -> None:
    portal = portals.getting_started()
    portal.definitions["iban"] = {**portal.definitions["dealname"], "name": "iban"}
    portal.definitions["iban"]["dataSensitivity"] = "sensitive"
    portal.tokens = [
        Token(
            "pat-na1-demo-acme",
            scopes=("crm.objects.deals.read", "crm.objects.deals.sensitive.read.v2"),
        )
    ]
    portal.update(min(portal.deals), iban="DE00")
    serve(acme=portal)

    run(scan())

    assert deals(warehouse)[str(min(portal.deals))][1]["iban"] == "DE00"
