"""The app's own routes, so that a test of all of them can't forget a new one."""

from typing import NamedTuple

from fastapi.routing import APIRoute

from include.web.app import create_app

#: Open to everybody, and meant to be.
OPEN = {"/health"}
VALUES = {
    "tenant_id": "acme",
    "scan_id": "00000000-0000-5000-8000-000000000000",
    "version": "v",
    "name": "page.js",
    "check": "values_fit",
}


class Route(NamedTuple):
    method: str
    template: str

    @property
    def path(self) -> str:
        return self.template.replace(":path", "").format(**VALUES)


def routes() -> list[Route]:
    return [
        Route(method, route.path)
        for route in create_app().routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]


def guarded_routes() -> list[Route]:
    return [route for route in routes() if route.template not in OPEN]
