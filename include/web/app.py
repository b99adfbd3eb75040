"""The FastAPI app that the plugin mounts at /hubspot-deals, and its middleware."""

import logging
import traceback
import uuid
from functools import partial
from typing import Literal

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.web import deals, page, scans, tenants
from include.web.problems import Code, Problem, handle_errors
from include.web.static_files import APP

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": page.content_security_policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    # responses depend on the user
    "Cache-Control": "no-store",
}


class AnswerBrokenOffError(Exception):
    """A response failed after it began. The connection is closed, so that the caller notices."""


class HeadAnsweredError(Exception):
    """The headers of a response to HEAD have been sent: stop the route."""


class Safeguard:
    """Adds `HEADERS` to responses that don't set them, handles HEAD, and catches exceptions.

    It logs an exception's class and traceback without the message: messages of other libraries
    can quote rows.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        is_head = scope.get("method") == "HEAD"
        if is_head:
            scope = {**scope, "method": "GET"}

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif is_head:
                await send({"type": "http.response.body"})
                raise HeadAnsweredError  # a stream need not be read from the warehouse
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except HeadAnsweredError:
            return
        except Exception as exc:  # noqa: BLE001 - a caller must get a response in any case
            number = uuid.uuid4().hex[:12]
            trace = "".join(traceback.format_tb(exc.__traceback__))
            log.error("error %s: %s at\n%s", number, type(exc).__name__, trace)
            if begun or scope["type"] != "http":
                raise AnswerBrokenOffError(f"error {number}") from None
            problem = Problem(
                Code.INTERNAL_ERROR,
                f"This is a bug. Search the API server's log for {number}.",
            )
            await problem.answer(Request(scope))(scope, receive, send_with_headers)


class AddressWithSlash:
    """Redirects `/hubspot-deals`, which Airflow's mount does not match, to `/hubspot-deals/`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path.removeprefix(scope.get("root_path", "")) == f"/{APP}":
            await RedirectResponse(f"{path}/")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


router = APIRouter(tags=["health"])


class Health(BaseModel):
    """Liveness only: PostgreSQL and Airflow are not checked."""

    status: Literal["ok"] = "ok"


@router.get("/health", summary="Liveness of the API server, without a login")
async def health() -> Health:
    return Health()


DESCRIPTION = (
    "Tenants, scans and their deals. Sign in to Airflow, or send a token from `POST /auth/token`."
)


def create_app() -> FastAPI:
    """Create the app. Every route except /health needs an Airflow user."""
    app = FastAPI(
        title="HubSpot deals",
        version="1",
        description=DESCRIPTION,
        # these would not require a login
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    handle_errors(app)
    for part in (
        router,
        tenants.router,
        scans.router,
        deals.router,
        page.router,
    ):
        app.include_router(part)
    app.add_middleware(Safeguard)
    app.openapi = partial(page.describe, app)  # type: ignore[method-assign]
    return app
