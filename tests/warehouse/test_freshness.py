from include.warehouse.connection import Warehouse
from include.warehouse.scans import Freshness


def test_what_was_never_read_is_not_fresh(warehouse: Warehouse) -> None:
    assert not Freshness(warehouse, "acme").is_fresh("owners", 3_600)


def test_what_has_just_been_read_is_fresh_for_its_tenant_alone(warehouse: Warehouse) -> None:
    Freshness(warehouse, "acme").note("owners")

    assert Freshness(warehouse, "acme").is_fresh("owners", 3_600)
    assert not Freshness(warehouse, "acme").is_fresh("pipelines:deals", 3_600)
    assert not Freshness(warehouse, "globex").is_fresh("owners", 3_600)


def test_it_ages(warehouse: Warehouse) -> None:
    freshness = Freshness(warehouse, "acme")
    freshness.note("owners")
    with warehouse.connect() as connection:
        connection.execute(
            f"update {warehouse.schema}.freshness set read_at = read_at - interval '61 minutes'"
        )

    assert not freshness.is_fresh("owners", 3_600)

    freshness.note("owners")
    assert freshness.is_fresh("owners", 3_600)


def test_with_an_age_of_zero_nothing_is_fresh(warehouse: Warehouse) -> None:
    freshness = Freshness(warehouse, "acme")
    freshness.note("owners")

    assert not freshness.is_fresh("owners", 0)


def test_what_was_read_by_a_clock_that_was_ahead_is_not_fresh(warehouse: Warehouse) -> None:
    freshness = Freshness(warehouse, "acme")
    freshness.note("owners")
    with warehouse.connect() as connection:
        connection.execute(
            f"update {warehouse.schema}.freshness set read_at = read_at + interval '1 day'"
        )

    assert not freshness.is_fresh("owners", 3_600)
