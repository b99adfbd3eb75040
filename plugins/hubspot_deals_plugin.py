"""Adds the REST API and the page "HubSpot scans" to Airflow's API server.

All components of Airflow and each task's process import this file, so it must be light.
"""

import logging
from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

URL_PREFIX = "/hubspot-deals"

log = logging.getLogger(__name__)


class HubSpotDealsPlugin(AirflowPlugin):
    """Properties, because only the API server reads them and has to import FastAPI."""

    name = "hubspot_deals"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        try:
            from include.web.app import create_app

            app = create_app()
        except Exception:
            # an exception would keep Airflow's API server from starting
            log.exception("HubSpot deals: could not create the REST API and the page")
            return []
        return [{"app": app, "url_prefix": URL_PREFIX, "name": "HubSpot deals"}]

    @cached_property
    def fastapi_root_middlewares(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Empty if the app can't be created."""
        if not self.fastapi_apps:
            return []
        from include.web.app import AddressWithSlash

        return [{"middleware": AddressWithSlash, "name": "HubSpot deals", "args": [], "kwargs": {}}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The page in the navigation, and as a tab of DAGs and runs."""
        try:
            from include.web.static_files import external_views

            return external_views()
        except Exception:
            log.exception("HubSpot deals: could not add the page to Airflow's UI")
            return []
