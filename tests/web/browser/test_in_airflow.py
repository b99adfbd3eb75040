"""The page where Airflow's UI shows it: in the navigation, and as a tab of DAGs and runs."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from tests.support.chromium import sign_in_by_hand
from tests.web.browser.conftest import SignIn
from tests.web.browser.stack import PageStack, dag_of

pytestmark = pytest.mark.e2e

NAV = "/plugin/hubspot-scans"
LIGHT = "rgb(255, 255, 255)"


def inside(page: Page) -> FrameLocator:
    return page.frame_locator("iframe")


def background(page: Page) -> str:
    colour: str = (
        inside(page).locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    )
    return colour


def test_the_navigation_leads_to_the_tenants(page: Page, complaints: list[str]) -> None:
    page.goto("/")

    page.get_by_role("link", name="HubSpot", exact=True).click()

    expect(inside(page).locator("a.row").first).to_be_visible()
    assert complaints == []


def test_a_view_inside_the_frame_has_an_address_of_its_own(page: Page) -> None:
    page.goto(NAV)
    inside(page).get_by_label("Search tenants").fill("acme")
    inside(page).get_by_role("link", name="acme").click()
    expect(inside(page).get_by_role("heading", name="acme")).to_be_visible()
    page.wait_for_url(re.compile("tenant=acme"))

    page.reload()

    expect(inside(page).get_by_role("heading", name="acme")).to_be_visible()


def test_a_dag_has_a_tab_with_its_tenant(page: Page) -> None:
    page.goto(f"/dags/{dag_of('globex')}")

    # the navigation has a link of the same name, and has it earlier
    page.locator("a[href*='/plugin/hubspot-tenant']").click()

    expect(inside(page).get_by_role("heading", name="globex")).to_be_visible()
    expect(inside(page).get_by_role("button", name="Start a scan")).to_be_visible()


def test_a_run_has_a_tab_with_its_scan(page: Page, page_stack: PageStack) -> None:
    run_id = page_stack.api.trigger(dag_of("globex"))
    page.goto(f"/dags/{dag_of('globex')}/runs/{quote(run_id, safe='')}")

    page.get_by_role("link", name="HubSpot scan", exact=True).click()

    expect(inside(page).get_by_role("heading", name="Scan of globex")).to_be_visible()
    expect(inside(page).locator(".facts")).to_contain_text(run_id)
    page_stack.api.fail(dag_of("globex"), run_id)


def test_links_to_airflows_pages_open_them_around_the_frame(page: Page) -> None:
    page.goto(f"{NAV}/hubspot-deals/ui?tenant=globex")

    inside(page).get_by_role("link", name="Open DAG").click()

    page.wait_for_url(re.compile(f"/dags/{dag_of('globex')}"))
    expect(page.locator("iframe")).to_have_count(0)


def test_the_logs_of_a_scan_open_around_the_frame(page: Page, page_stack: PageStack) -> None:
    run_id = page_stack.api.trigger(dag_of("globex"))
    page.goto(f"/dags/{dag_of('globex')}/runs/{quote(run_id, safe='')}/plugin/hubspot-scan")

    inside(page).get_by_role("link", name="Logs").click()

    page.wait_for_url(re.compile("/tasks/validate_token"))
    page_stack.api.fail(dag_of("globex"), run_id)


def test_a_link_of_a_mail_asks_who_is_signed_out_to_sign_in_first(
    browser: Browser, page_stack: PageStack
) -> None:
    page = browser.new_context(base_url=page_stack.url).new_page()
    page.goto(f"{NAV}/hubspot-deals/ui?tenant=globex")

    sign_in_by_hand(page, page_stack.credentials.admin_user, page_stack.credentials.admin_password)

    expect(inside(page).get_by_role("heading", name="globex")).to_be_visible()
    page.context.close()


def test_a_link_opens_a_tab_of_its_own_when_asked_to(page: Page) -> None:
    page.goto(f"{NAV}/hubspot-deals/ui?tenant=globex")

    with page.context.expect_page() as opened:
        inside(page).get_by_role("link", name="Open DAG").click(modifiers=["Control"])

    opened.value.wait_for_url(re.compile(f"/dags/{dag_of('globex')}"))


def test_the_page_follows_airflows_theme_while_it_is_open(page: Page) -> None:
    page.goto(NAV)
    expect(inside(page).locator("a.row").first).to_be_visible()
    assert background(page) == LIGHT

    page.get_by_role("button", name="User").click()
    page.get_by_role("menuitem", name="Appearance").click()
    page.get_by_role("menuitemradio", name="Dark").or_(
        page.get_by_role("menuitem", name="Dark")
    ).click()

    expect(inside(page).locator("html")).to_have_attribute("data-theme", "dark")
    assert background(page) != LIGHT


def test_outside_of_airflow_the_page_follows_what_was_chosen_there(page: Page) -> None:
    page.goto("/hubspot-deals/ui")
    page.evaluate("localStorage.setItem('theme', 'dark')")

    page.reload()

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_documentation_of_the_api_is_one_click_away_and_dark_when_airflow_is(
    sign_in: SignIn,
) -> None:
    page = sign_in(color_scheme="dark")
    page.goto("/hubspot-deals/ui")

    page.get_by_role("link", name="REST API").click()

    expect(page.get_by_role("heading", name=re.compile("HubSpot"))).to_be_visible()
    expect(page.locator("html")).to_have_class("dark-mode")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") not in (
        "rgba(0, 0, 0, 0)",
        "rgb(255, 255, 255)",
    )
