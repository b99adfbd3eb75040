"""Errors as `application/problem+json` (RFC 9457), each with a code that never changes."""

import logging
import traceback
import uuid
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, NamedTuple

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.errors import TenantsFileError, WarehouseConfigError, WarehouseUnavailableError
from include.web.queries.cursor import InvalidCursorError
from include.web.warehouse import WarehouseNotReadyError

MEDIA_TYPE = "application/problem+json"


class Code(StrEnum):
    """What went wrong, for programs. docs/api-documentation.md#errors"""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    CROSS_SITE = "cross-site"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    INVALID_REQUEST = "invalid-request"
    INVALID_CURSOR = "invalid-cursor"
    SCAN_RUNNING = "scan-running"
    SCAN_FINISHED = "scan-finished"
    DAG_PAUSED = "dag-paused"
    AIRFLOW_REFUSED = "airflow-refused"
    TENANTS_FILE = "tenants-file"
    WAREHOUSE_NOT_READY = "warehouse-not-ready"
    WAREHOUSE_UNAVAILABLE = "warehouse-unavailable"
    INTERNAL_ERROR = "internal-error"


class _Kind(NamedTuple):
    status: HTTPStatus
    title: str


KINDS: Mapping[Code, _Kind] = {
    Code.UNAUTHENTICATED: _Kind(HTTPStatus.UNAUTHORIZED, "Not signed in"),
    Code.FORBIDDEN: _Kind(HTTPStatus.FORBIDDEN, "Not allowed"),
    Code.CROSS_SITE: _Kind(HTTPStatus.FORBIDDEN, "The request comes from another site"),
    Code.NOT_FOUND: _Kind(HTTPStatus.NOT_FOUND, "Not found"),
    Code.METHOD_NOT_ALLOWED: _Kind(HTTPStatus.METHOD_NOT_ALLOWED, "Method not allowed"),
    Code.INVALID_REQUEST: _Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The request makes no sense"),
    Code.INVALID_CURSOR: _Kind(HTTPStatus.BAD_REQUEST, "The cursor can't be used"),
    Code.SCAN_RUNNING: _Kind(HTTPStatus.CONFLICT, "A scan of the tenant is running"),
    Code.SCAN_FINISHED: _Kind(HTTPStatus.CONFLICT, "The scan has ended"),
    Code.DAG_PAUSED: _Kind(HTTPStatus.CONFLICT, "The tenant's DAG is paused"),
    Code.AIRFLOW_REFUSED: _Kind(HTTPStatus.BAD_GATEWAY, "Airflow did not do it"),
    Code.TENANTS_FILE: _Kind(HTTPStatus.SERVICE_UNAVAILABLE, "The tenants file can't be used"),
    Code.WAREHOUSE_NOT_READY: _Kind(HTTPStatus.SERVICE_UNAVAILABLE, "The warehouse is not ready"),
    Code.WAREHOUSE_UNAVAILABLE: _Kind(
        HTTPStatus.SERVICE_UNAVAILABLE, "The warehouse can't be reached"
    ),
    Code.INTERNAL_ERROR: _Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Unexpected error"),
}


class Fault(BaseModel):
    """One thing that is wrong with a request. The value itself is not repeated."""

    where: str = Field(examples=["query.limit"])
    what: str = Field(examples=["Input should be less than or equal to 1000"])


class ProblemBody(BaseModel):
    """What every error's body holds."""

    type: str = Field(examples=["urn:hubspot-deals:problem:not-found"])
    title: str
    status: int
    detail: str
    code: Code
    instance: str = Field(description="The path that was asked for.")
    remedy: str | None = Field(None, description="What to do about it.")
    errors: list[Fault] | None = Field(None, description="With `invalid-request`.")
    scan_id: str | None = Field(None, description="With `scan-running`: of the one that runs.")
    run_id: str | None = Field(None, description="With `scan-running`: of the one that runs.")


class Problem(Exception):
    """Ends a request with an error. *detail* is shown to the caller: nothing secret in it."""

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        remedy: str | None = None,
        errors: list[Fault] | None = None,
        scan_id: str | None = None,
        run_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self._remedy = remedy
        self._errors = errors
        self._scan_id = scan_id
        self._run_id = run_id

    @property
    def status(self) -> HTTPStatus:
        return KINDS[self.code].status

    def body(self, instance: str) -> bytes:
        """Return the answer's body as JSON."""
        problem = ProblemBody(
            type=f"urn:hubspot-deals:problem:{self.code}",
            title=KINDS[self.code].title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            instance=instance,
            remedy=self._remedy,
            errors=self._errors,
            scan_id=self._scan_id,
            run_id=self._run_id,
        )
        return problem.model_dump_json(exclude_none=True).encode()


def answers(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may end with these problems."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, title = KINDS[code]
        text = f"{title} (`{code}`)"
        known = by_status.get(int(status))
        by_status[int(status)] = {
            "description": f"{known['description']}; {text}" if known else text,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        }
    return by_status


log = logging.getLogger(__name__)

_MAX_FAULTS = 20


class AnswerBrokenOffError(Exception):
    """An answer could not be finished; the connection is closed, so that the caller notices."""


class Safeguard:
    """Turns an unexpected exception into a problem.

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
    # a body is read before the user is authenticated
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
