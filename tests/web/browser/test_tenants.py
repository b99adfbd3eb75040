"""The list of tenants in a browser."""

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.web.browser.auth import LIMITED_USER
from tests.web.browser.conftest import SignIn
from tests.web.browser.data import TENANT_COUNT
from tests.web.browser.stack import LIMITED_PASSWORD, PageStack

pytestmark = pytest.mark.e2e

PAGE = "/hubspot-deals/ui"


def shown(page: Page, first: int, last: int, total: str = f"{TENANT_COUNT:,} tenants") -> Locator:
    """What the list says of the part that it shows."""
    return page.get_by_text(re.compile(f"^{first}.{last} of {total}$"))


def test_a_thousand_tenants_come_in_pages(page: Page) -> None:
    page.goto(PAGE)
    expect(shown(page, 1, 50)).to_be_visible()
    first = page.locator("a.row").first.inner_text()

    page.get_by_role("button", name="Next", exact=True).click()
    expect(shown(page, 51, 100)).to_be_visible()
    later = page.locator("a.row").all_inner_texts()
    page.get_by_role("button", name="Previous").click()

    expect(shown(page, 1, 50)).to_be_visible()
    expect(page.locator("a.row").first).to_have_text(first)
    assert len(later) == 50
    assert first not in later


def test_search_and_state_narrow_the_list_and_stay_when_one_comes_back(page: Page) -> None:
    page.goto(PAGE)

    page.get_by_label("Search tenants").fill("tenant_0042")
    expect(shown(page, 1, 1, "1 tenant")).to_be_visible()
    page.get_by_role("link", name="tenant_0042").click()
    expect(page.get_by_role("heading", name="tenant_0042")).to_be_visible()
    page.go_back()

    expect(shown(page, 1, 1, "1 tenant")).to_be_visible()
    expect(page.get_by_label("Search tenants")).to_have_value("tenant_0042")


def test_the_state_filter_shows_the_failing_ones(page: Page) -> None:
    page.goto(PAGE)

    page.get_by_role("button", name=re.compile(r"^\d+ failing$")).click()

    expect(page.get_by_role("row", name=re.compile("hooli"))).to_contain_text("Failed")
    expect(page.get_by_role("row", name=re.compile("acme"))).to_have_count(0)


def test_a_summary_counts_the_tenants_by_state_and_those_with_an_incident(page: Page) -> None:
    page.goto(PAGE)

    chips = page.get_by_role("group", name="State").get_by_role("button")
    expect(chips.first).to_have_text(f"{TENANT_COUNT:,} all")
    expect(page.get_by_text("1 tenant with an open incident", exact=True)).to_be_visible()
    counts = [int(re.sub(r"\D", "", text)) for text in chips.all_inner_texts()]
    assert sum(counts[1:]) == counts[0] == TENANT_COUNT


def test_a_failed_tenant_shows_the_first_sentence_of_its_error(page: Page) -> None:
    page.goto(f"{PAGE}?search=hooli")

    row = page.get_by_role("row", name=re.compile("hooli"))
    expect(row).to_contain_text("HubSpot refused the token (401): it has expired.")


def test_the_state_shown_is_that_of_the_scan_that_runs_not_of_the_newest(page: Page) -> None:
    def with_another_running(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        body["tenants"][0].update(running_scan_id="another", running_state="extracting")
        route.fulfill(response=answer, json=body)

    page.route("**/hubspot-deals/tenants?*", with_another_running)
    page.goto(f"{PAGE}?search=stark")

    expect(page.get_by_role("row", name=re.compile("stark"))).to_contain_text("Reading")


def test_a_scan_whose_run_was_deleted_is_not_shown_as_running(page: Page) -> None:
    page.goto(f"{PAGE}?search=umbrella")

    expect(page.get_by_role("row", name=re.compile("umbrella"))).to_contain_text("Run deleted")


def test_quality_of_an_earlier_scan_is_marked(page: Page) -> None:
    page.goto(f"{PAGE}?search=hooli")
    row = page.get_by_role("row", name=re.compile("hooli"))

    expect(row).to_contain_text(re.compile(r"\d+ passed\s*in an earlier scan"))
    expect(row.locator(".state.good")).to_have_count(0)


def test_quality_of_the_last_scan_is_not_marked(page: Page) -> None:
    page.goto(f"{PAGE}?search=stark")
    row = page.get_by_role("row", name=re.compile("stark"))

    expect(row).to_contain_text("17 passed")
    expect(row).not_to_contain_text("earlier scan")


def test_a_click_on_a_columns_head_sorts_and_the_next_one_turns_it_round(page: Page) -> None:
    page.goto(PAGE)
    head = page.get_by_role("columnheader", name="Deals live")

    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page.locator(".table")).to_have_attribute("aria-busy", "false")
    most = deals_live(page)
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(page.locator(".table")).to_have_attribute("aria-busy", "false")
    least = deals_live(page)

    assert most == sorted(most, reverse=True)
    assert least == sorted(least)
    assert least[0] < most[0]
    assert "sort=deals_live" in page.url


def deals_live(page: Page) -> list[int]:
    cells = page.locator("td[data-label='Deals live']").all_inner_texts()
    return [int(text.replace(",", "")) for text in cells]


def test_a_list_of_one_page_has_no_buttons_to_turn_it(page: Page) -> None:
    page.goto(f"{PAGE}?search=tenant_0042")

    expect(shown(page, 1, 1, "1 tenant")).to_be_visible()
    expect(page.get_by_role("button", name="Next", exact=True)).to_have_count(0)


def test_a_scan_is_started_from_the_list(page: Page) -> None:
    page.goto(f"{PAGE}?search=initech")

    page.get_by_role("button", name="Start a scan of initech").click()

    expect(page.get_by_role("heading", name="Scan of initech")).to_be_visible()
    page.get_by_role("button", name="Cancel scan").click()
    page.get_by_role("button", name="Yes, cancel it").click()
    expect(page.locator(".facts")).to_contain_text("Cancelled")


def test_nothing_found_is_said_and_can_be_undone(page: Page) -> None:
    page.goto(PAGE)
    page.get_by_label("Search tenants").fill("nobody_of_this_name")

    page.get_by_role("button", name="Show all tenants").click()

    expect(page.get_by_text(f"of {TENANT_COUNT:,} tenants")).to_be_visible()


def test_tenants_are_said_to_be_missing_if_their_entries_are_invalid(page: Page) -> None:
    nothing = {"tenants": [], "next_cursor": None, "total": 0, "states": {}, "incidents": 0}
    answer = {**nothing, "problems": 2}
    page.route("**/hubspot-deals/tenants?*", lambda route: route.fulfill(json=answer))

    page.goto(PAGE)

    notice = page.get_by_role("note")
    expect(notice).to_contain_text("2 invalid entries")
    expect(notice).to_contain_text("import errors")


def test_a_user_sees_the_tenants_whose_dags_he_may_see(sign_in: SignIn) -> None:
    page = sign_in(LIMITED_USER, LIMITED_PASSWORD)

    page.goto(PAGE)
    expect(page.locator("a.row")).to_have_text(["globex"])
    page.goto(f"{PAGE}?tenant=acme")

    expect(page.get_by_text("Not found")).to_be_visible()


def test_the_keyboard_alone_leads_from_the_list_to_a_scan(page: Page) -> None:
    page.goto(PAGE)
    expect(page.locator("a.row").first).to_be_visible()

    page.keyboard.press("/")
    page.keyboard.type("acme")
    expect(page.locator("a.row")).to_have_text(["acme"])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="acme")).to_be_visible()
    expect(page.locator("a.row").first).to_be_visible()
    while not page.evaluate("document.activeElement.matches('a.row')"):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Scan of acme")).to_be_visible()


def test_the_keyboards_place_can_be_seen(page: Page) -> None:
    page.goto(PAGE)
    page.locator("a.row").first.focus()

    page.keyboard.press("ArrowDown")

    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_on_a_phone_no_view_is_wider_than_the_screen(sign_in: SignIn) -> None:
    page = sign_in(viewport={"width": 360, "height": 740})

    for view in ("", "?tenant=acme", scan_of(page, "globex"), scan_of(page, "hooli")):
        page.goto(f"{PAGE}{view}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_no_view_complains_or_asks_another_server(page: Page, complaints: list[str]) -> None:
    views = ["", "?tenant=acme", "?tenant=wayne", scan_of(page, "acme"), scan_of(page, "globex")]

    for view in views:
        page.goto(f"{PAGE}{view}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_load_state("networkidle")

    assert complaints == []


def test_what_the_policy_forbids_would_be_noticed(page: Page, complaints: list[str]) -> None:
    page.goto(PAGE)

    with page.expect_console_message():
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'),"
            " { textContent: 'window.ran = 1' }))"
        )

    assert page.evaluate("window.ran") is None
    assert ["Content Security Policy" in complaint for complaint in complaints] == [True]


def test_a_server_that_does_not_answer_is_noticed_and_so_is_its_return(page: Page) -> None:
    page.clock.install()
    page.goto(PAGE)
    expect(page.locator("a.row").first).to_be_visible()

    page.route("**/hubspot-deals/tenants?*", lambda route: route.abort())
    page.clock.fast_forward(31_000)
    expect(page.get_by_text("Airflow can't be reached")).to_be_visible()
    expect(page.locator("a.row").first).to_be_visible()
    page.unroute("**/hubspot-deals/tenants?*")
    page.clock.fast_forward(6_000)

    expect(page.get_by_text("Airflow can't be reached")).to_have_count(0)


def test_a_hidden_tab_asks_for_nothing(page: Page) -> None:
    page.clock.install()
    page.goto(PAGE)
    expect(page.locator("a.row").first).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    set_hidden(page, hidden=True)
    page.clock.fast_forward(300_000)
    while_hidden = list(asked)
    with page.expect_response("**/hubspot-deals/tenants?*"):
        set_hidden(page, hidden=False)

    assert while_hidden == []


def test_a_slow_server_is_not_asked_again_meanwhile(page: Page) -> None:
    page.clock.install()
    page.goto(PAGE)
    expect(page.locator("a.row").first).to_be_visible()
    held: list[Route] = []
    page.route("**/hubspot-deals/tenants?*", lambda route: held.append(route))

    with page.expect_request("**/hubspot-deals/tenants?*"):
        page.clock.fast_forward(31_000)
    page.clock.fast_forward(120_000)
    page.get_by_role("heading", level=1).click()

    assert len(held) == 1
    held[0].continue_()


def test_pointing_at_a_time_in_a_row_tells_the_exact_one_and_a_click_there_opens_it(
    page: Page,
) -> None:
    page.goto(f"{PAGE}?search=acme")
    time = page.get_by_role("row", name=re.compile("acme")).locator("time").first
    expect(time).to_have_attribute("title", re.compile(r", \d\d:\d\d:\d\d .*\d{4}-\d\d-\d\dT"))

    time.click()

    expect(page.get_by_role("heading", name="acme")).to_be_visible()


def set_hidden(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        "hidden => {"
        " Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def scan_of(page: Page, tenant: str) -> str:
    """The query of the page of a tenant's last scan."""
    answer = page.request.get(f"/hubspot-deals/tenants/{tenant}").json()
    return f"?scan={answer['last_scan']['scan_id']}"


def test_what_was_started_elsewhere_shows_by_itself(page: Page, page_stack: PageStack) -> None:
    page.clock.install()
    page.goto(f"{PAGE}?search=tenant_0100")
    row = page.get_by_role("row", name=re.compile("tenant_0100"))
    expect(row).to_contain_text("Succeeded")
    with page_stack.warehouse.connect() as connection:
        connection.execute(
            "update hubspot_deals.scans set state = 'failed' where tenant_id = 'tenant_0100'"
        )

    page.clock.fast_forward(31_000)

    expect(row).to_contain_text("Failed")


def test_a_page_whose_place_in_the_list_is_gone_begins_again(page: Page) -> None:
    page.goto(PAGE)
    page.evaluate("history.replaceState({ cursors: [null, 'of_a_removed_tenant'] }, '')")

    page.reload()

    expect(page.get_by_text(re.compile(r"^1.50 of"))).to_be_visible()
