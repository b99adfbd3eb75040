"""The tenants: `defaults` and entries, validated, and what is wrong with the others."""

import os
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from include.errors import TenantsFileError
from include.tenants.directory import read_directory
from include.tenants.document import doubled_key
from include.tenants.problems import near_miss, problems_of
from include.tenants.shards import ALL, NOBODY, Shard
from include.tenants.source import Entry, Source, Wanted, read_file
from include.tenants.tenant import DEFAULT_POOL, POOL_PATTERN, TENANT_ID_PATTERN, Tenant

DEFAULT_FILE = Path(__file__).parents[1] / "tenants.yaml"
#: The tenant that HUBSPOT_ACCESS_TOKEN stands for.
ENVIRONMENT_TENANT_ID = "default"
MOST_SLOTS = 100_000
#: Stands in for an entry's id while `defaults` are validated.
_ANY_ID = "any"
_NO_NEW_RUN = "no DAG starts a new run until this is corrected."


@dataclass(frozen=True)
class Tenants:
    """The usable tenants, what is wrong with the others, and Airflow's pools: name → slots."""

    all: tuple[Tenant, ...]
    problems: tuple[TenantsFileError, ...]
    pools: Mapping[str, int]

    @property
    def enabled(self) -> tuple[Tenant, ...]:
        return tuple(tenant for tenant in self.all if tenant.enabled)


def tenants_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file, or the directory, that holds the tenants."""
    return Path(environ.get("HUBSPOT_DEALS_TENANTS_FILE") or DEFAULT_FILE)


def load_tenants(
    environ: Mapping[str, str] = os.environ, *, only: str | None = None, shard: Shard = ALL
) -> Tenants:
    """Read the tenants that *environ* points to.

    Raises TenantsFileError when the file as a whole, or its `defaults`, can't be used; entries
    that can't are returned as `problems`.

    :param only: the id of one tenant: nothing else is validated, or read if it has its own file.
    :param shard: only the tenants of a DAG file. Entries without a proper id belong to none.
    """
    if only is not None and not re.fullmatch(TENANT_ID_PATTERN, only):
        return Tenants((), (), {})  # never a path, whatever it is
    wanted = Wanted(only, shard)
    source = _source(environ, wanted)
    pools = _pools(source)
    defaults = _defaults(source, pools)
    tenants, problems = _collected(source.entries, defaults, pools)
    if source.problem:
        problems.append(source.problem)
    if (
        environ.get("HUBSPOT_ACCESS_TOKEN")
        # an entry that can't be used must not become one with other settings
        and ENVIRONMENT_TENANT_ID not in {*tenants, *(problem.tenant_id for problem in problems)}
        and wanted.includes(ENVIRONMENT_TENANT_ID)
    ):
        of_environment = {**defaults, "id": ENVIRONMENT_TENANT_ID}
        tenants[ENVIRONMENT_TENANT_ID] = Tenant.model_validate(of_environment)
    return Tenants(tuple(tenants.values()), tuple(problems), pools)


def validated(entry: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Tenant:
    """Return the tenant that *entry* would be, with the defaults. Raises TenantsFileError."""
    source = _source(environ, Wanted(shard=NOBODY))
    pools = _pools(source)
    named = Entry(source.file, f"tenant {entry['id']!r}", dict(entry))
    return _tenant(named, _defaults(source, pools), pools)


def merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return *entry* with what it leaves out from *defaults*, mapping by mapping.

    Lists and single values of the entry replace the defaults' as a whole.
    """
    result = dict(defaults)
    for key, value in entry.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def _source(environ: Mapping[str, str], wanted: Wanted) -> Source:
    path = tenants_path(environ)
    return read_directory(path, wanted) if path.is_dir() else read_file(path, wanted)


def _collected(
    entries: Iterable[Entry],
    defaults: Mapping[str, Any],
    pools: Mapping[str, int],
) -> tuple[dict[str, Tenant], list[TenantsFileError]]:
    tenants: dict[str, Tenant] = {}
    problems: list[TenantsFileError] = []
    for entry in entries:
        try:
            if entry.problem:
                raise entry.problem
            tenant = _tenant(entry, defaults, pools)
            if tenant.id in tenants:
                raise TenantsFileError(
                    f"{entry.file}: tenant {tenant.id!r} is listed twice; "
                    "the second entry is ignored.",
                    remedy="Remove one of the two.",
                )
        except TenantsFileError as problem:
            if isinstance(entry.tenant_id, str):
                problem.tenant_id = entry.tenant_id
            problems.append(problem)
        else:
            tenants[tenant.id] = tenant
    return tenants, problems


def _pools(source: Source) -> dict[str, int]:
    pools = {} if source.pools is None else source.pools
    wrong = None
    if doubled := doubled_key(pools):
        wrong = doubled
    elif not isinstance(pools, dict):
        wrong = f"expected names and slots such as 'hubspot_large: 2', found {reprlib.repr(pools)}"
    else:
        for name, slots in pools.items():
            if not isinstance(name, str) or not re.fullmatch(POOL_PATTERN, name):
                wrong = f"name {reprlib.repr(name)} must match {POOL_PATTERN}"
            elif name == DEFAULT_POOL:
                wrong = f"{DEFAULT_POOL!r} is Airflow's own: its slots are set in Airflow"
            elif type(slots) is not int or not 1 <= slots <= MOST_SLOTS:
                wrong = f"{name!r} has {reprlib.repr(slots)} slots; expected 1 to {MOST_SLOTS}"
    if wrong is None:
        return dict(pools)
    raise TenantsFileError(f"{source.file}: pools: {wrong}.", remedy=f"Until then {_NO_NEW_RUN}")


def _defaults(source: Source, pools: Mapping[str, int]) -> dict[str, Any]:
    defaults = source.defaults
    if defaults is None:
        return {}
    if not isinstance(defaults, dict):
        wrong = f"expected keys such as 'schedule', found {reprlib.repr(defaults)}"
    elif doubled := doubled_key(defaults):
        wrong = doubled
    elif "id" in defaults:
        wrong = "key 'id' can't be the same for all tenants"
    else:
        try:
            _valid({**defaults, "id": _ANY_ID}, pools)
        except ValueError as exc:
            wrong = str(exc)
        else:
            return defaults
    raise TenantsFileError(
        f"{source.file}: defaults: {wrong}.",
        remedy=f"They are part of every tenant: {_NO_NEW_RUN}",
    )


def _tenant(entry: Entry, defaults: Mapping[str, Any], pools: Mapping[str, int]) -> Tenant:
    if not isinstance(entry.content, dict):
        raise TenantsFileError(
            f"{entry.file}: {entry.label}: expected keys such as 'id: acme', "
            f"found {reprlib.repr(entry.content)}.",
            remedy="The smallest entry is `- id: acme`.",
        )
    try:
        if doubled := doubled_key(entry.content):
            raise ValueError(doubled)
        return _valid(merged(defaults, entry.content), pools)
    except ValueError as exc:
        raise TenantsFileError(
            f"{entry.file}: {entry.label}: {exc}.",
            remedy="Its DAG is not generated until this is corrected; the others are.",
        ) from exc


def _valid(entry: Mapping[str, Any], pools: Mapping[str, int]) -> Tenant:
    """Return the tenant. Raises ValueError, which says all that is wrong."""
    try:
        tenant = Tenant.model_validate(entry)
    except ValidationError as exc:
        raise ValueError(problems_of(exc)) from exc
    # Airflow would leave tasks of a pool that isn't there waiting for ever, without a word.
    if tenant.pool != DEFAULT_POOL and tenant.pool not in pools:
        near = near_miss(tenant.pool, pools)
        raise ValueError(f"pool {tenant.pool!r} is not listed under 'pools'{near}")
    return tenant
