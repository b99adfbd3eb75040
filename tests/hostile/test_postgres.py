"""A sample of `python -m tests.hostile.postgres`: settings that have bitten, or would."""

import pytest

from include.ops.local.postgres import EmbeddedPostgres
from tests.hostile.postgres import Case, Hostile, cases
from tests.support.pgbouncer import PROGRAM

pytestmark = pytest.mark.slow

SAMPLE = (
    "database client_encoding: WIN1252",
    "role datestyle: German",
    "database search_path: shadow, pg_catalog",
    "database default_transaction_read_only: on",
    "role statement_timeout: 1",
    "environment PGDATESTYLE=German",
    "server encoding LATIN1",
    "pooled database search_path: shadow, pg_catalog",
)
EVERY = {case.name: case for pooled in (False, True) for case in cases(pooled=pooled)}


@pytest.fixture(scope="module")
def hostile(postgres: EmbeddedPostgres) -> Hostile:
    return Hostile(postgres.dsn("postgres"))


@pytest.mark.parametrize("case", [pytest.param(EVERY[name], id=name) for name in SAMPLE])
def test_two_scans_leave_the_same_rows_or_say_what_is_in_the_way(
    hostile: Hostile, case: Case
) -> None:
    if case.pooled and PROGRAM is None:
        pytest.skip("there is no pgbouncer: apt-get install pgbouncer")

    outcome = hostile.outcome(case)

    assert outcome.startswith("refused" if case.refused else "equal")
