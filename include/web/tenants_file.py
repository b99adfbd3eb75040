"""The tenants file, read again only when it has changed: 1,000 entries take their time."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from include.tenants import DEFAULT_FILE, Tenant, load_tenants

#: Modification time, size and inode: a file that was replaced or edited has others.
_Stamp = tuple[str, int, int, int]


@dataclass(frozen=True)
class _Read:
    stamp: _Stamp | None
    tenants: dict[str, Tenant]


_last = _Read(None, {})
_lock = threading.Lock()


def tenants_by_id() -> dict[str, Tenant]:
    """Return the usable tenants, in the order of their ids. Raises TenantsFileError."""
    global _last
    stamp = _stamp()
    if stamp is not None and stamp == _last.stamp:
        return _last.tenants
    with _lock:
        if stamp is None or stamp != _last.stamp:
            enabled = sorted(load_tenants().enabled, key=lambda tenant: tenant.id)
            _last = _Read(stamp, {tenant.id: tenant for tenant in enabled})
        return _last.tenants


def _stamp() -> _Stamp | None:
    path = Path(os.environ.get("HUBSPOT_DEALS_TENANTS_FILE") or DEFAULT_FILE)
    try:
        found = path.stat()
    except OSError:  # reading it says what is wrong
        return None
    return str(path), found.st_mtime_ns, found.st_size, found.st_ino
