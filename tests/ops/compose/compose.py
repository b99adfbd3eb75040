"""docker-compose.yaml as the tests need it: interpolated, one profile, each service's settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docker-compose.yaml"
PROFILES = ("demo", "dev", "staging", "production")

#: A variable, and what follows its name up to the brace; nested ones are replaced first.
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:?[-?])([^${}]*))?\})")


class MissingVariableError(Exception):
    """The file demands a variable that is not set."""


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Replace `${…}` as Compose does; `$$` stands for a dollar sign."""

    def value(match: re.Match[str]) -> str:
        escaped, name, operator, other = match.groups()
        if escaped:
            return "\0"
        present = variables.get(name)
        if present or (present is not None and operator in (None, "-", "?")):
            return present
        if operator in (":?", "?"):
            raise MissingVariableError(f"{name}: {other}")
        return other or ""

    while (replaced := _VARIABLE.sub(value, text)) != text:
        text = replaced
    return text.replace("\0", "$")


def variables_of(text: str) -> set[str]:
    return set(re.findall(r"\$\{(\w+)", text))


@dataclass(frozen=True)
class Mount:
    """Something mounted into a container. ``source``: a volume's name or a path of the host."""

    source: str
    target: str
    read_only: bool
    kind: str


class Service:
    """One service of the file, interpolated."""

    def __init__(self, name: str, definition: dict[str, Any], variables: Mapping[str, str]) -> None:
        self.name = name
        self.definition = definition
        self._variables = variables

    @property
    def command(self) -> list[str]:
        return [*self.definition.get("entrypoint", []), *self.definition["command"]]

    @cached_property
    def environment(self) -> dict[str, str]:
        """What the container gets: of files first, then of the file itself."""
        found: dict[str, str] = {}
        for entry in self.definition.get("env_file", []):
            path = ROOT / entry["path"]
            if path.exists() or entry.get("required", True):
                found |= self._lines(path)
        return found | {k: str(v) for k, v in self.definition.get("environment", {}).items()}

    @property
    def mounts(self) -> list[Mount]:
        return [self._mount(volume) for volume in self.definition.get("volumes", [])]

    @property
    def health_check(self) -> list[str]:
        """The command of its health check, empty without one."""
        how, *command = self.definition.get("healthcheck", {}).get("test", ["NONE"])
        return ["sh", "-c", *command] if how == "CMD-SHELL" else command

    def _lines(self, path: Path) -> dict[str, str]:
        pairs = (
            line.split("=", 1)
            for line in path.read_text().splitlines()
            if line and not line.startswith("#")
        )
        return {name: interpolated(value, self._variables) for name, value in pairs}

    def _mount(self, volume: Any) -> Mount:
        if isinstance(volume, dict):
            read_only = volume.get("read_only", False)
            return Mount(volume["source"], volume["target"], read_only, volume["type"])
        source, target, *mode = volume.split(":")
        kind = "bind" if source.startswith(("/", ".")) else "volume"
        return Mount(source, target, mode == ["ro"], kind)


def services(variables: Mapping[str, str], path: Path = FILE) -> dict[str, Service]:
    """Return the services of the profile that *variables* name. Raises MissingVariableError."""
    document = document_of(variables, path)
    return {
        name: Service(name, definition, variables)
        for name, definition in document["services"].items()
        if variables["COMPOSE_PROFILES"] in definition["profiles"]
    }


def document_of(variables: Mapping[str, str], path: Path = FILE) -> dict[str, Any]:
    document: dict[str, Any] = _interpolated_tree(yaml.safe_load(path.read_text()), variables)
    return document


def _interpolated_tree(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _interpolated_tree(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_interpolated_tree(value, variables) for value in node]
    return interpolated(node, variables) if isinstance(node, str) else node
