"""Which properties a scan asks for."""

from collections.abc import Iterable

from include.extract.columns import TYPED_COLUMNS
from include.hubspot.client import HubSpotClient
from include.tenants import Tenant

#: Always read: the typed columns, and what later scans need to find changes and merges.
STANDARD_PROPERTIES = (
    *(column.hubspot_property for column in TYPED_COLUMNS),
    "createdate",
    "hs_lastmodifieddate",
    "hs_merged_object_ids",
    "hs_object_id",
)


def property_names(
    client: HubSpotClient, tenant: Tenant, readable_sensitivities: Iterable[str]
) -> list[str]:
    """Return the sorted internal names to request: all that the portal defines, or the tenant's.

    HubSpot lists sensitive properties only when asked for, and only to tokens that may read them.
    """
    if tenant.properties != "all":
        return sorted({*STANDARD_PROPERTIES, *tenant.properties})
    definitions = client.deal_properties()
    for sensitivity in readable_sensitivities:
        definitions += client.deal_properties(sensitivity)
    return sorted({*STANDARD_PROPERTIES, *(definition.name for definition in definitions)})
