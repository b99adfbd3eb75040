"""The paths of every endpoint, in all versions, and the scopes that open it."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.hubspot_simulator import (
    account_api,
    associations_api,
    deals_api,
    definitions_api,
    search,
)
from tests.hubspot_simulator.errors import Answer, not_found
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request

Handler = Callable[[Portal, Request], Answer]


@dataclass(frozen=True)
class Route:
    """``name``: what statistics and faults call it. Any one of ``scopes`` suffices."""

    name: str
    method: str
    path: re.Pattern[str]
    scopes: tuple[str, ...]
    handler: Handler


_DATE = r"20\d\d-0[39](?:-beta)?"
_TYPE = "(?:deals|deal|0-3)"
_READ = ("crm.objects.deals.read",)
_DEFINE = ("crm.schemas.deals.read", *_READ)
_ONE = r"(?P<id>\d+)"
_TO = "(?P<to>[a-z0-9_-]+)"


def _crm(resource: str, rest: str = "", legacy: str = "v3") -> str:
    """Legacy versions stand before the resource, dates after it."""
    return rf"/crm/(?:{legacy}/{resource}|{resource}/{_DATE}){rest}/?"


def _account(rest: str) -> str:
    return f"/account-info/(?:v3|{_DATE})/{rest}"


_TABLE: tuple[tuple[str, str, str, tuple[str, ...], Handler], ...] = (
    ("list", "GET", _crm("objects", f"/{_TYPE}"), _READ, deals_api.list_deals),
    ("batch_read", "POST", _crm("objects", f"/{_TYPE}/batch/read"), _READ, deals_api.batch_read),
    ("search", "POST", _crm("objects", f"/{_TYPE}/search"), _READ, search.search_deals),
    ("get", "GET", _crm("objects", f"/{_TYPE}/{_ONE}"), _READ, deals_api.get_deal),
    (
        "associations_of_one",
        "GET",
        _crm("objects", f"/{_TYPE}/{_ONE}/associations/{_TO}", legacy="v4"),
        _READ,
        associations_api.of_one_deal,
    ),
    (
        "associations",
        "POST",
        _crm("associations", f"/{_TYPE}/{_TO}/batch/read", legacy="v4"),
        _READ,
        associations_api.batch_read,
    ),
    ("properties", "GET", _crm("properties", f"/{_TYPE}"), _DEFINE, definitions_api.properties),
    (
        "property",
        "GET",
        _crm("properties", f"/{_TYPE}/(?P<name>[^/]+)"),
        _DEFINE,
        definitions_api.one_property,
    ),
    ("pipelines", "GET", _crm("pipelines", f"/{_TYPE}"), _DEFINE, definitions_api.pipelines),
    ("owners", "GET", _crm("owners"), ("crm.objects.owners.read",), definitions_api.owners),
    (
        "token_info",
        "POST",
        "/oauth/v2/private-apps/get/access-token-info",
        (),
        account_api.token_info,
    ),
    ("account", "GET", _account("details"), (), account_api.account),
    ("daily_usage", "GET", _account("api-usage/daily/private-apps"), (), account_api.daily_usage),
    ("record_limits", "GET", _crm("limits", "/records"), (), account_api.record_limits),
)

ROUTES = tuple(Route(n, m, re.compile(path), scopes, do) for n, m, path, scopes, do in _TABLE)


def route_of(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the endpoint of a request and the parts of its path, or raise the 404."""
    for route in ROUTES:
        if route.method == method and (match := route.path.fullmatch(path)):
            return route, match.groupdict()
    raise not_found()
