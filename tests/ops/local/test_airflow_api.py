"""Calls to an Airflow that is slow: a real server that answers late."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from include.ops.local import airflow_api
from include.ops.local.airflow_api import AirflowApi


class SlowAirflow(ThreadingHTTPServer):
    """Takes each kind of request, and answers only from the second one of it on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[tuple[str, str]] = []
        self.runs: list[str] = []
        self.closing = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: SlowAirflow

    def _take(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        request = (self.command, self.path)
        first = request not in self.server.taken
        self.server.taken.append(request)
        status, answer = 200, {"access_token": "t", "dag_runs": []}
        if run_id := body.get("dag_run_id"):
            status = 409 if run_id in self.server.runs else 200
            self.server.runs = list({*self.server.runs, run_id})
        if first:
            self.server.closing.wait()
            return
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _take

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowAirflow]:
    monkeypatch.setattr(airflow_api, "TIMEOUT_S", 1.0)
    with SlowAirflow() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def api(airflow: SlowAirflow) -> AirflowApi:
    return AirflowApi(f"http://127.0.0.1:{airflow.server_port}", "admin", "secret")


def test_a_login_and_a_question_that_time_out_are_tried_again(
    api: AirflowApi, airflow: SlowAirflow
) -> None:
    assert api.runs("hubspot_deals__acme") == []
    assert [path for _, path in airflow.taken[:2]] == ["/auth/token", "/auth/token"]


def test_a_start_that_times_out_is_tried_again_and_starts_one_run(
    api: AirflowApi, airflow: SlowAirflow
) -> None:
    run_id = api.trigger("hubspot_deals__acme")

    assert airflow.runs == [run_id]
    assert len(airflow.taken) == 4
