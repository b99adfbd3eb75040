"""Faults by script."""

import json
import socket
from typing import Any

import pytest
import requests

from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal
from tests.simulator.caller import DEALS, TOKEN, Caller


@pytest.mark.parametrize(
    "kind",
    ["401", "403", "423", "429", "477", "500", "502", "503", "504", "521", "522", "524"],
)
def test_an_answered_fault_applies_to_once(caller: Caller, portal: Portal, kind: str) -> None:
    portal.add_fault(Fault(kind, path="/deals$", retry_after_s=7))

    first, second = (caller.get(f"{DEALS}?limit=1") for _ in range(2))

    assert (first.status_code, second.status_code) == (int(kind), 200)
    assert first.headers["Retry-After"] == "7"
    assert first.headers["X-HubSpot-Correlation-Id"]
    assert portal.stats()["faults"] == {kind: 1}


@pytest.mark.parametrize("kind", ["502", "504", "521", "html"])
def test_the_edge_answers_in_html(caller: Caller, portal: Portal, kind: str) -> None:
    portal.add_fault(Fault(kind))

    answer = caller.get(DEALS)

    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.status_code == (200 if kind == "html" else int(kind))


@pytest.mark.parametrize("policy", ["DAILY", "SECONDLY", "TEN_SECONDLY_ROLLING"])
def test_a_429_names_its_policy(caller: Caller, portal: Portal, policy: str) -> None:
    portal.add_fault(Fault("429", policy=policy))

    assert caller.get(DEALS).json()["policyName"] == policy
    assert portal.stats()["throttled"] == 1


def test_a_reset_connection_ends_with_rst(simulator: HubSpotSimulator, portal: Portal) -> None:
    portal.add_fault(Fault("reset"))

    with pytest.raises(ConnectionResetError):
        answer_to_one_request(simulator)


def test_a_closed_connection_ends_without_a_byte(
    simulator: HubSpotSimulator, portal: Portal
) -> None:
    portal.add_fault(Fault("close"))

    assert answer_to_one_request(simulator) == b""


def answer_to_one_request(simulator: HubSpotSimulator) -> bytes:
    host, port = simulator.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        head = f"GET {DEALS} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        connection.sendall(head.encode())
        return connection.recv(1 << 16)


def test_a_truncated_body_is_shorter_than_it_says(caller: Caller, portal: Portal) -> None:
    portal.add_fault(Fault("truncated"))

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        caller.get(f"{DEALS}?limit=100")


def test_cut_json_is_a_whole_body_and_half_of_the_answer(caller: Caller, portal: Portal) -> None:
    portal.add_fault(Fault("cut_json"))

    cut, whole = (caller.get(f"{DEALS}?limit=100") for _ in range(2))

    assert cut.status_code == 200
    assert whole.content.startswith(cut.content)
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut.content)


def test_a_hanging_server_answers_nothing_in_time(caller: Caller, portal: Portal) -> None:
    portal.add_fault(Fault("hang", seconds=1))

    with pytest.raises(requests.ReadTimeout):
        caller.get(DEALS, timeout=0.1)


@pytest.mark.parametrize("slow", [Fault("slow", seconds=0.05), None])
def test_an_answer_can_take_its_time(caller: Caller, portal: Portal, slow: Fault | None) -> None:
    if slow:
        portal.add_fault(slow)
    else:
        portal.latency_s = 0.05

    answer = caller.get(DEALS)

    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 0.05


@pytest.mark.parametrize(
    ("fault", "applied"),
    [
        pytest.param({"endpoint": "list"}, [0], id="endpoint"),
        pytest.param({"endpoint": "owners"}, [], id="another endpoint"),
        pytest.param({"path": "^/crm/v3/objects"}, [0], id="path"),
        pytest.param({"query": "archived=true"}, [], id="query"),
        pytest.param({"nth": 3}, [2], id="third"),
        pytest.param({"nth": 2, "count": 2}, [1, 2], id="second and third"),
        pytest.param({"count": None}, [0, 1, 2, 3, 4, 5], id="for ever"),
    ],
)
def test_a_fault_applies_only_what_it_is_meant_for(
    caller: Caller, portal: Portal, fault: dict[str, Any], applied: list[int]
) -> None:
    portal.add_fault(Fault("500", **fault))

    statuses = [caller.get(f"{DEALS}?limit=1").status_code for _ in range(6)]

    assert [number for number, status in enumerate(statuses) if status == 500] == applied


def test_a_probable_fault_applies_to_the_same_requests_with_the_same_seed() -> None:
    one, same, other = (Fault("500", probability=0.3, count=None, seed=seed) for seed in (5, 5, 6))

    applied = [[fault.applies("/") for _ in range(200)] for fault in (one, same, other)]

    assert applied[0] == applied[1] != applied[2]
    assert 30 < sum(applied[0]) < 90


def test_faults_queue_up(caller: Caller, portal: Portal) -> None:
    for kind in ("500", "503", "429"):
        portal.add_fault(Fault(kind))

    assert [caller.get(DEALS).status_code for _ in range(4)] == [500, 503, 429, 200]


@pytest.mark.parametrize("kind", ["nonsense", "200", "99"])
def test_an_unknown_kind_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="unknown kind of fault"):
        Fault(kind)
