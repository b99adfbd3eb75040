"""CRM objects as data: what HubSpot calls each, and by which property its changes are found.

Deals are the first entry; a tenant names others in its `objects:`. Imported at parse time, so
nothing heavy here.
"""

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CrmObject:
    """One kind of record, and what of it a tenant wants.

    ``object_type`` is the path segment of HubSpot's API: a name, or an id such as 2-1234567.
    """

    name: str
    object_type: str
    #: Moves with every write of a property: what incremental scans search by.
    modified_property: str = "hs_lastmodifieddate"
    created_property: str = "hs_createdate"
    #: "all" properties that the portal defines, or just these.
    properties: Literal["all"] | tuple[str, ...] = "all"
    #: Object types whose associations are read, by name or id.
    associations: tuple[str, ...] = ()
    #: Properties whose earlier values are read.
    property_history: tuple[str, ...] = ()

    @property
    def has_pipelines(self) -> bool:
        """Whether HubSpot has pipelines of this kind of object: docs/api-integration.md#pipelines.

        An account need not have any: of custom objects, each type can do without.
        """
        return bool(_WITH_PIPELINES.fullmatch(self.object_type))

    @property
    def read_scope(self) -> str:
        """The scope without which HubSpot does not list this object."""
        kind = self.object_type if self.object_type in STANDARD_OBJECTS else "custom"
        return _OLDER_SCOPES.get(kind, f"crm.objects.{kind}.read")


#: By name, by id, and custom objects by id and by full name.
_WITH_PIPELINES = re.compile(
    "deals|tickets|leads|orders|services|appointments|courses|listings"
    r"|0-(3|5|136|123|162|421|410|420)|2-\d+|p\d+_.+"
)
#: Scopes that HubSpot named before it had a scheme for them.
_OLDER_SCOPES = {"tickets": "tickets", "products": "e-commerce"}


def _standard(
    name: str,
    *,
    modified_property: str = "hs_lastmodifieddate",
    created_property: str = "hs_createdate",
) -> CrmObject:
    return CrmObject(name, name, modified_property, created_property)


#: Objects that every portal has. docs/api-integration.md#objects
STANDARD_OBJECTS = {
    crm_object.name: crm_object
    for crm_object in (
        _standard("deals", created_property="createdate"),
        # contacts alone name it without the prefix
        _standard("contacts", modified_property="lastmodifieddate", created_property="createdate"),
        _standard("companies", created_property="createdate"),
        _standard("tickets", created_property="createdate"),
        _standard("line_items", created_property="createdate"),
        _standard("products", created_property="createdate"),
        _standard("quotes"),
        _standard("leads"),
        _standard("calls"),
        _standard("emails"),
        _standard("meetings"),
        _standard("notes"),
        _standard("tasks"),
        _standard("orders"),
        _standard("invoices"),
        _standard("subscriptions"),
    )
}
