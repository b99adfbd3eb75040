"""Property definitions, pipelines and owners of a simulated account."""

from typing import Any

STAGES = (
    ("appointmentscheduled", "Appointment Scheduled", 0.2),
    ("qualifiedtobuy", "Qualified To Buy", 0.4),
    ("presentationscheduled", "Presentation Scheduled", 0.6),
    ("decisionmakerboughtin", "Decision Maker Bought-In", 0.8),
    ("contractsent", "Contract Sent", 0.9),
    ("closedwon", "Closed Won", 1.0),
    ("closedlost", "Closed Lost", 0.0),
)
CLOSED = ("closedwon", "closedlost")
#: An added pipeline: ids are numbers.
PARTNER_PIPELINE_ID, PARTNER_STAGE_ID = "75398", "170338465"

#: name → (type, fieldType, calculated). From HubSpot's standard deal properties.
STANDARD: dict[str, tuple[str, str, bool]] = {
    "amount": ("number", "number", False),
    "amount_in_home_currency": ("number", "calculation_equation", True),
    "closed_lost_reason": ("string", "textarea", False),
    "closedate": ("datetime", "date", False),
    "createdate": ("datetime", "date", False),
    "days_to_close": ("number", "calculation_equation", True),
    "deal_currency_code": ("enumeration", "select", False),
    "dealname": ("string", "text", False),
    "dealstage": ("enumeration", "radio", False),
    "dealtype": ("enumeration", "radio", False),
    "description": ("string", "textarea", False),
    "hs_all_owner_ids": ("enumeration", "select", False),
    "hs_analytics_latest_source_timestamp": ("datetime", "number", False),
    "hs_deal_stage_probability": ("number", "number", False),
    "hs_forecast_amount": ("number", "number", False),
    "hs_is_closed": ("bool", "calculation_equation", True),
    "hs_is_closed_won": ("bool", "calculation_equation", True),
    "hs_lastmodifieddate": ("datetime", "date", False),
    "hs_manual_forecast_category": ("enumeration", "select", False),
    "hs_merged_object_ids": ("enumeration", "checkbox", False),
    "hs_next_step": ("string", "text", False),
    "hs_notes_last_activity": ("object_coordinates", "text", False),
    "hs_object_id": ("number", "number", False),
    "hs_priority": ("enumeration", "select", False),
    "hs_projected_amount": ("number", "calculation_equation", True),
    "hs_tag_ids": ("enumeration", "checkbox", False),
    "hs_v2_date_entered_current_stage": ("datetime", "calculation_read_time", True),
    "hubspot_owner_id": ("enumeration", "select", False),
    "num_associated_contacts": ("number", "number", False),
    "pipeline": ("enumeration", "select", False),
    **{f"hs_v2_date_entered_{stage}": ("datetime", "date", False) for stage, _, _ in STAGES},
    **{f"hs_v2_date_exited_{stage}": ("datetime", "date", False) for stage, _, _ in STAGES},
    **{f"hs_v2_latest_time_in_{stage}": ("number", "number", False) for stage, _, _ in STAGES},
}

#: Values of some enumerations. Others are defined elsewhere (owners, pipelines), or are free.
OPTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "dealstage": tuple((stage_id, label) for stage_id, label, _ in STAGES),
    "dealtype": (("newbusiness", "New Business"), ("existingbusiness", "Existing Business")),
    "hs_priority": (("low", "Low"), ("medium", "Medium"), ("high", "High")),
    "pipeline": (("default", "Sales Pipeline"),),
}


def definition(
    name: str,
    type_: str = "string",
    field_type: str = "text",
    calculated: bool = False,
    data_sensitivity: str = "non_sensitive",
    *,
    archived: bool = False,
    group: str = "dealinformation",
    standard: bool | None = None,
) -> dict[str, Any]:
    """Return one entry of GET /crm/v3/properties/deals. ``standard`` None: as deals have it."""
    standard = name in STANDARD if standard is None else standard
    entry: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").title(),
        "description": "",
        "groupName": group,
        "type": type_,
        "fieldType": field_type,
        "options": _options(name),
        "displayOrder": -1,
        "calculated": calculated,
        "externalOptions": name == "hubspot_owner_id",
        "hasUniqueValue": False,
        "hidden": False,
        "hubspotDefined": standard,
        "formField": False,
        "dataSensitivity": data_sensitivity,
        "archived": archived,
        "modificationMetadata": {
            "archivable": not standard,
            "readOnlyDefinition": standard,
            "readOnlyValue": calculated,
        },
    }
    if archived:
        entry["archivedAt"] = "2025-01-01T00:00:00.000Z"
    if name == "hubspot_owner_id":
        entry["referencedObjectType"] = "OWNER"
    return entry


def standard_definitions() -> dict[str, dict[str, Any]]:
    return {name: definition(name, *kind) for name, kind in STANDARD.items()}


def sales_pipeline() -> dict[str, Any]:
    """Return the pipeline that every new account has. Metadata values are strings."""
    stages = [
        _stage(stage_id, label, order, str(probability), closed=stage_id in CLOSED)
        for order, (stage_id, label, probability) in enumerate(STAGES)
    ]
    return _pipeline("default", "Sales Pipeline", 0, stages)


def partner_pipeline() -> dict[str, Any]:
    stages = [_stage(PARTNER_STAGE_ID, "Introduced", 0, "0.5", closed=False)]
    return _pipeline(PARTNER_PIPELINE_ID, "Partner Pipeline", 1, stages)


def owner(number: int, *, archived: bool = False) -> dict[str, Any]:
    return {
        "id": str(96_000_000 + number),
        "email": f"owner{number}@example.com",
        "type": "PERSON",
        "firstName": "Owner",
        "lastName": str(number),
        "userId": 1_000 + number,
        "createdAt": "2023-01-01T00:00:00.000Z",
        "updatedAt": "2023-01-01T00:00:00.000Z",
        "archived": archived,
    }


def user(number: int, **other: Any) -> dict[str, Any]:
    """The user who is the owner of this number; of an archived one there is none."""
    return {
        "id": str(1_000 + number),
        "email": f"owner{number}@example.com",
        "firstName": "Owner",
        "lastName": str(number),
        "roleIds": [],
        "superAdmin": False,
        **other,
    }


def team(number: int, name: str, *user_ids: str) -> dict[str, Any]:
    return {"id": str(number), "name": name, "userIds": list(user_ids), "secondaryUserIds": []}


def role(number: int, name: str) -> dict[str, Any]:
    return {"id": str(number), "name": name, "requiresBillingWrite": False}


def support_pipeline() -> dict[str, Any]:
    """Tickets' own: stages are open or closed, and have no probability."""
    stages = [
        _stage_of(str(order + 1), label, order, {"ticketState": state})
        for order, (label, state) in enumerate(
            (
                ("New", "OPEN"),
                ("Waiting on contact", "OPEN"),
                ("Waiting on us", "OPEN"),
                ("Closed", "CLOSED"),
            )
        )
    ]
    return _pipeline("0", "Support Pipeline", 0, stages)


def _options(name: str) -> list[dict[str, Any]]:
    return [
        {"value": value, "label": label, "displayOrder": order, "hidden": False}
        for order, (value, label) in enumerate(OPTIONS.get(name, ()))
    ]


def _pipeline(
    pipeline_id: str, label: str, order: int, stages: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "id": pipeline_id,
        "label": label,
        "displayOrder": order,
        "archived": False,
        "createdAt": _EPOCH,
        "updatedAt": _EPOCH,
        "stages": stages,
    }


def _stage(
    stage_id: str, label: str, order: int, probability: str, *, closed: bool
) -> dict[str, Any]:
    metadata = {"isClosed": str(closed).lower(), "probability": probability}
    return _stage_of(stage_id, label, order, metadata)


def _stage_of(stage_id: str, label: str, order: int, metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": stage_id,
        "label": label,
        "displayOrder": order,
        "metadata": metadata,
        "createdAt": _EPOCH,
        "updatedAt": _EPOCH,
        "archived": False,
        "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
    }


#: Default pipelines were there before HubSpot kept such times.
_EPOCH = "1970-01-01T00:00:00Z"
