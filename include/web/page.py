"""The page "HubSpot scans", serving its static files, and the documentation of the REST API.

The documents hold no data: their scripts ask the REST API as the signed-in user.
"""

import base64
import hashlib
import json
from functools import cache
from html import escape
from string import Template
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.openapi.utils import get_openapi

from include.scan import scan_id
from include.tenants.model import DAG_ID_PREFIX
from include.web import models
from include.web.problems import ProblemBody
from include.web.static_files import DIRECTORY, static_files

TEMPLATE = "page.html"
#: Bare names that the vendored modules import → their files.
IMPORTS = {
    "preact": "vendor/preact/preact.mjs",
    "preact/hooks": "vendor/preact/hooks.mjs",
    "htm": "vendor/htm/htm.mjs",
    "uplot": "vendor/uplot/uPlot.esm.js",
}
#: A version's files never change: a browser may keep them. Not so a proxy, they need a login.
IMMUTABLE = "private, max-age=31536000, immutable"
NOT_MODIFIED, NOT_FOUND = 304, 404

router = APIRouter(include_in_schema=False, dependencies=[Depends(get_user)])


@router.get("/ui")
def page(tenant: str = "", scan: str = "", dag_id: str = "", run_id: str = "") -> Response:
    """Show a tenant, a scan, or, given neither, the tenants.

    Airflow's tabs name a DAG or a run instead; *dag_id* may be a DAG that is none of ours.
    """
    return Response(
        _template().substitute(
            static=f"static/{static_files().version}",
            import_map=_import_map(),
            tenant=escape(tenant or dag_id.removeprefix(DAG_ID_PREFIX)),
            scan=escape(scan or (scan_id(dag_id, run_id) if run_id else "")),
            dag=escape(dag_id),
            run=escape(run_id),
        ),
        media_type="text/html",
        headers={
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": _policy_of_the_page(),
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.get("/static/{version}/{name:path}")
def static_file(
    version: str, name: str, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return one of the page's files.

    While servers of two versions answer, one may be asked for the other's: it sends its own.
    """
    files = static_files()
    file = files.by_name.get(name)
    if file is None:
        raise HTTPException(NOT_FOUND, "There is no such file.")
    headers = {
        "Cache-Control": IMMUTABLE if version == files.version else "private, no-cache",
        "ETag": file.etag,
        "X-Content-Type-Options": "nosniff",
    }
    if if_none_match == file.etag:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    return Response(file.content, headers={**headers, "Content-Type": file.content_type})


@cache
def _template() -> Template:
    return Template((DIRECTORY / TEMPLATE).read_text())


@cache
def _import_map() -> str:
    imports = {name: f"./{static_files().path(file)}" for name, file in IMPORTS.items()}
    return json.dumps({"imports": imports})


@cache
def _policy_of_the_page() -> str:
    # Browsers take an import map only inline: the one that is ours is named by its hash.
    digest = base64.b64encode(hashlib.sha256(_import_map().encode()).digest()).decode()
    return content_security_policy(script=f"'self' 'sha256-{digest}'")


def content_security_policy(
    *, script: str = "'self'", style: str = "'self'", img: str = "'self'"
) -> str:
    """Return the header's value: nothing but our own files, unless an argument says otherwise."""
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src {img}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


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
_DOCS_POLICY = content_security_policy(style="'self' 'unsafe-inline'", img="'self' data:")


@router.get("/docs")
def docs() -> Response:
    path = static_files().path
    page = _PAGE.format(
        css=escape(path("vendor/swagger-ui/swagger-ui.css")),
        bundle=escape(path("vendor/swagger-ui/swagger-ui-bundle.js")),
        start=escape(path("docs.js")),
    )
    headers = {"Content-Security-Policy": _DOCS_POLICY}
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
