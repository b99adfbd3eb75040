"""HubSpot's error answers, as observed: status and body, of the API (JSON) or its edge (HTML).

Every field of a body is optional in HubSpot's own specification; these are the ones seen.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.hubspot_simulator.record import now_iso, to_json

HTML = "text/html; charset=UTF-8"
JSON = "application/json;charset=utf-8"


@dataclass
class Answer:
    """One HTTP answer. ``headers`` are added to the content type and the correlation id."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """Ends the handling of a request with this answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(f"HTTP {answer.status}")


def json_answer(document: Any, status: int = 200) -> Answer:
    return Answer(status, to_json(document))


def error(status: int, category: str, message: str, **fields: Any) -> ApiError:
    body = {
        "status": "error",
        "message": message,
        "correlationId": str(uuid.uuid4()),
        "category": category,
        **fields,
    }
    return ApiError(json_answer(body, status))


def unauthorized() -> ApiError:
    return error(
        401,
        "INVALID_AUTHENTICATION",
        "Authentication credentials not found. This API supports OAuth 2.0 authentication and you "
        "can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
    )


def expired() -> ApiError:
    return error(
        401,
        "EXPIRED_AUTHENTICATION",
        "The OAuth token used to make this call expired 0 second(s) ago.",
        context={"expire time": [now_iso()]},
    )


def missing_scopes(scopes: list[str]) -> ApiError:
    return error(
        403,
        "MISSING_SCOPES",
        "This app hasn't been granted all required scopes to make this call. Read more about "
        "required scopes here: https://developers.hubspot.com/scopes.",
        errors=[
            {
                "message": "One or more of the following scopes are required.",
                "context": {"requiredGranularScopes": scopes},
            }
        ],
        links={"scopes": "https://developers.hubspot.com/scopes"},
    )


def not_found(message: str = "resource not found") -> ApiError:
    return error(404, "OBJECT_NOT_FOUND", message)


def invalid(message: str) -> ApiError:
    return error(400, "VALIDATION_ERROR", message)


def rate_limited(policy: str) -> ApiError:
    limit = {"DAILY": "daily", "SECONDLY": "secondly"}.get(policy, "ten_secondly_rolling")
    body = {
        "status": "error",
        "message": f"You have reached your {limit} limit.",
        "errorType": "RATE_LIMIT",
        "correlationId": str(uuid.uuid4()),
        "policyName": policy,
        "requestId": str(uuid.uuid4()),
    }
    return ApiError(json_answer(body, 429))


def html(status: int, title: str) -> Answer:
    """An answer of the edge in front of the API."""
    page = f"<html>\n<head><title>{status} {title}</title></head>\n<body>{title}</body>\n</html>"
    return Answer(status, page.encode(), HTML)
