"""Property definitions, pipelines and owners of a simulated account."""

from typing import Any

#: name → (type, fieldType, calculated). From HubSpot's standard deal properties.
STANDARD: dict[str, tuple[str, str, bool]] = {
    "amount": ("number", "number", False),
    "amount_in_home_currency": ("number", "calculation_equation", True),
    "closed_lost_reason": ("string", "textarea", False),
    "closedate": ("datetime", "date", False),
    "createdate": ("datetime", "date", False),
    "deal_currency_code": ("enumeration", "select", False),
    "dealname": ("string", "text", False),
    "dealstage": ("enumeration", "radio", False),
    "dealtype": ("enumeration", "radio", False),
    "description": ("string", "textarea", False),
    "hs_all_owner_ids": ("enumeration", "select", False),
    "hs_deal_stage_probability": ("number", "number", False),
    "hs_forecast_amount": ("number", "number", False),
    "hs_is_closed": ("bool", "calculation_equation", True),
    "hs_is_closed_won": ("bool", "calculation_equation", True),
    "hs_lastmodifieddate": ("datetime", "date", False),
    "hs_manual_forecast_category": ("enumeration", "select", False),
    "hs_merged_object_ids": ("enumeration", "checkbox", False),
    "hs_next_step": ("string", "text", False),
    "hs_object_id": ("number", "number", False),
    "hs_priority": ("enumeration", "select", False),
    "hs_v2_date_entered_current_stage": ("datetime", "calculation_read_time", True),
    "hubspot_owner_id": ("enumeration", "select", False),
    "num_associated_contacts": ("number", "number", False),
    "pipeline": ("enumeration", "select", False),
}

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


def definition(
    name: str,
    type_: str = "string",
    field_type: str = "text",
    calculated: bool = False,
    data_sensitivity: str = "non_sensitive",
) -> dict[str, Any]:
    """Return one entry of GET /crm/v3/properties/deals."""
    return {
        "name": name,
        "label": name.replace("_", " ").title(),
        "description": "",
        "groupName": "dealinformation",
        "type": type_,
        "fieldType": field_type,
        "options": [],
        "displayOrder": -1,
        "calculated": calculated,
        "externalOptions": False,
        "hasUniqueValue": False,
        "hidden": False,
        "formField": False,
        "dataSensitivity": data_sensitivity,
        "archived": False,
        "modificationMetadata": {
            "archivable": True,
            "readOnlyDefinition": False,
            "readOnlyValue": calculated,
        },
    }


def standard_definitions() -> dict[str, dict[str, Any]]:
    return {name: definition(name, *kind) for name, kind in STANDARD.items()}


def sales_pipeline() -> dict[str, Any]:
    """Return the pipeline that every new account has. Metadata values are strings."""
    epoch = "1970-01-01T00:00:00Z"
    return {
        "id": "default",
        "label": "Sales Pipeline",
        "displayOrder": 0,
        "archived": False,
        "createdAt": epoch,
        "updatedAt": epoch,
        "stages": [
            {
                "id": stage_id,
                "label": label,
                "displayOrder": order,
                "metadata": {
                    "isClosed": str(stage_id in CLOSED).lower(),
                    "probability": str(probability),
                },
                "createdAt": epoch,
                "updatedAt": epoch,
                "archived": False,
                "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            }
            for order, (stage_id, label, probability) in enumerate(STAGES)
        ],
    }


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
