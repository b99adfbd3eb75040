"""Errors as `application/problem+json` (RFC 9457), each with a stable code."""

import logging
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Self

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Match

from include.errors import TenantsFileError, WarehouseConfigError, WarehouseUnavailableError
from include.tenants.model import near_miss

MEDIA_TYPE = "application/problem+json"
_MAX_FAULTS = 20

log = logging.getLogger(__name__)


class Code(StrEnum):
    """Identifies an error. See docs/api-documentation.md#errors."""

    status: int
    heading: str

    def __new__(cls, code: str, status: int, heading: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.status, member.heading = status, heading
        return member

    UNAUTHENTICATED = "unauthenticated", 401, "Not signed in"
    FORBIDDEN = "forbidden", 403, "Not allowed"
    CROSS_SITE = "cross-site", 403, "The request comes from another site"
    NOT_FOUND = "not-found", 404, "Not found, or not visible to you"
    METHOD_NOT_ALLOWED = "method-not-allowed", 405, "Method not allowed"
    INVALID_REQUEST = "invalid-request", 422, "Invalid request"
    NOT_JSON = "not-json", 415, "The body is not JSON"
    INVALID_CURSOR = "invalid-cursor", 400, "The cursor belongs to another list or was changed"
    SCAN_RUNNING = "scan-running", 409, "A scan of the tenant is running"
    SCAN_FINISHED = "scan-finished", 409, "The scan has ended"
    SCAN_NOT_FAILED = "scan-not-failed", 409, "The scan has not failed"
    DAG_PAUSED = "dag-paused", 409, "The tenant's DAG is paused"
    AIRFLOW_REFUSED = "airflow-refused", 502, "Airflow refused the request"
    TENANTS_FILE = "tenants-file", 503, "The tenants file can't be used"
    WAREHOUSE_NOT_READY = "warehouse-not-ready", 503, "PostgreSQL's tables are missing or outdated"
    WAREHOUSE_UNAVAILABLE = "warehouse-unavailable", 503, "PostgreSQL can't be reached or refuses"
    INTERNAL_ERROR = "internal-error", 500, "A bug; the log has the details"


class Fault(BaseModel):
    """One error in a request. It does not quote the value."""

    where: str = Field(examples=["query.limit"])
    what: str = Field(examples=["Input should be less than or equal to 1000"])


class ProblemBody(BaseModel):
    """The body of every error."""

    type: str = Field(examples=["urn:hubspot-deals:problem:not-found"])
    title: str
    status: int
    detail: str
    code: Code
    instance: str = Field(description="The requested path.")
    remedy: str | None = Field(None, description="What to do.")
    errors: list[Fault] | None = Field(None, description="With `invalid-request`.")
    scan_id: str | None = Field(None, description="With `scan-running`: the running scan.")
    run_id: str | None = Field(None, description="With `scan-running`: the run of that scan.")


class Problem(Exception):
    """Ends a request with an error. The caller sees *detail*: it must not contain secrets.

    :param more: further fields of `ProblemBody`.
    """

    def __init__(self, code: Code, detail: str, remedy: str | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.code = code
        self._fields = {"detail": detail, "remedy": remedy, **more}

    def answer(self, request: Request) -> Response:
        body = ProblemBody(
            type=f"urn:hubspot-deals:problem:{self.code}",
            title=self.code.heading,
            status=self.code.status,
            code=self.code,
            instance=request.url.path,
            **self._fields,
        )
        return Response(
            body.model_dump_json(exclude_none=True),
            self.code.status,
            headers={"WWW-Authenticate": "Bearer"} if self.code is Code.UNAUTHENTICATED else None,
            media_type=MEDIA_TYPE,
        )


def answers(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may end with these problems."""
    texts: dict[int, list[str]] = {}
    for code in codes:
        texts.setdefault(code.status, []).append(f"{code.heading} (`{code}`)")
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {
        status: {"description": "; ".join(of_status), "content": content}
        for status, of_status in texts.items()
    }


def signed_in_router(tag: str, *codes: Code) -> APIRouter:
    """Return a router whose routes need a user and reject unknown parameters.

    :param codes: further errors that its routes may return.
    """
    return APIRouter(
        tags=[tag],
        dependencies=[Depends(get_user), Depends(refuse_unknown_parameters)],
        responses=answers(Code.UNAUTHENTICATED, Code.INVALID_REQUEST, *codes),
    )


#: Responses for errors of `include.errors`. Only the log may name hosts and roles.
_OF_ERRORS = {
    TenantsFileError: Problem(
        Code.TENANTS_FILE,
        "The tenants file can't be read. Airflow's import errors say why.",
        remedy="See docs/runbook.md#tenants-file.",
    ),
    **dict.fromkeys(
        (WarehouseUnavailableError, WarehouseConfigError),
        Problem(
            Code.WAREHOUSE_UNAVAILABLE,
            "PostgreSQL can't be reached, refused the connection, or took too long. The API "
            "server's log says why.",
            remedy="See docs/runbook.md#warehouse-unavailable, then repeat the request.",
        ),
    ),
}
#: Responses for exceptions of FastAPI, Starlette and Airflow's access control, by status.
_OF_STATUS = {
    401: Problem(
        Code.UNAUTHENTICATED,
        "The request has no valid login.",
        remedy="Sign in to Airflow, or send the header Authorization: Bearer <token> "
        "with a token from POST /auth/token.",
    ),
    403: Problem(Code.FORBIDDEN, "You may not do this."),
    404: Problem(Code.NOT_FOUND, "There is nothing at this address."),
}
#: Airflow answers 403 to a token that it can't verify.
_BAD_TOKEN = Problem(
    Code.UNAUTHENTICATED,
    "The token was not issued by this Airflow.",
    remedy="Request a new one: POST /auth/token.",
)
_UNREADABLE = Problem(Code.INVALID_REQUEST, "The request can't be read.")


def handle_errors(app: FastAPI) -> None:
    """Make *app* answer every exception with a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(StarletteHTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid)
    for error, problem in _OF_ERRORS.items():
        app.add_exception_handler(error, partial(_logged, problem))


async def _problem(request: Request, exc: Any) -> Response:
    answer: Response = exc.answer(request)
    return answer


async def _logged(problem: Problem, request: Request, exc: Exception) -> Response:
    log.error("%s", exc)
    return problem.answer(request)


async def _http_exception(request: Request, exc: Any) -> Response:
    if exc.status_code == Code.METHOD_NOT_ALLOWED.status:
        # from all routes with this path: Starlette lists the first route's methods only
        allowed = {
            method
            for route in request.app.routes
            if isinstance(route, APIRoute) and route.matches(request.scope)[0] != Match.NONE
            for method in route.methods
        }
        allow = ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
        response = Problem(Code.METHOD_NOT_ALLOWED, f"Allowed methods: {allow}.").answer(request)
        response.headers["Allow"] = allow
        return response
    if exc.status_code == 303:
        return Response(status_code=303, headers=exc.headers)
    is_bad_token = exc.status_code == Code.FORBIDDEN.status and "JWT" in str(exc.detail)
    problem = _BAD_TOKEN if is_bad_token else _OF_STATUS.get(exc.status_code, _UNREADABLE)
    response = problem.answer(request)
    response.headers.update(exc.headers or {})
    return response


async def _invalid(request: Request, exc: Any) -> Response:
    # a body is read before the user is authenticated
    try:
        await get_user(request, None, await bearer_scheme(request))
    except HTTPException as refused:
        return await _http_exception(request, refused)
    errors = exc.errors()[:_MAX_FAULTS]
    if any(error["loc"][0] == "body" for error in errors) and not _says_json(request):
        problem = Problem(
            Code.NOT_JSON,
            "The body is not declared as JSON.",
            remedy="Send the header Content-Type: application/json.",
        )
        return problem.answer(request)
    faults = [_fault(error, exc.body) for error in errors]
    detail = "; ".join(f"{fault.where}: {fault.what}" for fault in faults)
    return Problem(Code.INVALID_REQUEST, detail, errors=faults).answer(request)


def _says_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _fault(error: Mapping[str, Any], body: Any) -> Fault:
    if error["type"] != "json_invalid" or not isinstance(body, str):
        return Fault(where=".".join(map(str, error["loc"])), what=str(error["msg"]))
    before = body[: error["loc"][1]]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return Fault(where=f"body, line {line}, column {column}", what=f"{error['ctx']['error']}")


def refuse_unknown_parameters(request: Request) -> None:
    """Raise a problem for an unknown query parameter: a mistyped filter must not be ignored."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        faults = [
            # names come from the caller and are not quoted; `near_miss` suggests known ones
            Fault(where="query", what=f"unknown parameter{near_miss(name, known)}")
            for name in unknown[:_MAX_FAULTS]
        ]
        raise Problem(
            Code.INVALID_REQUEST,
            "; ".join(f"{fault.where}: {fault.what}" for fault in faults),
            remedy=f"Allowed parameters: {', '.join(known) or 'none'}.",
            errors=faults,
        )
