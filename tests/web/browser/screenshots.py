"""Takes the pictures of docs/images from the demo: python -m tests.web.browser.screenshots"""

import os
import re
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

from include.ops.local import launcher
from include.ops.local.demo import demo
from include.ops.local.demo_servers import connection_to
from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import PROJECT_ROOT, free_port
from include.ops.local.report import Report
from include.ops.local.stack import LocalStack
from tests.support.chromium import chromium, sign_in_by_hand

IMAGES = PROJECT_ROOT / "docs" / "images"
WIDE: ViewportSize = {"width": 1360, "height": 820}
PHONE: ViewportSize = {"width": 390, "height": 780}
UI = "/plugin/hubspot-scans/hubspot-deals/ui"
SCAN_TIMEOUT_S = 300
MORE_SCANS = ("auto", "full", "auto", "auto")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        state_dir, port = Path(folder), free_port()
        try:
            demo(state_dir, {**os.environ, "AIRFLOW_PORT": str(port)}, "detach", Report())
            stack = LocalStack(state_dir, port, {})
            scan_more(stack)
            with chromium() as browser:
                take_all(browser, stack)
        finally:
            launcher.down(state_dir)
            EmbeddedPostgres(state_dir).remove()


def scan_more(stack: LocalStack) -> None:
    """Scan globex some more times, and acme with a wrong token."""
    for mode in MORE_SCANS:
        scan(stack, "globex", mode)
    connection = stack.api.call("GET", "connections/hubspot_acme")
    wrong = connection_to(connection["host"], "pat-na1-wrong")
    stack.api.save_connection("hubspot_acme", wrong)
    scan(stack, "acme", "auto")


def scan(stack: LocalStack, tenant: str, mode: str) -> None:
    dag_id = f"hubspot_deals__{tenant}"
    stack.wait(dag_id, stack.trigger(dag_id, {"mode": mode}), SCAN_TIMEOUT_S)


def take_all(browser: Browser, stack: LocalStack) -> None:
    context = browser.new_context(base_url=stack.url, viewport=WIDE)
    page = context.new_page()
    page.goto("/")
    sign_in_by_hand(page, stack.credentials.admin_user, stack.credentials.admin_password)
    history = page.request.get("/hubspot-deals/tenants/globex").json()["history"]
    take_page(page, UI, "status-page.png")
    take_page(page, f"{UI}?tenant=globex", "tenant-page.png")
    take_page(page, f"{UI}?scan={history[0]['scan_id']}", "scan-page.png")
    take_airflow(context)
    page.evaluate("localStorage.setItem('theme', 'dark')")
    take_page(page, UI, "status-page-dark.png")
    phone = browser.new_context(
        base_url=stack.url, storage_state=context.storage_state(), viewport=PHONE
    ).new_page()
    phone.goto("/")
    phone.evaluate("localStorage.setItem('theme', 'light')")
    take_page(phone, "/hubspot-deals/ui", "status-phone.png")


def take_page(page: Page, address: str, name: str) -> None:
    page.goto(address)
    (page.frame_locator("iframe") if "/plugin/" in address else page).locator(
        "a.row, .table"
    ).first.wait_for()
    shoot(page, name)


def take_airflow(context: BrowserContext) -> None:
    """Take Airflow's own views of a DAG, of its trigger form and of a connection."""
    page = context.new_page()
    page.goto("/dags/hubspot_deals__globex")
    page.get_by_text("check_quality").first.wait_for()
    shoot(page, "dag.png")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role(
        "button", name=re.compile("Run Parameters|window", re.IGNORECASE)
    ).last.click()
    shoot(page, "trigger-form.png")
    page.goto("/connections")
    page.get_by_role("button", name="Add Connection").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").first.fill("hubspot_acme")
    dialog.get_by_role("combobox").first.fill("HubSpot")
    page.get_by_role("option", name="HubSpot", exact=True).click()
    dialog.get_by_placeholder("of a service key").wait_for()
    shoot(page, "connection-form.png")


def shoot(page: Page, name: str) -> None:
    page.wait_for_timeout(1_500)  # transitions
    page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    main()
