"""HubSpot's token endpoint: an access token for a refresh token, and what one may do.

Secrets are in the bodies of requests only, and nothing of an answer's text gets into a message:
HubSpot's sentences could quote what they refuse. docs/api-integration.md#oauth-apps
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import msgspec

from include.errors import HubSpotDealsError, OAuthAppError
from include.hubspot import api
from include.hubspot.answers import TokenInfo, decoder_of
from include.hubspot.failures import Failure, as_error, rate_policy, seconds_to_wait
from include.hubspot.oauth_app import Grant, OAuthApp
from include.hubspot.patience import Setback
from include.hubspot.session import new_session, prepared_form
from include.hubspot.wire import Wire

_T = TypeVar("_T")

#: What HubSpot calls a refusal, in `error` or in `status`, and what it means for a person.
_REFUSALS = {
    "BAD_HUB": "the app is not installed in the account any more, or the account is gone",
    "ACCESS_DENIED": "the app is not installed in the account any more, or the account is gone",
    "BAD_CLIENT_ID": "there is no app with this client id",
    "BAD_CLIENT_SECRET": "the client secret is not this app's",
    "INVALID_CLIENT": "client id and client secret are not those of an app",
    "UNAUTHORIZED_CLIENT": "client id and client secret are not those of an app",
    "BAD_REFRESH_TOKEN": "the refresh token was revoked, or is not this app's",
    "INVALID_GRANT": "the refresh token was revoked, or is not this app's",
}
_CODE = re.compile(r"[A-Za-z_]{1,40}")


class _Introspection(msgspec.Struct):
    active: bool
    hub_id: int | None = None
    scopes: list[str] = []


class TokenEndpoint:
    """One try each: what goes wrong is a `Setback`, but for a refusal.

    Takes no turn at any rate limit: it is asked once in half an hour.
    """

    def __init__(
        self,
        base_url: str,
        api_version: str,
        *,
        tenant_id: str | None = None,
        timeout_s: tuple[float, float],
    ) -> None:
        base_url = base_url.rstrip("/")
        self._version = api_version
        self._tenant_id = tenant_id
        self._wire = Wire(base_url, new_session(base_url), timeout_s, tenant_id)

    def refreshed(self, app: OAuthApp, refresh_token: str) -> Grant:
        """Return a new access token. Raises OAuthAppError when HubSpot refuses."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        grant = self._post(api.oauth_token_path(self._version), app, form, decoder_of(Grant))
        if grant.refresh_token:
            return grant
        return msgspec.structs.replace(grant, refresh_token=refresh_token)

    def introspected(self, app: OAuthApp, access_token: str) -> TokenInfo | None:
        """Return what an access token may do; None: HubSpot does not tell."""
        form = {"token": access_token, "token_type_hint": "access_token"}
        path = api.oauth_introspection_path(self._version)
        found = self._post(path, app, form, decoder_of(_Introspection))
        if not found.active or found.hub_id is None or not found.scopes:
            return None
        return TokenInfo(found.hub_id, found.scopes)

    def _post(
        self, path: str, app: OAuthApp, form: Mapping[str, str], decode: Callable[[bytes], _T]
    ) -> _T:
        name = f"POST {path}"
        client = {"client_id": app.client_id, "client_secret": app.client_secret}
        answer = self._wire.answer(
            prepared_form(self._wire.base_url + path, {**form, **client}), name
        )
        if answer.status_code == 200:
            return self._wire.decoded(answer, name, decode)
        failure = Failure(answer.status_code, answer.headers, answer.content, name)
        if refusal := self._refusal(failure):
            raise refusal
        raise Setback(partial(seconds_to_wait, failure), self._error(failure))

    def _refusal(self, failure: Failure) -> OAuthAppError | None:
        codes = _codes(failure)
        meaning = next((_REFUSALS[c.upper()] for c in codes if c.upper() in _REFUSALS), None)
        if failure.status not in (401, 403) and not (meaning and failure.status == 400):
            return None
        return OAuthAppError(
            f"HubSpot gives the OAuth app no access token "
            f"({' '.join([str(failure.status), *codes])}): {meaning or 'it does not say why'}.",
            tenant_id=self._tenant_id,
            remedy="Correct client_id and client_secret in the connection, or install the app "
            "in the account again and put the new refresh_token there. Then clear the task.",
        )

    def _error(self, failure: Failure) -> HubSpotDealsError:
        codes = _codes(failure)
        policy = {"policyName": rate_policy(failure)} if failure.status == 429 else {}
        discreet = json.dumps({**policy, "message": " ".join(codes) or "no reason"}).encode()
        return as_error(
            Failure(failure.status, failure.headers, discreet, failure.request), self._tenant_id
        )


def _codes(failure: Failure) -> list[str]:
    """Return the names that HubSpot gives to what went wrong, the most telling one first."""
    named = [str(failure.fields.get(key)) for key in ("status", "error") if failure.fields.get(key)]
    return [name for name in named if _CODE.fullmatch(name) and name != "error"]
