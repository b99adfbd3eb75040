"""The page "HubSpot scans": its document and its static files, for signed-in users.

The document holds no data: the page's script asks the REST API, as the same user.
"""

import base64
import hashlib
import json
from functools import cache
from html import escape
from string import Template
from typing import Annotated

from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, Header, HTTPException, Response

from include.scan import scan_id
from include.web.static_files import DIRECTORY, static_files

DAG_ID_PREFIX = "hubspot_deals__"
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
            "Content-Security-Policy": _content_security_policy(),
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
def _content_security_policy() -> str:
    # Browsers take an import map only inline: the one that is ours is named by its hash.
    digest = base64.b64encode(hashlib.sha256(_import_map().encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'sha256-{digest}'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
        )
    )
