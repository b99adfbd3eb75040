"""Permissions of users on tenants, and the tenants themselves.

Airflow's auth manager decides. A user who may read the runs of a tenant's DAG sees the tenant and
its scans; creating runs allows starting scans, and editing runs allows cancelling and retrying
them.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel
from fastapi import Depends, Request

from include.tenants import Tenant, load_tenants, tenants_path
from include.tenants.model import DAG_ID_PREFIX, TENANT_ID_PATTERN, near_miss
from include.web.problems import Code, Problem

Method = Literal["GET", "POST", "PUT"]
User = Annotated[BaseUser, Depends(get_user)]


def visible_dag_ids(user: BaseUser) -> set[str]:
    """Return the DAGs whose runs *user* may read."""
    manager = get_auth_manager()
    dag_ids: set[str] = manager.get_authorized_dag_ids(user=user, method="GET")
    if manager.is_authorized_dag(method="GET", access_entity=DagAccessEntity.RUN, user=user):
        return dag_ids
    # the right to read runs can also be granted for single DAGs
    return {dag_id for dag_id in dag_ids if may(user, "GET", dag_id)}


def may(user: BaseUser, method: Method, dag_id: str) -> bool:
    """Return whether *user* may read, create or change the runs of a DAG."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=DagAccessEntity.RUN, details=details, user=user
    )


def require(user: BaseUser, method: Method, dag_id: str, what: str) -> None:
    """Raise a problem unless *user* may. Without read access, it does not reveal the DAG."""
    if not may(user, "GET", dag_id):
        raise not_found(what)
    if method != "GET" and not may(user, method, dag_id):
        doing = "start scans" if method == "POST" else "cancel or retry scans"
        raise Problem(
            Code.FORBIDDEN,
            f"You may read the runs of DAG {dag_id}, but not {doing}.",
            remedy="Ask an Airflow administrator for this permission.",
        )


def not_found(what: str, hint: str = "") -> Problem:
    return Problem(Code.NOT_FOUND, f"There is no such {what}, or you may not see it{hint}.")


def require_same_origin(request: Request) -> None:
    """Refuse cross-site requests, with which browsers send Airflow's cookie.

    A token in the Authorization header is safe: browsers do not add it.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_own = site == "same-origin"
    else:
        is_own = origin is not None and urlsplit(origin).netloc == request.url.netloc
    if not is_own:
        raise Problem(
            Code.CROSS_SITE,
            "A request with a cookie may change something only if it comes from a page of this "
            "Airflow (headers Sec-Fetch-Site, Origin).",
            remedy="In programs, send the header Authorization: Bearer <token> instead.",
        )


SameOrigin = Depends(require_same_origin)


#: Checking a directory of 5,000 files for changes takes 30 ms: too much for each request.
CHECK_EVERY_S = 5.0

#: Name, modification time, size and inode of each file. Editing or replacing it changes them.
_Stamp = frozenset[tuple[str, int, int, int]]

_lock = threading.Lock()


def tenants_by_id(clock: Callable[[], float] = time.monotonic) -> dict[str, Tenant]:
    """Return the enabled tenants, sorted by id. Raises TenantsFileError.

    A changed tenants file is read again at once, a changed directory within `CHECK_EVERY_S`.
    """
    return _tenants_file(clock)[0]


def invalid_entries(user: BaseUser) -> int:
    """Return how many entries of the tenants file are invalid, of those that *user* may see.

    Raises TenantsFileError.
    """
    return sum(may(user, "GET", dag_id) for dag_id in _tenants_file(time.monotonic)[1])


def _tenants_file(clock: Callable[[], float]) -> tuple[dict[str, Tenant], list[str]]:
    path = tenants_path()
    with _lock:
        is_folder = path.is_dir()
        stamp = _stamp_of_folder(path, clock() // CHECK_EVERY_S) if is_folder else _stamp([path])
        return _tenants(path, stamp)


@lru_cache(maxsize=1)
def _tenants(path: Path, stamp: _Stamp) -> tuple[dict[str, Tenant], list[str]]:
    """Read the tenants of *path* and the DAGs of its invalid entries, once for each *stamp*.

    The DAG of an entry without a valid id is one that only who may see all DAGs may see.
    """
    tenants = load_tenants()
    enabled = sorted(tenants.enabled, key=lambda tenant: tenant.id)
    invalid = [f"{DAG_ID_PREFIX}{problem.tenant_id or ''}" for problem in tenants.problems]
    return {tenant.id: tenant for tenant in enabled}, invalid


@lru_cache(maxsize=1)
def _stamp_of_folder(path: Path, period: float) -> _Stamp:
    """Return the stamp of the files in *path*, computed once in a *period*."""
    try:
        return _stamp(os.scandir(path))
    except OSError:  # load_tenants raises it again, with a message
        return frozenset()


def _stamp(files: Iterable[Path | os.DirEntry[str]]) -> _Stamp:
    return frozenset(map(_stamp_of_file, files))


def _stamp_of_file(file: Path | os.DirEntry[str]) -> tuple[str, int, int, int]:
    try:
        stat = file.stat()
    except OSError:  # a broken link; of other reasons, load_tenants raises it again
        return file.name, 0, 0, 0
    return file.name, stat.st_mtime_ns, stat.st_size, stat.st_ino


def known_tenant(tenant_id: str, user: BaseUser) -> Tenant:
    """Return a tenant that *user* may see. Raises Problem, which suggests a similar id."""
    tenants = tenants_by_id()
    tenant = tenants.get(tenant_id)
    is_id = re.fullmatch(TENANT_ID_PATTERN, tenant_id)
    if is_id and may(user, "GET", f"{DAG_ID_PREFIX}{tenant_id}"):
        if tenant is not None:
            return tenant
        _require_no_entry(tenant_id)
    visible = visible_dag_ids(user)
    ids = [tenant.id for tenant in tenants.values() if tenant.dag_id in visible]
    raise not_found("tenant", near_miss(tenant_id, ids))


def _require_no_entry(tenant_id: str) -> None:
    """Raise a problem if the tenants file has an invalid or disabled entry of the tenant."""
    of_tenant = load_tenants(only=tenant_id)
    if of_tenant.problems:
        raise Problem(
            Code.TENANTS_FILE,
            f"The entry of tenant {tenant_id} in the tenants file is invalid. Airflow's import "
            "errors say why.",
            remedy="See docs/runbook.md#tenants-file.",
        )
    if of_tenant.all and not of_tenant.enabled:
        raise Problem(
            Code.NOT_FOUND,
            f"Tenant {tenant_id} is disabled in the tenants file.",
            remedy=f"Enable it there. Its scans are in GET /scans?tenant={tenant_id}.",
        )
