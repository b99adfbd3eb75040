"""`python -m include.tenants add`: validates the token at HubSpot, then writes the entry.

Comments and layout of the tenants file are kept. Imports Airflow.
"""

import getpass
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from airflow.sdk import Connection

from include.errors import TenantCommandError, TenantsFileError, TokenMissingError
from include.files import write_file
from include.hubspot.hook import TEST_RETRY_TIMEOUT_S, TEST_TIMEOUT_S, HubSpotHook, description_of
from include.secret_text import pasted
from include.tenants import airflow_db
from include.tenants.document import doubled_key, parsed, parsed_yaml
from include.tenants.file import Tenants, load_tenants, tenants_path, validated
from include.tenants.model import TENANT_ID_PATTERN


def add_tenant(
    tenant_id: str,
    settings: Sequence[str] = (),
    *,
    token_stdin: bool = False,
    base_url: str | None = None,
    save_connection: bool = False,
    force: bool = False,
) -> None:
    """Prompt for the token, look up its account, write the entry, and print each step.

    Raises HubSpotDealsError if the entry was not written.

    :param settings: `key=value`, the value as YAML.
    """
    tenants = load_tenants()
    entry = {"id": tenant_id, **_settings(settings)}
    if not re.fullmatch(TENANT_ID_PATTERN, tenant_id):
        raise TenantCommandError(f"the id {tenant_id!r} must match {TENANT_ID_PATTERN}.")
    if any(tenant.id == tenant_id for tenant in tenants.all):
        raise TenantCommandError(
            f"tenant {tenant_id!r} already exists.", remedy="Edit its entry instead."
        )
    tenant = validated(entry)
    conn_id = tenant.connection_id
    hook = HubSpotHook(conn_id, tenant_id)
    token = None
    if token_stdin or save_connection or not _has_token(hook):
        token = _read_token(conn_id, token_stdin)
        hook = _UnsavedConnectionHook(
            tenant_id,
            Connection(
                conn_id=conn_id, conn_type=HubSpotHook.conn_type, host=base_url, password=token
            ),
        )
    else:
        print(f"Using the Airflow connection {conn_id}.")
    client = hook.get_conn(retry_timeout_s=TEST_RETRY_TIMEOUT_S, timeout_s=TEST_TIMEOUT_S)
    print(description_of(client))
    print(f"Scopes: {', '.join(sorted(client.scopes)) or 'unknown'}.")
    portal_id = client.account().portal_id
    _require_account(portal_id, tenant.portal_id, tenants, force=force)
    if token and save_connection:
        fields = {"password": token, **({"host": base_url} if base_url else {})}
        if not airflow_db.save_connection(conn_id, hook.conn_type, fields, replace=force):
            raise TenantCommandError(
                f"the connection {conn_id} already exists.",
                remedy="Leave out --save-connection to use it, or replace it with --force.",
            )
        print(f"Stored the token in the Airflow connection {conn_id}.")
    elif token:
        print(f"Now put the token into the Airflow connection {conn_id}.")
    try:
        path = add_entry(tenants_path(), {**entry, "portal_id": portal_id})
    except OSError as exc:
        raise TenantCommandError(
            f"{exc.filename}: {exc.strerror}. No tenant was added.",
            remedy=f"Correct that, then run the command again. It uses the connection {conn_id} "
            "if it has a token.",
        ) from exc
    print(f"Added tenant {tenant.id} to {path}. Its DAG will be {tenant.dag_id}.")


def _settings(settings: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        try:
            value = parsed_yaml(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            equals = ""
        if not equals or key == "id" or key in found or doubled_key(value):
            raise TenantCommandError(
                f"{setting!r} is not a setting, or is given twice.",
                remedy="Write it as --set schedule='H 4 * * *'.",
            )
        found[key] = value
    return found


def _has_token(hook: HubSpotHook) -> bool:
    # Airflow's SDK reads the metadata database only in a process that it considers a server.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        hook.get_conn()
    except TokenMissingError:
        return False
    return True


def _read_token(conn_id: str, token_stdin: bool) -> str:
    token = ""
    if token_stdin:
        try:
            token = sys.stdin.readline()
        except UnicodeDecodeError:
            raise TenantCommandError(
                "the token on stdin is not UTF-8.",
                remedy="Save it as UTF-8; PowerShell may write UTF-16.",
            ) from None
    elif sys.stdin.isatty():
        token = getpass.getpass("HubSpot token (input is hidden): ")
    if token := pasted(token):
        return token
    raise TenantCommandError(
        f"there is no token, and no Airflow connection {conn_id}.",
        remedy="Pipe the token in with --token-stdin, or run the command in a terminal.",
    )


class _UnsavedConnectionHook(HubSpotHook):
    """The hook for a connection that is not stored yet."""

    def __init__(self, tenant_id: str, connection: Connection) -> None:
        super().__init__(connection.conn_id, tenant_id)
        self._unsaved = connection

    def _connection(self) -> Connection:
        return self._unsaved


def _require_account(portal_id: int, stated: int | None, tenants: Tenants, *, force: bool) -> None:
    """Refuse a second tenant for an account: both would read everything and share its limits."""
    if stated not in (None, portal_id):
        raise TenantCommandError(
            f"the token belongs to HubSpot account {portal_id}, but --set has {stated}.",
            remedy="Use the token of the right account.",
        )
    same = [tenant.id for tenant in tenants.all if tenant.portal_id == portal_id]
    if same and not force:
        raise TenantCommandError(
            f"HubSpot account {portal_id} is already tenant {same[0]!r}.",
            remedy="Use --force to load it twice.",
        )


def add_entry(path: Path, entry: Mapping[str, Any]) -> Path:
    """Write *entry* to the tenants file or directory; return the file that has it.

    Raises TenantCommandError or OSError if nothing was changed.
    """
    path = path.resolve()
    if path.is_dir():
        return _add_file(path, entry)
    before = path.read_bytes()
    document = parsed(path, before)
    if doubled := doubled_key(document):
        raise TenantCommandError(f"{path}: {doubled}.", remedy="Correct that first.")
    listed = (document.get("tenants") if isinstance(document, dict) else document) or []
    # compared with invalid entries, too, which `load_tenants` leaves out
    if any(isinstance(other, dict) and other.get("id") == entry["id"] for other in listed):
        raise TenantCommandError(
            f"{path} already has an entry {entry['id']!r}.", remedy="Edit it instead."
        )
    expected: Any = [*listed, dict(entry)]
    if not isinstance(document, list):
        expected = {**(document or {}), "tenants": expected}
    if path.suffix == ".json":
        after = (json.dumps(expected, indent=2, ensure_ascii=False) + "\n").encode()
    else:
        after = _with_entry(path, before, entry)
    try:
        is_as_expected = parsed(path, after) == expected
    except TenantsFileError:
        is_as_expected = False
    if not is_as_expected:
        raise TenantCommandError(
            f"{path}: adding the entry would change something else. The file was not changed.",
            remedy=f"Add it by hand: {json.dumps(dict(entry))}",
        )
    if path.read_bytes() != before:
        raise TenantCommandError(
            f"{path} was changed by another program.", remedy="Run the command again."
        )
    write_file(path, after)
    return path


def _add_file(folder: Path, entry: Mapping[str, Any]) -> Path:
    path = folder / f"{entry['id']}.yaml"
    if path.exists() or path.with_suffix(".json").exists():
        raise TenantCommandError(f"{path} already exists.", remedy="Edit it instead.")
    content = {key: value for key, value in entry.items() if key != "id"}
    text = _as_yaml(content) if content else f"# Tenant {entry['id']}: all settings are defaults.\n"
    write_file(path, text.encode())
    return path


def _with_entry(path: Path, before: bytes, entry: Mapping[str, Any]) -> bytes:
    """Return the YAML with *entry* below the last one; all other bytes are unchanged.

    docs/adr/0011-editing-the-tenants-file.md says why ruamel.yaml does not do this.
    """
    try:
        text = before.decode()
    except UnicodeDecodeError:
        raise TenantCommandError(f"{path} is not UTF-8.", remedy="Save it as UTF-8.") from None
    lines = text.split("\n")
    carriage_return = "\r" if "\r\n" in text else ""
    key: Any = None
    tenants: Any = yaml.compose(before, Loader=yaml.CSafeLoader)
    if isinstance(tenants, yaml.MappingNode):
        found = (pair for pair in tenants.value if pair[0].value == "tenants")
        key, tenants = next(found, (None, None))
    if isinstance(tenants, yaml.SequenceNode) and not tenants.flow_style and tenants.value:
        column, end = tenants.start_mark.column, tenants.end_mark
        # To YAML, blank lines and comments after a block belong to it.
        place = end.line + (end.column > 0)
        while not lines[place - 1].strip() or lines[place - 1].lstrip().startswith("#"):
            place -= 1
    elif key and not tenants.value:
        # `tenants:` or `tenants: []`
        start, end = tenants.start_mark, tenants.end_mark
        opening = lines[start.line][: start.column].rstrip()
        lines[start.line : end.line + 1] = [opening + lines[end.line][end.column :]]
        column, place = 2, start.line + 1
    elif tenants is None:
        while lines and not lines[-1].strip():
            lines.pop()
        lines += ["tenants:" + carriage_return, ""]
        column, place = 2, len(lines) - 1
    else:
        raise TenantCommandError(
            f"{path}: the tenants are not a YAML list with one '-' per entry.",
            remedy=f"Add the entry by hand: {json.dumps(dict(entry))}",
        )
    first, *others = _as_yaml(entry).splitlines()
    added = [f"- {first}", *(f"  {line}" for line in others)]
    added = [" " * column + line + carriage_return for line in added]
    return "\n".join([*lines[:place], *added, *lines[place:]]).encode()


def _as_yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=100)
