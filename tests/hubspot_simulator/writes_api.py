"""Creating records of an object: one, or a batch."""

from typing import Any

from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.errors import Answer, ApiError, error, invalid, json_answer
from tests.hubspot_simulator.record import Properties, Record
from tests.hubspot_simulator.request import Request, times

BATCH_MAX = 100
CREATED = 201


def create(crm_object: CrmObject, request: Request) -> Answer:
    (record,) = _created(crm_object, [request.json()])
    return json_answer(_document(crm_object, record), CREATED)


def batch_create(crm_object: CrmObject, request: Request) -> Answer:
    inputs = request.json().get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise invalid("Invalid input JSON: inputs must not be empty")
    if len(inputs) > BATCH_MAX:
        raise invalid(
            f"The maximum number of inputs supported in a batch request is {BATCH_MAX}. "
            "Please reduce the number of items and try again"
        )
    records = _created(crm_object, inputs)
    results = [_document(crm_object, record) for record in records]
    return json_answer({"status": "COMPLETE", "results": results, **times()}, CREATED)


def _created(crm_object: CrmObject, inputs: list[Any]) -> list[Record]:
    """Create all, or none if one of them can't be."""
    wanted = [_properties(entry) for entry in inputs]
    for properties in wanted:
        _require_valid(crm_object, properties)
    return [crm_object.create(**properties) for properties in wanted]


def _properties(entry: Any) -> Properties:
    properties = entry.get("properties") if isinstance(entry, dict) else None
    if not isinstance(properties, dict):
        raise invalid("Invalid input JSON: every input needs properties")
    return {str(name): None if v is None else str(v) for name, v in properties.items()}


def _require_valid(crm_object: CrmObject, properties: Properties) -> None:
    for name, value in properties.items():
        definition = crm_object.definitions.get(name)
        if definition is None or definition["archived"]:
            raise _refused(name, f'Property "{name}" does not exist', "PROPERTY_DOESNT_EXIST")
        if definition["calculated"] or name in crm_object.type.always:
            raise _refused(name, f'"{name}" is a read only property', "READ_ONLY_VALUE")
        if value and definition["type"] == "number" and not _is_number(value):
            raise _refused(name, f"{value} was not a valid number.", "INVALID_DOUBLE")
    if crm_object.type.name == "deals":
        _require_stage(crm_object, properties)


def _require_stage(crm_object: CrmObject, properties: Properties) -> None:
    pipeline_id = properties.get("pipeline") or "default"
    stages = {
        stage["id"]
        for pipeline in crm_object.portal.pipelines
        if pipeline["id"] == pipeline_id
        for stage in pipeline["stages"]
    }
    if not stages:
        raise _refused("pipeline", f"{pipeline_id} was not a valid option.", "INVALID_OPTION")
    stage_id = properties.get("dealstage")
    if stage_id and stage_id not in stages:
        raise _refused("dealstage", f"{stage_id} was not a valid option.", "INVALID_OPTION")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _refused(name: str, message: str, code: str) -> ApiError:
    return error(
        400,
        "VALIDATION_ERROR",
        f"Property values were not valid: {message}",
        errors=[{"message": message, "code": code, "context": {"propertyName": [name]}}],
    )


def _document(crm_object: CrmObject, record: Record) -> dict[str, Any]:
    return record.document(crm_object.with_always(tuple(record.properties)))
