"""Which properties a scan asks for, and what the portal says about them."""

from collections.abc import Sequence
from dataclasses import dataclass

from include.errors import ContractError
from include.extract.typed_columns import TYPED_COLUMNS
from include.hubspot.answers import PropertyDefinition
from include.hubspot.client import HubSpotClient
from include.objects import CrmObject

#: Always read of deals: the typed columns.
_DEAL_PROPERTIES = tuple(column.hubspot_property for column in TYPED_COLUMNS)
#: Always read of any object: what identifies a record and tells of merges.
_COMMON_PROPERTIES = ("hs_merged_object_ids", "hs_object_id")


@dataclass(frozen=True)
class Definitions:
    """What a portal defines for one object; ``live`` ones can be asked for.

    ``stored``: as it was known to the warehouse, which may be a little old.
    """

    live: Sequence[PropertyDefinition]
    archived: Sequence[PropertyDefinition]
    stored: bool = False

    @classmethod
    def of_stored(cls, definitions: Sequence[PropertyDefinition]) -> "Definitions":
        return cls(
            live=[definition for definition in definitions if not definition.archived],
            archived=[definition for definition in definitions if definition.archived],
            stored=True,
        )

    @property
    def names(self) -> set[str]:
        return {definition.name for definition in self.live}


def read_definitions(
    client: HubSpotClient, crm_object: CrmObject, readable_sensitivities: Sequence[str]
) -> Definitions:
    """List an object's properties.

    HubSpot lists sensitive properties only when asked for, and only to tokens that may read them.
    Raises ContractError if it lists none at all: every object has properties.
    """
    live = client.property_definitions(crm_object.object_type)
    if not live:
        raise ContractError(
            f"HubSpot lists no property of {crm_object.object_type}.",
            tenant_id=client.tenant_id,
            remedy="Report it.",
        )
    for sensitivity in readable_sensitivities:
        live += client.property_definitions(crm_object.object_type, sensitivity)
    archived = client.property_definitions(crm_object.object_type, archived=True)
    return Definitions(live, archived)


def property_names(crm_object: CrmObject, definitions: Definitions) -> list[str]:
    """Return the sorted internal names to request: all that the portal defines, or the tenant's."""
    wanted = definitions.names if crm_object.properties == "all" else set(crm_object.properties)
    always = {*_COMMON_PROPERTIES, crm_object.modified_property, crm_object.created_property}
    if crm_object.name == "deals":
        always.update(_DEAL_PROPERTIES)
    return sorted(wanted | always)
