"""Deals of 60 properties: what the accounts of some benchmarks are like, and what is asked of them.

HubSpot's standard properties are mostly empty, so most of the 60 are custom ones that have a value
in every deal. A page of 100 such deals has about 350,000 bytes.
"""

from typing import Any

from tests.bench.floor import COLUMNS
from tests.hubspot_simulator.definitions import standard_definitions

PROPERTIES = 60
#: Asked for in any case.
_ALWAYS = (
    *COLUMNS.values(), "createdate", "hs_lastmodifieddate", "hs_merged_object_ids", "hs_object_id"
)  # fmt: skip
_CUSTOM = [
    f"custom_property_number_{number:04d}_of_this_portal"
    for number in range(PROPERTIES - len(_ALWAYS))
]
#: For `portals.generated`.
SHAPE: dict[str, Any] = {
    "property_count": len(standard_definitions()) + len(_CUSTOM),
    "filled": len(_CUSTOM),
}
#: For the tenant.
SETTINGS: dict[str, Any] = {"properties": _CUSTOM}


def asked_names() -> list[str]:
    """Return what a tenant with these settings asks for."""
    return sorted([*_ALWAYS, *_CUSTOM])
