"""The ASGI application: tokens, limits, faults and routing around the endpoints.

Plain ASGI, without a framework: a page of 100 deals must cost less to serve than to read.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from tests.hubspot_simulator import rate_limits
from tests.hubspot_simulator.api import REQUEST_LINE_MAX, ROUTES, Handler, Request
from tests.hubspot_simulator.control import PREFIX, control
from tests.hubspot_simulator.errors import (
    Answer,
    ApiError,
    expired,
    html,
    missing_scopes,
    not_found,
    unauthorized,
)
from tests.hubspot_simulator.faults import TRANSPORT_KINDS, Fault
from tests.hubspot_simulator.portal import Portal, Token

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_ROUTES = [
    (name, method, re.compile(path), scopes, handler)
    for name, method, path, scopes, handler in ROUTES
]


class SimulatorApp:
    """Serves a set of portals; a request's token decides which one it is for."""

    def __init__(self, portals: dict[int, Portal]) -> None:
        self._portals = portals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if scope["path"].startswith(PREFIX):
            await _send(send, control(self._portals, scope["method"], scope["path"], body))
            return
        portal, token = self._bearer(scope)
        if portal is not None and portal.latency_s:
            await asyncio.sleep(portal.latency_s)
        fault = _fault(portal, scope["path"])
        if fault is not None and fault.kind in TRANSPORT_KINDS:
            await _break(fault, receive, send)
            return
        answer = self._answer(scope, body, portal, token, fault)
        await _send(send, answer)

    def _answer(
        self,
        scope: Scope,
        body: bytes,
        portal: Portal | None,
        token: Token | None,
        fault: Fault | None,
    ) -> Answer:
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        if len(path) + len(query) + 20 > REQUEST_LINE_MAX:
            return html(414, "Request-URI Too Large")
        try:
            if portal is None or token is None or token.state == "revoked":
                raise unauthorized()
            if token.state == "expired":
                raise expired("2026-03-10T23:04:41.164Z")
        except ApiError as exc:
            if portal is not None:
                portal.statuses[exc.answer.status] += 1
            return exc.answer
        with portal.lock:
            name, answer = _handled(portal, token, scope["method"], path, query, body, fault)
            portal.requests[name] += 1
            portal.statuses[answer.status] += 1
            if name == "list":
                portal.list_was_answered()
            if portal.send_rate_headers and name != "search":
                answer.headers |= rate_limits.headers(portal.app(token), portal.quota)
        return answer

    def _bearer(self, scope: Scope) -> tuple[Portal | None, Token | None]:
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        text = header.removeprefix("Bearer ")
        for portal in self._portals.values():
            for token in portal.tokens:
                if token.text == text:
                    return portal, token
        return None, None


def _handled(
    portal: Portal,
    token: Token,
    method: str,
    path: str,
    query: str,
    body: bytes,
    fault: Fault | None,
) -> tuple[str, Answer]:
    """Return the endpoint's name and its answer; limits and faults come before it."""
    name = "unknown"
    try:
        name, scopes, handler, variables = _route(method, path)
        now = rate_limits.now()
        if name == "search":
            portal.quota.accept_search(now)
        portal.app(token).accept(now)
        portal.quota.accept()
        if fault is not None:
            return name, fault.answer()
        if scopes and not set(scopes) & set(token.scopes):
            raise missing_scopes([scopes[0]])
        request = Request(method, path, parse_qs(query), body, token, variables)
        return name, handler(portal, request)
    except ApiError as exc:
        return name, exc.answer


def _route(method: str, path: str) -> tuple[str, tuple[str, ...], Handler, dict[str, str]]:
    for name, wanted, pattern, scopes, handler in _ROUTES:
        if wanted == method and (match := pattern.fullmatch(path)):
            return name, scopes, handler, match.groupdict()
    raise not_found()


def _fault(portal: Portal | None, path: str) -> Fault | None:
    if portal is None or not portal.faults:
        return None
    with portal.lock:
        return next((fault for fault in portal.faults if fault.strikes(path)), None)


async def _break(fault: Fault, receive: Receive, send: Send) -> None:
    """Do to the connection what the fault says."""
    if fault.kind == "hang":
        await asyncio.sleep(fault.seconds)
    elif fault.kind == "truncated":
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"results":[', "more_body": True})
    # uvicorn's request cycle, the only way to the socket from inside an ASGI application
    receive.__self__.transport.close()  # type: ignore[attr-defined]


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, answer: Answer) -> None:
    headers = {
        "content-type": answer.content_type,
        "content-length": str(len(answer.body)),
        "x-hubspot-correlation-id": str(uuid.uuid4()),
        **answer.headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": answer.body})
