"""The API server's copy of the tenants file, read again when it has changed."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

from include.tenants import Tenant, load_tenants, tenants_path
from include.tenants.model import near_miss
from include.web.access import may, not_found, visible_dag_ids

#: Looking through a directory of 5,000 files takes 30 ms: too much for each request.
LOOK_EVERY_S = 5.0

#: Name, modification time, size and inode of each file: a replaced or edited one has others.
_Stamp = frozenset[tuple[str, int, int, int]]


class _Read(NamedTuple):
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
    with _lock:
        known, now = path == _last.path and _last.stamp is not None, clock()
        if known and path.is_dir() and now - _last.looked_at < LOOK_EVERY_S:
            return _last.tenants
        stamp = _stamp(path)
        if known and stamp == _last.stamp:
            tenants = _last.tenants
        else:
            enabled = sorted(load_tenants().enabled, key=lambda tenant: tenant.id)
            tenants = {tenant.id: tenant for tenant in enabled}
        _last = _Read(path, stamp, tenants, now)
        return tenants


def known_tenant(tenant_id: str, user: BaseUser) -> Tenant:
    """Return a tenant that *user* may see. Raises Problem, which names one with a similar id."""
    tenants = tenants_by_id()
    tenant = tenants.get(tenant_id)
    if tenant is not None and may(user, "GET", tenant.dag_id):
        return tenant
    visible = visible_dag_ids(user)
    ids = [tenant.id for tenant in tenants.values() if tenant.dag_id in visible]
    raise not_found("tenant", near_miss(tenant_id, ids))


def _stamp(path: Path) -> _Stamp | None:
    try:
        files = list(os.scandir(path)) if path.is_dir() else [path]
        return frozenset(map(_of_file, files))
    except OSError:  # load_tenants says what is wrong
        return None


def _of_file(file: Path | os.DirEntry[str]) -> tuple[str, int, int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:  # a broken link
        return file.name, 0, 0, 0
    return file.name, found.st_mtime_ns, found.st_size, found.st_ino
