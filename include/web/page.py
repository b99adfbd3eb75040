"""The page "HubSpot scans" with its static files, and the documentation.

The page's HTML contains no data: scripts request it from the REST API as the signed-in user. The
documentation is served so that links to the runbook work offline.
"""

import base64
import hashlib
import json
import re
from functools import cache
from html import escape
from itertools import pairwise
from pathlib import Path
from posixpath import dirname, join, normpath
from string import Template
from typing import Annotated, Any
from urllib.parse import urlencode

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, RedirectResponse
from markdown_it import MarkdownIt
from markdown_it.token import Token

from include.scan import scan_id
from include.tenants.model import DAG_ID_PREFIX
from include.web import models
from include.web.problems import ProblemBody
from include.web.static_files import APP, CONTENT_TYPES, DIRECTORY, static_files

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs"
#: Files by the bare names that vendored modules import.
IMPORTS = {
    "preact": "vendor/preact/preact.mjs",
    "preact/hooks": "vendor/preact/hooks.mjs",
    "htm": "vendor/htm/htm.mjs",
}
#: Files of a version never change, so browsers may cache them; proxies may not: they need a login.
IMMUTABLE = "private, max-age=31536000, immutable"
REVALIDATED = "private, no-cache"


def airflow_root(request: Request) -> str:
    """Return the path that Airflow is served below."""
    root: str = request.scope.get("root_path", "")
    return root.removesuffix(f"/{APP}")


async def require_login(request: Request) -> None:
    """Require an Airflow user; redirect a browser that opens a page to the login and back."""
    try:
        await get_user(request, None, await bearer_scheme(request))
    except HTTPException as refused:
        if refused.status_code != 401 or "text/html" not in request.headers.get("accept", ""):
            raise
        here = f"{request.url.path}?{request.url.query}".removesuffix("?")
        login = f"{airflow_root(request)}/api/v2/auth/login?{urlencode({'next': here})}"
        raise HTTPException(303, headers={"Location": login}) from None


router = APIRouter(include_in_schema=False, dependencies=[Depends(require_login)])


def content_security_policy(
    *, script: str = "'self'", style: str = "'self'", img: str = "'self'"
) -> str:
    """Return the header's value. By default, only our own files are allowed."""
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src {img}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )


@router.get("/")
def root(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/ui")


@router.get("/ui")
def page(tenant: str = "", scan: str = "", dag_id: str = "", run_id: str = "") -> Response:
    """Show a scan, a tenant or, without parameters, all tenants.

    Airflow's tabs pass a DAG or a run instead. *dag_id* may be another project's DAG.
    """
    import_map = _import_map()
    # Browsers support import maps only inline, so the policy must allow this one by its hash.
    digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    document = template("page.html").substitute(
        static=static_files().path(),
        import_map=import_map,
        tenant=escape(tenant or dag_id.removeprefix(DAG_ID_PREFIX)),
        scan=escape(scan or (scan_id(dag_id, run_id) if run_id else "")),
        dag=escape(dag_id),
        run=escape(run_id),
    )
    headers = {
        "Cache-Control": REVALIDATED,
        "Content-Security-Policy": content_security_policy(script=f"'self' 'sha256-{digest}'"),
    }
    return Response(document, media_type="text/html", headers=headers)


@router.get("/docs")
def docs() -> Response:
    # Swagger UI sets inline styles, and its arrows are data: URLs
    policy = content_security_policy(style="'self' 'unsafe-inline'", img="'self' data:")
    document = template("docs.html").substitute(static=static_files().path())
    headers = {"Content-Security-Policy": policy}
    return Response(document, media_type="text/html", headers=headers)


@router.get("/static/{version}/{name:path}")
def static_file(
    version: str, name: str, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return a static file of this version, also for the path of another version.

    During an upgrade, a page of one API server may load its files from another one.
    """
    files = static_files()
    content = files.by_name.get(name)
    if content is None:
        raise HTTPException(404)
    etag = f'"{files.version}"'
    headers = {
        "Cache-Control": IMMUTABLE if version == files.version else REVALIDATED,
        "ETag": etag,
        "X-Content-Type-Options": "nosniff",
    }
    if if_none_match == etag:
        return Response(status_code=304, headers=headers)
    return Response(
        content, headers={**headers, "Content-Type": CONTENT_TYPES[name.rpartition(".")[2]]}
    )


@router.get("/openapi.json")
def openapi(request: Request) -> dict[str, Any]:
    app: FastAPI = request.app
    return {**app.openapi(), "servers": [{"url": request.scope.get("root_path", "")}]}


@cache
def template(name: str) -> Template:
    return Template((DIRECTORY / name).read_text())


@cache
def _import_map() -> str:
    imports = {name: f"./{static_files().path(file)}" for name, file in IMPORTS.items()}
    return json.dumps({"imports": imports})


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the models that routes refer to only by `$ref`."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        schemas = document["components"]["schemas"]
        for model in (ProblemBody, models.DealList, models.CheckedRecordList):
            schema = model.model_json_schema(
                mode="serialization", ref_template="#/components/schemas/{model}"
            )
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema


@router.get("/help/{name:path}")
def help_page(name: str) -> Response:
    """Show a page of docs/, `runbook` or `how-to/backfill`, or a picture of one."""
    if (picture := DOCUMENTATION / name) in pictures():
        return FileResponse(picture, headers={"Cache-Control": REVALIDATED})
    file = pages().get(name)
    if file is None:
        raise HTTPException(404)
    document = template("help.html").substitute(
        base="../" * (name.count("/") + 1),
        static=static_files().path(),
        title=escape(file.read_text().partition("\n")[0].removeprefix("# ")),
        content=rendered(name),
    )
    return Response(document, media_type="text/html", headers={"Cache-Control": REVALIDATED})


@cache
def pictures() -> frozenset[Path]:
    return frozenset(DOCUMENTATION.glob("images/*.png"))


@cache
def pages() -> dict[str, Path]:
    """Return the files of docs/ by their names in addresses."""
    files = [*DOCUMENTATION.glob("*.md"), *DOCUMENTATION.glob("how-to/*.md")]
    return {file.relative_to(DOCUMENTATION).with_suffix("").as_posix(): file for file in files}


@cache
def rendered(name: str) -> str:
    """Return a page as HTML. Its headings have GitHub's anchors; HTML in the text is escaped."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    # markers of `make reference`
    tokens = markdown.parse(re.sub("<!--.*?-->\n", "", pages()[name].read_text()))
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(inline.content))
    for token in tokens:
        for part in token.children or ():
            if part.type == "link_open":
                _rewrite_link(part, dirname(name))
    document: str = markdown.renderer.render(tokens, markdown.options, {})
    # scrollable elements must be reachable by keyboard
    return document.replace("<pre>", '<pre tabindex="0">')


@cache
def headings(name: str) -> frozenset[str]:
    """Return the anchors of a page's headings."""
    return frozenset(re.findall(r'<h\d id="([^"]+)"', rendered(name)))


def anchor(heading: str) -> str:
    """Return GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _rewrite_link(link: Token, folder: str) -> None:
    """Point a link to a page of docs/ at its address here; disable links to other files."""
    href = str(link.attrGet("href"))
    path, _, fragment = href.partition("#")
    if not path or "://" in path:
        return
    target = normpath(join(folder, path)).removesuffix(".md")
    if target in pages():
        up = "../" * folder.count("/") + ("../" if folder else "")
        link.attrSet("href", f"{up}{target}" + (f"#{fragment}" if fragment else ""))
    else:
        del link.attrs["href"]
