"""Airflow's own public REST API, asked in process with the caller's own credentials.

So Airflow's permission checks, its validation and its audit log hold for what is done here too.
"""

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import Request

from include.web.problems import Code, Problem

TIMEOUT_S = 60
#: Who is asking, and from where: whatever Airflow's access control and audit log look at.
_PASSED_ON = ("authorization", "cookie", "user-agent", "x-forwarded-for")


async def trigger_run(
    request: Request, dag_id: str, run_id: str, conf: dict[str, Any], note: str
) -> None:
    """Have Airflow make a run. Raises Problem."""
    body = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": note}
    await _send(request, "POST", f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns", body)


async def fail_run(request: Request, dag_id: str, run_id: str, note: str) -> None:
    """Have Airflow end a run, its tasks included. Raises Problem."""
    path = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
    await _send(request, "PATCH", path, {"state": "failed", "note": note})


async def _send(request: Request, method: str, path: str, body: dict[str, Any]) -> None:
    # the app that serves this very request; it is complete only when requests come
    from airflow.api_fastapi.main import app

    client = request.client
    transport = httpx.ASGITransport(app, client=(client.host, client.port) if client else ("", 0))
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    async with httpx.AsyncClient(
        transport=transport, base_url=str(request.base_url.replace(path="/")), timeout=TIMEOUT_S
    ) as airflow:
        answer = await airflow.request(method, path, json=body, headers=headers)
    if answer.is_error:
        raise _problem(answer)


def _problem(answer: httpx.Response) -> Problem:
    detail = _detail(answer)
    match answer.status_code:
        case HTTPStatus.UNAUTHORIZED:
            return Problem(Code.UNAUTHENTICATED, "Airflow does not accept this login any more.")
        case HTTPStatus.FORBIDDEN:
            return Problem(Code.FORBIDDEN, "Airflow does not let you do this.")
        case HTTPStatus.NOT_FOUND:
            return Problem(Code.NOT_FOUND, "Airflow does not know this DAG or run.")
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return Problem(Code.INVALID_REQUEST, f"Airflow refuses: {detail}")
        case _:
            return Problem(
                Code.AIRFLOW_REFUSED,
                f"Airflow answered {answer.status_code}: {detail}",
                remedy="Look at the API server's log, then ask again.",
            )


def _detail(answer: httpx.Response) -> str:
    """Return what Airflow says in a sentence, if it does."""
    try:
        detail = answer.json()["detail"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return "nothing more"
    if isinstance(detail, list):  # of FastAPI: what is wrong, without the values
        detail = "; ".join(str(part.get("msg")) for part in detail if isinstance(part, dict))
    return str(detail)[:500]
