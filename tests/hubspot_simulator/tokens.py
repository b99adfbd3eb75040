"""Bearer tokens."""

import time
from dataclasses import dataclass
from typing import Literal

ALL_SCOPES = (
    "crm.objects.deals.read",
    "crm.schemas.deals.read",
    "crm.objects.owners.read",
    "settings.users.read",
    "settings.users.teams.read",
    "crm.objects.companies.read",
    "crm.schemas.companies.read",
    "crm.objects.contacts.read",
    "crm.schemas.contacts.read",
    "crm.objects.line_items.read",
    "crm.objects.quotes.read",
    "crm.objects.tickets.read",
    "tickets",
    "crm.objects.products.read",
    "e-commerce",
    "crm.objects.custom.read",
    "crm.schemas.custom.read",
    "oauth",
)

#: No token has it unless a test gives it: scans write nothing.
DEALS_WRITE = "crm.objects.deals.write"


@dataclass
class Token:
    """A bearer token. Tokens with the same ``app`` share its burst limit.

    ``kind`` "oauth": the private-app introspection does not know it. ``expires_at``: of the
    monotonic clock.
    """

    text: str
    state: Literal["valid", "expired", "revoked"] = "valid"
    scopes: tuple[str, ...] = ALL_SCOPES
    app: str = "app"
    kind: Literal["private", "oauth"] = "private"
    expires_at: float | None = None

    @property
    def is_expired(self) -> bool:
        passed = self.expires_at is not None and time.monotonic() >= self.expires_at
        return self.state == "expired" or passed

    def has_any(self, scopes: tuple[str, ...]) -> bool:
        """Return whether one of *scopes* is granted; no scope at all needs none."""
        return not scopes or not set(scopes).isdisjoint(self.scopes)

    def may_read(self, data_sensitivity: str, of: str = "deals") -> bool:
        """Return whether an object's property values of this sensitivity are for this token."""
        scope = f"crm.objects.{of}.{data_sensitivity}.read"
        return data_sensitivity == "non_sensitive" or self.has_any((scope, f"{scope}.v2"))
