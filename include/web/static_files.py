"""The page's static files, and where Airflow's UI shows the page. Light: the plugin imports it.

Files are read once, each under an address that changes with its content. A request looks a name up
among those that were read, so no path leads out of the directory.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).with_name("static")
#: What is served; anything else in the directory (licences, notes) is not.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class StaticFile:
    """One file as it is sent."""

    content: bytes
    content_type: str
    etag: str


@dataclass(frozen=True)
class StaticFiles:
    """All of them. ``version`` is part of their addresses: what a browser keeps is never stale."""

    by_name: Mapping[str, StaticFile]
    version: str

    def path(self, name: str) -> str:
        """Return a file's path below the app."""
        return f"static/{self.version}/{name}"


@cache
def static_files() -> StaticFiles:
    """Read the files, once in a process."""
    by_name = {
        path.relative_to(DIRECTORY).as_posix(): _read(path)
        for path in sorted(DIRECTORY.rglob("*"))
        if path.suffix in CONTENT_TYPES
    }
    everything = "".join(f"{name} {file.etag}\n" for name, file in by_name.items())
    return StaticFiles(by_name, hashlib.sha256(everything.encode()).hexdigest()[:12])


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return StaticFile(content, CONTENT_TYPES[path.suffix], f'"{digest[:32]}"')


#: Where Airflow's UI shows the page. Relative: Airflow may be served below a path.
APP = "hubspot-deals"


def external_views() -> list[dict[str, Any]]:
    """Return the views for the plugin. Airflow puts the ids in place of {DAG_ID} and {RUN_ID}."""
    icon = f"{APP}/{static_files().path('icon.svg')}"
    return [
        {
            "name": "HubSpot scans",
            "destination": "nav",
            "nav_top_level": True,
            "href": f"{APP}/ui",
            "url_route": "hubspot-scans",
            "icon": icon,
        },
        {
            "name": "HubSpot scans",
            "destination": "dag",
            "href": f"{APP}/ui?dag_id={{DAG_ID}}",
            "url_route": "hubspot-tenant",
            "icon": icon,
        },
        {
            "name": "HubSpot scan",
            "destination": "dag_run",
            "href": f"{APP}/ui?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "url_route": "hubspot-scan",
            "icon": icon,
        },
    ]
