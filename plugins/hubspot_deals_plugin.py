"""What this package adds to Airflow's API server: the REST API and the page "HubSpot scans".

Every component of Airflow imports this file, and so does each task's process: nothing heavy here.
"""

import logging
from functools import cache
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

URL_PREFIX = "/hubspot-deals"

log = logging.getLogger(__name__)


class HubSpotDealsPlugin(AirflowPlugin):
    name = "hubspot_deals"

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Only the API server reads them: other components need not import FastAPI."""
        return _fastapi_apps()

    @property
    def fastapi_root_middlewares(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Nothing where the app can't be built."""
        return _root_middlewares() if _fastapi_apps() else []

    @property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The page in the navigation, and as a tab of DAGs and runs."""
        return _external_views()


@cache
def _fastapi_apps() -> list[dict[str, Any]]:
    try:
        from include.web.app import create_app

        app = create_app()
    except Exception:
        # without this, Airflow's whole API server would not start
        log.exception("HubSpot deals: the REST API and the page can't be built")
        return []
    return [{"app": app, "url_prefix": URL_PREFIX, "name": "HubSpot deals"}]


@cache
def _root_middlewares() -> list[dict[str, Any]]:
    from include.web.app import AddressWithSlash

    return [{"middleware": AddressWithSlash, "name": "HubSpot deals", "args": [], "kwargs": {}}]


@cache
def _external_views() -> list[dict[str, Any]]:
    try:
        from include.web.static_files import external_views

        return external_views()
    except Exception:
        log.exception("HubSpot deals: the page's place in Airflow's UI can't be determined")
        return []
