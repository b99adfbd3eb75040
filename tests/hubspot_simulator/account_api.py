"""Whose token it is, what it may do, and how much of the limits is used."""

import zlib
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.hubspot_simulator.changes import CrmObject
from tests.hubspot_simulator.errors import Answer, invalid, json_answer, not_found
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.rate_limits import next_midnight
from tests.hubspot_simulator.record import iso, now_iso
from tests.hubspot_simulator.request import Request

#: Records of one type that an account may hold.
RECORDS_MAX = 15_000_000


def token_info(portal: Portal, request: Request) -> Answer:
    text = request.json().get("tokenKey")
    if not isinstance(text, str) or not text:
        raise invalid("tokenKey must not be empty")
    known = [t for t in portal.tokens if t.text == text and t.state == "valid"]
    if not known or known[0].kind == "oauth":
        raise not_found()
    return json_answer(
        {
            "userId": 1,
            "hubId": portal.portal_id,
            "appId": zlib.crc32(known[0].app.encode()),
            "scopes": list(known[0].scopes),
        }
    )


def account(portal: Portal, request: Request) -> Answer:
    offset = datetime.now(ZoneInfo(portal.time_zone)).utcoffset()
    seconds = int(offset.total_seconds()) if offset else 0
    sign, minutes = "-" if seconds < 0 else "+", abs(seconds) // 60
    host = "app" if portal.data_hosting == "na1" else f"app-{portal.data_hosting}"
    return json_answer(
        {
            "portalId": portal.portal_id,
            "accountType": portal.account_type,
            "timeZone": portal.time_zone,
            "companyCurrency": portal.currency,
            "additionalCurrencies": portal.additional_currencies,
            "utcOffset": f"{sign}{minutes // 60:02d}:{minutes % 60:02d}",
            "utcOffsetMilliseconds": seconds * 1_000,
            "uiDomain": f"{host}.hubspot.com",
            "dataHostingLocation": portal.data_hosting,
        }
    )


def daily_usage(portal: Portal, request: Request) -> Answer:
    usage = {
        "name": "private-apps-api-calls-daily",
        "usageLimit": portal.quota.daily or 0,
        "currentUsage": portal.quota.used_today,
        "collectedAt": iso(datetime.now(UTC)),
        "fetchStatus": "SUCCESS",
        "resetsAt": iso(next_midnight(portal.time_zone)),
    }
    return json_answer({"results": [usage]})


def record_limits(portal: Portal, request: Request) -> Answer:
    entries = [_limit(crm_object) for crm_object in portal.objects.values()]
    return json_answer({"hubspotDefinedObjectTypes": entries, "collectedAt": now_iso()})


def _limit(crm_object: CrmObject) -> dict[str, Any]:
    usage = len(crm_object.records.ids(archived=False))
    return {
        "objectTypeId": crm_object.type.type_id,
        "limit": RECORDS_MAX,
        "usage": usage,
        "percentage": 100 * usage / RECORDS_MAX,
    }
