"""The FastAPI app that the plugin mounts at /hubspot-deals: its routes, and headers of security."""

from functools import partial
from typing import Literal

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.web import deals, page, scans, tenants
from include.web.problems import Safeguard, handle_errors

HEADERS = {
    "Content-Security-Policy": page.content_security_policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    # answers differ from user to user
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Adds them where an answer has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


router = APIRouter(tags=["health"])


class Health(BaseModel):
    """Liveness only: neither PostgreSQL nor Airflow is asked."""

    status: Literal["ok"] = "ok"


@router.get("/health", summary="The API server answers")
async def health() -> Health:
    return Health()


DESCRIPTION = (
    "Tenants, scans and their deals. Sign in to Airflow, or send a token of `POST /auth/token`."
)


def create_app() -> FastAPI:
    """Make the app. Every route but /health needs a user whom Airflow knows."""
    app = FastAPI(
        title="HubSpot deals",
        version="1",
        description=DESCRIPTION,
        # these would be open to everybody
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    handle_errors(app)
    for part in (router, tenants.router, scans.router, deals.router, page.router):
        app.include_router(part)
    app.add_middleware(Safeguard)
    app.add_middleware(SecurityHeaders)
    app.openapi = partial(page.describe, app)  # type: ignore[method-assign]
    return app
