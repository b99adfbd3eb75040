"""Several DAG files instead of one: Airflow gives each file 50 seconds, whatever is in it.

`hubspot_deals.py` is shard 1; beside it `hubspot_deals_02_of_25.py` and so on, written by
`python -m include.tenants shards 25`. How many there are is known from the files alone.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final
from zlib import crc32

from include.errors import TenantsFileError
from include.files import write_file
from include.tenants.model import Tenant

MAIN_FILE: Final = "hubspot_deals.py"
#: DAGs in one file that Airflow's default limits bear with ease, and those from which they don't.
ADVISED_DAGS, MOST_DAGS = 200, 250
MOST_SHARDS: Final = 500

_NAME: Final = re.compile(r"hubspot_deals_(\d{2,3})_of_(\d{2,3})\.py")
_TEXT: Final = '''\
"""Airflow DAGs, shard {number} of {of}: written by `python -m include.tenants shards {of}`."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).with_name("hubspot_deals.py")), {{"dag_file": __file__}})
'''


@dataclass(frozen=True)
class Shard:
    """The part *number* of *of* of all tenants; number 0 is the empty part."""

    number: int = 1
    of: int = 1

    def holds(self, tenant_id: str) -> bool:
        return part_of(tenant_id, self.of) == self.number

    @property
    def file_name(self) -> str:
        if self.number == 1:
            return MAIN_FILE
        width = max(2, len(str(self.of)))
        return f"hubspot_deals_{self.number:0{width}}_of_{self.of:0{width}}.py"


ALL: Final = Shard()


def part_of(tenant_id: str, of: int) -> int:
    """Return the number, from 1 on, of the part that a tenant falls to."""
    return crc32(tenant_id.encode()) % of + 1


def shard_of(dag_file: Path) -> Shard:
    """Return which tenants' DAGs *dag_file* has to build, by its name and the files beside it."""
    of = shard_count(dag_file.parent)
    named = _shard_named(dag_file.name)
    if named is None:
        return Shard(1, of)
    return named if named.of == of else Shard(0, of)


def shard_count(folder: Path) -> int:
    """Return into how many files the tenants are divided: the largest number that is complete.

    Files of another division may lie there while one replaces the other; they build nothing. So
    each tenant is in exactly one file at any moment.
    """
    shards = _shards(folder)
    complete = (
        of
        for of in {shard.of for shard in shards}
        if all(Shard(number, of) in shards for number in range(2, of + 1))
    )
    return max(complete, default=1)


def problem_with_shards(folder: Path) -> TenantsFileError | None:
    """Return what is wrong if there are DAG files that build nothing."""
    of = shard_count(folder)
    idle = sorted(shard.file_name for shard in _shards(folder) if shard.of != of)
    if not idle:
        return None
    return TenantsFileError(
        f"{folder}: {len(idle)} DAG file(s) such as {idle[0]} build nothing: the tenants are "
        f"divided into {of} file(s), as those are complete.",
        remedy="Run `python -m include.tenants shards N` with the number you want.",
    )


def dags_of_files(folder: Path, tenants: Iterable[Tenant]) -> dict[str, int]:
    """Return file → how many DAGs it builds."""
    of = shard_count(folder)
    shards = [Shard(number, of) for number in range(1, of + 1)]
    counts = Counter(part_of(tenant.id, of) for tenant in tenants)
    return {shard.file_name: counts[shard.number] for shard in shards}


def crowded_files(folder: Path, tenants: Sequence[Tenant]) -> list[str]:
    """Return a sentence for each file with more DAGs than Airflow's limits are made for."""
    advised = ceil(len(tenants) / ADVISED_DAGS)
    return [
        f"{name} builds {dags} DAGs; more than {MOST_DAGS} may take Airflow longer than it allows. "
        f"Divide them: python -m include.tenants shards {advised}"
        for name, dags in dags_of_files(folder, tenants).items()
        if dags > MOST_DAGS
    ]


def write_shards(folder: Path, of: int) -> None:
    """Divide the tenants into *of* DAG files; 1: only hubspot_deals.py is left.

    Raises TenantsFileError for a number that makes no sense; OSError.
    """
    if not 1 <= of <= MOST_SHARDS:
        raise TenantsFileError(
            f"{of} DAG files can't be made.", remedy=f"Choose a number from 1 to {MOST_SHARDS}."
        )
    wanted = [Shard(number, of) for number in range(2, of + 1)]
    for shard in wanted:
        text = _TEXT.format(number=shard.number, of=of)
        write_file(folder / shard.file_name, text.encode())
    names = {shard.file_name for shard in wanted}
    for path in sorted(folder.iterdir()):
        if _shard_named(path.name) and path.name not in names:
            path.unlink()


def _shards(folder: Path) -> set[Shard]:
    if not folder.is_dir():  # DAGs in a zip file are one file
        return set()
    return {shard for path in folder.iterdir() if (shard := _shard_named(path.name))}


def _shard_named(name: str) -> Shard | None:
    match = _NAME.fullmatch(name)
    shard = Shard(int(match[1]), int(match[2])) if match else None
    return shard if shard and shard.file_name == name and 2 <= shard.number <= shard.of else None
