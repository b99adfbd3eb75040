"""The FastAPI app that the plugin mounts at /hubspot-deals."""

from functools import partial

from fastapi import FastAPI

from include.web import deal_routes, docs, health, page, scan_routes, tenant_routes
from include.web.errors import Safeguard, handle_errors
from include.web.headers import SecurityHeaders

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
    for part in (health, tenant_routes, scan_routes, deal_routes, page, docs):
        app.include_router(part.router)
    app.add_middleware(Safeguard)
    app.add_middleware(SecurityHeaders)
    app.openapi = partial(docs.describe, app)  # type: ignore[method-assign]
    return app
