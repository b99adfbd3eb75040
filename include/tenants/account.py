"""Whose HubSpot account a token opens, asked before a tenant is added. Imports Airflow."""

from dataclasses import dataclass

from airflow.sdk import Connection

from include.hubspot.connection_test import description_of
from include.hubspot.hook import TEST_PATIENCE_S, TEST_TIMEOUT_S, HubSpotHook
from include.hubspot.identity import Identity


@dataclass(frozen=True)
class Account:
    """``scopes``: empty if HubSpot does not tell. ``description``: for a person."""

    portal_id: int
    scopes: frozenset[str]
    description: str


class _OfferedToken(HubSpotHook):
    """The hook with a token that is in no connection yet; all its rules hold."""

    def __init__(self, tenant_id: str, token: str, base_url: str | None) -> None:
        conn_id = f"hubspot_{tenant_id}"
        super().__init__(conn_id, tenant_id)
        self._offered = Connection(
            conn_id=conn_id, conn_type=self.conn_type, host=base_url, password=token
        )

    def _connection(self) -> Connection:
        return self._offered


def account_of_token(tenant_id: str, token: str, base_url: str | None) -> Account:
    """Ask HubSpot. Raises what the task `validate_token` would: TokenRejectedError …"""
    return _asked(_OfferedToken(tenant_id, token, base_url))


def account_of_connection(tenant_id: str) -> Account:
    """The same for the connection `hubspot_<tenant>`. Raises TokenMissingError as well."""
    return _asked(HubSpotHook(f"hubspot_{tenant_id}", tenant_id))


def _asked(hook: HubSpotHook) -> Account:
    client = hook.get_conn(patience_s=TEST_PATIENCE_S, timeout_s=TEST_TIMEOUT_S)
    identity = Identity(client)
    return Account(identity.account.portal_id, identity.scopes, description_of(client))
