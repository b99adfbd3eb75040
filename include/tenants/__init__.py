"""The tenants, from `include/tenants.yaml` or the path in HUBSPOT_DEALS_TENANTS_FILE.

An invalid entry does not affect valid ones: `load_tenants` returns the valid tenants and the
problems. Imported at parse time, so it must be light.
"""

from include.tenants.file import (
    DEFAULT_FILE,
    ENVIRONMENT_TENANT_ID,
    Tenants,
    load_tenants,
    tenants_path,
)
from include.tenants.model import AlertSettings, Channel, Objects, OtherObject, Tenant

__all__ = [
    "DEFAULT_FILE",
    "ENVIRONMENT_TENANT_ID",
    "AlertSettings",
    "Channel",
    "Objects",
    "OtherObject",
    "Tenant",
    "Tenants",
    "load_tenants",
    "tenants_path",
]
