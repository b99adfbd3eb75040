"""The tenants: entries of a file or a directory, with `defaults`, and the problems in them."""

import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from include.errors import TenantsFileError
from include.tenants.document import Doubled, doubled_key, read_document
from include.tenants.model import (
    DEFAULT_POOL,
    POOL_PATTERN,
    TENANT_ID_PATTERN,
    AlertSettings,
    AppriseChannel,
    Channel,
    OtherObject,
    SlackChannel,
    SmtpChannel,
    Tenant,
    WebhookChannel,
    as_objects,
    near_miss,
)
from include.tenants.shards import ALL, Shard

DEFAULT_FILE = Path(__file__).parents[1] / "tenants.yaml"
#: The tenant that HUBSPOT_ACCESS_TOKEN stands for.
ENVIRONMENT_TENANT_ID = "default"
TOP_LEVEL_KEYS: Final = ("defaults", "pools", "tenants")
#: In a directory, the file that holds what the top level of a single file holds.
DEFAULTS_NAME: Final = "_defaults"
SUFFIXES: Final = (".yaml", ".json")
#: The longest entry is a list of a thousand names of properties.
MOST_BYTES_OF_AN_ENTRY: Final = 200_000
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
    wanted = _Wanted(only, shard)
    source = _source(environ, wanted)
    tenants: dict[str, Tenant] = {}
    problems: list[TenantsFileError] = []
    for entry in source.entries:
        try:
            if isinstance(entry, TenantsFileError):
                raise entry
            tenant = _tenant(entry, source)
            if tenant.id in tenants:
                raise TenantsFileError(
                    f"{entry.file}: tenant {tenant.id!r} is listed twice; "
                    "the second entry is ignored.",
                    remedy="Remove one of the two.",
                )
            tenants[tenant.id] = tenant
        except TenantsFileError as problem:
            if isinstance(entry, _Entry):
                problem.tenant_id = entry.tenant_id
            problems.append(problem)
    if (
        environ.get("HUBSPOT_ACCESS_TOKEN")
        # an entry that can't be used must not become one with other settings
        and ENVIRONMENT_TENANT_ID not in {*tenants, *(problem.tenant_id for problem in problems)}
        and wanted.includes(ENVIRONMENT_TENANT_ID)
    ):
        of_environment = {**source.defaults, "id": ENVIRONMENT_TENANT_ID}
        tenants[ENVIRONMENT_TENANT_ID] = Tenant.model_validate(of_environment)
    return Tenants(tuple(tenants.values()), tuple(problems), source.pools)


def validated(entry: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Tenant:
    """Return the tenant that *entry* would be, with the defaults. Raises TenantsFileError."""
    source = _source(environ, _Wanted(only=entry["id"]))
    return _tenant(_Entry(tenants_path(environ), f"tenant {entry['id']!r}", dict(entry)), source)


def merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return *entry* with what it leaves out from *defaults*, mapping by mapping.

    Lists and single values of the entry replace the defaults' as a whole.
    """
    result = dict(defaults)
    for key, value in entry.items():
        below = result.get(key)
        if key == "objects":
            below, value = as_objects(below), as_objects(value)
        if isinstance(below, dict) and isinstance(value, dict):
            value = merged(below, value)
        result[key] = value
    return result


@dataclass(frozen=True)
class _Wanted:
    """Which entries are asked for. A task needs one, a DAG file those of its shard."""

    only: str | None = None
    shard: Shard = ALL

    @property
    def all(self) -> bool:
        return self.only is None and self.shard == ALL

    def includes(self, tenant_id: object) -> bool:
        """Say whether an entry is to be looked at; one without a proper id only if all are."""
        if self.all or not isinstance(tenant_id, str):
            return self.all
        return self.only in (None, tenant_id) and self.shard.holds(tenant_id)


@dataclass(frozen=True)
class _Entry:
    """``label``: what the entry is called in messages. ``content``: whatever stands there."""

    file: Path
    label: str
    content: Any

    @property
    def tenant_id(self) -> str | None:
        stated = self.content.get("id") if isinstance(self.content, dict) else None
        return stated if isinstance(stated, str) else None


class _Source:
    """Pools and defaults, which are checked here, and entries, which are not.

    A TenantsFileError among the entries stands for one that can't be read, or for all.
    """

    def __init__(
        self, file: Path, top: Mapping[str, Any], entries: Iterable[_Entry | TenantsFileError]
    ) -> None:
        self.file = file
        self.entries = entries
        self.pools = self._pools(top.get("pools"))
        self.defaults = self._defaults(top.get("defaults"))

    def _pools(self, pools: Any) -> dict[str, int]:
        pools = {} if pools is None else pools
        wrong = doubled_key(pools)
        if not isinstance(pools, dict):
            found = reprlib.repr(pools)
            wrong = f"expected names and slots such as 'hubspot_large: 2', found {found}"
        elif not wrong:
            for name, slots in pools.items():
                if not isinstance(name, str) or not re.fullmatch(POOL_PATTERN, name):
                    wrong = f"name {reprlib.repr(name)} must match {POOL_PATTERN}"
                elif name == DEFAULT_POOL:
                    wrong = f"{DEFAULT_POOL!r} is Airflow's own: its slots are set in Airflow"
                elif type(slots) is not int or not 1 <= slots <= MOST_SLOTS:
                    wrong = f"{name!r} has {reprlib.repr(slots)} slots; expected 1 to {MOST_SLOTS}"
        if wrong:
            raise TenantsFileError(
                f"{self.file}: pools: {wrong}.", remedy=f"Until then {_NO_NEW_RUN}"
            )
        return dict(pools)

    def _defaults(self, defaults: Any) -> dict[str, Any]:
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
                self.valid({**defaults, "id": _ANY_ID})
            except ValueError as exc:
                wrong = str(exc)
            else:
                return defaults
        raise TenantsFileError(
            f"{self.file}: defaults: {wrong}.",
            remedy=f"They are part of every tenant: {_NO_NEW_RUN}",
        )

    def valid(self, entry: Mapping[str, Any]) -> Tenant:
        """Return the tenant. Raises ValueError, which says all that is wrong."""
        try:
            tenant = Tenant.model_validate(entry)
        except ValidationError as exc:
            raise ValueError(problems_of(exc)) from exc
        # Airflow would leave tasks of a pool that isn't there waiting for ever, without a word.
        if tenant.pool != DEFAULT_POOL and tenant.pool not in self.pools:
            near = near_miss(tenant.pool, self.pools)
            raise ValueError(f"pool {tenant.pool!r} is not listed under 'pools'{near}")
        return tenant


def _tenant(entry: _Entry, source: _Source) -> Tenant:
    if not isinstance(entry.content, dict):
        raise TenantsFileError(
            f"{entry.file}: {entry.label}: expected keys such as 'id: acme', "
            f"found {reprlib.repr(entry.content)}.",
            remedy="The smallest entry is `- id: acme`.",
        )
    try:
        if doubled := doubled_key(entry.content):
            raise ValueError(doubled)
        return source.valid(merged(source.defaults, entry.content))
    except ValueError as exc:
        raise TenantsFileError(
            f"{entry.file}: {entry.label}: {exc}.",
            remedy="Its DAG is not generated until this is corrected; the others are.",
        ) from exc


def _source(environ: Mapping[str, str], wanted: _Wanted) -> _Source:
    path = tenants_path(environ)
    return _read_directory(path, wanted) if path.is_dir() else _read_file(path, wanted)


def _read_file(path: Path, wanted: _Wanted) -> _Source:
    document = read_document(path)
    top = _top_level(path, document) if isinstance(document, dict) else {"tenants": document}
    listed = top.get("tenants")
    if not isinstance(listed, list | None):
        raise TenantsFileError(
            f"{path}: expected a list of tenants under the key 'tenants'.",
            remedy="The smallest file is:  tenants: [{id: acme}]",
        )
    entries: list[_Entry | TenantsFileError] = []
    for position, content in enumerate(listed or [], start=1):
        tenant_id = content.get("id") if isinstance(content, dict) else None
        if wanted.includes(tenant_id):
            label = f"tenant {reprlib.repr(tenant_id)}" if tenant_id else f"entry {position}"
            entries.append(_Entry(path, label, content))
    if listed is None and wanted.all:
        empty = "the file is empty, or a comment as a whole"
        why = empty if document is None else "nothing is under 'tenants'"
        entries.append(_no_tenant(path, why))
    return _Source(path, top, entries)


def _no_tenant(path: Path, why: str) -> TenantsFileError:
    """Return the problem of a file or directory from which all tenants may have been lost."""
    return TenantsFileError(
        f"{path}: there is no tenant: {why}.",
        remedy="The smallest file is:  tenants: [{id: acme}]  If there is to be none:  tenants: []",
    )


def _top_level(path: Path, document: dict[Any, Any]) -> dict[str, Any]:
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


def _read_directory(folder: Path, wanted: _Wanted) -> _Source:
    """Files are read when the entries are iterated."""
    top: dict[str, Any] = {}
    file = folder / f"{DEFAULTS_NAME}.yaml"
    found = [path for path in (file, file.with_suffix(".json")) if os.path.lexists(path)]
    if len(found) > 1:
        raise TenantsFileError(
            f"{found[0]}: there is {found[1].name} as well.", remedy="Make one file of the two."
        )
    if found:
        file = found[0]
        document = read_document(file)
        if not isinstance(document, dict | None) or "tenants" in (document or ()):
            raise TenantsFileError(
                f"{file}: expected the keys 'defaults' and 'pools' only.",
                remedy="Each tenant has its own file beside it.",
            )
        top = _top_level(file, document or {})
    names = _names(folder, wanted)
    if not names and wanted.all:
        nothing = _no_tenant(folder, "the directory holds no tenant's file")
        return _Source(file, top, [nothing])
    return _Source(file, top, _entries_of(folder, names))


def _names(folder: Path, wanted: _Wanted) -> list[str]:
    """Return the names of files to look at; a task looks for two, and lists nothing."""
    if wanted.only is not None:
        names = [f"{wanted.only}{suffix}" for suffix in SUFFIXES]
        return [name for name in names if os.path.lexists(folder / name)]
    try:
        names = os.listdir(folder)  # noqa: PTH208 - 5,000 Paths are not needed
    except OSError as exc:
        raise TenantsFileError(
            f"{folder}: can't be read ({exc.strerror}).",
            remedy="Check HUBSPOT_DEALS_TENANTS_FILE and the directory's permissions.",
        ) from exc
    stems = {name: os.path.splitext(name)[0] for name in names if not _is_no_entry(name)}  # noqa: PTH122
    # .yaml before .json, as a task looks for them
    names = sorted(stems, key=lambda name: (stems[name], not name.endswith(".yaml"), name))
    return [name for name in names if wanted.includes(stems[name])]


def _is_no_entry(name: str) -> bool:
    """Return whether the file is no tenant's: hidden ones, and a README.

    Kubernetes mounts ConfigMaps with hidden directories, editors leave hidden files.
    """
    if name.startswith("."):
        return not name.endswith(SUFFIXES)
    return name in {f"{DEFAULTS_NAME}{suffix}" for suffix in SUFFIXES} or name.startswith("README")


def _entries_of(folder: Path, names: list[str]) -> Iterator[_Entry | TenantsFileError]:
    for name in names:
        path = folder / name
        try:
            _require_entry_file(path)
            content = read_document(path, MOST_BYTES_OF_AN_ENTRY)
            content = {} if content is None else content
            # The name of the file is the id; one that the file states must be the same.
            stated = content.setdefault("id", path.stem) if isinstance(content, dict) else path.stem
            if stated != path.stem:
                raise TenantsFileError(
                    f"{path}: states the id {reprlib.repr(stated)}; the name says {path.stem!r}.",
                    remedy="Take the id out, or rename the file.",
                )
            yield _Entry(path, f"tenant {path.stem!r}", content)
        except TenantsFileError as problem:
            problem.tenant_id = path.stem
            yield problem


def _require_entry_file(path: Path) -> None:
    """Raise TenantsFileError unless *path* looks like the file of a tenant."""
    if path.name.startswith("."):
        wrong = "hidden files are no tenants"
    elif path.suffix not in SUFFIXES or not path.name.isprintable():
        wrong = "a tenant's file is called <id>.yaml or <id>.json"
    elif path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        wrong = "a link that leads out of the directory is not followed"
    else:
        return
    raise TenantsFileError(
        f"{str(path)!r}: {wrong}.", remedy="Rename it, or take it out of the directory."
    )


#: The models below `alerts`, by the key that they stand under.
_MODELS: dict[str, type[BaseModel]] = {
    "alerts": AlertSettings,
    "channels": Channel,
    "smtp": SmtpChannel,
    "slack": SlackChannel,
    "webhook": WebhookChannel,
    "apprise": AppriseChannel,
}


def problems_of(exc: ValidationError) -> str:
    """Return all that a validation found, each problem once, as one line."""
    return "; ".join(dict.fromkeys(map(_problem, exc.errors())))


def _problem(error: Any) -> str:
    # pydantic names the branch of a union it tried: "tuple[…]", "literal[…]"
    path = [str(part) for part in error["loc"] if "[" not in str(part)]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}{_hint(path)}"
    if error["type"] == "missing":
        return f"key {key!r} is missing"
    if key == "id":
        return f"id {error['input']!r} must match {TENANT_ID_PATTERN}"
    named = [part for part in path if not part.isdecimal()]
    if named and named[-1].endswith(("properties", "property_history")):
        of_all = "'all' or a list of HubSpot's internal property names"
        return f"key {'.'.join(named)!r}: expected {of_all}"
    return f"key {key!r}: {str(error['msg']).removeprefix('Value error, ')}"


def _hint(path: list[str]) -> str:
    """Return what an unknown key may have been meant to be."""
    *parents, key = path
    if not parents:
        return near_miss(key, Tenant.model_fields)
    named = [part for part in parents if not part.isdecimal()]
    model = OtherObject if named[0] == "objects" else _MODELS[named[-1]]
    known = [field.alias or name for name, field in model.model_fields.items()]
    return near_miss(key, known) or f" (possible: {', '.join(known)})"
