"""CRM objects: HubSpot's name of each, its scope, and the property by which changes are found.

Deals are the first entry; a tenant names others in its `objects:`. Imported at parse time, so
keep imports light.
"""

import re
from dataclasses import dataclass
from typing import Literal

from include.hubspot.endpoints import ASSOCIATIONS_BATCH_SIZE, HISTORY_BATCH_SIZE, LIST_PAGE_SIZE

#: Names of properties; "all": every one that the portal defines.
Properties = Literal["all"] | tuple[str, ...]

#: The number of records that `CrmObject.first_scan_requests` assumes.
COSTED_RECORDS = 10_000


@dataclass(frozen=True)
class CrmObject:
    """One kind of record, and the parts of it that a tenant loads.

    ``object_type`` is the path segment of HubSpot's API: a name, or an id such as 2-1234567.
    ``type_id``: the id of a standard type, which HubSpot's paths take as well as its name.
    """

    name: str
    object_type: str
    type_id: str | None = None
    #: The scope that listing this object requires.
    read_scope: str = "crm.objects.custom.read"
    #: Changes with every write of a property; incremental scans search by it.
    modified_property: str = "hs_lastmodifieddate"
    created_property: str = "hs_createdate"
    properties: Properties = "all"
    #: Object types whose associations are read, by name or id.
    associations: tuple[str, ...] = ()
    #: Properties whose earlier values are read.
    property_history: Properties = ()
    #: False if HubSpot's search refuses this object, which a scan finds out.
    searchable: bool = True

    @property
    def has_pipelines(self) -> bool:
        """Whether this kind of object can have pipelines: docs/api-integration.md#pipelines.

        An account may have none, in particular of custom objects.
        """
        return bool(_WITH_PIPELINES.fullmatch(self.object_type))

    @property
    def scope_name(self) -> str:
        """The object's name in its scopes: crm.objects.<name>.read."""
        return self.read_scope.removeprefix("crm.objects.").removesuffix(".read")

    @property
    def history_requests(self) -> int:
        """How many requests the histories of COSTED_RECORDS records take, at least."""
        return COSTED_RECORDS // HISTORY_BATCH_SIZE if self.property_history else 0

    @property
    def first_scan_requests(self) -> int:
        """About how many requests a first scan of COSTED_RECORDS records sends."""
        associations = len(self.associations) * COSTED_RECORDS // ASSOCIATIONS_BATCH_SIZE
        return COSTED_RECORDS // LIST_PAGE_SIZE + associations + self.history_requests


#: By name, by id, and custom objects by id and by full name.
_WITH_PIPELINES = re.compile(
    "deals|tickets|leads|orders|services|appointments|courses|listings"
    r"|0-(3|5|136|123|162|421|410|420)|2-\d+|p\d+_.+"
)


def _standard(
    name: str,
    type_id: str | None,
    object_type: str | None = None,
    *,
    scope: str | None = None,
    modified_property: str = "hs_lastmodifieddate",
    created_property: str = "hs_createdate",
) -> CrmObject:
    scope = scope or f"crm.objects.{name}.read"
    return CrmObject(name, object_type or name, type_id, scope, modified_property, created_property)


_CONTACTS, _LINE_ITEMS = "crm.objects.contacts.read", "crm.objects.line_items.read"

#: Objects that HubSpot defines. docs/api-integration.md#objects
STANDARD_OBJECTS = {
    crm_object.name: crm_object
    for crm_object in (
        _standard("deals", "0-3", created_property="createdate"),
        # only the properties of contacts have no prefix
        _standard(
            "contacts", "0-1", modified_property="lastmodifieddate", created_property="createdate"
        ),
        _standard("companies", "0-2", created_property="createdate"),
        _standard("tickets", "0-5", scope="tickets", created_property="createdate"),
        _standard("line_items", "0-8", created_property="createdate"),
        _standard("products", "0-7", created_property="createdate"),
        _standard("quotes", "0-14"),
        _standard("leads", "0-136"),
        _standard("calls", "0-48", scope=_CONTACTS),
        _standard("emails", "0-49", scope=_CONTACTS),
        _standard("meetings", "0-47", scope=_CONTACTS),
        _standard("notes", "0-46", scope=_CONTACTS),
        _standard("tasks", "0-27", scope=_CONTACTS),
        _standard("communications", "0-18", scope=_CONTACTS),
        _standard("postal_mail", "0-116", scope=_CONTACTS),
        _standard("orders", "0-123"),
        _standard("invoices", "0-53"),
        _standard("subscriptions", "0-69"),
        _standard("appointments", "0-421", "0-421"),
        _standard("carts", "0-142"),
        _standard("contracts", None),
        _standard("courses", "0-410", "0-410"),
        _standard("discounts", "0-84", scope=_LINE_ITEMS),
        _standard("feedback_submissions", "0-19"),
        _standard("fees", "0-85", scope=_LINE_ITEMS),
        _standard("goals", "0-74", "goal_targets"),
        _standard("listings", "0-420", "0-420"),
        _standard("partner_clients", None, scope="crm.objects.partner-clients.read"),
        _standard("partner_services", None, scope="crm.objects.partner-services.read"),
        _standard(
            "payments", "0-101", "commerce_payments", scope="crm.objects.commercepayments.read"
        ),
        _standard("projects", "0-970"),
        _standard("services", "0-162", "0-162"),
        _standard("taxes", "0-86", scope=_LINE_ITEMS),
        _standard("users", "0-115"),
    )
}

#: The same by each name in HubSpot's API: name, path segment, id.
_BY_ALIAS = {
    alias: crm_object
    for crm_object in STANDARD_OBJECTS.values()
    for alias in (crm_object.type_id, crm_object.object_type, crm_object.name)
}


def standard_object(alias: str) -> CrmObject | None:
    """Return the standard object with this name, path segment or id, or None."""
    return _BY_ALIAS.get(alias)


def object_type_of(alias: str) -> str:
    """Return the path segment of a type that a tenant names, such as one of its associations."""
    known = standard_object(alias)
    return known.object_type if known else alias
