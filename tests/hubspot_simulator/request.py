"""One request, taken apart and checked."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from tests.hubspot_simulator.errors import invalid
from tests.hubspot_simulator.record import now_iso
from tests.hubspot_simulator.tokens import Token


@dataclass
class Request:
    """``target``: the path with its query, as sent. ``variables``: parts of the path by name."""

    target: str
    host: str
    body: bytes
    token: Token
    variables: dict[str, str]

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """Name → every value given."""
        return parse_qs(self.target.partition("?")[2])

    def one(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    @property
    def archived(self) -> bool:
        return self.one("archived").lower() == "true"

    def names(self, parameter: str) -> tuple[str, ...]:
        """Read a parameter that is a comma list, or repeated, or both."""
        given = [name for part in self.query.get(parameter, []) for name in part.split(",")]
        return tuple(dict.fromkeys(name for name in given if name))

    def limit(self, *, default: int, maximum: int) -> int:
        return number_between(self.one("limit") or default, "limit", 1, maximum)

    def json(self) -> dict[str, Any]:
        try:
            document = json.loads(self.body)
        except ValueError:
            raise invalid("Invalid input JSON") from None
        if not isinstance(document, dict):
            raise invalid("Invalid input JSON")
        return document

    def strings(self, name: str) -> list[str]:
        """Return a list of strings from the body; left out, or null, it is empty."""
        value = self.json().get(name) or []
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise invalid(f"Invalid input JSON: {name} must be a list of strings")
        return value

    def inputs(self, maximum: int, message: str) -> list[dict[str, Any]]:
        """Return a batch's inputs: objects with an id of digits. Raises the 400 of a bad batch."""
        inputs = self.json().get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise invalid("Invalid input JSON: inputs must not be empty")
        if len(inputs) > maximum:
            raise invalid(message)
        for entry in inputs:
            if not isinstance(entry, dict) or not is_id(entry.get("id")):
                raise invalid("Invalid input JSON: every input needs a numeric id")
        return inputs

    def next_link(self, after: str) -> str:
        """Return this request's URL with another `after`."""
        path, _, query = self.target.partition("?")
        kept = [part for part in query.split("&") if part and not part.startswith("after=")]
        return f"http://{self.host}{path}?{'&'.join([*kept, f'after={after}'])}"


def times() -> dict[str, str]:
    """Return the fields that every batch's answer has."""
    moment = now_iso()
    return {"startedAt": moment, "completedAt": moment}


def is_id(value: object) -> bool:
    return str(value).isascii() and str(value).isdigit()


def number_between(value: object, name: str, least: int, most: int) -> int:
    """Return a whole number that came as text or number, or raise the 400."""
    if isinstance(value, bool) or not is_id(value) or not least <= int(str(value)) <= most:
        raise invalid(f"{name} must be between {least} and {most}")
    return int(str(value))
