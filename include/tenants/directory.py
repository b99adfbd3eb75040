"""A directory with a file for each tenant: docs/how-to/many-tenants.md."""

import os
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from include.errors import TenantsFileError
from include.tenants.document import read_document
from include.tenants.source import Entry, Source, Wanted, no_tenant, top_level

#: The file that holds what the top level of a single file holds.
DEFAULTS_NAME: Final = "_defaults"
SUFFIXES: Final = (".yaml", ".json")
#: The longest entry is a list of a thousand names of properties.
MOST_BYTES_OF_AN_ENTRY: Final = 200_000


def read_directory(folder: Path, wanted: Wanted) -> Source:
    """Return the entries that are *wanted*; files are read as somebody asks for the entries.

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
            yield Entry(path, _label(path), {"id": path.stem}, problem)


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
    """Say whether nobody would take the file for a tenant's: what is hidden, and a README.

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
    return Entry(path, _label(path), content)


def _label(path: Path) -> str:
    return f"tenant {path.stem!r}"
