"""What is wrong with an entry of the tenants file, in words."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from include.tenants.alerts import (
    AlertSettings,
    AppriseChannel,
    Channel,
    SlackChannel,
    SmtpChannel,
    WebhookChannel,
)
from include.tenants.objects import OtherObject
from include.tenants.tenant import TENANT_ID_PATTERN, Tenant

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
