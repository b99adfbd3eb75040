"""Reading the tenants file: its `defaults`, its entries, and what is wrong with them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from include.errors import TenantsFileError
from include.tenants.problems import near_miss, problems_of
from include.tenants.tenant import Tenant

DEFAULT_FILE = Path(__file__).parents[1] / "tenants.yaml"
#: The tenant that HUBSPOT_ACCESS_TOKEN stands for.
ENVIRONMENT_TENANT_ID = "default"
TOP_LEVEL_KEYS = ("defaults", "tenants")
#: Stands in for an entry's id while `defaults` are validated.
_ANY_ID = "any"


@dataclass(frozen=True)
class Tenants:
    """What a tenants file holds: the usable tenants, and what is wrong with the others."""

    enabled: tuple[Tenant, ...]
    problems: tuple[TenantsFileError, ...]


def load_tenants(environ: Mapping[str, str] = os.environ) -> Tenants:
    """Read the tenants file that *environ* points to.

    Raises TenantsFileError when the file as a whole, or its `defaults`, can't be used; entries
    that can't are returned as `problems`.
    """
    path = Path(environ.get("HUBSPOT_DEALS_TENANTS_FILE") or DEFAULT_FILE)
    defaults, entries = _content(path)
    tenants: dict[str, Tenant] = {}
    problems: list[TenantsFileError] = []
    for position, entry in enumerate(entries, start=1):
        try:
            tenant = _tenant(path, position, entry, defaults)
            if tenant.id in tenants:
                raise TenantsFileError(
                    f"{path}: tenant {tenant.id!r} is listed twice; the second entry is ignored.",
                    remedy="Remove one of the two.",
                )
        except TenantsFileError as problem:
            problems.append(problem)
        else:
            tenants[tenant.id] = tenant
    if environ.get("HUBSPOT_ACCESS_TOKEN") and ENVIRONMENT_TENANT_ID not in tenants:
        entry = {**defaults, "id": ENVIRONMENT_TENANT_ID}
        tenants[ENVIRONMENT_TENANT_ID] = Tenant.model_validate(entry)
    return Tenants(tuple(t for t in tenants.values() if t.enabled), tuple(problems))


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


def _content(path: Path) -> tuple[dict[str, Any], list[Any]]:
    document = _document(path)
    defaults: Any = None
    if isinstance(document, dict):
        for key in document:
            if key not in TOP_LEVEL_KEYS:
                raise TenantsFileError(
                    f"{path}: unknown key {key!r}{near_miss(str(key), TOP_LEVEL_KEYS)}.",
                    remedy="At the top there are 'tenants', a list, and 'defaults' for all of it.",
                )
        defaults, document = document.get("defaults"), document.get("tenants")
    if not isinstance(document, list | None):
        raise TenantsFileError(
            f"{path}: expected a list of tenants under the key 'tenants'.",
            remedy="The smallest file is:  tenants: [{id: acme}]",
        )
    entries = [_with_on(entry) for entry in document or []]
    return _defaults(path, _with_on(defaults)), entries


def _with_on(entry: Any) -> Any:
    """Return an entry in which `alerts.on` is called so: to YAML 1.1 an unquoted `on` is true."""
    alerts = entry.get("alerts") if isinstance(entry, dict) else None
    if not isinstance(alerts, dict) or True not in alerts:
        return entry
    return {
        **entry,
        "alerts": {"on" if key is True else key: value for key, value in alerts.items()},
    }


def _document(path: Path) -> Any:
    try:
        return yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    except OSError as exc:
        raise TenantsFileError(
            f"{path}: can't be read ({exc.strerror}).",
            remedy="Check HUBSPOT_DEALS_TENANTS_FILE and the file's permissions.",
        ) from exc
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise TenantsFileError(
            f"{path}: is not valid YAML{where}: {getattr(exc, 'problem', None) or exc}.",
            remedy="Correct the file; no DAG starts a new run until then.",
        ) from exc


def _defaults(path: Path, defaults: Any) -> dict[str, Any]:
    if defaults is None:
        return {}
    if not isinstance(defaults, dict):
        wrong = f"expected keys such as 'schedule', found {defaults!r}"
    elif "id" in defaults:
        wrong = "key 'id' can't be the same for all tenants"
    else:
        try:
            Tenant.model_validate({**defaults, "id": _ANY_ID})
        except ValidationError as exc:
            wrong = problems_of(exc)
        else:
            return defaults
    raise TenantsFileError(
        f"{path}: defaults: {wrong}.",
        remedy="They are part of every tenant: no DAG starts a new run until this is corrected.",
    )


def _tenant(path: Path, position: int, entry: object, defaults: Mapping[str, Any]) -> Tenant:
    name = entry.get("id") if isinstance(entry, dict) else None
    label = f"tenant {name!r}" if name else f"entry {position}"
    if not isinstance(entry, dict):
        raise TenantsFileError(
            f"{path}: {label}: expected keys such as 'id: acme', found {entry!r}.",
            remedy="The smallest entry is `- id: acme`.",
        )
    try:
        return Tenant.model_validate(merged(defaults, entry))
    except ValidationError as exc:
        raise TenantsFileError(
            f"{path}: {label}: {problems_of(exc)}.",
            remedy="Its DAG is not generated until this is corrected; the others are.",
        ) from exc
