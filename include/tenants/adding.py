"""`python -m include.tenants add`: a tenant's entry, after HubSpot was asked about its token."""

import getpass
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from include.errors import TenantCommandError, TokenMissingError
from include.tenants.document import doubled_key, parsed_yaml
from include.tenants.file import Tenants, load_tenants, tenants_path, validated
from include.tenants.tenant import TENANT_ID_PATTERN
from include.tenants.writing import add_entry

if TYPE_CHECKING:
    from include.tenants.account import Account


@dataclass(frozen=True)
class Wish:
    """What the command line asks for. ``settings``: `key=value`, the value as YAML."""

    tenant_id: str
    settings: Sequence[str] = ()
    token_from_stdin: bool = False
    base_url: str | None = None
    save_connection: bool = False
    force: bool = False


def add_tenant(wish: Wish, environ: Mapping[str, str] = os.environ) -> None:
    """Ask for the token and HubSpot for its account, then write the entry; says what it does.

    Raises HubSpotDealsError: nothing was written then.
    """
    tenants = load_tenants(environ)
    entry = {"id": wish.tenant_id, **_settings(wish)}
    _require_new(wish.tenant_id, tenants)
    tenant = validated(entry, environ)
    token = _token(wish)
    account = _account(wish, token)
    print(account.description)
    print(f"Scopes: {', '.join(sorted(account.scopes)) or 'HubSpot does not tell'}.")
    _require_account(wish, tenant.portal_id, account.portal_id, tenants)
    if token and wish.save_connection:
        from include.tenants.airflow_db import save_connection

        save_connection(tenant.connection_id, token, wish.base_url, replace=wish.force)
        print(f"The token is in Airflow's connection {tenant.connection_id}.")
    elif token:
        print(f"Now put the token into the Airflow connection {tenant.connection_id}.")
    path = add_entry(tenants_path(environ), {**entry, "portal_id": account.portal_id})
    print(f"Tenant {tenant.id} is in {path}. Its DAG will be {tenant.dag_id}.")


def _settings(wish: Wish) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for setting in wish.settings:
        key, equals, value = setting.partition("=")
        try:
            parsed = parsed_yaml(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            equals = ""
        if not equals or key == "id" or key in settings or doubled_key(parsed):
            raise TenantCommandError(
                f"{setting!r} is no setting, or one that is given twice.",
                remedy="Write it as --set schedule='H 4 * * *'.",
            )
        settings[key] = parsed
    return settings


def _require_new(tenant_id: str, tenants: Tenants) -> None:
    if not re.fullmatch(TENANT_ID_PATTERN, tenant_id):
        raise TenantCommandError(f"the id {tenant_id!r} must match {TENANT_ID_PATTERN}.")
    if any(tenant.id == tenant_id for tenant in tenants.all):
        raise TenantCommandError(
            f"there is a tenant {tenant_id!r} already.", remedy="Edit its entry instead."
        )


def _token(wish: Wish) -> str | None:
    """Return the token; None: the connection is there and holds one."""
    from include.secret_text import pasted

    if wish.token_from_stdin:
        token = sys.stdin.readline()
    elif not wish.save_connection and _has_connection(wish.tenant_id):
        print(f"Using the Airflow connection hubspot_{wish.tenant_id}.")
        return None
    elif sys.stdin.isatty():
        token = getpass.getpass("HubSpot token (not shown): ")
    else:
        token = ""
    token = pasted(token)
    if not token:
        raise TenantCommandError(
            f"there is no token, and no Airflow connection hubspot_{wish.tenant_id}.",
            remedy="Pipe the token in with --token-stdin, or run the command in a terminal.",
        )
    return token


def _has_connection(tenant_id: str) -> bool:
    from include.hubspot.hook import HubSpotHook

    # Airflow's SDK looks into the metadata database only where it believes to be a server.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        HubSpotHook(f"hubspot_{tenant_id}", tenant_id).get_conn()
    except TokenMissingError:
        return False
    return True


def _account(wish: Wish, token: str | None) -> "Account":
    from include.tenants.account import account_of_connection, account_of_token

    if token is None:
        return account_of_connection(wish.tenant_id)
    return account_of_token(wish.tenant_id, token, wish.base_url)


def _require_account(wish: Wish, stated: int | None, portal_id: int, tenants: Tenants) -> None:
    """Two tenants of one account read everything twice, and share its limits."""
    if stated not in (None, portal_id):
        raise TenantCommandError(
            f"the token belongs to HubSpot account {portal_id}, --set says {stated}.",
            remedy="Take the token of the right account.",
        )
    same = [tenant.id for tenant in tenants.all if tenant.portal_id == portal_id]
    if same and not wish.force:
        raise TenantCommandError(
            f"HubSpot account {portal_id} is tenant {same[0]!r} already.",
            remedy="To load it twice all the same: --force.",
        )
