"""A new tenant's entry, written to where the others are, comments and all kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from include.errors import TenantCommandError, TenantsFileError
from include.tenants.document import doubled_key, parsed
from include.tenants.replacing import replace_file


def add_entry(path: Path, entry: Mapping[str, Any]) -> Path:
    """Write *entry* to the file or directory of tenants; return the file it is in now.

    Raises TenantCommandError or OSError; nothing has changed then.
    """
    path = path.resolve()
    if path.is_dir():
        return _add_file(path, entry)
    before = path.read_bytes()
    document = parsed(path, before)
    if doubled := doubled_key(document):
        raise TenantCommandError(f"{path}: {doubled}.", remedy="Correct that first.")
    _require_unlisted(path, document, entry)
    add = _added_to_json if path.suffix == ".json" else _added_to_yaml
    after = add(path, before, document, entry)
    _require_same_but_one(path, after, document, entry)
    if path.read_bytes() != before:
        raise TenantCommandError(f"{path}: was changed meanwhile.", remedy="Try again.")
    replace_file(path, after)
    return path


def _add_file(folder: Path, entry: Mapping[str, Any]) -> Path:
    path = folder / f"{entry['id']}.yaml"
    if path.exists() or path.with_suffix(".json").exists():
        raise TenantCommandError(f"{path}: is there already.", remedy="Edit it instead.")
    content = {key: value for key, value in entry.items() if key != "id"}
    text = _as_yaml(content) if content else f"# Tenant {entry['id']}: the defaults hold.\n"
    replace_file(path, text.encode())
    return path


def _added_to_json(path: Path, before: bytes, document: Any, entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(_with(document, entry), indent=2, ensure_ascii=False) + "\n").encode()


def _added_to_yaml(path: Path, before: bytes, document: Any, entry: Mapping[str, Any]) -> bytes:
    """Return the text with some lines more, below the last entry."""
    try:
        text = before.decode()
    except UnicodeDecodeError:
        raise TenantCommandError(f"{path}: is no UTF-8.", remedy="Save it as UTF-8.") from None
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split("\n")
    after_line, column = _place(path, yaml.compose(before, Loader=yaml.CSafeLoader), entry)
    written = _as_yaml(dict(entry)).splitlines()
    marked = [("- " if number == 0 else "  ") + line for number, line in enumerate(written)]
    added = [" " * column + line + newline.removesuffix("\n") for line in marked]
    return "\n".join([*lines[:after_line], *added, *lines[after_line:]]).encode()


def _place(path: Path, root: Any, entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many lines stand before the new entry, and the column of its dash."""
    tenants = root
    if isinstance(root, yaml.MappingNode):
        found = [(key, value) for key, value in root.value if key.value == "tenants"]
        if found and found[0][1].tag.endswith(":null") and not found[0][1].value:
            return found[0][0].end_mark.line + 1, 2
        tenants = found[0][1] if found else None
    if not isinstance(tenants, yaml.SequenceNode) or tenants.flow_style or not tenants.value:
        raise TenantCommandError(
            f"{path}: has no list of lines that begin with '-', to which one could be added.",
            remedy=f"Add the entry by hand: {json.dumps(dict(entry))}",
        )
    return _last_line(tenants.value[-1]) + 1, tenants.start_mark.column


def _last_line(node: Any) -> int:
    """Return the number of the last line that belongs to *node*, from 0 on.

    Only leaves know it: a block ends for YAML where the next thing begins, after any comments.
    """
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    end = node.end_mark
    return int(end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line)


def _require_unlisted(path: Path, document: Any, entry: Mapping[str, Any]) -> None:
    """Raise TenantCommandError if there is an entry of the id, though it may be a bad one."""
    listed = (document.get("tenants") if isinstance(document, dict) else document) or []
    if any(isinstance(other, dict) and other.get("id") == entry["id"] for other in listed):
        raise TenantCommandError(
            f"{path}: has an entry {entry['id']!r} already.", remedy="Edit it instead."
        )


def _require_same_but_one(path: Path, after: bytes, document: Any, entry: Any) -> None:
    """Raise TenantCommandError unless *after* says what *document* does, and *entry*."""
    try:
        is_as_meant = parsed(path, after) == _with(document, entry)
    except TenantsFileError:
        is_as_meant = False
    if not is_as_meant:
        raise TenantCommandError(
            f"{path}: the entry can't be added without changing something else; nothing was.",
            remedy=f"Add it by hand: {json.dumps(dict(entry))}",
        )


def _with(document: Any, entry: Mapping[str, Any]) -> Any:
    if isinstance(document, dict):
        return {**document, "tenants": [*(document.get("tenants") or []), dict(entry)]}
    return [*(document or []), dict(entry)]


def _as_yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=100)
