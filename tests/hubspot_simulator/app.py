"""The ASGI application: tokens, limits, faults and routing around the endpoints.

Plain ASGI, without a framework: a page of 100 deals must cost less to serve than to read.
"""

import asyncio
from dataclasses import dataclass

from tests.hubspot_simulator import oauth_api, rate_limits
from tests.hubspot_simulator.connection import Connection, Message, Receive, Send
from tests.hubspot_simulator.control import PREFIX, control
from tests.hubspot_simulator.errors import (
    Answer,
    ApiError,
    expired,
    html,
    missing_scopes,
    unauthorized,
)
from tests.hubspot_simulator.faults import PARTIAL_KINDS, SILENT_KINDS, Fault
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request
from tests.hubspot_simulator.routes import UNLIMITED, Required, Route, route_of
from tests.hubspot_simulator.tokens import Token

#: Characters of the request line above which the edge answers 414.
REQUEST_LINE_MAX = 16_000
#: Endpoints whose answers have no rate headers.
WITHOUT_HEADERS = {"search", *UNLIMITED}


@dataclass(frozen=True)
class Call:
    """What came in, before anybody looked at whether it makes sense."""

    method: str
    path: str
    query: str
    host: str
    bearer: str
    body: bytes

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def too_long(self) -> bool:
        return len(f"{self.method} {self.target} HTTP/1.1") > REQUEST_LINE_MAX

    def endpoint(self, portal: Portal) -> str:
        try:
            route, variables = route_of(self.method, self.path)
            return route.called(portal, variables)
        except ApiError:
            return "unknown"


class SimulatorApp:
    """Serves a set of portals; a request's token decides which one it is for."""

    def __init__(self, portals: dict[int, Portal]) -> None:
        self._portals = portals

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        connection = Connection(receive, send)
        call = _call(scope, await connection.body())
        if call.path.startswith(PREFIX):
            await connection.answer(control(self._portals, call.method, call.target, call.body))
            return
        by_form = bool(oauth_api.PATH.fullmatch(call.path))
        portal, token = self._by_form(call.body) if by_form else self._owner_of(call.bearer)
        if portal is None or token is None:
            unknown = oauth_api.bad_client() if by_form else unauthorized()
            await connection.answer(_edge(call) or unknown.answer)
            return
        portal.statistics.in_flight += 1
        try:
            if portal.latency_s:
                await asyncio.sleep(portal.latency_s)
            await _serve(portal, token, call, connection)
        finally:
            portal.statistics.in_flight -= 1

    def _by_form(self, body: bytes) -> tuple[Portal | None, Token]:
        """A request for a token carries none: the endpoint checks the form."""
        return oauth_api.owner_of(self._portals, body), Token("", kind="oauth")

    def _owner_of(self, bearer: str) -> tuple[Portal | None, Token | None]:
        for portal in self._portals.values():
            for token in portal.tokens:
                if token.text == bearer:
                    return portal, token
        return None, None


def _call(scope: Message, body: bytes) -> Call:
    headers = dict(scope["headers"])
    return Call(
        scope["method"],
        scope["path"],
        scope["query_string"].decode("latin-1"),
        headers.get(b"host", b"").decode("latin-1"),
        headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer "),
        body,
    )


async def _serve(portal: Portal, token: Token, call: Call, connection: Connection) -> None:
    fault = _fault(portal, call)
    if fault is not None and fault.kind in SILENT_KINDS:
        await connection.end_without_answer(fault)
        return
    if fault is not None and fault.kind == "slow":
        await fault.pause()
    answer = _edge(call) or _answered(portal, token, call, fault)
    if fault is not None and fault.rewrite is not None:
        answer = fault.rewrite(answer)
    with portal.lock:
        portal.statistics.statuses[answer.status] += 1
    if fault is not None and fault.kind in PARTIAL_KINDS:
        await connection.answer_in_part(fault, answer)
    else:
        await connection.answer(answer)


def _fault(portal: Portal, call: Call) -> Fault | None:
    if not portal.faults:
        return None
    endpoint = call.endpoint(portal)
    with portal.lock:
        for fault in portal.faults:
            if fault.applies(call.path, call.query, endpoint):
                portal.statistics.faults[fault.kind] += 1
                return fault
    return None


def _edge(call: Call) -> Answer | None:
    """Return what the edge answers on its own, before the API sees the request."""
    return html(414, "Request-URI Too Large") if call.too_long else None


def _answered(portal: Portal, token: Token, call: Call, fault: Fault | None) -> Answer:
    """Judge the token, then limits, then the fault, then scopes; then ask the endpoint."""
    with portal.lock:
        try:
            _require_good(portal, token)
        except ApiError as exc:
            return exc.answer
        route: Route | None = None
        name = "unknown"
        try:
            route, variables = route_of(call.method, call.path)
            required = route.needs(portal, variables)
            name = route.called(portal, variables)
            if route.name not in UNLIMITED:
                _count(portal, token, route.name)
            if fault is not None and fault.replaces_answer:
                answer = fault.answer()
            else:
                _require_scopes(token, required)
                request = Request(call.target, call.host, call.body, token, variables)
                answer = route.handler(portal, request)
        except ApiError as exc:
            answer = exc.answer
        portal.requests[name] += 1
        if route is not None and route.name == "list":
            portal.list_was_answered(name)
        if portal.send_rate_headers and (route is None or route.name not in WITHOUT_HEADERS):
            with_daily = token.kind == "private"
            app = portal.app(token)
            answer.headers |= rate_limits.headers(app, portal.quota, with_daily=with_daily)
        return answer


def _require_scopes(token: Token, required: Required) -> None:
    for scopes in required:
        if not token.has_any(scopes):
            raise missing_scopes([scopes[-1]])


def _require_good(portal: Portal, token: Token) -> None:
    if token.is_expired:
        raise expired()
    if not portal.is_good(token):
        raise unauthorized()


def _count(portal: Portal, token: Token, name: str) -> None:
    """Count a request against all limits, or raise the 429 of one of them and count nothing."""
    now, app, quota = rate_limits.now(), portal.app(token), portal.quota
    if name == "search":
        quota.require_room_for_search(now)
    app.require_room(now)
    quota.require_room(rate_limits.today_in(portal.time_zone))
    if name == "search":
        quota.count_search(now)
    app.count(now)
    quota.count()
