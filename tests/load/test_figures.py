import pytest

from tests.load.figures import Round, large_rows_of, rows_of, table_of

CPU_S = {"worker-1": 300.0, "worker-2": 100.0, "scheduler": 40.0, "postgres": 20.0}
FIRST = Round("first", 200, 1, 720.0, CPU_S, 9_000, 0)


def test_workers_are_taken_together_and_what_there_is_one_of_is_not() -> None:
    assert FIRST.worker_cpu_s == pytest.approx(2.0)
    assert FIRST.central_cpu_s("scheduler") == pytest.approx(0.2)


def test_tenants_per_hour_is_what_the_round_would_do_if_it_went_on() -> None:
    assert FIRST.tenants_per_hour == pytest.approx(1_000)


def test_a_large_installation_is_as_fast_as_its_cores_allow() -> None:
    # 5,000 tenants, 2 s each, on 80 % of 40 cores
    assert ["20 workers of 2 cores", "5 min"] in large_rows_of([FIRST], {"scheduler": 1})
    # 0.2 s each, on 80 % of one core
    assert ["scheduler on 1 core", "21 min"] in large_rows_of([FIRST], {"scheduler": 1})


def test_a_table_has_a_column_for_each_round() -> None:
    lines = table_of(rows_of([FIRST, FIRST])).splitlines()

    assert lines[0] == "|  | first | first |"
    assert "| scans, of them failed | 200, 1 | 200, 1 |" in lines
    assert "| CPU for each tenant: all | 2.30 s | 2.30 s |" in lines
