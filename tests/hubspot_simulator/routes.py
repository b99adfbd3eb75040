"""The paths of every endpoint, in all versions, and the scopes that open it."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.hubspot_simulator import (
    account_api,
    associations_api,
    definitions_api,
    oauth_api,
    records_api,
    search,
    writes_api,
)
from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.errors import Answer, not_found
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request

Handler = Callable[[Portal, Request], Answer]
#: Lists of scopes; of each one any suffices.
Required = tuple[tuple[str, ...], ...]
Needs = Callable[[Portal, dict[str, str]], Required]


@dataclass(frozen=True)
class Route:
    """``name``: what statistics and faults call it, with the object's name if not of deals."""

    name: str
    method: str
    path: re.Pattern[str]
    needs: Needs
    handler: Handler

    def called(self, portal: Portal, variables: dict[str, str]) -> str:
        found = portal.find_object(variables.get("type", ""))
        return found.endpoint(self.name) if found else self.name


def _of_object(do: Callable[[CrmObject, Request], Answer]) -> Handler:
    """Hand a request to the object that its path names; a type that is not here is a 404."""

    def handler(portal: Portal, request: Request) -> Answer:
        return do(_object(portal, request.variables), request)

    return handler


def _object(portal: Portal, variables: dict[str, str]) -> CrmObject:
    found = portal.find_object(variables["type"])
    if found is None:
        raise not_found()
    return found


def _nothing(portal: Portal, variables: dict[str, str]) -> Required:
    return ()


def _owners(portal: Portal, variables: dict[str, str]) -> Required:
    return (("crm.objects.owners.read",),)


def _users(portal: Portal, variables: dict[str, str]) -> Required:
    return (("crm.objects.users.read", "settings.users.read"),)


def _teams(portal: Portal, variables: dict[str, str]) -> Required:
    return (("settings.users.teams.read",),)


def _read(portal: Portal, variables: dict[str, str]) -> Required:
    return (_object(portal, variables).type.scopes,)


def _write(portal: Portal, variables: dict[str, str]) -> Required:
    return ((f"crm.objects.{_object(portal, variables).type.scope_name}.write",),)


def _define(portal: Portal, variables: dict[str, str]) -> Required:
    return (_object(portal, variables).type.schema_scopes,)


def _both_ends(portal: Portal, variables: dict[str, str]) -> Required:
    end = portal.find_end(variables["to"])
    return (*_read(portal, variables), *([end.scopes] if end else []))


_DATE = r"20\d\d-0[39](?:-beta)?"
_TYPE = "(?P<type>[a-z0-9_-]+)"
_ONE = r"(?P<id>\d+)"
_TO = "(?P<to>[a-z0-9_-]+)"


def _crm(resource: str, rest: str = "", legacy: str = "v3") -> str:
    """Legacy versions stand before the resource, dates after it."""
    return rf"/crm/(?:{legacy}/{resource}|{resource}/{_DATE}){rest}/?"


def _account(rest: str) -> str:
    return f"/account-info/(?:v3|{_DATE})/{rest}"


def _settings_users(rest: str) -> str:
    return rf"/settings/(?:v3/users|users/{_DATE}){rest}/?"


def _oauth(rest: str) -> str:
    return f"/oauth/(?:v1|v3|{_DATE})/{rest}"


#: They count against no limit: these requests carry no token yet.
UNLIMITED = frozenset({"oauth_token", "oauth_introspection"})

_TABLE: tuple[tuple[str, str, str, Needs, Handler], ...] = (
    ("list", "GET", _crm("objects", f"/{_TYPE}"), _read, _of_object(records_api.list_records)),
    ("create", "POST", _crm("objects", f"/{_TYPE}"), _write, _of_object(writes_api.create)),
    (
        "batch_create",
        "POST",
        _crm("objects", f"/{_TYPE}/batch/create"),
        _write,
        _of_object(writes_api.batch_create),
    ),
    (
        "batch_read",
        "POST",
        _crm("objects", f"/{_TYPE}/batch/read"),
        _read,
        _of_object(records_api.batch_read),
    ),
    ("search", "POST", _crm("objects", f"/{_TYPE}/search"), _read, _of_object(search.search)),
    ("get", "GET", _crm("objects", f"/{_TYPE}/{_ONE}"), _read, _of_object(records_api.get_record)),
    (
        "associations_of_one",
        "GET",
        _crm("objects", f"/{_TYPE}/{_ONE}/associations/{_TO}", legacy="v4"),
        _both_ends,
        _of_object(associations_api.of_one),
    ),
    (
        "associations",
        "POST",
        _crm("associations", f"/{_TYPE}/{_TO}/batch/read", legacy="v4"),
        _both_ends,
        _of_object(associations_api.batch_read),
    ),
    (
        "properties",
        "GET",
        _crm("properties", f"/{_TYPE}"),
        _define,
        _of_object(definitions_api.properties),
    ),
    (
        "property",
        "GET",
        _crm("properties", f"/{_TYPE}/(?P<name>[^/]+)"),
        _define,
        _of_object(definitions_api.one_property),
    ),
    (
        "pipelines",
        "GET",
        _crm("pipelines", f"/{_TYPE}"),
        _define,
        _of_object(definitions_api.pipelines),
    ),
    ("owners", "GET", _crm("owners"), _owners, definitions_api.owners),
    ("users", "GET", _settings_users(""), _users, definitions_api.users),
    ("teams", "GET", _settings_users("/teams"), _teams, definitions_api.teams),
    ("roles", "GET", _settings_users("/roles"), _users, definitions_api.roles),
    (
        "token_info",
        "POST",
        "/oauth/v2/private-apps/get/access-token-info",
        _nothing,
        account_api.token_info,
    ),
    ("oauth_token", "POST", _oauth("token"), _nothing, oauth_api.token),
    ("oauth_introspection", "POST", _oauth("token/introspect"), _nothing, oauth_api.introspection),
    ("account", "GET", _account("details"), _nothing, account_api.account),
    (
        "daily_usage",
        "GET",
        _account("api-usage/daily/private-apps"),
        _nothing,
        account_api.daily_usage,
    ),
    ("record_limits", "GET", _crm("limits", "/records"), _nothing, account_api.record_limits),
)

ROUTES = tuple(Route(n, m, re.compile(path), needs, do) for n, m, path, needs, do in _TABLE)


def route_of(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the endpoint of a request and the parts of its path, or raise the 404."""
    for route in ROUTES:
        if route.method == method and (match := route.path.fullmatch(path)):
            return route, match.groupdict()
    raise not_found()
