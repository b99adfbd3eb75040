"""Interactive documentation of the REST API, for signed-in users. Nothing comes from elsewhere."""

from html import escape
from typing import Any

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from include.web import models
from include.web.problems import ProblemBody
from include.web.static_files import static_files

router = APIRouter(include_in_schema=False, dependencies=[Depends(get_user)])

_PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>HubSpot deals: REST API</title>
    <link rel="stylesheet" href="{css}">
    <script src="{bundle}"></script>
    <script type="module" src="{start}"></script>
  </head>
  <body><div id="docs"></div></body>
</html>
"""
#: Swagger UI styles elements from its script, and draws arrows as data: URLs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)


@router.get("/docs")
def docs() -> Response:
    path = static_files().path
    page = _PAGE.format(
        css=escape(path("vendor/swagger-ui/swagger-ui.css")),
        bundle=escape(path("vendor/swagger-ui/swagger-ui-bundle.js")),
        start=escape(path("docs.js")),
    )
    headers = {"Content-Security-Policy": _POLICY}
    return Response(page, media_type="text/html", headers=headers)


@router.get("/openapi.json")
def openapi(request: Request) -> dict[str, Any]:
    app: FastAPI = request.app
    return {**app.openapi(), "servers": [{"url": request.scope.get("root_path", "")}]}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document: every error as a problem, and what only `$ref`s name."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        schemas = document["components"]["schemas"]
        for model in (ProblemBody, models.DealList):
            schema = model.model_json_schema(
                mode="serialization", ref_template="#/components/schemas/{model}"
            )
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema
