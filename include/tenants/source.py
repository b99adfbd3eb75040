"""Where entries of tenants come from: here, one file with all of them."""

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from include.errors import TenantsFileError
from include.tenants.document import Doubled, read_document
from include.tenants.problems import near_miss
from include.tenants.shards import ALL, Shard

TOP_LEVEL_KEYS: Final = ("defaults", "pools", "tenants")


@dataclass(frozen=True)
class Wanted:
    """Which entries are asked for. A task needs one, a DAG file those of its shard."""

    only: str | None = None
    shard: Shard = ALL

    @property
    def everybody(self) -> bool:
        return self.only is None and self.shard == ALL

    def includes(self, tenant_id: object) -> bool:
        """Say whether an entry is to be looked at; one without a proper id only if all are."""
        if self.everybody:
            return True
        if not isinstance(tenant_id, str):
            return False
        return self.only in (None, tenant_id) and self.shard.holds(tenant_id)


@dataclass(frozen=True)
class Entry:
    """``label``: what the entry is called in messages. ``content``: whatever stands there.

    ``problem``: why its content could not be read.
    """

    file: Path
    label: str
    content: Any = None
    problem: TenantsFileError | None = None

    @property
    def tenant_id(self) -> object:
        return self.content.get("id") if isinstance(self.content, dict) else None


@dataclass(frozen=True)
class Source:
    """``file``: where `defaults` and `pools` stand. ``problem``: not of any entry."""

    file: Path
    defaults: Any
    pools: Any
    entries: Iterable[Entry]
    problem: TenantsFileError | None = None


def read_file(path: Path, wanted: Wanted) -> Source:
    """Return the entries that are *wanted*. Raises TenantsFileError if the file can't be used."""
    document = read_document(path)
    top = top_level(path, document) if isinstance(document, dict) else {"tenants": document}
    entries = top.get("tenants")
    problem = None
    if entries is None and wanted.everybody:
        empty = "the file is empty, or a comment as a whole"
        problem = no_tenant(path, empty if document is None else "nothing is under 'tenants'")
    if not isinstance(entries, list | None):
        raise TenantsFileError(
            f"{path}: expected a list of tenants under the key 'tenants'.",
            remedy="The smallest file is:  tenants: [{id: acme}]",
        )
    return Source(
        path,
        top.get("defaults"),
        top.get("pools"),
        [
            Entry(path, _label(entry, position), entry)
            for position, entry in enumerate(entries or [], start=1)
            if wanted.includes(entry.get("id") if isinstance(entry, dict) else None)
        ],
        problem,
    )


def no_tenant(path: Path, why: str) -> TenantsFileError:
    """Return the problem of a file or directory from which all tenants may have been lost."""
    return TenantsFileError(
        f"{path}: there is no tenant: {why}.",
        remedy="The smallest file is:  tenants: [{id: acme}]  If there is to be none:  tenants: []",
    )


def top_level(path: Path, document: dict[Any, Any]) -> dict[str, Any]:
    """Return *document* if it has no unknown keys and none twice. Raises TenantsFileError."""
    if isinstance(document, Doubled):
        raise TenantsFileError(f"{path}: {document.problem}.", remedy="Make one of the two.")
    for key in document:
        if key not in TOP_LEVEL_KEYS:
            raise TenantsFileError(
                f"{path}: unknown key {key!r}{near_miss(str(key), TOP_LEVEL_KEYS)}.",
                remedy="At the top there are 'tenants', a list, 'defaults' for all of it, "
                "and 'pools'.",
            )
    return document


def _label(entry: Any, position: int) -> str:
    name = entry.get("id") if isinstance(entry, dict) else None
    return f"tenant {reprlib.repr(name)}" if name else f"entry {position}"
