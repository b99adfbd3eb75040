"""Chromium as Debian has it, without a screen and with its calls to Google off."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Airflow's login page and its UI take a while on a busy machine.
TIMEOUT_MS = 30_000
# `expect` waits for 5 s by default, which a busy machine needs for a dialog
expect.set_options(timeout=TIMEOUT_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser; skip the test where none is installed."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def chromium_page(base_url: str) -> Iterator[Page]:
    """Yield a page of a new browser."""
    with chromium() as browser:
        page = browser.new_context(base_url=base_url).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        yield page


def sign_in_by_hand(page: Page, user: str, password: str) -> None:
    """Go through Airflow's own login page, which has come up."""
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)
