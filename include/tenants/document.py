"""Reads YAML and JSON files of settings.

`yaml` and `json` ignore duplicate keys. Here, a mapping with one becomes a `Doubled`, so that only
the entry that contains it is rejected.
"""

import contextlib
import json
import os
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from yaml.constructor import BaseConstructor

from include.errors import TenantsFileError

_MERGE, _TEXT, _BOOL = (f"tag:yaml.org,2002:{name}" for name in ("merge", "str", "bool"))

#: Levels of nesting. The deepest key of an entry is at level 9.
DEEPEST = 100


class Doubled(dict[Any, Any]):
    """A mapping with a duplicate key. ``problem`` names the key and its lines."""

    def __init__(self, problem: str, content: Mapping[Any, Any] = MappingProxyType({})) -> None:
        super().__init__(content)
        self.problem = problem


def read_document(path: Path, most_bytes: int | None = None) -> Any:
    """Return the content of a YAML file, or of a JSON file, which is read 40 times as fast.

    Raises TenantsFileError. Only regular files are opened: reading a pipe might never end.
    """
    return parsed(path, _content(path, most_bytes))


def parsed(path: Path, content: bytes) -> Any:
    """Parse *content* as JSON or YAML, by the suffix of *path*. Raises TenantsFileError."""
    try:
        if path.suffix == ".json":
            return _parsed_json(content)
        return parsed_yaml(content)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = f"is not valid YAML{where}: {getattr(exc, 'problem', None) or exc}"
    except json.JSONDecodeError as exc:
        problem = f"is not valid JSON at line {exc.lineno}, column {exc.colno}: {exc.msg}"
    # ValueError: JSON that is not UTF-8, or a YAML date such as 2026-99-99
    except (ValueError, RecursionError) as exc:
        problem = f"can't be read ({type(exc).__name__}: {exc})"
    raise TenantsFileError(f"{path}: {' '.join(problem.split())}.", remedy="Correct the file.")


def parsed_yaml(content: bytes | str) -> Any:
    """Parse a YAML document. Raises yaml.YAMLError or ValueError."""
    return yaml.load(content, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader


def doubled_key(content: Any) -> str | None:
    """Return the problem of a duplicate key anywhere in *content*."""
    seen: set[int] = set()  # YAML aliases can make the content recursive
    rest = [content]
    while rest:
        value = rest.pop()
        if isinstance(value, dict | list) and id(value) not in seen:
            if isinstance(value, Doubled):
                return value.problem
            seen.add(id(value))
            rest.extend(value.values() if isinstance(value, dict) else value)
    return None


class _Loader(yaml.CSafeLoader):
    """The safe loader, but it detects duplicate keys and reads the key `on` as text."""

    def __init__(self, stream: bytes | str) -> None:
        super().__init__(stream)
        self._problems: dict[int, str | None] = {}
        self._depth = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Limit the depth: libyaml would crash the process at some thousand levels."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} levels deep")
        super().descend_resolver(current_node, current_index)

    def ascend_resolver(self) -> None:
        self._depth -= 1
        super().ascend_resolver()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge `<<` into the mapping. The loader also calls it for merged mappings."""
        if id(node) in self._problems:
            return
        self._problems[id(node)] = None  # for a mapping that merges itself
        if len({key.value for key, _ in node.value if key.tag == _TEXT}) == len(node.value):
            return  # the common case: nothing to merge and no duplicate key
        problem = self._doubled_key(node)
        merged = [value for key, value in node.value if key.tag == _MERGE]
        super().flatten_mapping(node)
        if merged:
            # each key once, or mappings that merge each other would grow without bound
            node.value = list(
                {(key.tag, str(key.value)): (key, v) for key, v in node.value}.values()
            )
            sources = [m for value in merged for m in _mappings_of(value)]
            inherited = (self._problems.get(id(source)) for source in sources)
            problem = problem or next(filter(None, inherited), None)
        self._problems[id(node)] = problem

    def mapping(self, node: yaml.MappingNode) -> Any:
        self.flatten_mapping(node)
        problem = self._problems[id(node)]
        made = Doubled(problem) if problem else {}
        yield made
        made.update(BaseConstructor.construct_mapping(self, node))

    def _doubled_key(self, node: yaml.MappingNode) -> str | None:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _BOOL and key_node.value.lower() == "on":
                key_node.tag = _TEXT  # in YAML 1.1, an unquoted `on` is true
                key_node.value = "on"
            is_merge = key_node.tag == _MERGE
            # compared as in Python, where 1, 0x1, true and 1.0 are the same key
            key = "<<" if is_merge else self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str | int | float | None):
                continue  # rejected later, as an invalid or unknown key
            if key in lines:
                first = lines[key]
                where = f"in lines {first} and {line}" if first != line else f"in line {line}"
                return f"duplicate key {key!r} {where}"
            lines[key] = line
        return None


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.mapping)


def _mappings_of(node: yaml.Node) -> list[yaml.Node]:
    return node.value if isinstance(node, yaml.SequenceNode) else [node]


def _parsed_json(content: bytes) -> Any:
    doubled = False

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        doubled = True
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        return Doubled(f"duplicate key {key!r}", found)

    document = json.loads(content, object_pairs_hook=made)
    if doubled:
        # The YAML loader knows the lines, but may read some JSON differently.
        with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
            if (with_lines := parsed_yaml(content)) == document:
                return with_lines
    return document


def _content(path: Path, most_bytes: int | None) -> bytes:
    remedy = "Check HUBSPOT_DEALS_TENANTS_FILE and the file's permissions."
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise TenantsFileError(f"{path} is not a regular file.", remedy=remedy)
        if most_bytes is not None and found.st_size > most_bytes:
            raise TenantsFileError(
                f"{path} has {found.st_size:,} bytes; an entry has at most {most_bytes:,}.",
                remedy="In a tenants directory, each file has one entry.",
            )
        with path.open("rb") as file:
            return file.read(-1 if most_bytes is None else most_bytes)
    except (OSError, ValueError) as exc:
        reason = os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else exc
        raise TenantsFileError(f"{path}: can't be read ({reason}).", remedy=remedy) from exc
