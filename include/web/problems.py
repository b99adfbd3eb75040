"""Errors as `application/problem+json` (RFC 9457), each with a code that never changes."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

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
