"""What a tenant loads besides deals: the key `objects` of its entry."""

import difflib
import re
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic import model_validator as validates_whole

from include.objects import STANDARD_OBJECTS, CrmObject

#: Names of objects become names of views.
OBJECT_NAME_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"

PropertyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,100}$")]
#: HubSpot's name of an object type, its id (2-1234567) or its full name (p1234567_machine).
ObjectType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9_-]{0,99}$")]


class OtherObject(BaseModel):
    """Another CRM object than deals that a tenant wants: contacts, a custom object …"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: HubSpot's id or full name of the type; the standard objects need none.
    object_type: ObjectType | None = None
    properties: Literal["all"] | tuple[PropertyName, ...] = "all"
    associations: tuple[ObjectType, ...] = ()
    property_history: tuple[PropertyName, ...] = ()


class Objects(BaseModel):
    """What is loaded besides deals. false, or an empty list, switches a part off."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, OtherObject]

    #: Pipelines and their stages.
    deal_pipelines: bool = True
    owners: bool = True
    #: The definitions of properties, of deals and of every other object that is loaded.
    deal_properties: bool = True
    deal_associations: Literal[False] | tuple[ObjectType, ...] = (
        "companies",
        "contacts",
        "line_items",
        "tickets",
    )
    deal_property_history: Literal[False] | tuple[PropertyName, ...] = ("dealstage", "amount")

    @validates_whole(mode="before")
    @classmethod
    def _empty_entries_are_objects(cls, entries: Any) -> Any:
        # `contacts:` and `contacts: true` say all that is needed
        if not isinstance(entries, dict):
            return entries
        return {
            name: {} if name not in cls.model_fields and entry in (None, True) else entry
            for name, entry in entries.items()
            if entry is not False or name in cls.model_fields
        }

    @validates_whole(mode="after")
    def _others_can_be_found(self) -> "Objects":
        for name, entry in self.__pydantic_extra__.items():
            if name == "deals":
                raise ValueError("deals are always loaded: take 'deals' out")
            if not re.fullmatch(OBJECT_NAME_PATTERN, name):
                raise ValueError(f"object {name!r} must match {OBJECT_NAME_PATTERN}")
            if entry.object_type is None and name not in STANDARD_OBJECTS:
                known = [*type(self).model_fields, *STANDARD_OBJECTS]
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "a custom one needs 'object_type'"
                raise ValueError(f"unknown object {name!r} ({hint})")
        return self

    @property
    def others(self) -> tuple[CrmObject, ...]:
        return tuple(
            _crm_object(name, entry) for name, entry in sorted(self.__pydantic_extra__.items())
        )


def _crm_object(name: str, entry: OtherObject) -> CrmObject:
    object_type = entry.object_type or name
    known = STANDARD_OBJECTS.get(object_type, CrmObject(name, object_type))
    return replace(
        known,
        name=name,
        properties=entry.properties,
        associations=entry.associations,
        property_history=entry.property_history,
    )
