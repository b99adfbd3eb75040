from collections import Counter
from pathlib import Path

import pytest

from include.errors import TenantsFileError
from include.tenants.model import Tenant
from include.tenants.shards import (
    Shard,
    crowded_files,
    dags_of_files,
    problem_with_shards,
    shard_count,
    shard_of,
    write_shards,
)

IDS = [f"t{number}" for number in range(1_000)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("hubspot_deals.py", "tenants_file_check.py", "hubspot_deals_of_mine.py"):
        (tmp_path / name).write_text("# airflow dag\n")
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def holders(folder: Path) -> Counter[str]:
    shards = [
        shard_of(path) for path in folder.glob("hubspot_deals*.py") if "mine" not in str(path)
    ]
    return Counter(name for name in IDS for shard in shards if shard.holds(name))


def test_one_file_holds_all_tenants(folder: Path) -> None:
    assert shard_of(folder / "hubspot_deals.py") == Shard(1, 1)
    assert holders(folder) == dict.fromkeys(IDS, 1)


@pytest.mark.parametrize("of", [2, 25, 130])
def test_every_tenant_is_in_exactly_one_of_several_files(folder: Path, of: int) -> None:
    write_shards(folder, of)

    assert shard_count(folder) == of
    assert holders(folder) == dict.fromkeys(IDS, 1)


def test_the_files_are_what_airflow_takes_for_dag_files(folder: Path) -> None:
    write_shards(folder, 2)

    text = (folder / "hubspot_deals_02_of_02.py").read_text().lower()
    assert "airflow" in text
    assert "dag" in text


def test_another_number_replaces_the_files_and_leaves_all_others_alone(folder: Path) -> None:
    before = files(folder)

    write_shards(folder, 12)
    write_shards(folder, 3)
    three = files(folder)
    write_shards(folder, 1)

    assert three == sorted([*before, "hubspot_deals_02_of_03.py", "hubspot_deals_03_of_03.py"])
    assert files(folder) == before


@pytest.mark.parametrize(("old", "new"), [(2, 5), (5, 2), (5, 1), (1, 5)])
def test_at_no_moment_of_a_change_is_a_tenant_in_no_file_or_in_two(
    folder: Path, monkeypatch: pytest.MonkeyPatch, old: int, new: int
) -> None:
    write_shards(folder, old)
    seen: list[bool] = []

    def watched(path: Path, *arguments: object, **options: object) -> None:
        unlink(path, *arguments, **options)
        seen.append(holders(folder) == dict.fromkeys(IDS, 1))

    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", watched)
    write_shards(folder, new)

    assert len(seen) == old - 1
    assert all(seen)


def test_a_lost_file_loses_no_tenant_and_is_a_problem(folder: Path) -> None:
    write_shards(folder, 3)
    (folder / "hubspot_deals_02_of_03.py").unlink()

    assert holders(folder) == dict.fromkeys(IDS, 1)
    assert "hubspot_deals_03_of_03.py build no DAGs" in str(problem_with_shards(folder))


def test_a_complete_division_is_no_problem(folder: Path) -> None:
    write_shards(folder, 3)

    assert problem_with_shards(folder) is None


@pytest.mark.parametrize("of", [0, -1, 501])
def test_a_number_that_makes_no_sense_is_refused(folder: Path, of: int) -> None:
    before = files(folder)

    with pytest.raises(TenantsFileError, match="from 1 to 500"):
        write_shards(folder, of)

    assert files(folder) == before


def test_a_crowded_file_is_reported_with_the_number_that_helps(folder: Path) -> None:
    tenants = [Tenant(id=name) for name in IDS]

    (crowded,) = crowded_files(folder, tenants)
    write_shards(folder, 5)

    assert "hubspot_deals.py builds 1000 DAGs" in crowded
    assert crowded.endswith("python -m include.tenants shards 5")
    assert crowded_files(folder, tenants) == []
    assert sum(dags_of_files(folder, tenants).values()) == 1_000
