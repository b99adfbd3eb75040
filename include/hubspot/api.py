"""Facts about HubSpot's API that the rest of the package builds on, each with its source.

Sources are quoted in docs/api-integration.md under the heading named at the constant.
"""

from typing import Final

#: Where HubSpot lives. A connection's host, or HUBSPOT_API_BASE_URL, replaces it.
DEFAULT_BASE_URL: Final = "https://api.hubapi.com"

#: Date-based versions are the ones HubSpot keeps adding; v3 is supported until September 2027.
#: docs/api-integration.md#versions
DEFAULT_API_VERSION: Final = "2026-03"

#: Records per page of the list endpoint, and per batch read. docs/api-integration.md#listing
LIST_PAGE_SIZE: Final = 100

#: Characters of the `properties` parameter above which a list request becomes "ids only + batch
#: read". HubSpot documents no limit; 414 was seen from about 8,000 characters of URL upwards.
#: docs/api-integration.md#many-properties
URL_PROPERTIES_MAX_CHARS: Final = 7_000

#: Requests per rolling window until HubSpot's own header says otherwise: the smallest tier's.
#: docs/api-integration.md#rate-limits
DEFAULT_REQUESTS_PER_WINDOW: Final = 100
RATE_WINDOW_S: Final = 10.0

#: Without this scope nothing can be read. docs/api-integration.md#scopes
DEALS_READ_SCOPE: Final = "crm.objects.deals.read"

#: Data sensitivity -> the scopes any of which lets its property values be read.
SENSITIVE_SCOPES: Final = {
    "sensitive": ("crm.objects.deals.sensitive.read.v2", "crm.objects.deals.sensitive.read"),
    "highly_sensitive": (
        "crm.objects.deals.highly_sensitive.read.v2",
        "crm.objects.deals.highly_sensitive.read",
    ),
}

#: Answers tokens of private apps and service keys; no scope needed. It has no date-based twin.
TOKEN_INFO_PATH: Final = "/oauth/v2/private-apps/get/access-token-info"  # noqa: S105 - a path


def account_path(version: str) -> str:
    return f"/account-info/{version}/details"


def deals_path(version: str) -> str:
    return _crm_path("objects", version)


def deal_properties_path(version: str) -> str:
    return _crm_path("properties", version)


def deal_pipelines_path(version: str) -> str:
    return _crm_path("pipelines", version)


def _crm_path(resource: str, version: str) -> str:
    # v3 names the version before the resource, the date-based versions after it.
    middle = f"v3/{resource}" if version == "v3" else f"{resource}/{version}"
    return f"/crm/{middle}/deals"
