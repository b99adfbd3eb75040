"""The tenants: entries of a file or a directory, with `defaults`, and the problems in them."""

import difflib
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
)
from include.tenants.shards import ALL, NOBODY, Shard

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


#: The file that holds what the top level of a single file holds.
DEFAULTS_NAME: Final = "_defaults"
SUFFIXES: Final = (".yaml", ".json")
#: The longest entry is a list of a thousand names of properties.
MOST_BYTES_OF_AN_ENTRY: Final = 200_000


def read_directory(folder: Path, wanted: Wanted) -> Source:
    """Return the entries that are *wanted*; files are read when the entries are iterated.

    Raises TenantsFileError if the directory can't be used.
    """
    top: dict[str, Any] = {}
    file = folder / f"{DEFAULTS_NAME}.yaml"
    found = [path for path in (file, file.with_suffix(".json")) if os.path.lexists(path)]
    if len(found) > 1:
        raise TenantsFileError(
            f"{found[0]}: there is {found[1].name} as well.", remedy="Make one file of the two."
        )
    if found:
        file, top = found[0], _top_of_directory(found[0])
    names = _names(folder, wanted)
    problem = None
    if not names and wanted.everybody:
        problem = no_tenant(folder, "the directory holds no tenant's file")
    entries = _entries_of(folder, names)
    return Source(file, top.get("defaults"), top.get("pools"), entries, problem)


def _top_of_directory(path: Path) -> dict[str, Any]:
    document = read_document(path)
    if document is None:
        return {}
    if not isinstance(document, dict) or "tenants" in document:
        raise TenantsFileError(
            f"{path}: expected the keys 'defaults' and 'pools' only.",
            remedy="Each tenant has a file of its own beside it.",
        )
    return top_level(path, document)


def _entries_of(folder: Path, names: list[str]) -> Iterator[Entry]:
    for name in names:
        path = folder / name
        try:
            _require_entry_file(path)
            entry = read_document(path, MOST_BYTES_OF_AN_ENTRY)
            yield _entry(path, {} if entry is None else entry)
        except TenantsFileError as problem:
            yield Entry(path, _label_of_file(path), {"id": path.stem}, problem)


def _names(folder: Path, wanted: Wanted) -> list[str]:
    """Return the names of files to look at; a task looks for two, and lists nothing."""
    if wanted.only is not None:
        names = [f"{wanted.only}{suffix}" for suffix in SUFFIXES]
        return [name for name in names if os.path.lexists(folder / name)]
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - 5,000 Paths are not needed
    except OSError as exc:
        raise TenantsFileError(
            f"{folder}: can't be read ({exc.strerror}).",
            remedy="Check HUBSPOT_DEALS_TENANTS_FILE and the directory's permissions.",
        ) from exc
    # .yaml before .json, as a task looks for them
    names.sort(key=lambda name: (os.path.splitext(name)[0], not name.endswith(".yaml")))  # noqa: PTH122
    return [
        name
        for name in names
        if not _is_no_entry(name) and wanted.includes(os.path.splitext(name)[0])  # noqa: PTH122
    ]


def _is_no_entry(name: str) -> bool:
    """Return whether the file is no tenant's: hidden ones, and a README.

    Kubernetes mounts ConfigMaps with hidden directories, editors leave hidden files.
    """
    if name.startswith("."):
        return not name.endswith(SUFFIXES)
    return name in {f"{DEFAULTS_NAME}{suffix}" for suffix in SUFFIXES} or name.startswith("README")


def _require_entry_file(path: Path) -> None:
    """Raise TenantsFileError unless *path* looks like the file of a tenant."""
    wrong = None
    if path.name.startswith("."):
        wrong = "hidden files are no tenants"
    elif path.suffix not in SUFFIXES or not path.name.isprintable():
        wrong = "a tenant's file is called <id>.yaml or <id>.json"
    elif path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        wrong = "a link that leads out of the directory is not followed"
    if wrong:
        raise TenantsFileError(
            f"{str(path)!r}: {wrong}.", remedy="Rename it, or take it out of the directory."
        )


def _entry(path: Path, content: Any) -> Entry:
    """The name of the file is the id; one that the file states must be the same."""
    if isinstance(content, dict):
        stated = content.get("id", path.stem)
        if stated != path.stem:
            raise TenantsFileError(
                f"{path}: states the id {reprlib.repr(stated)}; the name says {path.stem!r}.",
                remedy="Take the id out, or rename the file.",
            )
        content.setdefault("id", path.stem)
    return Entry(path, _label_of_file(path), content)


def _label_of_file(path: Path) -> str:
    return f"tenant {path.stem!r}"


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


#: The models below `alerts`, by the key that they stand under.
_OF_ALERTS: dict[str, type[BaseModel]] = {
    "alerts": AlertSettings,
    "channels": Channel,
    "smtp": SmtpChannel,
    "slack": SlackChannel,
    "webhook": WebhookChannel,
    "apprise": AppriseChannel,
}


def problems_of(exc: ValidationError) -> str:
    """Return all that a validation found, each problem once, as one line."""
    return "; ".join(dict.fromkeys(_problem(error) for error in exc.errors()))


def near_miss(key: str, known: Iterable[str]) -> str:
    """Return " (did you mean …?)", or nothing if no known key is near."""
    near = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _problem(error: Any) -> str:
    key = str(error["loc"][0]) if error["loc"] else ""
    if key == "objects":
        return _problem_of_objects(error)
    if key == "alerts":
        return _problem_of_alerts(error)
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}{near_miss(key, Tenant.model_fields)}"
    if error["type"] == "missing":
        return f"key {key!r} is missing"
    if key == "id":
        return f"id {error['input']!r} must match {TENANT_ID_PATTERN}"
    if key == "properties":
        return "key 'properties': expected 'all' or a list of HubSpot's internal property names"
    return f"key {key!r}: {_said(error)}"


def _problem_of_objects(error: Any) -> str:
    # pydantic names the branch of a union it tried: "tuple[…]", "literal[…]"
    path = ".".join(str(part) for part in error["loc"] if "[" not in str(part))
    if error["type"] == "extra_forbidden":
        keys = ", ".join(OtherObject.model_fields)
        return f"unknown key {path!r} (possible: {keys})"
    return f"key {path!r}: {_said(error)}"


def _problem_of_alerts(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"key {path!r} is missing"
    if error["type"] == "extra_forbidden":
        *parents, key = error["loc"]
        model = _OF_ALERTS[next(part for part in reversed(parents) if isinstance(part, str))]
        known = [field.alias or name for name, field in model.model_fields.items()]
        hint = near_miss(str(key), known) or f" (possible: {', '.join(known)})"
        return f"unknown key {path!r}{hint}"
    return f"key {path!r}: {_said(error)}"


def _said(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ")
