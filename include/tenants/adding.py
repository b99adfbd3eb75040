"""`python -m include.tenants add`: HubSpot is asked about the token, then the entry is written.

Comments and layout of the file are kept. Imports Airflow.
"""

import getpass
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk import Connection

from include.errors import TenantCommandError, TenantsFileError, TokenMissingError
from include.files import write_file
from include.hubspot.hook import TEST_RETRY_TIMEOUT_S, TEST_TIMEOUT_S, HubSpotHook, description_of
from include.secret_text import pasted
from include.tenants.airflow_db import save_connection
from include.tenants.document import doubled_key, parsed, parsed_yaml
from include.tenants.file import Tenants, load_tenants, tenants_path, validated
from include.tenants.model import TENANT_ID_PATTERN


@dataclass(frozen=True)
class AddTenantRequest:
    """What the command line asks for. ``settings``: `key=value`, the value as YAML."""

    tenant_id: str
    settings: Sequence[str] = ()
    token_from_stdin: bool = False
    base_url: str | None = None
    save_connection: bool = False
    force: bool = False


def add_tenant(request: AddTenantRequest, environ: Mapping[str, str] = os.environ) -> None:
    """Ask for the token and HubSpot for its account, then write the entry; says what it does.

    Raises HubSpotDealsError: nothing was written then.
    """
    tenants = load_tenants(environ)
    entry = {"id": request.tenant_id, **_settings(request)}
    _require_new(request.tenant_id, tenants)
    tenant = validated(entry, environ)
    token = _token(request)
    account = _account(request, token)
    print(account.description)
    print(f"Scopes: {', '.join(sorted(account.scopes)) or 'HubSpot does not tell'}.")
    _require_account(request, tenant.portal_id, account.portal_id, tenants)
    if token and request.save_connection:
        save_connection(tenant.connection_id, token, request.base_url, replace=request.force)
        print(f"The token is in Airflow's connection {tenant.connection_id}.")
    elif token:
        print(f"Now put the token into the Airflow connection {tenant.connection_id}.")
    path = add_entry(tenants_path(environ), {**entry, "portal_id": account.portal_id})
    print(f"Tenant {tenant.id} is in {path}. Its DAG will be {tenant.dag_id}.")


def _settings(request: AddTenantRequest) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for setting in request.settings:
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


def _token(request: AddTenantRequest) -> str | None:
    """Return the token; None: the connection is there and holds one."""
    if request.token_from_stdin:
        token = sys.stdin.readline()
    elif not request.save_connection and _has_connection(request.tenant_id):
        print(f"Using the Airflow connection hubspot_{request.tenant_id}.")
        return None
    elif sys.stdin.isatty():
        token = getpass.getpass("HubSpot token (not shown): ")
    else:
        token = ""
    token = pasted(token)
    if not token:
        raise TenantCommandError(
            f"there is no token, and no Airflow connection hubspot_{request.tenant_id}.",
            remedy="Pipe the token in with --token-stdin, or run the command in a terminal.",
        )
    return token


def _has_connection(tenant_id: str) -> bool:
    # Airflow's SDK looks into the metadata database only where it believes to be a server.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        HubSpotHook(f"hubspot_{tenant_id}", tenant_id).get_conn()
    except TokenMissingError:
        return False
    return True


def _account(request: AddTenantRequest, token: str | None) -> "Account":
    if token is None:
        return account_of_connection(request.tenant_id)
    return account_of_token(request.tenant_id, token, request.base_url)


def _require_account(
    request: AddTenantRequest, stated: int | None, portal_id: int, tenants: Tenants
) -> None:
    """Two tenants of one account read everything twice, and share its limits."""
    if stated not in (None, portal_id):
        raise TenantCommandError(
            f"the token belongs to HubSpot account {portal_id}, --set says {stated}.",
            remedy="Take the token of the right account.",
        )
    same = [tenant.id for tenant in tenants.all if tenant.portal_id == portal_id]
    if same and not request.force:
        raise TenantCommandError(
            f"HubSpot account {portal_id} is tenant {same[0]!r} already.",
            remedy="To load it twice all the same: --force.",
        )


def add_entry(path: Path, entry: Mapping[str, Any]) -> Path:
    """Write *entry* to the file or directory of tenants; return the file it is in now.

    Raises TenantCommandError or OSError; nothing has changed then.
    """
    path = path.resolve()
    if path.is_dir():
        return _add_file(path, entry)
    before = path.read_bytes()
    document = parsed(path, before)
    if doubled := doubled_key(document):
        raise TenantCommandError(f"{path}: {doubled}.", remedy="Correct that first.")
    _require_unlisted(path, document, entry)
    add = _added_to_json if path.suffix == ".json" else _added_to_yaml
    after = add(path, before, document, entry)
    _require_same_but_one(path, after, document, entry)
    if path.read_bytes() != before:
        raise TenantCommandError(f"{path}: was changed meanwhile.", remedy="Try again.")
    write_file(path, after)
    return path


def _add_file(folder: Path, entry: Mapping[str, Any]) -> Path:
    path = folder / f"{entry['id']}.yaml"
    if path.exists() or path.with_suffix(".json").exists():
        raise TenantCommandError(f"{path}: is there already.", remedy="Edit it instead.")
    content = {key: value for key, value in entry.items() if key != "id"}
    text = _as_yaml(content) if content else f"# Tenant {entry['id']}: the defaults hold.\n"
    write_file(path, text.encode())
    return path


def _added_to_json(path: Path, before: bytes, document: Any, entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(_with(document, entry), indent=2, ensure_ascii=False) + "\n").encode()


def _added_to_yaml(path: Path, before: bytes, document: Any, entry: Mapping[str, Any]) -> bytes:
    """Return the text with some lines more, below the last entry."""
    try:
        text = before.decode()
    except UnicodeDecodeError:
        raise TenantCommandError(f"{path}: is no UTF-8.", remedy="Save it as UTF-8.") from None
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split("\n")
    after_line, column = _place(path, yaml.compose(before, Loader=yaml.CSafeLoader), entry)
    written = _as_yaml(dict(entry)).splitlines()
    marked = [("- " if number == 0 else "  ") + line for number, line in enumerate(written)]
    added = [" " * column + line + newline.removesuffix("\n") for line in marked]
    return "\n".join([*lines[:after_line], *added, *lines[after_line:]]).encode()


def _place(path: Path, root: Any, entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many lines stand before the new entry, and the column of its dash."""
    tenants = root
    if isinstance(root, yaml.MappingNode):
        found = [(key, value) for key, value in root.value if key.value == "tenants"]
        if found and found[0][1].tag.endswith(":null") and not found[0][1].value:
            return found[0][0].end_mark.line + 1, 2
        tenants = found[0][1] if found else None
    if not isinstance(tenants, yaml.SequenceNode) or tenants.flow_style or not tenants.value:
        raise TenantCommandError(
            f"{path}: has no list of lines that begin with '-', to which one could be added.",
            remedy=f"Add the entry by hand: {json.dumps(dict(entry))}",
        )
    return _last_line(tenants.value[-1]) + 1, tenants.start_mark.column


def _last_line(node: Any) -> int:
    """Return the number of the last line that belongs to *node*, from 0 on.

    Only leaves know it: a block ends for YAML where the next thing begins, after any comments.
    """
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    end = node.end_mark
    return int(end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line)


def _require_unlisted(path: Path, document: Any, entry: Mapping[str, Any]) -> None:
    """Raise TenantCommandError if there is an entry of the id, though it may be a bad one."""
    listed = (document.get("tenants") if isinstance(document, dict) else document) or []
    if any(isinstance(other, dict) and other.get("id") == entry["id"] for other in listed):
        raise TenantCommandError(
            f"{path}: has an entry {entry['id']!r} already.", remedy="Edit it instead."
        )


def _require_same_but_one(path: Path, after: bytes, document: Any, entry: Any) -> None:
    """Raise TenantCommandError unless *after* says what *document* does, and *entry*."""
    try:
        is_as_meant = parsed(path, after) == _with(document, entry)
    except TenantsFileError:
        is_as_meant = False
    if not is_as_meant:
        raise TenantCommandError(
            f"{path}: the entry can't be added without changing something else; nothing was.",
            remedy=f"Add it by hand: {json.dumps(dict(entry))}",
        )


def _with(document: Any, entry: Mapping[str, Any]) -> Any:
    if isinstance(document, dict):
        return {**document, "tenants": [*(document.get("tenants") or []), dict(entry)]}
    return [*(document or []), dict(entry)]


def _as_yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=100)


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
    client = hook.get_conn(retry_timeout_s=TEST_RETRY_TIMEOUT_S, timeout_s=TEST_TIMEOUT_S)
    return Account(client.account().portal_id, client.scopes, description_of(client))
