"""Types of CRM objects: what HubSpot calls each, and what opens it."""

import re
from dataclasses import dataclass

CUSTOM_ID = re.compile(r"2-\d+")


@dataclass(frozen=True)
class ObjectType:
    """``name`` is the plural. ``scopes``: any one of them opens the records, the last is named."""

    name: str
    singular: str
    type_id: str
    scopes: tuple[str, ...]
    modified_property: str = "hs_lastmodifieddate"
    created_property: str = "createdate"
    #: Sent when nothing was asked for, beside what is always sent.
    defaults: tuple[str, ...] = ()
    #: What the full-text `query` of a search looks into, where it is not the defaults.
    queried: tuple[str, ...] = ()
    #: Paths take the id only: the specifications have no other.
    by_id_only: bool = False
    #: False: there is no search of it.
    searchable: bool = True

    @property
    def custom(self) -> bool:
        return CUSTOM_ID.fullmatch(self.type_id) is not None

    @property
    def end(self) -> str:
        """How ends of associations name this type: custom ones by id."""
        return self.type_id if self.custom else self.name

    @property
    def scope_name(self) -> str:
        """The part of a scope's name: crm.objects.<this>.read."""
        return "custom" if self.custom else self.name

    @property
    def schema_scopes(self) -> tuple[str, ...]:
        return (f"crm.schemas.{self.scope_name}.read", *self.scopes)

    @property
    def always(self) -> tuple[str, ...]:
        """Sent whatever was asked for."""
        return (self.created_property, self.modified_property, "hs_object_id")

    @property
    def searched(self) -> tuple[str, ...]:
        return self.queried or self.defaults

    def aliases(self, portal_id: int) -> tuple[str, ...]:
        """Return what a path may call this type."""
        if self.custom:
            return self.type_id, self.name, f"p{portal_id}_{self.name}"
        if self.by_id_only:
            return (self.type_id,)
        return self.name, self.singular, self.type_id


def _read(name: str) -> tuple[str, ...]:
    return (f"crm.objects.{name}.read",)


DEALS = ObjectType(
    "deals",
    "deal",
    "0-3",
    _read("deals"),
    defaults=("amount", "closedate", "dealname", "dealstage", "pipeline"),
    queried=("dealname", "pipeline", "dealstage", "description", "dealtype"),
)
#: Types that every account could have. Contacts alone name their modification time otherwise.
STANDARD_TYPES = (
    DEALS,
    ObjectType(
        "contacts",
        "contact",
        "0-1",
        _read("contacts"),
        "lastmodifieddate",
        defaults=("firstname", "lastname", "email"),
    ),
    ObjectType("companies", "company", "0-2", _read("companies"), defaults=("name", "domain")),
    ObjectType(
        "tickets",
        "ticket",
        "0-5",
        (*_read("tickets"), "tickets"),
        defaults=("content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_priority", "subject"),
    ),
    ObjectType(
        "line_items", "line_item", "0-8", _read("line_items"), defaults=("amount", "quantity")
    ),
    ObjectType(
        "products",
        "product",
        "0-7",
        (*_read("products"), "e-commerce"),
        defaults=("description", "name", "price"),
    ),
    *(
        ObjectType(
            name,
            name.removesuffix("s"),
            type_id,
            scopes,
            created_property="hs_createdate",
            defaults=defaults,
            by_id_only=name in ("appointments", "courses", "listings", "services"),
            searchable=name != "contracts",
        )
        for name, type_id, scopes, defaults in (
            ("quotes", "0-14", _read("quotes"), ("hs_expiration_date", "hs_status", "hs_title")),
            ("leads", "0-136", _read("leads"), ("hs_lead_name",)),
            *(
                # either scope opens activities
                (name, type_id, (*_read(name), *_read("contacts")), ("hs_timestamp",))
                for name, type_id in (
                    ("calls", "0-48"),
                    ("emails", "0-49"),
                    ("meetings", "0-47"),
                    ("notes", "0-46"),
                    ("tasks", "0-27"),
                    ("communications", "0-18"),
                    ("postal_mail", "0-116"),
                )
            ),
            ("orders", "0-123", _read("orders"), ("hs_order_name",)),
            ("invoices", "0-53", _read("invoices"), ("hs_currency",)),
            ("subscriptions", "0-69", _read("subscriptions"), ("hs_name",)),
            ("appointments", "0-421", _read("appointments"), ("hs_appointment_name",)),
            ("carts", "0-142", _read("carts"), ("hs_cart_name",)),
            # these three have an id that is not documented
            ("contracts", "0-9001", _read("contracts"), ("name",)),
            ("partner_clients", "0-9002", _read("partner-clients"), ("name",)),
            ("partner_services", "0-9003", _read("partner-services"), ("name",)),
            ("courses", "0-410", _read("courses"), ("hs_course_name",)),
            ("discounts", "0-84", _read("line_items"), ("hs_label",)),
            ("feedback_submissions", "0-19", _read("feedback_submissions"), ("hs_content",)),
            ("fees", "0-85", _read("line_items"), ("hs_label",)),
            ("goal_targets", "0-74", _read("goals"), ("hs_goal_name",)),
            ("listings", "0-420", _read("listings"), ("hs_name",)),
            ("commerce_payments", "0-101", _read("commercepayments"), ("hs_initial_amount",)),
            ("projects", "0-970", _read("projects"), ("hs_name",)),
            ("services", "0-162", _read("services"), ("hs_name",)),
            ("taxes", "0-86", _read("line_items"), ("hs_label",)),
            ("users", "0-115", _read("users"), ("hs_given_name",)),
        )
    ),
)


def named(name: str, type_id: str | None) -> ObjectType:
    """Return the standard type of a name or id, or make a type: custom ones need their id."""
    for known in STANDARD_TYPES:
        if name in (known.name, *known.aliases(0)) and type_id in (None, known.type_id):
            return known
    type_id = type_id or name
    if CUSTOM_ID.fullmatch(type_id):
        return ObjectType(
            name, name, type_id, _read("custom"), "hs_lastmodifieddate", "hs_createdate", ("name",)
        )
    if not re.fullmatch(r"0-\d+", type_id):
        raise ValueError(f"{name!r} is no standard type; it needs an object_type such as 2-1234567")
    # What else HubSpot has.
    scopes = (*_read(name), *_read("contacts"))
    return ObjectType(name, name.removesuffix("s"), type_id, scopes, defaults=("name",))
