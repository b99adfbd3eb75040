"""Scans that are killed again and again still end with what HubSpot has."""

from pathlib import Path

import pytest

from include.warehouse.connection import Warehouse
from tests.chaos.budget import Budget
from tests.chaos.chaos import run_chaos

pytestmark = pytest.mark.slow

SEED = 8
KILLS_OF_EACH_TENANT = 4
#: Of each account; `make chaos` has twice as many.
DEALS = 1_500


def test_scans_that_are_killed_at_any_moment_end_with_what_the_accounts_hold(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    result = run_chaos(
        warehouse, tmp_path / "chaos", Budget(SEED, kills=KILLS_OF_EACH_TENANT), print, DEALS
    )

    print(result)
    assert result.kills == 2 * KILLS_OF_EACH_TENANT
    assert {phase.partition(":")[0] for phase in result.phases} >= {"load", "records"}
