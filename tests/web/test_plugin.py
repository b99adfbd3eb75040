"""Every component of Airflow loads the plugin: it must cost them nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def printed(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, 'plugins'); {code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_loading_the_plugin_imports_nothing_of_ours_and_no_web_framework() -> None:
    code = (
        "from airflow.sdk.plugins_manager import AirflowPlugin; before = set(sys.modules);"
        " import hubspot_deals_plugin as p; plugin = p.HubSpotDealsPlugin(); plugin.on_load();"
        " print(sorted(set(sys.modules) - before))"
    )

    assert printed(code) == "['hubspot_deals_plugin']"


def test_the_pages_place_in_airflows_ui_needs_no_web_framework() -> None:
    code = (
        "from hubspot_deals_plugin import HubSpotDealsPlugin; before = set(sys.modules);"
        " views = HubSpotDealsPlugin().external_views; new = set(sys.modules) - before;"
        " print(len(views), sorted({'fastapi', 'pydantic', 'psycopg', 'include.tenants'} & new))"
    )

    assert printed(code) == "3 []"


def test_the_app_is_built_for_who_asks_for_it() -> None:
    code = (
        "from hubspot_deals_plugin import HubSpotDealsPlugin;"
        " (one,) = HubSpotDealsPlugin().fastapi_apps;"
        " print(one['url_prefix'], type(one['app']).__name__)"
    )

    assert printed(code).splitlines()[-1] == "/hubspot-deals FastAPI"
