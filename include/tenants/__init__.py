"""Who the tenants are: `include/tenants.yaml`, or what HUBSPOT_DEALS_TENANTS_FILE names.

A bad entry never hides a good one: `load_tenants` returns both the tenants that can be used and
the problems found. Imported at parse time, so nothing heavy here.
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
