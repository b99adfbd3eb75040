"""HubSpot's endpoints for tokens of OAuth apps. The caller is named in a form, not in a header."""

import re
import time
import zlib
from collections.abc import Mapping
from urllib.parse import parse_qsl

from tests.hubspot_simulator.errors import Answer, ApiError, json_answer
from tests.hubspot_simulator.oauth_app import OAuthApp
from tests.hubspot_simulator.portal import Portal
from tests.hubspot_simulator.request import Request
from tests.hubspot_simulator.tokens import Token

PATH = re.compile(r"/oauth/(?:v1|v3|20\d\d-0[39](?:-beta)?)/token(?:/introspect)?")


def owner_of(portals: Mapping[int, Portal], body: bytes) -> Portal | None:
    """Return the account that a form is about: by its token, else by its app."""
    form = _form(body)
    for portal in portals.values():
        refresh_tokens = {app.refresh_token for app in portal.oauth_apps}
        if form.get("refresh_token") in refresh_tokens or _find(portal, form.get("token")):
            return portal
    for portal in portals.values():
        if any(app.client_id == form.get("client_id") for app in portal.oauth_apps):
            return portal
    return None


def token(portal: Portal, request: Request) -> Answer:
    """Answer a refresh; no other grant is known here."""
    form = _form(request.body)
    if form.get("grant_type") != "refresh_token":
        raise refusal("unsupported_grant_type", "BAD_GRANT_TYPE", "grant type is not supported")
    app = _app(portal, form)
    if app.state == "uninstalled":
        raise refusal("access_denied", "BAD_HUB", "the app is not installed in this hub")
    if app.state == "revoked" or form.get("refresh_token") != app.refresh_token:
        raise bad_refresh_token()
    issued = app.issue(portal.portal_id)
    portal.tokens.append(issued)
    account = {"hub_id": portal.portal_id, "user_id": 1, "scopes": list(app.scopes)}
    return json_answer(
        {
            "access_token": issued.text,
            "refresh_token": app.refresh_token,
            "expires_in": app.expires_in_s,
            "token_type": "bearer",
            "token_use": "access_token",
            **(account if app.states_account else {}),
        }
    )


def introspection(portal: Portal, request: Request) -> Answer:
    form = _form(request.body)
    app = _app(portal, form)
    found = _find(portal, form.get("token"))
    if found is None or found.app != app.client_id or not portal.is_good(found):
        return json_answer({"active": False, "token_use": "access_token"})
    left_s = int((found.expires_at or 0) - time.monotonic())
    return json_answer(
        {
            "active": True,
            "token": found.text,
            "token_use": "access_token",
            "token_type": "bearer",
            "client_id": app.client_id,
            "app_id": zlib.crc32(app.client_id.encode()) & 0x7FFFFFFF,
            "hub_id": portal.portal_id,
            "hub_domain": f"{portal.portal_id}.example.com",
            "user_id": 1,
            "user": "admin@example.com",
            "scopes": list(found.scopes),
            "expires_in": left_s,
            "is_private_distribution": True,
            "signed_access_token": _signed(portal, app, left_s),
        }
    )


def refusal(error: str, status: str, message: str) -> ApiError:
    body = {"error": error, "error_description": message, "status": status, "message": message}
    return ApiError(json_answer(body, 400))


def bad_client() -> ApiError:
    return refusal("invalid_client", "BAD_CLIENT_ID", "missing or unknown client id")


def bad_refresh_token() -> ApiError:
    message = "refresh token is invalid, expired or revoked"
    return refusal("invalid_grant", "BAD_REFRESH_TOKEN", message)


def _form(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode("latin-1")))


def _find(portal: Portal, text: str | None) -> Token | None:
    return next((t for t in portal.tokens if t.kind == "oauth" and t.text == text), None)


def _app(portal: Portal, form: Mapping[str, str]) -> OAuthApp:
    """Return the installation that a form means; several may be of one app."""
    own = [
        app
        for app in portal.oauth_apps
        if (app.client_id, app.client_secret) == (form.get("client_id"), form.get("client_secret"))
    ]
    if not own:
        raise bad_client()
    return next((app for app in own if app.refresh_token == form.get("refresh_token")), own[0])


def _signed(portal: Portal, app: OAuthApp, left_s: int) -> dict[str, object]:
    return {
        "appId": zlib.crc32(app.client_id.encode()) & 0x7FFFFFFF,
        "appInstallId": "1",
        "audience": "",
        "expiresAt": int((time.time() + left_s) * 1_000),
        "hubId": portal.portal_id,
        "hublet": portal.data_hosting,
        "installingUserId": 1,
        "isPrivateDistribution": True,
        "isServiceAccount": False,
        "isUserLevel": False,
        "newSignature": "",
        "scopeToScopeGroupPks": "",
        "scopes": "",
        "signature": "",
        "trialScopeToScopeGroupPks": "",
        "trialScopes": "",
        "userId": 1,
    }
