"""The tenants, read again only when their file has changed: 5,000 entries take their time."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from include.tenants import Tenant, load_tenants, tenants_path

#: A directory of 5,000 files takes 30 ms to look through: not with every request.
LOOK_EVERY_S = 5.0

#: Name, modification time, size and inode of each file: a replaced or edited one has others.
_Stamp = frozenset[tuple[str, int, int, int]]


@dataclass(frozen=True)
class _Read:
    """``looked_at``: when the files were last found to be as they were read; monotonic, in s."""

    path: Path | None
    stamp: _Stamp | None
    tenants: dict[str, Tenant]
    looked_at: float


_last = _Read(None, None, {}, 0.0)
_lock = threading.Lock()


def tenants_by_id(clock: Callable[[], float] = time.monotonic) -> dict[str, Tenant]:
    """Return the usable tenants, in the order of their ids. Raises TenantsFileError.

    A change of the single file is seen at once, one in a directory after a few seconds.
    """
    global _last
    path = tenants_path()
    if _is_fresh(_last, path, clock()):
        return _last.tenants
    with _lock:
        if not _is_fresh(_last, path, clock()):
            now, stamp = clock(), _stamp(path)
            if path == _last.path and stamp is not None and stamp == _last.stamp:
                tenants = _last.tenants
            else:
                enabled = sorted(load_tenants().enabled, key=lambda tenant: tenant.id)
                tenants = {tenant.id: tenant for tenant in enabled}
            _last = _Read(path, stamp, tenants, now)
        return _last.tenants


def _is_fresh(last: _Read, path: Path, now: float) -> bool:
    if path != last.path or last.stamp is None:
        return False
    if path.is_dir():
        return now - last.looked_at < LOOK_EVERY_S
    return _stamp(path) == last.stamp


def _stamp(path: Path) -> _Stamp | None:
    try:
        if not path.is_dir():
            return frozenset({_of_file(path.name, path.stat)})
        with os.scandir(path) as found:
            return frozenset(_of_file(entry.name, entry.stat) for entry in found)
    except OSError:  # reading it says what is wrong
        return None


def _of_file(name: str, stat: Callable[[], os.stat_result]) -> tuple[str, int, int, int]:
    try:
        found = stat()
    except FileNotFoundError:  # a link that leads nowhere
        return name, 0, 0, 0
    return name, found.st_mtime_ns, found.st_size, found.st_ino
