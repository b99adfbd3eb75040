"""Choose the properties of an object that a scan asks for, from the portal's definitions."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from include.errors import AccessDeniedError, ContractError
from include.hubspot.answers import PropertyDefinition
from include.hubspot.crm_objects import CrmObject
from include.hubspot.endpoints import SENSITIVITIES
from include.pipeline.context import ScanContext, reason_of
from include.pipeline.load.typed_columns import TYPED_COLUMNS
from include.warehouse.reference_data import save_definitions, stored_definitions

log = logging.getLogger(__name__)

_NAMES_SHOWN = 20
#: Always read for deals: the typed columns.
_DEAL_PROPERTIES = tuple(column.hubspot_property for column in TYPED_COLUMNS)
#: Always read for every object: the record's id, and those merged into it.
_COMMON_PROPERTIES = ("hs_merged_object_ids", "hs_object_id")


@dataclass(frozen=True)
class Definitions:
    """A portal's property definitions for one object; scans can ask for the ``live`` ones.

    ``stored``: read from the warehouse, so they may be slightly out of date.
    """

    live: Sequence[PropertyDefinition]
    archived: Sequence[PropertyDefinition]
    stored: bool = False

    @property
    def names(self) -> set[str]:
        return {definition.name for definition in self.live}


def property_names(crm_object: CrmObject, definitions: Definitions) -> list[str]:
    """Return the sorted internal names to request: all that the portal defines, or the tenant's."""
    wanted = definitions.names if crm_object.properties == "all" else set(crm_object.properties)
    always = {*_COMMON_PROPERTIES, crm_object.modified_property, crm_object.created_property}
    # a new value of a calculated property modifies nothing else, so only the value shows the change
    if crm_object.property_history == "all":
        always.update(d.name for d in definitions.live if d.calculated)
    else:
        always.update(crm_object.property_history)
    if crm_object.name == "deals":
        always.update(_DEAL_PROPERTIES)
    return sorted(wanted | always)


def warn_of_unknown_properties(
    context: ScanContext, crm_object: CrmObject, definitions: Definitions
) -> None:
    """Warn of properties that the tenants file names and the portal does not define."""
    if crm_object.properties == "all" or not definitions.live:
        return
    if unknown := [name for name in crm_object.properties if name not in definitions.names]:
        context.warn(
            f"{crm_object.name}: HubSpot defines no property {shortened(unknown)}: the account has "
            "none of this name, or the token may not read it. Correct the names in the tenants "
            "file."
        )


def shortened(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if names[_NAMES_SHOWN:] else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def known_definitions(context: ScanContext, crm_object: CrmObject) -> Definitions:
    """Return the portal's definitions, from the warehouse if they were read recently.

    Stored ones may be up to `search_lag_s` old: filling in a new property also modifies its record,
    and records modified within `search_lag_s` are read again. They are not used if the token may no
    longer read some of them: HubSpot would leave out their values without an error.
    """
    what, lag_s = f"properties:{crm_object.name}", context.tenant.search_lag_s
    if context.tenant.objects.deal_properties and context.is_fresh(what, lag_s):
        stored = _stored(context, crm_object)
        if _readable(context, crm_object, stored) == stored:
            return stored
    return read_definitions(context, crm_object)


def read_definitions(context: ScanContext, crm_object: CrmObject) -> Definitions:
    """Read the portal's definitions from HubSpot, and store them if `deal_properties` is on.

    If HubSpot refuses, the stored ones are used, with a warning: asking for fewer properties would
    remove the others from every row that is written.
    """
    name = crm_object.name
    known = _stored(context, crm_object)
    try:
        definitions = _asked(context, crm_object)
        if known.names - definitions.names - {d.name for d in definitions.archived}:
            # Definitions are rarely removed, and a truncated list looks the same: read it again.
            definitions = _asked(context, crm_object)
    except (AccessDeniedError, ContractError) as exc:
        if not (known.live or known.archived) and crm_object.properties == "all":
            raise
        context.warn(
            f"{name}: property definitions were not read: {reason_of(exc, 'a scope')}. Those of "
            "an earlier scan are used."
        )
        return _readable(context, crm_object, known)
    if context.tenant.objects.deal_properties:
        listed = [*definitions.live, *definitions.archived]
        drift = save_definitions(context.warehouse, context.scan, name, listed)
        context.note_fresh(f"properties:{name}")
        if drift:
            context.schema_drift[name] = drift
            log.warning("tenant %s: %s: schema drift %s", context.tenant.id, name, drift)
    return definitions


def _stored(context: ScanContext, crm_object: CrmObject) -> Definitions:
    known = stored_definitions(context.warehouse, context.scan, crm_object.name)
    return Definitions(
        live=[definition for definition in known if not definition.archived],
        archived=[definition for definition in known if definition.archived],
        stored=True,
    )


def _readable(context: ScanContext, crm_object: CrmObject, definitions: Definitions) -> Definitions:
    """Remove sensitive properties that the token may not read: HubSpot sends no values of them."""
    sensitive = {d.data_sensitivity for d in definitions.live} & set(SENSITIVITIES)
    # asks for the token's scopes, so only if there is something to find out
    if not sensitive:
        return definitions
    hidden = sensitive - set(context.client.readable_sensitivities(crm_object.scope_name))
    live = [d for d in definitions.live if d.data_sensitivity not in hidden]
    return replace(definitions, live=live)


def _asked(context: ScanContext, crm_object: CrmObject) -> Definitions:
    """List an object's properties.

    HubSpot lists sensitive properties only when asked for, and only to tokens that may read them.
    Raises ContractError if it lists none at all: every object has properties.
    """
    client, object_type = context.client, crm_object.object_type
    live = client.property_definitions(object_type)
    if not live:
        raise ContractError(
            f"HubSpot lists no properties of {object_type}.",
            tenant_id=client.tenant_id,
            remedy="Report it.",
        )
    for sensitivity in client.readable_sensitivities(crm_object.scope_name):
        live += client.property_definitions(object_type, sensitivity)
    return Definitions(live, client.property_definitions(object_type, archived=True))
