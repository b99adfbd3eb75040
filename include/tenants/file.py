"""Reads tenants, `defaults` and pools from the tenants file or directory."""

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
    merged,
    near_miss,
)
from include.tenants.shards import ALL, Shard

DEFAULT_FILE = Path(__file__).parents[1] / "tenants.yaml"
#: The tenant whose token is HUBSPOT_ACCESS_TOKEN.
ENVIRONMENT_TENANT_ID = "default"
TOP_LEVEL_KEYS: Final = ("defaults", "pools", "tenants")
#: In a directory, the file with the keys `defaults` and `pools`.
DEFAULTS_NAME: Final = "_defaults"
SUFFIXES: Final = (".yaml", ".json")
#: Enough for an entry with a thousand property names.
MOST_BYTES_OF_AN_ENTRY: Final = 200_000
MOST_SLOTS = 100_000
#: The id with which `defaults` are validated.
_ANY_ID = "any"
_NO_NEW_RUN = "No DAG starts a new run until this is corrected."


@dataclass(frozen=True)
class Tenants:
    """The valid tenants, the problems of the others, and the slots of pools by name."""

    all: tuple[Tenant, ...]
    problems: tuple[TenantsFileError, ...]
    pools: Mapping[str, int]

    @property
    def enabled(self) -> tuple[Tenant, ...]:
        return tuple(tenant for tenant in self.all if tenant.enabled)


def tenants_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the tenants file or directory."""
    return Path(environ.get("HUBSPOT_DEALS_TENANTS_FILE") or DEFAULT_FILE)


def load_tenants(
    environ: Mapping[str, str] = os.environ, *, only: str | None = None, shard: Shard = ALL
) -> Tenants:
    """Read the tenants. Invalid entries are returned as `problems`.

    Raises TenantsFileError if the file as a whole, its `defaults` or its `pools` are invalid.

    :param only: validate the tenant with this id only; in a directory, read only its file.
    :param shard: only the tenants of this shard; entries without a valid id belong to none.
    """
    if only is not None and not re.fullmatch(TENANT_ID_PATTERN, only):
        return Tenants((), (), {})  # must not become a path
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
                    f"{entry.file}: tenant {tenant.id!r} is listed twice. "
                    "The second entry is ignored.",
                    remedy="Remove one of the two.",
                )
            tenants[tenant.id] = tenant
        except TenantsFileError as problem:
            if isinstance(entry, _Entry):
                problem.tenant_id = entry.tenant_id
            problems.append(problem)
    if (
        environ.get("HUBSPOT_ACCESS_TOKEN")
        # an invalid entry must not be replaced by one with other settings
        and ENVIRONMENT_TENANT_ID not in {*tenants, *(problem.tenant_id for problem in problems)}
        and wanted.includes(ENVIRONMENT_TENANT_ID)
    ):
        of_environment = {**source.defaults, "id": ENVIRONMENT_TENANT_ID}
        tenants[ENVIRONMENT_TENANT_ID] = Tenant.model_validate(of_environment)
    return Tenants(tuple(tenants.values()), tuple(problems), source.pools)


def validated(entry: Mapping[str, Any]) -> Tenant:
    """Return the tenant of *entry* with the file's defaults. Raises TenantsFileError."""
    source = _source(os.environ, _Wanted(only=entry["id"]))
    return _tenant(_Entry(tenants_path(), f"tenant {entry['id']!r}", dict(entry)), source)


@dataclass(frozen=True)
class _Wanted:
    """The entries to validate: for a task one, for a DAG file those of its shard."""

    only: str | None = None
    shard: Shard = ALL

    @property
    def all(self) -> bool:
        return self.only is None and self.shard == ALL

    def includes(self, tenant_id: object) -> bool:
        """Whether to validate the entry with this id; an invalid id only if all entries are."""
        if self.all or not isinstance(tenant_id, str):
            return self.all
        return self.only in (None, tenant_id) and self.shard.holds(tenant_id)


@dataclass(frozen=True)
class _Entry:
    """An entry before validation. ``label``: its name in messages."""

    file: Path
    label: str
    content: Any

    @property
    def tenant_id(self) -> str | None:
        stated = self.content.get("id") if isinstance(self.content, dict) else None
        return stated if isinstance(stated, str) else None


class _Source:
    """Validated pools and defaults, and unvalidated entries.

    A TenantsFileError among the entries is the problem of a file or of the whole source.
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
                    wrong = f"set the slots of {DEFAULT_POOL!r} in Airflow"
                elif type(slots) is not int or not 1 <= slots <= MOST_SLOTS:
                    wrong = f"{name!r} has {reprlib.repr(slots)} slots; expected 1 to {MOST_SLOTS}"
        if wrong:
            raise TenantsFileError(f"{self.file}: pools: {wrong}.", remedy=_NO_NEW_RUN)
        return dict(pools)

    def _defaults(self, defaults: Any) -> dict[str, Any]:
        if defaults is None:
            return {}
        if not isinstance(defaults, dict):
            wrong = f"expected keys such as 'schedule', found {reprlib.repr(defaults)}"
        elif doubled := doubled_key(defaults):
            wrong = doubled
        elif "id" in defaults:
            wrong = "key 'id' must differ between tenants"
        else:
            try:
                self.valid({**defaults, "id": _ANY_ID})
            except ValueError as exc:
                wrong = str(exc)
            else:
                return defaults
        raise TenantsFileError(f"{self.file}: defaults: {wrong}.", remedy=_NO_NEW_RUN)

    def valid(self, entry: Mapping[str, Any]) -> Tenant:
        """Return the tenant. Raises ValueError with all problems."""
        try:
            tenant = Tenant.model_validate(entry)
        except ValidationError as exc:
            raise ValueError(problems_of(exc)) from exc
        # Airflow never starts tasks of a pool that does not exist.
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
            remedy="Its DAG is missing until this is corrected. Other tenants are not affected.",
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
            remedy="The smallest file is `tenants: [{id: acme}]`.",
        )
    entries: list[_Entry | TenantsFileError] = []
    for position, content in enumerate(listed or [], start=1):
        tenant_id = content.get("id") if isinstance(content, dict) else None
        if wanted.includes(tenant_id):
            label = f"tenant {reprlib.repr(tenant_id)}" if tenant_id else f"entry {position}"
            entries.append(_Entry(path, label, content))
    if listed is None and wanted.all:
        empty = "the file has no content"
        why = empty if document is None else "the key 'tenants' has no value"
        entries.append(_no_tenant(path, why))
    return _Source(path, top, entries)


def _no_tenant(path: Path, why: str) -> TenantsFileError:
    """Return the problem of a source without tenants, which may have been lost by accident."""
    return TenantsFileError(
        f"{path}: there are no tenants: {why}.",
        remedy="The smallest file is `tenants: [{id: acme}]`. For no tenants, write `tenants: []`.",
    )


def _top_level(path: Path, document: dict[Any, Any]) -> dict[str, Any]:
    """Return *document*. Raises TenantsFileError for unknown and duplicate keys."""
    if isinstance(document, Doubled):
        raise TenantsFileError(f"{path}: {document.problem}.", remedy="Merge the two.")
    for key in document:
        if key not in TOP_LEVEL_KEYS:
            raise TenantsFileError(
                f"{path}: unknown key {key!r}{near_miss(str(key), TOP_LEVEL_KEYS)}.",
                remedy="The top-level keys are 'tenants', 'defaults' and 'pools'.",
            )
    return document


def _read_directory(folder: Path, wanted: _Wanted) -> _Source:
    """Read `_defaults`. The other files are read when the entries are iterated."""
    top: dict[str, Any] = {}
    file = folder / f"{DEFAULTS_NAME}.yaml"
    found = [path for path in (file, file.with_suffix(".json")) if os.path.lexists(path)]
    if len(found) > 1:
        raise TenantsFileError(
            f"{found[0]}: {found[1].name} exists, too.", remedy="Merge the two files."
        )
    if found:
        file = found[0]
        document = read_document(file)
        if not isinstance(document, dict | None) or "tenants" in (document or ()):
            raise TenantsFileError(
                f"{file}: expected the keys 'defaults' and 'pools' only.",
                remedy="Each tenant has its own file in the same directory.",
            )
        top = _top_level(file, document or {})
    names = _names(folder, wanted)
    if not names and wanted.all:
        return _Source(file, top, [_no_tenant(folder, "the directory has no tenant's file")])
    return _Source(file, top, _entries_of(folder, names))


def _names(folder: Path, wanted: _Wanted) -> list[str]:
    """Return the names of the files to read. For one tenant, the directory is not listed."""
    if wanted.only is not None:
        names = [f"{wanted.only}{suffix}" for suffix in SUFFIXES]
        return [name for name in names if os.path.lexists(folder / name)]
    try:
        names = os.listdir(folder)  # noqa: PTH208 - faster than 5,000 Paths
    except OSError as exc:
        raise TenantsFileError(
            f"{folder}: can't be read ({exc.strerror}).",
            remedy="Check HUBSPOT_DEALS_TENANTS_FILE and the directory's permissions.",
        ) from exc
    stems = {name: os.path.splitext(name)[0] for name in names if not _is_no_entry(name)}  # noqa: PTH122
    # .yaml before .json, as for one tenant
    names = sorted(stems, key=lambda name: (stems[name], not name.endswith(".yaml"), name))
    return [name for name in names if wanted.includes(stems[name])]


def _is_no_entry(name: str) -> bool:
    """Whether to ignore the file: `_defaults`, a README, or a hidden file.

    Kubernetes mounts ConfigMaps with hidden directories, and editors leave hidden files.
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
            # the file's name is the id; the key `id` is optional and must be the same
            stated = content.setdefault("id", path.stem) if isinstance(content, dict) else path.stem
            if stated != path.stem:
                raise TenantsFileError(
                    f"{path}: the id {reprlib.repr(stated)} is not the file's name.",
                    remedy="Remove the id, or rename the file.",
                )
            yield _Entry(path, f"tenant {path.stem!r}", content)
        except TenantsFileError as problem:
            problem.tenant_id = path.stem
            yield problem


def _require_entry_file(path: Path) -> None:
    """Raise TenantsFileError unless *path* can be a tenant's file."""
    if path.name.startswith("."):
        wrong = "hidden files are not read"
    elif path.suffix not in SUFFIXES or not path.name.isprintable():
        wrong = "a tenant's file is named <id>.yaml or <id>.json"
    elif path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        wrong = "symbolic links to outside of the directory are not followed"
    else:
        return
    raise TenantsFileError(
        f"{str(path)!r}: {wrong}.", remedy="Rename it, or remove it from the directory."
    )


#: The models of `alerts` and of keys below it.
_MODELS: dict[str, type[BaseModel]] = {
    "alerts": AlertSettings,
    "channels": Channel,
    "smtp": SmtpChannel,
    "slack": SlackChannel,
    "webhook": WebhookChannel,
    "apprise": AppriseChannel,
}


def problems_of(exc: ValidationError) -> str:
    """Return all problems of a validation in one line, without duplicates."""
    return "; ".join(dict.fromkeys(map(_problem, exc.errors())))


def _problem(error: Any) -> str:
    # without pydantic's names for branches of a union: "tuple[…]", "literal[…]"
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
    """Return a suggestion for an unknown key."""
    *parents, key = path
    if not parents:
        return near_miss(key, Tenant.model_fields)
    named = [part for part in parents if not part.isdecimal()]
    model = OtherObject if named[0] == "objects" else _MODELS[named[-1]]
    known = [field.alias or name for name, field in model.model_fields.items()]
    return near_miss(key, known) or f" (possible: {', '.join(known)})"
