"""What is asked of a scan, as values that can be handed to another process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from include.scan import Scan, Window
from include.tenants import Tenant


@dataclass(frozen=True)
class Ask:
    """``window``: ISO 8601, modified from and before."""

    tenant_id: str
    run_id: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "auto"
    window: tuple[str, str] | None = None

    @property
    def scan(self) -> Scan:
        tenant = Tenant.model_validate({"id": self.tenant_id, **self.settings})
        window = Window(*map(datetime.fromisoformat, self.window)) if self.window else None
        return Scan(tenant, self.run_id, self.mode, window)
