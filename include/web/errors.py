"""From exceptions to answers: every error leaves as a problem, none with a traceback."""

import logging
import traceback
import uuid
from http import HTTPStatus

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.errors import TenantsFileError, WarehouseConfigError, WarehouseUnavailableError
from include.status.connection import WarehouseNotReadyError
from include.status.cursor import InvalidCursorError
from include.web.problems import MEDIA_TYPE, Code, Fault, Problem

log = logging.getLogger(__name__)

_MAX_FAULTS = 20


class AnswerBrokenOffError(Exception):
    """An answer could not be finished; the connection is closed, so that the caller notices."""


class Safeguard:
    """Turns whatever nobody expected into a problem.

    The log gets the exception's class and where it was raised, not its message: messages of other
    libraries can hold rows.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as exc:  # noqa: BLE001 - that is what it is for
            number = uuid.uuid4().hex[:12]
            trace = "".join(traceback.format_tb(exc.__traceback__))
            log.error("error %s: %s at\n%s", number, type(exc).__name__, trace)
            if begun or scope["type"] != "http":
                raise AnswerBrokenOffError(f"error {number}") from None
            problem = Problem(
                Code.INTERNAL_ERROR,
                f"This is a defect. The API server's log tells more: search it for {number}.",
            )
            await answer(Request(scope), problem)(scope, receive, noting)


def handle_errors(app: FastAPI) -> None:
    """Make *app* answer every exception with a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(StarletteHTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InvalidCursorError, _invalid_cursor)
    app.add_exception_handler(WarehouseUnavailableError, _unavailable)
    app.add_exception_handler(WarehouseConfigError, _unavailable)
    app.add_exception_handler(WarehouseNotReadyError, _not_ready)
    app.add_exception_handler(TenantsFileError, _tenants_file)


def answer(request: Request, problem: Problem) -> Response:
    headers = {"Cache-Control": "no-store"}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        problem.body(request.url.path), int(problem.status), headers=headers, media_type=MEDIA_TYPE
    )


async def _problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)  # noqa: S101 - registered for it
    return answer(request, exc)


async def _http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, StarletteHTTPException)  # noqa: S101 - registered for it
    response = answer(request, _problem_of(exc))
    for name, value in (exc.headers or {}).items():
        response.headers[name] = value
    if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(_allowed_methods(request))
    return response


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes at the address: Starlette names those of the first one."""
    return sorted(
        method
        for route in request.app.routes
        if isinstance(route, APIRoute) and route.matches(request.scope)[0] != Match.NONE
        for method in route.methods
    )


def _problem_of(exc: StarletteHTTPException) -> Problem:
    """Return what an exception of FastAPI, Starlette or Airflow's access control means."""
    match exc.status_code:
        case HTTPStatus.UNAUTHORIZED:
            return Problem(
                Code.UNAUTHENTICATED,
                "No valid login came with the request.",
                remedy="Sign in to Airflow, or send the header Authorization: Bearer <token> "
                "with a token of POST /auth/token.",
            )
        case HTTPStatus.FORBIDDEN if "JWT" in str(exc.detail):
            return Problem(
                Code.UNAUTHENTICATED,
                "The token is not one of this Airflow.",
                remedy="Ask for a new one: POST /auth/token.",
            )
        case HTTPStatus.FORBIDDEN:
            return Problem(Code.FORBIDDEN, "You may not do this.")
        case HTTPStatus.NOT_FOUND:
            return Problem(Code.NOT_FOUND, "There is nothing at this address.")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return Problem(Code.METHOD_NOT_ALLOWED, "This address knows other methods only.")
        case _:
            return Problem(Code.INVALID_REQUEST, "The request can't be read.")


async def _invalid(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - registered for it
    # a body is read before anybody is asked who he is
    try:
        await get_user(request, None, await bearer_scheme(request))
    except HTTPException as refused:
        return await _http_exception(request, refused)
    faults = [
        Fault(where=".".join(map(str, error["loc"])), what=str(error["msg"]))
        for error in exc.errors()[:_MAX_FAULTS]
    ]
    detail = "; ".join(f"{fault.where}: {fault.what}" for fault in faults)
    return answer(request, Problem(Code.INVALID_REQUEST, detail, errors=faults))


async def _invalid_cursor(request: Request, exc: Exception) -> Response:
    problem = Problem(
        Code.INVALID_CURSOR,
        "This cursor was not made by this list, or for other parameters.",
        remedy="Begin again without a cursor.",
    )
    return answer(request, problem)


async def _unavailable(request: Request, exc: Exception) -> Response:
    # names of hosts and roles are for the log only
    log.error("%s", exc)
    problem = Problem(
        Code.WAREHOUSE_UNAVAILABLE,
        "PostgreSQL can't be reached, refuses, or took too long. The API server's log tells more.",
        remedy="See docs/runbook.md#warehouse-unavailable; then ask again.",
    )
    return answer(request, problem)


async def _not_ready(request: Request, exc: Exception) -> Response:
    problem = Problem(
        Code.WAREHOUSE_NOT_READY,
        "The warehouse has no tables yet, or older ones than this code needs.",
        remedy="Every scan brings them up to date: start one. By hand: "
        "python -m include.warehouse.migrations",
    )
    return answer(request, problem)


async def _tenants_file(request: Request, exc: Exception) -> Response:
    log.error("%s", exc)
    problem = Problem(
        Code.TENANTS_FILE,
        "The tenants file can't be read. Airflow's import errors tell why.",
        remedy="See docs/runbook.md#tenants-file.",
    )
    return answer(request, problem)
