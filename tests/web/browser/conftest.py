"""One Airflow with the page, filled with 1,000 tenants, and Chromium, for all tests in here."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    StorageState,
)

from tests.support.chromium import TIMEOUT_MS, chromium, sign_in_by_hand
from tests.web.browser.data import fill, other_tenants
from tests.web.browser.stack import REAL_TENANTS, PageStack, new_stack, start

#: Chromium's opinion of the frame that Airflow puts around every plugin's page.
ABOUT_AIRFLOWS_FRAME = "can escape its sandboxing"

SignIn = Callable[..., Page]
#: Kept after the first time: signing in takes seconds.
_signed_in: dict[str, StorageState] = {}


@pytest.fixture(scope="session")
def page_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageStack]:
    page_stack = new_stack(tmp_path_factory.mktemp("page_stack"))
    tenants = other_tenants(REAL_TENANTS)
    try:
        start(page_stack, tenants)
        fill(page_stack.warehouse, [*REAL_TENANTS, *tenants])
        yield page_stack
    finally:
        page_stack.stop()
        page_stack.postgres.remove()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the session: while Playwright runs, its thread has an event loop, and later tests in
    # the same process can't run one of their own.
    with chromium() as browser:
        yield browser


@pytest.fixture
def complaints() -> list[str]:
    """What pages of this test have to complain about: filled while they are used."""
    return []


@pytest.fixture
def sign_in(page_stack: PageStack, browser: Browser, complaints: list[str]) -> Iterator[SignIn]:
    """Open a window of a user who has signed in, by default the administrator."""
    windows: list[BrowserContext] = []

    def sign_in(user: str = "", password: str = "", **options: Any) -> Page:
        user = user or page_stack.credentials.admin_user
        if user not in _signed_in:
            password = password or page_stack.credentials.admin_password
            _signed_in[user] = signed_in_by_hand(browser, page_stack, user, password)
        context = browser.new_context(
            base_url=page_stack.url, storage_state=_signed_in[user], **options
        )
        windows.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        _listen(context, page, page_stack, complaints)
        return page

    yield sign_in
    for window in windows:
        window.close()


@pytest.fixture
def page(sign_in: SignIn) -> Page:
    return sign_in()


def signed_in_by_hand(
    browser: Browser, page_stack: PageStack, user: str, password: str
) -> StorageState:
    """Go through Airflow's own login page."""
    context = browser.new_context(base_url=page_stack.url)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto("/")
    sign_in_by_hand(page, user, password)
    state = context.storage_state()
    context.close()
    return state


def _listen(
    context: BrowserContext, page: Page, page_stack: PageStack, complaints: list[str]
) -> None:
    """Note errors of our own page, violations of its policy, and requests that go elsewhere."""
    context.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((page_stack.url, "data:", "blob:"))
            else complaints.append(f"request to {request.url}")
        ),
    )
    page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
    page.on("console", lambda message: _note(message, complaints))


def _note(message: ConsoleMessage, complaints: list[str]) -> None:
    # Chromium names no address with a violation of the policy.
    address = message.location["url"]
    ours = not address or "/hubspot-deals/" in address
    if ours and message.type in ("error", "warning") and ABOUT_AIRFLOWS_FRAME not in message.text:
        complaints.append(f"console: {message.text}")
