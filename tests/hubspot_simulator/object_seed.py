"""Records and definitions of other objects than deals, from a seed."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.definitions import definition
from tests.hubspot_simulator.object_type import ObjectType
from tests.hubspot_simulator.record import Properties, Record, iso
from tests.hubspot_simulator.seed import EPOCH, ids

FIRST_NAMES, LAST_NAMES = ("Ada", "Grace", "Linus", "Zoë"), ("Byron", "Hopper", "Núñez", "李")

#: Type → name → type of the properties beside those that every object has.
PROPERTIES: dict[str, dict[str, str]] = {
    "contacts": {
        "firstname": "string",
        "lastname": "string",
        "email": "string",
        "phone": "string",
        "lifecyclestage": "enumeration",
    },
    "companies": {
        "name": "string",
        "domain": "string",
        "lifecyclestage": "enumeration",
        "industry": "enumeration",
        "numberofemployees": "number",
        "annualrevenue": "number",
    },
    "tickets": {
        "subject": "string",
        "content": "string",
        "hs_pipeline": "enumeration",
        "hs_pipeline_stage": "enumeration",
        "hs_ticket_priority": "enumeration",
    },
    "line_items": {"name": "string", "quantity": "number", "price": "number", "amount": "number"},
    "products": {
        "name": "string",
        "description": "string",
        "price": "number",
        "hs_sku": "string",
    },
    "quotes": {
        "hs_title": "string",
        "hs_status": "enumeration",
        "hs_expiration_date": "datetime",
        "hs_quote_amount": "number",
    },
}
OF_OTHERS = {"name": "string", "weight": "number", "due": "datetime"}

#: Values that are not like every value of their type.
VALUES: dict[str, Callable[[int, random.Random], str]] = {
    "firstname": lambda number, rng: rng.choice(FIRST_NAMES),
    "lastname": lambda number, rng: rng.choice(LAST_NAMES),
    "email": lambda number, rng: f"contact{number}@example.com",
    "domain": lambda number, rng: f"company{number}.example.com",
    "lifecyclestage": lambda number, rng: rng.choice(("lead", "customer")),
    "hs_pipeline": lambda number, rng: "0",
    "hs_pipeline_stage": lambda number, rng: str(rng.randint(1, 4)),
    "hs_ticket_priority": lambda number, rng: rng.choice(("LOW", "MEDIUM", "HIGH")),
    "quantity": lambda number, rng: str(rng.randint(1, 9)),
    "numberofemployees": lambda number, rng: str(rng.randint(1, 999)),
}


def definitions_of(type_: ObjectType) -> dict[str, dict[str, Any]]:
    common = {
        type_.created_property: "datetime",
        type_.modified_property: "datetime",
        "hs_object_id": "number",
        "hs_merged_object_ids": "enumeration",
        "hubspot_owner_id": "enumeration",
    }
    own = PROPERTIES.get(type_.name, OF_OTHERS)
    group = f"{type_.singular}information"
    defined = {
        name: definition(name, kind, group=group, standard=True) for name, kind in common.items()
    }
    return defined | {
        name: definition(name, kind, group=group, standard=not type_.custom)
        for name, kind in own.items()
    }


def fill(crm_object: CrmObject, count: int, archived: int, seed: int) -> None:
    """Add records; ids are those that deals of this seed have too: they are a type's own."""
    for number, record_id in enumerate(ids(seed, count + archived)):
        record = _record(crm_object, number, record_id, random.Random(seed * 1_000_003 + number))
        if number >= count:
            record.archived_at = iso(EPOCH + timedelta(days=300, seconds=number))
        crm_object.add(record)


def _record(crm_object: CrmObject, number: int, record_id: int, rng: random.Random) -> Record:
    type_ = crm_object.type
    created = iso(EPOCH + timedelta(hours=number % 5_000))
    modified = iso(EPOCH + timedelta(hours=number % 5_000, days=10))
    properties: Properties = {
        name: _value(type_, name, kind, number, rng)
        for name, kind in PROPERTIES.get(type_.name, OF_OTHERS).items()
    }
    properties |= {
        type_.created_property: created,
        type_.modified_property: modified,
        "hs_object_id": str(record_id),
        "hubspot_owner_id": str(96_000_001 + number % 2),
    }
    return Record(record_id, properties, created, modified, crm_object.portal.portal_id, type_)


def _value(type_: ObjectType, name: str, kind: str, number: int, rng: random.Random) -> str:
    if name in VALUES:
        return VALUES[name](number, rng)
    if kind == "number":
        return f"{rng.randint(100, 10**6) / 100}"
    if kind == "datetime":
        return iso(EPOCH + timedelta(days=rng.randint(0, 400)))
    return f"{type_.singular} {name} {number}"
