"""How many sessions of PostgreSQL a scan needs: operators size the server, or a pooler, by it."""

import re
from pathlib import Path

import pytest

from include.pipeline.extract_deals import extract_deals
from include.pipeline.validate_token import validate_token
from include.warehouse.connection import Warehouse
from tests.conftest import Serve
from tests.hubspot_simulator import portals
from tests.support.scans import PAGES, assert_equals_the_portal, scan
from tests.support.sessions import sessions_seen

pytestmark = pytest.mark.slow

#: docs/deploy.md, docs/how-scans-work.md#leases-and-slots
SESSIONS_OF_A_SCAN = 5


def test_a_scan_has_few_sessions_at_once(
    warehouse: Warehouse, database_url: str, serve: Serve
) -> None:
    portal = portals.generated(deals=1_000, associations=True, requests_per_window=1_000_000)
    serve(acme=portal)
    what = scan()
    validate_token(what)

    with sessions_seen(database_url, names="hubspot_deals/%") as seen:
        extract_deals(what, PAGES)

    print(f"at most {seen.most} sessions at once")
    assert_equals_the_portal(warehouse, portal)
    assert seen.most <= SESSIONS_OF_A_SCAN


def test_the_figure_is_the_one_in_the_documentation(project_root: Path) -> None:
    said = (project_root / "docs" / "how-scans-work.md").read_text()

    assert re.findall(r"at most (\d+) sessions at once", said) == [str(SESSIONS_OF_A_SCAN)]
