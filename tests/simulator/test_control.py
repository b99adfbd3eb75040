"""The control interface, and the simulator as a process of its own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.hubspot_simulator import Portal
from tests.hubspot_simulator.__main__ import accounts, parsed
from tests.simulator.caller import DEALS, TOKEN, Caller

READY_TIMEOUT_S = 20


def test_the_truth_comes_one_deal_a_line(caller: Caller, portal: Portal) -> None:
    answer = caller.control(portal.portal_id, "truth")

    assert [json.loads(line) for line in answer.text.split("\n")] == portal.truth()


def test_other_objects_are_added_changed_and_read(caller: Caller, portal: Portal) -> None:
    account = portal.portal_id
    caller.control(account, "objects", {"name": "contacts", "count": 3})
    contacts = portal.objects["contacts"]
    first, second, _ = contacts.live_ids()
    changes = [
        ["update", first, {"firstname": "Changed"}, "contacts"],
        ["archive", second, "contacts"],
        ["create", {"firstname": "New"}, "contacts"],
        ["associate", first, "companies", 7, "contacts"],
    ]

    answer = caller.control(account, "mutations", changes)

    truth = caller.control(account, "truth?object=contacts")
    links = caller.control(account, "associations?object=contacts").json()
    assert answer.json() == {"changes": 4}
    assert [json.loads(line) for line in truth.text.split("\n")] == contacts.truth()
    assert len(contacts.by_id) == 4
    assert contacts.by_id[second].archived
    assert links[str(first)] == {"companies": [[7, 279, None]]}


def test_associations_of_deals_are_changed_too(caller: Caller, portal: Portal) -> None:
    first, second = portal.live_ids()[:2]
    changes = [
        ["associate", first, "companies", 7],
        ["associate", second, "companies", 8, 5, "Primary"],
        ["dissociate", first, "companies", 7],
    ]

    caller.control(portal.portal_id, "mutations", changes)

    links = caller.control(portal.portal_id, "associations").json()
    assert (links[str(first)], links[str(second)]) == ({}, {"companies": [[8, 5, "Primary"]]})


def test_the_truth_of_an_unknown_object_is_refused(caller: Caller, portal: Portal) -> None:
    assert caller.control(portal.portal_id, "truth?object=rockets").status_code == 400


def test_statistics_come_over_http_too(caller: Caller, portal: Portal) -> None:
    caller.get(DEALS)

    assert caller.control(portal.portal_id, "stats").json() == portal.stats()


def test_changes_are_made_at_once_or_after_a_list_request(caller: Caller, portal: Portal) -> None:
    first, second = portal.live_ids()[:2]

    now = caller.control(
        portal.portal_id, "mutations", [["archive", first], ["update", second, {"amount": "7"}]]
    )
    later = caller.control(
        portal.portal_id,
        "mutations",
        {"after_list_request": 2, "changes": [["purge", first]]},
    )

    assert (now.json(), later.json()) == ({"changes": 2}, {"scheduled": 1})
    assert portal.deals[second].properties["amount"] == "7"
    caller.get(DEALS)
    assert portal.deals[first].archived
    caller.get(DEALS)
    assert first not in portal.deals


def test_changes_go_on_in_the_background_until_they_are_stopped(
    caller: Caller, portal: Portal
) -> None:
    before = portal.truth()

    caller.control(portal.portal_id, "mutations", {"changes_per_s": 500, "seed": 1})
    while portal.truth() == before:
        pass
    caller.control(portal.portal_id, "mutations", {"changes_per_s": None})
    after = portal.truth()

    assert portal.truth() == after


def test_faults_settings_and_tokens_are_set(caller: Caller, portal: Portal) -> None:
    settings = {"cursor": "opaque", "requests_per_window": 190, "daily": 5, "index_lag_s": 3}

    caller.control(portal.portal_id, "faults", [{"kind": "500", "endpoint": "list"}])
    caller.control(portal.portal_id, "settings", settings)
    caller.control(portal.portal_id, "tokens", {"text": TOKEN, "state": "revoked"})

    assert [(fault.kind, fault.endpoint) for fault in portal.faults] == [("500", "list")]
    assert (portal.cursor, portal.requests_per_window, portal.quota.daily) == ("opaque", 190, 5)
    assert caller.get("/crm/v3/owners").status_code == 401


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("mutations", [["explode", 1]], 400),
        ("mutations", {"after_list_request": 1, "changes": [["explode", 1]]}, 400),
        ("mutations", [["archive", 1]], 400),
        ("settings", {"deals": {}}, 400),
        ("faults", [{"kind": "nonsense"}], 400),
        ("tokens", {"text": "t", "colour": "red"}, 400),
        ("nothing", {}, 404),
    ],
)
def test_a_wrong_control_is_refused(
    caller: Caller, portal: Portal, what: str, body: Any, status: int
) -> None:
    assert caller.control(portal.portal_id, what, body).status_code == status


@pytest.fixture
def demo(tmp_path: Path, project_root: Path) -> "Iterator[tuple[subprocess.Popen[bytes], str]]":
    """The demo's process and its base URL."""
    ready_file = tmp_path / "ready.json"
    command = [sys.executable, "-m", "tests.hubspot_simulator", "--demo", "--port", "0"]
    process = subprocess.Popen([*command, "--ready-file", str(ready_file)], cwd=project_root)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not ready_file.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield process, json.loads(ready_file.read_text())["base_url"]
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_demo_serves_once_it_is_ready_and_ends_cleanly(
    demo: "tuple[subprocess.Popen[bytes], str]", number: signal.Signals
) -> None:
    process, base_url = demo
    path = "/account-info/v3/details"
    tokens = ("pat-na1-demo-acme", "pat-eu1-demo-globex", "pat-na1-demo-initech")

    accounts = [
        requests.get(
            base_url + path, headers={"Authorization": f"Bearer {token}"}, timeout=10
        ).json()["portalId"]
        for token in tokens
    ]
    process.send_signal(number)

    assert base_url.startswith("http://127.0.0.1:")
    assert accounts == [1_000_001, 1_000_002, 1_000_003]
    assert process.wait(READY_TIMEOUT_S) == 0


def test_accounts_are_described_on_the_command_line() -> None:
    described = [
        {"portal_id": 7, "token": "pat-7", "deals": 3, "property_count": 60},
        {"portal_id": 8, "token": "pat-8", "deals": 2, "lazy": True},
    ]

    made = accounts(parsed(["--accounts", json.dumps(described)]))

    assert [(portal.portal_id, portal.tokens[0].text) for portal in made] == [
        (7, "pat-7"),
        (8, "pat-8"),
    ]
    assert [len(portal.live_ids()) for portal in made] == [3, 2]
    assert len(made[0].definitions) == 60
