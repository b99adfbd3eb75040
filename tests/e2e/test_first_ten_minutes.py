"""The first ten minutes of a stranger: the README's commands as written, and a real browser."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from include.ops.local.processes import free_port
from tests.support.chromium import chromium_page, sign_in_by_hand
from tests.support.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.e2e

DEMO_TIMEOUT_S = 400
WRONG_TOKEN, RIGHT_TOKEN = "pat-na1-wrong", "pat-na1-demo-acme"


@dataclass
class Checkout:
    """A copy of the project in an empty directory, and a shell in it.

    ``printed``: by `make demo`.
    """

    path: Path
    port: int
    printed: str = ""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def run(self, command: str, timeout_s: float = 120) -> str:
        """Run a command of the README; return what it printed."""
        done = subprocess.run(
            ["bash", "-euc", command.replace("localhost:5200", f"localhost:{self.port}")],
            cwd=self.path,
            env={**os.environ, "AIRFLOW_PORT": str(self.port), "NO_PROXY": "localhost"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def block(self, containing: str) -> str:
        """Return the shell block of the README that holds a text."""
        blocks = re.findall(r"```sh\n(.*?)```", (self.path / "README.md").read_text(), re.DOTALL)
        (found,) = [block for block in blocks if containing in block]
        return found

    def mails(self, expected: int) -> list[str]:
        """Return the mails as `make mail` prints them, the oldest first, once so many came."""
        folder = self.path / ".run" / "mail" / "new"
        until(lambda: len([*folder.glob("*")]) == expected, f"{expected} mails")
        printed = self.run("make -s mail NEWEST=100")
        return [mail for mail in printed.split("-" * 79) if "Subject:" in mail]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Iterator[Checkout]:
    path = tmp_path_factory.mktemp("stranger") / "checkout"
    shutil.copytree(
        project_root,
        path,
        ignore=shutil.ignore_patterns(".git", ".venv", ".run", ".env", ".*_cache", "__pycache__"),
    )
    (path / ".venv").symlink_to(project_root / ".venv")
    checkout = Checkout(path, free_port())
    checkout.run("git init --quiet && git add --all")
    try:
        checkout.printed = checkout.run("make demo DETACH=1", DEMO_TIMEOUT_S)
        yield checkout
    finally:
        checkout.run(".venv/bin/python -m include.ops.local clean")


@pytest.fixture
def page(checkout: Checkout) -> Iterator[Page]:
    login = re.search(r"log in as +(\S+) / (\S+)", checkout.run("make status"))
    assert login is not None
    with chromium_page(checkout.url) as page:
        page.goto("/")
        sign_in_by_hand(page, login[1], login[2])
        yield page


def trigger(page: Page, tenant: str) -> None:
    """Start a scan by the form of Airflow's own UI."""
    page.goto(f"/dags/hubspot_deals__{tenant}")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Trigger").click()
    expect(dialog).to_be_hidden()


def give_token(page: Page, token: str) -> None:
    """Put a token into the connection of acme, as the README says."""
    page.goto("/connections")
    row = page.get_by_role("row").filter(has_text="hubspot_acme")
    row.get_by_role("button", name="Edit Connection").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_placeholder("of a service key").fill(token)
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize("tenant", ["acme", "globex", "initech"])
def test_the_demo_loads_three_tenants(checkout: Checkout, tenant: str) -> None:
    lines = checkout.printed.splitlines()

    assert any(line.split()[:1] == [tenant] and " passed" in line for line in lines)


def test_look_start_break_and_repair_as_the_readme_says_leaves_no_token_in_any_file(
    checkout: Checkout, page: Page
) -> None:
    page.get_by_role("link", name="HubSpot", exact=True).click()
    inside = page.frame_locator("iframe")
    for tenant in ("acme", "globex", "initech"):
        expect(inside.get_by_role("row").filter(has_text=tenant)).to_contain_text("Succeeded")
    for view in ("hubspot_deals__acme.deals", "hubspot_deals_fivetran__acme.deal "):
        assert "Enterprise agreement" in checkout.run(checkout.block(view))

    trigger(page, "globex")
    page.goto("/plugin/hubspot-scans/hubspot-deals/ui?tenant=globex")
    scans = inside.get_by_role("table", name="Scans").get_by_role("row").filter(has_text="ucceeded")
    expect(scans).to_have_count(2, timeout=TIMEOUT_S * 1000)

    commands = checkout.block("scan.json").strip().splitlines()
    before, read_deals = commands[:-1], commands[-1]
    first = checkout.run("\n".join(before))
    assert '"id":"globex"' in first.replace(" ", "")
    scan_id = json.loads((checkout.path / "scan.json").read_text())["scan_id"]
    setup, look = [commands[0], commands[1], f"scan={scan_id}"], commands[-2]
    until(
        lambda: json.loads(checkout.run("\n".join([*setup, look])))["state"] == "succeeded",
        "the scan that curl has started succeeds",
    )
    assert "deals" in json.loads(checkout.run("\n".join([*setup, read_deals])))

    assert checkout.mails(0) == []
    give_token(page, WRONG_TOKEN)
    trigger(page, "acme")
    (alert,) = checkout.mails(1)
    assert "acme: scan failed (TokenRejectedError)" in alert
    assert "hubspot_acme" in alert
    assert WRONG_TOKEN not in alert

    give_token(page, RIGHT_TOKEN)
    trigger(page, "acme")
    assert "acme: all clear" in checkout.mails(2)[-1]
    page.goto("/plugin/hubspot-scans")
    expect(inside.get_by_role("row").filter(has_text="acme")).to_contain_text("Succeeded")

    # only what was added at first: nothing is new, nothing has changed since
    assert set(re.findall("^..", checkout.run("git status --short"), re.MULTILINE)) == {"A "}
    kept = [path for path in (checkout.path / ".run").rglob("*") if path.is_file()]
    assert len(kept) > 10
    assert [path for path in kept if holds_a_token(path)] == []


def holds_a_token(path: Path) -> bool:
    if path.suffix not in (".log", ".txt", ".json", "") and "mail" not in path.parts:
        return False
    content = path.read_bytes()
    return any(token.encode() in content for token in (WRONG_TOKEN, RIGHT_TOKEN))
