"""Where Airflow's UI shows the page: in its navigation, and as a tab of DAGs and of their runs.

Addresses are relative, so that they hold when Airflow is served below a path.
"""

from typing import Any

from include.web.static_files import static_files

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
