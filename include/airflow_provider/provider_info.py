"""The connection form, and HubSpot's datasets in OpenLineage."""

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from openlineage.client.event_v2 import Dataset

#: Must be the name in METADATA.
PACKAGE: Final = "airflow-provider-hubspot-deals"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, for the entry point `apache_airflow_provider`."""
    return {
        "package-name": PACKAGE,
        "name": "HubSpot deals",
        "description": "HubSpot deals into PostgreSQL",
        "versions": ["0.1.0"],
        "connection-types": [
            {
                "connection-type": "hubspot",
                "hook-name": "HubSpot",
                "hook-class-name": "include.hubspot.hook.HubSpotHook",
                "ui-field-behaviour": {
                    # Not the port: Airflow 3.3.2 refuses to test a stored connection without one
                    # (apache/airflow#73298).
                    "hidden-fields": ["login", "schema"],
                    "relabeling": {"password": "Token", "host": "Base URL"},
                    "placeholders": {
                        "password": "pat-na1-… of a service key; empty: OAuth app",
                        "host": "https://api.hubapi.com if empty",
                        "port": "443 (required by Airflow's Test button)",
                    },
                },
                "conn-fields": _FIELDS,
            }
        ],
        "asset-uris": [
            {
                "schemes": ["hubspot"],
                "handler": "include.airflow_provider.provider_info.checked_uri",
                "to_openlineage_converter": "include.airflow_provider.provider_info.dataset_of",
            }
        ],
    }


_FIELDS: Final = {
    "client_id": {
        "label": "OAuth app: client id",
        "description": "Client id of an OAuth app. Fill in all three fields and leave Token empty.",
        "schema": {"type": ["string", "null"]},
    },
    "client_secret": {
        "label": "OAuth app: client secret",
        "description": "Client secret of the OAuth app.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "refresh_token": {
        "label": "OAuth app: refresh token",
        "description": "Refresh token from the installation in the account.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "requests_per_10_s": {
        "label": "Maximum requests per 10 s",
        "description": "Upper limit, for apps shared with other integrations. Empty: HubSpot's.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "rate_limit_share": {
        "label": "Share of the rate limit",
        "description": "Share of the app's limit that scans use. Empty: 1.",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1},
    },
    "api_version": {
        "label": "API version",
        "description": "Version in the API's paths. Empty: 2026-03.",
        "schema": {
            "type": ["string", "null"],
            "pattern": r"^(v3|20\d\d-0[39])?$",
            "examples": ["2026-03", "v3"],
        },
    },
}


def checked_uri(uri: SplitResult) -> SplitResult:
    """Return the URI. Raises ValueError unless it names an account and an object."""
    if not uri.netloc or uri.path.count("/") != 1 or uri.path == "/":
        raise ValueError("write it as hubspot://<account id>/<object>")
    return uri


def dataset_of(asset: Any, lineage_context: Any) -> "Dataset":
    """Return the dataset of an asset, e.g. `deals` in the namespace hubspot://1234567."""
    from openlineage.client.event_v2 import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"hubspot://{uri.netloc}", name=uri.path.removeprefix("/"))
