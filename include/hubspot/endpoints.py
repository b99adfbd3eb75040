"""Facts about HubSpot's API that the rest of the package builds on, each with its source.

Sources are quoted in docs/api-integration.md under the heading named at the constant.
"""

from typing import Final

#: The API's base URL. A connection's host, or HUBSPOT_API_BASE_URL, replaces it.
DEFAULT_BASE_URL: Final = "https://api.hubapi.com"

#: New versions of the API are named by date; v3 is supported until September 2027.
#: docs/api-integration.md#versions
DEFAULT_API_VERSION: Final = "2026-03"

#: Records per page of the list endpoint, and per batch read. docs/api-integration.md#listing
LIST_PAGE_SIZE: Final = 100

#: Characters of the `properties` parameter above which a list request becomes "ids only + batch
#: read". HubSpot documents no limit; 414 was seen from about 8,000 characters of URL upwards.
#: docs/api-integration.md#many-properties
URL_PROPERTIES_MAX_CHARS: Final = 7_000

#: Requests per rolling window until a header states the limit: that of the smallest tier.
#: docs/api-integration.md#rate-limits
DEFAULT_REQUESTS_PER_WINDOW: Final = 100
RATE_WINDOW_S: Final = 10.0

#: Requests a day for all apps of an account together. docs/api-integration.md#rate-limits
DAILY_QUOTAS: Final = "250,000 (Free, Starter), 625,000 (Professional), 1,000,000 (Enterprise)"

#: Searches have a separate limit, for all apps of an account together, and their answers carry
#: no rate headers. docs/api-integration.md#search
SEARCHES_PER_S: Final = 5
#: Records per page of a search. No query returns more than 10,000, so each search is a new query
#: for ids above the last one.
SEARCH_PAGE_SIZE: Final = 200

#: Inputs per batch. docs/api-integration.md#batches
READ_BATCH_SIZE: Final = 100
HISTORY_BATCH_SIZE: Final = 50
ASSOCIATIONS_BATCH_SIZE: Final = 1_000

#: The scope that every token needs. docs/api-integration.md#scopes
DEALS_READ_SCOPE: Final = "crm.objects.deals.read"

#: The scopes of the settings API's lists, any one of which is enough. docs/api-integration.md#users
SETTINGS_SCOPES: Final = {
    "users": ("settings.users.read", "crm.objects.users.read"),
    "roles": ("settings.users.read", "crm.objects.users.read"),
    "teams": ("settings.users.teams.read",),
}

#: Further scopes for a tenant with default settings, any one of each; without it, scans warn.
USEFUL_SCOPES: Final = (
    ("crm.objects.owners.read",),
    ("crm.objects.companies.read",),
    ("crm.objects.contacts.read",),
    ("crm.objects.line_items.read",),
    ("crm.objects.tickets.read", "tickets"),
    *dict.fromkeys(SETTINGS_SCOPES.values()),
)
#: Only for `make seed-test-deals`: scans write nothing. docs/api-integration.md#scopes
DEALS_WRITE_SCOPE: Final = "crm.objects.deals.write"

#: Kinds of properties that HubSpot lists only when asked for, and only with a scope.
SENSITIVITIES: Final = ("sensitive", "highly_sensitive")

#: For tokens of private apps and service keys; needs no scope. No date-based version of it exists.
TOKEN_INFO_PATH: Final = "/oauth/v2/private-apps/get/access-token-info"  # noqa: S105 - a path

#: How long before its expiry an OAuth app's access token is refreshed; a third of its lifetime if
#: that is less. docs/api-integration.md#oauth-apps
OAUTH_REFRESH_AHEAD_S: Final = 300.0


def account_path(version: str) -> str:
    return f"/account-info/{version}/details"


def oauth_token_path(version: str) -> str:
    return f"/oauth/{version}/token"


def oauth_introspection_path(version: str) -> str:
    return f"{oauth_token_path(version)}/introspect"


def crm_path(resource: str, version: str, legacy: str = "v3") -> str:
    # v3 names the version before the resource, the date-based versions after it.
    return f"/crm/{legacy}/{resource}" if version == "v3" else f"/crm/{resource}/{version}"


def records_path(version: str, object_type: str) -> str:
    return f"{crm_path('objects', version)}/{object_type}"


def create_path(version: str, object_type: str) -> str:
    return f"{records_path(version, object_type)}/batch/create"


def users_path(version: str, resource: str = "") -> str:
    """Return the path of users, or with *resource* "/teams" or "/roles" of these."""
    return ("/settings/v3/users" if version == "v3" else f"/settings/users/{version}") + resource


def associations_path(version: str, from_type: str, to_type: str) -> str:
    # v4 was the last version with a number. docs/api-integration.md#versions
    path = crm_path("associations", version, legacy="v4")
    return f"{path}/{from_type}/{to_type}/batch/read"


def is_sensitive_scope(scope: str) -> bool:
    """Return whether a token without this scope is not shown sensitive values."""
    return any(f".{sensitivity}." in scope for sensitivity in SENSITIVITIES)


def sensitive_scopes(scope_name: str, sensitivity: str) -> tuple[str, ...]:
    """Return the scopes, any one of which is enough to read values of this sensitivity."""
    scope = f"crm.objects.{scope_name}.{sensitivity}.read"
    # the scopes of tickets have no prefix, like their read scope
    return (f"{scope}.v2", scope, f"{scope_name}.{sensitivity}.v2")
