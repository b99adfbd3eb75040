"""A sample of the net; all of it: `make chaos`."""

import random
from collections.abc import Iterator

import pytest

from include.warehouse.connection import Warehouse
from tests.hostile.hubspot import ENDPOINTS, Case, Hostile, cases, connect_in, quick, try_cases

pytestmark = pytest.mark.slow

#: Cases of each kind of mutation.
OF_EACH_KIND = {"field": 2, "page": 3, "body": 1, "status": 1, "header": 1}
SEED = 20261128


@pytest.fixture
def hostile(warehouse: Warehouse, airflow_environment: pytest.MonkeyPatch) -> Iterator[Hostile]:
    with quick(airflow_environment):
        hostile = Hostile(warehouse, connect_in(airflow_environment.setenv))
        yield hostile
        hostile.close()


def test_whatever_hubspot_answers_the_scan_is_right_or_says_what_is_missing(
    hostile: Hostile,
) -> None:
    every = cases(hostile.record())
    rng = random.Random(SEED)
    sample: list[Case] = []
    for kind, count in OF_EACH_KIND.items():
        sample += rng.sample([case for case in every if case.mutation.kind == kind], count)

    findings = try_cases(hostile, sample, print)

    assert not findings.wrong
    assert {case.where.endpoint for case in every} == set(ENDPOINTS)
