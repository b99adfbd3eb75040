"""The page's static files, and its places in Airflow's UI. The plugin imports it at parse time.

Files are read once, and their addresses change with their content. A request can name only files
that were read, so no path leads out of the directory.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).with_name("static")
#: By suffix; other files in the directory (licences, notes, templates) are not served.
CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
#: Where the app is mounted. Relative: Airflow may be served below a path.
APP = "hubspot-deals"


@dataclass(frozen=True)
class StaticFiles:
    """``version`` is part of the addresses, so that browsers never use outdated files."""

    by_name: Mapping[str, bytes]
    version: str

    def path(self, name: str = "") -> str:
        """Return a file's path below the app."""
        return f"static/{self.version}/{name}".rstrip("/")


@cache
def static_files() -> StaticFiles:
    """Read the files, once per process."""
    by_name = {
        path.relative_to(DIRECTORY).as_posix(): path.read_bytes()
        for path in sorted(DIRECTORY.rglob("*"))
        if path.suffix[1:] in CONTENT_TYPES
    }
    digest = hashlib.sha256()
    for name, content in by_name.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return StaticFiles(by_name, digest.hexdigest()[:12])


def external_views() -> list[dict[str, Any]]:
    """Return the plugin's external views. Airflow replaces {DAG_ID} and {RUN_ID}."""
    page = {"href": f"{APP}/ui", "icon": f"{APP}/{static_files().path('icon.svg')}"}
    return [
        {
            **page,
            # Airflow truncates longer names in the navigation
            "name": "HubSpot",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "hubspot-scans",
        },
        {
            **page,
            "name": "HubSpot scans",
            "destination": "dag",
            "href": f"{APP}/ui?dag_id={{DAG_ID}}",
            "url_route": "hubspot-tenant",
        },
        {
            **page,
            "name": "HubSpot scan",
            "destination": "dag_run",
            "href": f"{APP}/ui?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "url_route": "hubspot-scan",
        },
    ]
