"""Takes the screenshots of docs/images: python -m tests.web.browser.screenshots"""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize

from include.ops.local.processes import PROJECT_ROOT
from tests.support.chromium import chromium
from tests.web.browser.conftest import signed_in_by_hand
from tests.web.browser.data import fill, other_tenants
from tests.web.browser.stack import REAL_TENANTS, PageStack, new_stack, start

IMAGES = PROJECT_ROOT / "docs" / "images"
WIDE: ViewportSize = {"width": 1360, "height": 820}
PHONE: ViewportSize = {"width": 390, "height": 780}
UI = "/plugin/hubspot-scans/hubspot-deals/ui"


def main() -> None:
    with tempfile.TemporaryDirectory() as state_dir:
        take_from(new_stack(Path(state_dir)))


def take_from(stack: PageStack) -> None:
    tenants = other_tenants(REAL_TENANTS)
    try:
        start(stack, tenants)
        fill(stack.warehouse, [*REAL_TENANTS, *tenants])
        with chromium() as browser:
            take_all(browser, stack)
    finally:
        stack.stop()
        stack.postgres.remove()


def take_all(browser: Browser, stack: PageStack) -> None:
    user = (stack.credentials.admin_user, stack.credentials.admin_password)
    state = signed_in_by_hand(browser, stack, *user)
    context = browser.new_context(base_url=stack.url, storage_state=state, viewport=WIDE)
    page = context.new_page()
    running = page.request.get("/hubspot-deals/tenants/globex").json()["last_scan"]["scan_id"]
    take(page, UI, "status-page.png")
    take(page, f"{UI}?tenant=acme", "tenant-page.png")
    take(page, f"{UI}?scan={running}", "scan-page.png")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    take(page, UI, "status-page-dark.png")
    phone = browser.new_context(base_url=stack.url, storage_state=state, viewport=PHONE)
    take(phone.new_page(), "/hubspot-deals/ui", "status-phone.png")


def take(page: Page, address: str, name: str) -> None:
    page.goto(address)
    (page.frame_locator("iframe") if "/plugin/" in address else page).locator(
        "a.row, [role=progressbar]"
    ).first.wait_for()
    page.wait_for_timeout(1_500)  # transitions
    page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    main()
