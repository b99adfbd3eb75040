"""One tenant and one scan in a browser: what they show, starting and cancelling."""

import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect

from include.warehouse.tenant_views.views import publish_views
from tests.web.browser.conftest import SignIn
from tests.web.browser.data import UNTOUCHED, WARNED, WRONG_RECORDS, add_scan
from tests.web.browser.stack import PageStack, dag_of
from tests.web.browser.test_tenants import PAGE, scan_of

pytestmark = pytest.mark.e2e

CHARTS = (
    *("Deals received", "Deals written", "Duration", "Live deals", "Freshness"),
    "Daily quota used",
)
HOSTILE = "<img src=x onerror=window.pwned=1>"
_numbers = itertools.count(1)


def new_scan(page_stack: PageStack, tenant: str = "initech", **columns: Any) -> str:
    with page_stack.warehouse.connect() as connection:
        return add_scan(
            connection,
            "hubspot_deals",
            tenant,
            columns.pop("run_id", f"manual__{next(_numbers)}"),
            checks=False,
            **{"started_at": datetime.now(UTC), **columns},
        )


def progress(page_stack: PageStack, scan_id: str, received: int) -> None:
    with page_stack.warehouse.connect() as connection:
        connection.execute(
            "update hubspot_deals.scan_objects set records_received = %s, pages = %s"
            " where scan_id = %s",
            [received, received // 100, scan_id],
        )
        connection.execute(
            "update hubspot_deals.scans set figures_at = now() where scan_id = %s", [scan_id]
        )


def test_a_running_scans_bar_moves_by_itself(page: Page, page_stack: PageStack) -> None:
    deals = {"pages": 100, "records_received": 10_000, "expected": 40_000}
    scan_id = new_scan(page_stack, state="extracting", deals=deals)
    page.goto(f"{PAGE}?scan={scan_id}")
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "25")

    progress(page_stack, scan_id, 30_000)

    expect(bar).to_have_attribute("aria-valuenow", "75")
    expect(page.get_by_label("Progress").first).to_contain_text("30,000")


def test_a_scan_that_ends_shows_its_end_without_a_bar(page: Page, page_stack: PageStack) -> None:
    scan_id = new_scan(page_stack, state="checking", deals={"records_received": 10})
    page.goto(f"{PAGE}?scan={scan_id}")
    expect(page.get_by_text("Checking quality").first).to_be_visible()

    with page_stack.warehouse.connect() as connection:
        connection.execute(
            "update hubspot_deals.scans set state = 'succeeded', finished_at = now()"
            " where scan_id = %s",
            [scan_id],
        )

    expect(page.locator(".facts")).to_contain_text("Succeeded")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel scan")).to_have_count(0)


def test_a_failed_scan_says_what_to_do(page: Page) -> None:
    page.goto(f"{PAGE}{scan_of(page, 'hooli')}")

    alert = page.get_by_role("alert")

    expect(alert).to_contain_text("HubSpot refused the token (401)")
    expect(alert).to_contain_text("Put a valid token into the password")
    alert.get_by_role("link", name="See the runbook").click()
    expect(page.get_by_role("heading", name="Token rejected")).to_be_in_viewport()


def test_a_check_that_warned_leads_to_its_heading_in_the_runbook(page: Page) -> None:
    page.goto(f"{PAGE}{scan_of(page, WARNED)}")

    check = page.get_by_role("row", name=re.compile("everything_wanted_was_read"))
    expect(check).to_contain_text("warning only")
    check.get_by_role("link", name="Runbook").click()

    heading = page.get_by_role("heading", name="everything_wanted_was_read")
    expect(heading).to_be_in_viewport()


def test_the_records_of_a_check_lead_to_hubspot_and_to_a_csv_file(page: Page) -> None:
    page.goto(f"{PAGE}{scan_of(page, WARNED)}")

    page.get_by_text(f"Records: stages_known_to_the_portal ({WRONG_RECORDS})").click()

    expect(page.get_by_text(f"The first 100 of {WRONG_RECORDS}.")).to_be_visible()
    row = page.get_by_role("row", name="9000001")
    expect(row).to_contain_text("stage 1042 of pipeline default")
    expect(row.get_by_role("link")).to_have_attribute("href", re.compile("/record/0-3/9000001$"))
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all as CSV").click()
    assert download.value.suggested_filename == f"{WARNED}-stages_known_to_the_portal.csv"
    assert len(download.value.path().read_text().splitlines()) == WRONG_RECORDS + 1


def test_a_page_of_the_documentation_leads_to_the_others(page: Page, complaints: list[str]) -> None:
    page.goto("/hubspot-deals/help/how-to/backfill")
    page.get_by_role("link", name="Documentation").click()
    page.get_by_role("link", name="Runbook").click()

    expect(page.get_by_role("heading", name="Runbook", exact=True)).to_be_visible()
    assert complaints == []


def test_a_page_of_the_documentation_shows_its_pictures(page: Page, complaints: list[str]) -> None:
    page.goto("/hubspot-deals/help/status-page")

    for picture in page.locator("main img").all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("async (img) => (await img.decode(), img.naturalWidth)") > 0
    assert complaints == []


def test_a_scan_with_nothing_new_shows_one_zero(page: Page, page_stack: PageStack) -> None:
    zeros = {"expected": 0, "records_received": 0, "rows_written": 0, "pages": 0}
    now = datetime.now(UTC)
    moments = dict.fromkeys(
        ("started_at", "finished_at", "extraction_started_at", "extraction_finished_at"), now
    )
    later = now + timedelta(seconds=1)
    key = new_scan(page_stack, deals=zeros, figures_at=later, requests=4, **moments)

    page.goto(f"{PAGE}?scan={key}")

    figure = page.get_by_label("Progress").last.locator("div", has_text="Records").first
    expect(figure).to_have_text(re.compile(r"^\s*Records\s*0\s*of 0\s*$"))
    expect(page.get_by_text("Tries", exact=True)).to_have_count(0)


def test_a_scan_that_checks_shows_no_percentage(page: Page, page_stack: PageStack) -> None:
    counts = {"expected": 10, "records_received": 12}
    key = new_scan(page_stack, "tenant_0009", state="checking", deals=counts)

    page.goto(f"{PAGE}?scan={key}")

    expect(page.locator(".how-far")).to_contain_text("Checking quality")
    expect(page.locator(".how-far")).not_to_contain_text("%")
    expect(page.get_by_text("of 12")).to_be_visible()


def test_a_waiting_scan_says_until_when(page: Page) -> None:
    page.goto(f"{PAGE}{scan_of(page, 'umbrella')}")

    expect(page.locator(".facts")).to_contain_text("Waiting")
    expect(page.get_by_text("until 2030-01-01 05:00 UTC")).to_be_visible()


def test_a_tenant_without_a_scan_says_so(page: Page) -> None:
    page.goto(f"{PAGE}?tenant={UNTOUCHED}")

    expect(page.get_by_role("heading", name="No scan yet")).to_be_visible()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param("?dag_id=other", "This DAG does not load a HubSpot account", id="dag"),
        pytest.param("?dag_id=other&run_id=x", "No scan was recorded for this run", id="run"),
    ],
)
def test_a_dag_that_is_none_of_ours_is_explained(page: Page, address: str, said: str) -> None:
    page.goto(f"{PAGE}{address}")

    expect(page.get_by_role("heading", name=said)).to_be_visible()


def test_the_dag_of_a_tenant_that_was_removed_is_not_called_anothers(page: Page) -> None:
    page.goto(f"{PAGE}?dag_id=hubspot_deals__gone")

    expect(page.get_by_text("There is no such tenant")).to_be_visible()


def test_the_charts_figures_are_in_a_table_too(page: Page) -> None:
    page.goto(f"{PAGE}?tenant=acme")
    for title in CHARTS:
        chart = page.get_by_role("figure", name=re.compile(f"^{title}"))
        expect(chart.locator("svg .bar")).to_have_count(60)
        chart.get_by_text("Show as a table").click()
        expect(chart.get_by_role("table", name=title).locator("tbody tr")).to_have_count(60)


def test_the_duration_of_a_scan_is_the_sum_of_its_phases(page: Page) -> None:
    page.goto(f"{PAGE}?tenant=acme")
    chart = page.get_by_role("figure", name=re.compile("^Duration"))
    chart.get_by_text("Show as a table").click()

    bars = chart.locator("svg .bar").nth(10).locator("rect:not(.hover)")
    cells = chart.get_by_role("table").locator("tbody tr").nth(49).locator("td").all_inner_texts()

    expect(bars).to_have_count(4)  # token, read, check, and the mark of its state
    assert [text.split()[-1] for text in cells[-3:]] == ["s", "s", "s"]


def test_a_tenant_with_one_scan_has_one_narrow_bar_in_each_chart(page: Page) -> None:
    page.goto(f"{PAGE}?tenant=tenant_0007")

    for title in CHARTS:
        if title == "Freshness":
            continue
        chart = page.get_by_role("figure", name=re.compile(f"^{title}"))
        expect(chart.locator("svg .bar")).to_have_count(1)
        box = chart.locator(".plot svg").bounding_box()
        bar = chart.locator(".bar .hover").bounding_box()
        assert box
        assert bar
        assert bar["width"] < box["width"] / 20


def test_a_first_scan_has_no_freshness(page: Page) -> None:
    page.goto(f"{PAGE}?tenant=tenant_0007")

    chart = page.get_by_role("figure", name=re.compile("^Freshness"))

    expect(chart).to_contain_text("No figures yet")


def test_a_scan_without_a_figure_has_no_mark_in_its_chart(page: Page) -> None:
    page.goto(f"{PAGE}?tenant=hooli")

    newest = page.get_by_role("figure", name=re.compile("^Live deals")).locator("svg .bar").last

    expect(newest.locator("title")).to_contain_text("Unknown")
    expect(newest.locator("rect:not(.hover)")).to_have_count(0)


@pytest.mark.parametrize(
    ("used", "ticks"), [(0.0004, ["0.05%", "0.025%", "0%"]), (0.7, ["100%", "50%", "0%"])]
)
def test_the_middle_of_an_axis_is_half_of_its_end(
    page: Page, used: float, ticks: list[str]
) -> None:
    def with_quota_used(route: Route) -> None:
        answer = route.fetch()
        tenant = answer.json()
        tenant["history"][-1]["quota_used"] = used
        route.fulfill(response=answer, json=tenant)

    page.route("**/tenants/tenant_0007", with_quota_used)
    page.goto(f"{PAGE}?tenant=tenant_0007")

    chart = page.get_by_role("figure", name=re.compile("^Daily quota used"))

    expect(chart.locator(".axis li")).to_have_text(ticks)


def test_a_scan_that_failed_before_its_extraction_shows_no_requests(
    page: Page, page_stack: PageStack
) -> None:
    scan = new_scan(page_stack, state="failed", requests=0, finished_at=datetime.now(UTC))
    page.goto(f"{PAGE}?scan={scan}")
    figures = page.get_by_role("region", name="Progress")

    expect(figures).to_contain_text("Deals received")
    expect(figures).not_to_contain_text(re.compile("Requests|HTTP 429"))


def test_shares_of_the_stages_are_of_all_deals(page: Page) -> None:
    page.goto(f"{PAGE}?tenant={WARNED}")
    row = page.get_by_role("table", name="Deals by stage").locator("tbody tr")

    expect(row).to_have_count(1)
    expect(row).to_contain_text("100%")


def test_the_schema_panel_shows_columns_with_their_labels_and_sql_to_copy(
    page: Page, page_stack: PageStack
) -> None:
    publish_views(page_stack.warehouse, "stark", ["deals"], {})
    page.goto(f"{PAGE}?tenant=stark")

    page.get_by_text("Schema and views").click()

    expect(
        page.get_by_text('select * from "hubspot_deals__stark"."deals" limit 100;')
    ).to_be_visible()
    row = page.get_by_role("table", name="Columns of deals").get_by_role("row", name="deal_id")
    expect(row.first).to_contain_text("bigint")


def test_the_schema_panel_is_read_again_when_a_scan_has_ended(
    page: Page, page_stack: PageStack
) -> None:
    page.clock.install()
    page.goto(f"{PAGE}?tenant=soylent")
    page.get_by_text("Schema and views").click()
    expect(page.get_by_text("There is no view yet").first).to_be_visible()
    publish_views(page_stack.warehouse, "soylent", ["deals"], {})
    new_scan(page_stack, "soylent", state="succeeded", finished_at=datetime.now(UTC))

    page.clock.fast_forward(31_000)

    expect(page.get_by_role("table", name="Columns of deals")).to_be_visible()


def test_a_scan_is_started_and_cancelled_by_buttons(page: Page, page_stack: PageStack) -> None:
    page.goto(f"{PAGE}?tenant=acme")

    page.get_by_role("button", name="Start a scan").click()
    page.get_by_label("Full").check()
    page.get_by_role("button", name="Start scan").click()
    expect(page.locator(".facts")).to_contain_text("Queued")
    (started,) = page_stack.api.runs(dag_of("acme"))
    page.get_by_role("button", name="Cancel scan").click()
    page.get_by_role("button", name="Yes, cancel it").click()

    expect(page.locator(".facts")).to_contain_text("Cancelled")
    assert started["dag_run_id"].startswith("api__")
    assert started["conf"]["mode"] == "full"
    assert page_stack.api.run(dag_of("acme"), started["dag_run_id"])["state"] == "failed"


def test_a_started_scan_whose_run_fails_before_it_begins_leads_to_the_run(
    page: Page, page_stack: PageStack
) -> None:
    page.goto(f"{PAGE}?tenant=acme")
    page.get_by_role("button", name="Start a scan").click()
    page.get_by_role("button", name="Start scan").click()
    expect(page.locator(".facts")).to_contain_text("Queued")
    run_id = next(
        run["dag_run_id"] for run in page_stack.api.runs(dag_of("acme")) if run["state"] == "queued"
    )

    page_stack.api.fail(dag_of("acme"), run_id)
    expect(page.get_by_role("heading", name="No scan was recorded for this run")).to_be_visible()
    page.reload()

    link = page.get_by_role("link", name="Open the run")
    expect(link).to_have_attribute("href", re.compile(re.escape(quote(run_id, safe=""))))


def test_between_two_tries_a_scan_is_cancelled_not_retried(
    page: Page, page_stack: PageStack
) -> None:
    run_id = page_stack.api.trigger(dag_of("acme"))
    scan_id = new_scan(
        page_stack, "acme", run_id=run_id, state="failed", error="HubSpotUnavailableError: down."
    )

    page.goto(f"{PAGE}?scan={scan_id}")

    expect(page.get_by_text("Airflow will retry the task.")).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel scan")).to_be_visible()
    page_stack.api.fail(dag_of("acme"), run_id)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel scan")).to_have_count(0)
    with page_stack.warehouse.connect() as connection:  # other tests expect acme to be OK
        connection.run("delete from {scans} where scan_id = %s", [scan_id])


def test_a_scan_whose_run_was_deleted_is_not_said_to_go_on(
    page: Page, page_stack: PageStack
) -> None:
    page.goto(f"{PAGE}?scan={new_scan(page_stack, state='extracting')}")

    notice = page.get_by_role("note").filter(has_text="Airflow has no run of this scan")
    expect(notice).to_contain_text("Cancel it")


def test_the_logs_are_those_of_the_task_that_failed(page: Page, page_stack: PageStack) -> None:
    now = datetime.now(UTC)
    before = {"state": "failed", "finished_at": now}
    for task, columns in {
        "validate_token": before,
        # a failure before the first object leaves none
        "extract_deals": {**before, "extraction_started_at": now},
        "check_quality": {**before, "extraction_started_at": now, "extraction_finished_at": now},
    }.items():
        page.goto(f"{PAGE}?scan={new_scan(page_stack, **columns)}")

        link = page.get_by_role("link", name="Logs")
        expect(link).to_have_attribute("href", re.compile(f"/tasks/{task}$"))


def test_an_incident_links_to_its_scan(page: Page, page_stack: PageStack) -> None:
    failed = new_scan(page_stack, "initech", state="failed")
    new_scan(page_stack, "initech", state="succeeded")
    with page_stack.warehouse.connect() as connection:
        connection.run(
            "insert into {incidents} (tenant_id, kind, error_type, cause, scan_ids, said)"
            " values ('initech', 'failure', 'TokenRejectedError', 'x', %s, 'y')",
            [[failed]],
        )

    page.goto(f"{PAGE}?tenant=initech")

    link = page.get_by_role("link", name="View its scan for the cause and the fix")
    expect(link).to_have_attribute("href", f"ui?scan={failed}")
    with page_stack.warehouse.connect() as connection:
        connection.run("delete from {incidents} where tenant_id = 'initech'")


def test_a_scan_is_started_that_writes_every_row_again(page: Page, page_stack: PageStack) -> None:
    page.goto(f"{PAGE}?tenant=acme")
    page.get_by_role("button", name="Start a scan").click()
    page.get_by_label("from").fill("2026-01-31T20:00")

    page.get_by_label("Write every row again").check()
    expect(page.get_by_label("Incremental")).to_be_disabled()
    expect(page.get_by_label("from")).to_be_disabled()
    with page.expect_request("**/hubspot-deals/scans") as sent:
        page.get_by_role("button", name="Start scan").click()
    expect(page.locator(".facts")).to_contain_text("Queued")

    body = sent.value.post_data_json or {}
    assert (body["mode"], body["rewrite_rows"], body["window_start"]) == ("auto", True, None)
    started = page_stack.api.runs(dag_of("acme"))
    assert any(run["conf"].get("rewrite_rows") is True for run in started)
    for run in started:
        page_stack.api.fail(dag_of("acme"), run["dag_run_id"])


def test_values_that_do_not_fit_are_named_by_column(page: Page, page_stack: PageStack) -> None:
    misfits = {"close_date": 1, **{f"deals.p{n}": n + 2 for n in range(25)}}
    scan_id = new_scan(page_stack, state="succeeded", misfits=misfits)

    page.goto(f"{PAGE}?scan={scan_id}")

    notice = page.locator(".notice", has_text="Values do not fit")
    expect(notice.get_by_role("listitem").first).to_have_text("deals.p24: 26 values")
    expect(notice.get_by_role("listitem")).to_have_count(20)
    expect(notice).to_contain_text("and 6 more columns")


def test_a_second_start_is_refused_until_it_may_queue(page: Page, page_stack: PageStack) -> None:
    running = page_stack.api.trigger(dag_of("initech"))
    page.goto(f"{PAGE}?tenant=initech")
    page.get_by_role("button", name="Start a scan").click()

    page.get_by_role("button", name="Start scan").click()
    expect(page.get_by_role("alert")).to_contain_text("A scan is already running")
    page.get_by_label("Queue it after the running scan").check()
    page.get_by_role("button", name="Start scan").click()

    expect(page.locator(".facts")).to_contain_text("Queued")
    assert len(page_stack.api.runs(dag_of("initech"))) == 2
    for run in page_stack.api.runs(dag_of("initech")):
        page_stack.api.fail(dag_of("initech"), run["dag_run_id"])
    assert running in {run["dag_run_id"] for run in page_stack.api.runs(dag_of("initech"))}


def test_a_paused_dag_is_not_started_and_the_page_says_what_to_do(
    page: Page, page_stack: PageStack
) -> None:
    page_stack.api.call("PATCH", f"dags/{dag_of('globex')}", json={"is_paused": True})
    before = page_stack.api.runs(dag_of("globex"))
    page.goto(f"{PAGE}?tenant=globex")
    page.get_by_role("button", name="Start a scan").click()

    page.get_by_role("button", name="Start scan").click()

    expect(page.get_by_role("alert")).to_contain_text(re.compile("paused", re.IGNORECASE))
    assert page_stack.api.runs(dag_of("globex")) == before
    page_stack.api.unpause(dag_of("globex"))


def test_a_window_is_sent_in_utc_whatever_the_readers_time_zone(sign_in: SignIn) -> None:
    page = sign_in(timezone_id="America/New_York")
    page.goto(f"{PAGE}?tenant=acme")
    page.get_by_role("button", name="Start a scan").click()
    page.get_by_label("from").fill("2026-01-31T20:00")

    page.route("**/hubspot-deals/scans", lambda route: route.abort())
    with page.expect_request("**/hubspot-deals/scans") as sent:
        page.get_by_role("button", name="Start scan").click()

    body = sent.value.post_data_json or {}
    assert body["window_start"] == "2026-02-01T01:00:00.000Z"


def test_times_are_the_readers_and_tell_the_exact_one(
    sign_in: SignIn, page_stack: PageStack
) -> None:
    at = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    scan_id = new_scan(page_stack, started_at=at, finished_at=at)
    page = sign_in(timezone_id="Asia/Tokyo", locale="en-GB")

    page.goto(f"{PAGE}?scan={scan_id}")

    shown = page.locator(".facts time").first
    expect(shown).to_have_text(re.compile("1 Feb.*08:30"))
    expect(shown).to_have_attribute("title", re.compile("2026-01-31T23:30:00"))


def test_two_times_of_one_minute_show_their_seconds(sign_in: SignIn, page_stack: PageStack) -> None:
    at = datetime(2026, 1, 31, 23, 30, 5, tzinfo=UTC)
    scan_id = new_scan(page_stack, started_at=at, finished_at=at + timedelta(seconds=20))
    page = sign_in(timezone_id="Asia/Tokyo", locale="en-GB")

    page.goto(f"{PAGE}?scan={scan_id}")

    expect(page.locator(".facts time")).to_have_text(
        [re.compile("08:30:05"), re.compile("08:30:25")]
    )
    expect(page.get_by_text("Times in Asia/Tokyo")).to_be_visible()


def test_hostile_text_stays_text(page: Page, page_stack: PageStack, complaints: list[str]) -> None:
    scan_id = new_scan(
        page_stack,
        tenant="tenant_0200",
        run_id=f"manual__{HOSTILE}",
        state="failed",
        mode=HOSTILE,
        finished_at=datetime.now(UTC),
        error=f"ScanRequestError: tenant x: {HOSTILE}. {HOSTILE} See docs/runbook.md#scan-request",
        deals={"reason": HOSTILE, "records_received": 1},
    )

    page.goto(f"{PAGE}?scan={scan_id}")
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    page.goto(f"{PAGE}?tenant=tenant_0200")
    expect(page.get_by_role("heading", name="tenant_0200")).to_be_visible()

    assert page.locator("img").count() == 0
    assert page.evaluate("window.pwned") is None
    assert complaints == []


@pytest.mark.parametrize("name", ["tenant", "scan", "dag_id", "run_id"])
def test_hostile_addresses_are_text_too(page: Page, name: str) -> None:
    page.goto(f'{PAGE}?dag_id=x&{name}="><script>window.pwned=1</script>{HOSTILE}')

    expect(page.get_by_role("heading", level=1)).to_be_visible()

    assert page.locator("img").count() == 0
    assert page.evaluate("window.pwned") is None
