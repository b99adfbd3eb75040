"""Where entries of tenants come from: here, one file with all of them."""

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from include.errors import TenantsFileError
from include.tenants.document import read_document
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
    """``label``: what the entry is called in messages. ``content``: whatever stands there."""

    file: Path
    label: str
    content: Any


@dataclass(frozen=True)
class Source:
    """``file``: where `defaults` and `pools` stand. A problem stands in for an unreadable entry."""

    file: Path
    defaults: Any
    pools: Any
    entries: Iterable[Entry | TenantsFileError]


def read_file(path: Path, wanted: Wanted) -> Source:
    """Return the entries that are *wanted*. Raises TenantsFileError if the file can't be used."""
    document = read_document(path)
    top = top_level(path, document) if isinstance(document, dict) else {"tenants": document}
    entries = top.get("tenants")
    if not isinstance(entries, list | None):
        raise TenantsFileError(
            f"{path}: expected a list of tenants under the key 'tenants'.",
            remedy="The smallest file is:  tenants: [{id: acme}]",
        )
    return Source(
        path,
        with_on(top.get("defaults")),
        top.get("pools"),
        [
            Entry(path, _label(entry, position), with_on(entry))
            for position, entry in enumerate(entries or [], start=1)
            if wanted.includes(entry.get("id") if isinstance(entry, dict) else None)
        ],
    )


def top_level(path: Path, document: dict[Any, Any]) -> dict[str, Any]:
    """Return *document* if it has no unknown keys. Raises TenantsFileError."""
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


def with_on(entry: Any) -> Any:
    """Return an entry in which `alerts.on` is called so: to YAML 1.1 an unquoted `on` is true."""
    alerts = entry.get("alerts") if isinstance(entry, dict) else None
    if not isinstance(alerts, dict) or True not in alerts:
        return entry
    return {
        **entry,
        "alerts": {"on" if key is True else key: value for key, value in alerts.items()},
    }
