"""`HubSpotHook`: from an Airflow connection to a client of one HubSpot account.

A `BaseHook`, not a subclass of the http provider's `HttpHook`: that one opens a session per
request, has no default timeout, turns unknown extras into request headers, logs error bodies and
loses status and Retry-After in its exception. The connection type is the provider's (`http`), so
that the connection can be made in Airflow's form.
"""

import os
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from include.errors import ConfigError, HubSpotDealsError, TokenMissingError
from include.hubspot import api
from include.hubspot.client import HubSpotClient
from include.hubspot.daily_quota import DEFAULT_SHARE
from include.hubspot.failures import token_place
from include.hubspot.rate_limit import Limits, Rule
from include.tenants import ENVIRONMENT_TENANT_ID


class HubSpotHook(BaseHook):
    """Reads one tenant's HubSpot account through the connection ``hubspot_<tenant>``.

    Connection: password = token; host = base URL (default https://api.hubapi.com); extra
    ``requests_per_10_s`` (own cap below HubSpot's limit), ``rate_limit_share`` (of that limit) and
    ``api_version`` (default 2026-03).
    The tenant `default` may do with HUBSPOT_ACCESS_TOKEN and HUBSPOT_API_BASE_URL instead.
    """

    conn_name_attr = "hubspot_conn_id"
    default_conn_name = f"hubspot_{ENVIRONMENT_TENANT_ID}"
    conn_type = "http"
    hook_name = "HubSpot"

    def __init__(
        self, hubspot_conn_id: str = default_conn_name, tenant_id: str | None = None
    ) -> None:
        super().__init__()
        self.hubspot_conn_id = hubspot_conn_id
        self.tenant_id = tenant_id or hubspot_conn_id.removeprefix("hubspot_")

    def get_conn(
        self, limits: Limits | None = None, *, daily_quota_share: float = DEFAULT_SHARE
    ) -> HubSpotClient:
        """Return a client. Raises TokenMissingError or ConfigError; sends nothing yet.

        :param limits: where rate limits are kept; None: in this process alone.
        :param daily_quota_share: of the account's daily quota that may be used up, by all together.
        """
        connection = self._connection()
        extra = connection.extra_dejson
        return HubSpotClient(
            base_url(connection),
            self._token_of(connection),
            tenant_id=self.tenant_id,
            api_version=str(extra.get("api_version") or api.DEFAULT_API_VERSION),
            limits=limits,
            rule=Rule(cap=self._own_cap(extra), share=self._share(extra)),
            daily_quota_share=daily_quota_share,
            read_token=lambda: self._token_of(self._connection()),
        )

    def test_connection(self) -> tuple[bool, str]:
        """Ask HubSpot whose token this is, in the words of Airflow's test of a connection."""
        try:
            account = self.get_conn().account()
        except HubSpotDealsError as exc:
            return False, str(exc)
        return True, f"HubSpot account {account.portal_id}, time zone {account.time_zone}"

    @property
    def _may_use_environment(self) -> bool:
        return self.tenant_id == ENVIRONMENT_TENANT_ID

    def _connection(self) -> Connection:
        try:
            return self.get_connection(self.hubspot_conn_id)
        except AirflowNotFoundException:
            token = os.environ.get("HUBSPOT_ACCESS_TOKEN") if self._may_use_environment else None
            if not token:
                raise self._token_missing() from None
            mask_secret(token)
            return Connection(
                conn_id=self.hubspot_conn_id,
                conn_type=self.conn_type,
                host=os.environ.get("HUBSPOT_API_BASE_URL"),
                password=token,
            )

    def _token_of(self, connection: Connection) -> str:
        if not connection.password:
            raise self._token_missing()
        return connection.password

    def _token_missing(self) -> TokenMissingError:
        place = token_place(self.tenant_id)
        return TokenMissingError(
            f"there is no HubSpot token in {place}.",
            tenant_id=self.tenant_id,
            remedy="Put one there, then clear the task.",
        )

    def _own_cap(self, extra: Mapping[str, Any]) -> int | None:
        value = extra.get("requests_per_10_s")
        if value is None:
            return None
        try:
            cap = int(value)
        except (TypeError, ValueError):
            cap = 0
        if cap < 1:
            raise ConfigError(
                f"connection {self.hubspot_conn_id}: extra requests_per_10_s is {value!r}.",
                tenant_id=self.tenant_id,
                remedy="It must be a whole number of at least 1.",
            )
        return cap

    def _share(self, extra: Mapping[str, Any]) -> float:
        value = extra.get("rate_limit_share", 1.0)
        try:
            share = float(value)
        except (TypeError, ValueError):
            share = 0.0
        if not 0 < share <= 1:
            raise ConfigError(
                f"connection {self.hubspot_conn_id}: extra rate_limit_share is {value!r}.",
                tenant_id=self.tenant_id,
                remedy="It must be a number above 0, and 1 at most.",
            )
        return share


def base_url(connection: Connection) -> str:
    """Return where a connection's requests go: host may be a whole URL, or a bare host name."""
    host = connection.host or api.DEFAULT_BASE_URL
    if "://" in host:
        return host.rstrip("/")
    port = f":{connection.port}" if connection.port else ""
    return f"{connection.schema or 'https'}://{host}{port}"
