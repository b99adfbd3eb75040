"""axe-core finds nothing to object to in any view, in either colour scheme."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.web.browser.conftest import SignIn
from tests.web.browser.data import UNTOUCHED, WARNED
from tests.web.browser.test_tenants import PAGE, scan_of

pytestmark = pytest.mark.e2e


def open_schema(page: Page) -> None:
    page.get_by_text("Schema and views").click()
    page.locator("button.primary").first.hover()


def open_records(page: Page) -> None:
    page.get_by_text("Records: stages_known_to_the_portal").click()
    expect(page.get_by_role("table", name="Records of")).to_be_visible()


def nothing(_: Page) -> None:
    """Take the view as it opens."""


Views = dict[str, tuple[str, Callable[[Page], None]]]


def views(page: Page) -> Views:
    return {
        "tenants": (PAGE, nothing),
        "failing tenants": (f"{PAGE}?state=failing", nothing),
        "a tenant": (f"{PAGE}?tenant=acme", open_schema),
        "a tenant without a scan": (f"{PAGE}?tenant={UNTOUCHED}", nothing),
        "no such tenant": (f"{PAGE}?tenant=no_such_tenant", nothing),
        "a scan that runs": (f"{PAGE}{scan_of(page, 'globex')}", nothing),
        "a scan that failed": (f"{PAGE}{scan_of(page, 'hooli')}", nothing),
        "a scan that waits": (f"{PAGE}{scan_of(page, 'umbrella')}", nothing),
        "a scan that warned": (f"{PAGE}{scan_of(page, WARNED)}", open_records),
        "the runbook": ("/hubspot-deals/help/runbook", nothing),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(sign_in: SignIn, scheme: str) -> None:
    page = sign_in(color_scheme=scheme)
    found = []
    for name, (address, prepare) in views(page).items():
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading")).to_have_count(0)
        assert page.locator("html").get_attribute("data-theme") == scheme
        prepare(page)
        page.wait_for_load_state("networkidle")
        results = Axe().run(page)
        if results.violations_count:
            found.append(f"{name}: {results.generate_report()}")

    assert not found, "\n".join(found)


def test_axe_would_find_a_text_that_is_too_pale(page: Page) -> None:
    page.goto(PAGE)
    expect(page.locator("a.row").first).to_be_visible()
    page.evaluate("document.querySelector('h1').style.color = '#eee'")

    assert "color-contrast" in Axe().run(page).generate_snapshot()
