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
    tally = run_chaos(
        warehouse, tmp_path / "chaos", Budget(SEED, kills=KILLS_OF_EACH_TENANT), print, DEALS
    )

    print(tally)
    assert tally.kills == 2 * KILLS_OF_EACH_TENANT
    assert {phase.partition(":")[0] for phase in tally.phases} >= {"load", "records"}
