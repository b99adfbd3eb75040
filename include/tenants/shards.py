"""Shards: DAG files that share the tenants, because Airflow allows 50 seconds to parse a file.

`hubspot_deals.py` is shard 1. `python -m include.tenants shards 25` writes the others,
`hubspot_deals_02_of_25.py` and so on. The file names alone determine the number of shards.
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
#: DAGs per file: recommended, and the most that Airflow can parse within its default limits.
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
    """Shard *number* of *of*, counted from 1. Number 0 has no tenants."""

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
    """Return the number of a tenant's shard, counted from 1."""
    return crc32(tenant_id.encode()) % of + 1


def shard_of(dag_file: Path) -> Shard:
    """Return the shard of *dag_file*, from its name and the other files in its directory."""
    of = shard_count(dag_file.parent)
    named = _shard_named(dag_file.name)
    if named is None:
        return Shard(1, of)
    return named if named.of == of else Shard(0, of)


def shard_count(folder: Path) -> int:
    """Return the number of shards: the largest one whose files are all there.

    While the number is being changed, files of both numbers exist. Those of the other number build
    no DAGs, so each tenant is in exactly one shard at any time.
    """
    shards = _shards(folder)
    complete = (
        of
        for of in {shard.of for shard in shards}
        if all(Shard(number, of) in shards for number in range(2, of + 1))
    )
    return max(complete, default=1)


def problem_with_shards(folder: Path) -> TenantsFileError | None:
    """Return a problem if there are DAG files that build no DAGs."""
    of = shard_count(folder)
    idle = sorted(shard.file_name for shard in _shards(folder) if shard.of != of)
    if not idle:
        return None
    return TenantsFileError(
        f"{folder}: files such as {idle[0]} build no DAGs, because the number of DAG files is "
        f"{of}, the largest one that is complete.",
        remedy="Run `python -m include.tenants shards N` with the number of files that you want.",
    )


def dags_of_files(folder: Path, tenants: Iterable[Tenant]) -> dict[str, int]:
    """Return the number of DAGs by file."""
    of = shard_count(folder)
    shards = [Shard(number, of) for number in range(1, of + 1)]
    counts = Counter(part_of(tenant.id, of) for tenant in tenants)
    return {shard.file_name: counts[shard.number] for shard in shards}


def crowded_files(folder: Path, tenants: Sequence[Tenant]) -> list[str]:
    """Return a sentence for each file with more than `MOST_DAGS` DAGs."""
    advised = ceil(len(tenants) / ADVISED_DAGS)
    return [
        f"{name} builds {dags} DAGs. Parsing more than {MOST_DAGS} may exceed Airflow's limits. "
        f"Divide the tenants: python -m include.tenants shards {advised}"
        for name, dags in dags_of_files(folder, tenants).items()
        if dags > MOST_DAGS
    ]


def write_shards(folder: Path, of: int) -> None:
    """Write *of* DAG files and delete those of other numbers. 1: keep only hubspot_deals.py.

    Raises TenantsFileError for an invalid number, and OSError.
    """
    if not 1 <= of <= MOST_SHARDS:
        raise TenantsFileError(
            f"the tenants can't be divided into {of} DAG files.",
            remedy=f"Choose a number from 1 to {MOST_SHARDS}.",
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
    if not folder.is_dir():  # a zip file of DAGs has no shards
        return set()
    return {shard for path in folder.iterdir() if (shard := _shard_named(path.name))}


def _shard_named(name: str) -> Shard | None:
    match = _NAME.fullmatch(name)
    shard = Shard(int(match[1]), int(match[2])) if match else None
    return shard if shard and shard.file_name == name and 2 <= shard.number <= shard.of else None
