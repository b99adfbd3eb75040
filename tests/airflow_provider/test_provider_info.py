"""Airflow finds the connection type by the metadata in `site`, and accepts what it says."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import airflow
import jsonschema
import pytest
from airflow._shared.secrets_masker import should_hide_value_for_key
from airflow.api_fastapi.core_api.datamodels.connections import ConnectionResponse
from airflow.sdk import Asset

from include.airflow_provider.provider_info import (
    PACKAGE,
    checked_uri,
    dataset_of,
    get_provider_info,
)
from include.hubspot.hook import OAUTH_EXTRAS, HubSpotHook
from include.ops.local.stack import PROVIDER_METADATA

#: Airflow does not start with a provider that its schema refuses.
SCHEMA = Path(airflow.__file__).parent / "provider_info.schema.json"


def test_airflow_accepts_the_provider() -> None:
    jsonschema.validate(get_provider_info(), json.loads(SCHEMA.read_text()))


def test_the_form_is_that_of_the_hook() -> None:
    (connection_type,) = get_provider_info()["connection-types"]

    assert connection_type["connection-type"] == HubSpotHook.conn_type
    assert connection_type["hook-name"] == HubSpotHook.hook_name
    module, _, name = connection_type["hook-class-name"].rpartition(".")
    assert (module, name) == (HubSpotHook.__module__, HubSpotHook.__name__)


def test_the_form_has_the_secrets_of_an_oauth_app_as_passwords_and_airflow_hides_them() -> None:
    (connection_type,) = get_provider_info()["connection-types"]
    fields = connection_type["conn-fields"]

    assert set(OAUTH_EXTRAS) <= set(fields)
    hidden = {name for name, field in fields.items() if field["schema"].get("format") == "password"}
    assert hidden == {"client_secret", "refresh_token"}
    assert {name for name in fields if should_hide_value_for_key(name)} == hidden


def test_airflows_api_shows_no_secret_of_an_oauth_app() -> None:
    extra = {"client_id": "c", "client_secret": "s-3-c-r-e-t", "refresh_token": "t-0-k-e-n"}

    shown = ConnectionResponse.redact_extra(json.dumps(extra)) or ""

    assert json.loads(shown) == {"client_id": "c", "client_secret": "***", "refresh_token": "***"}


def test_it_is_found_on_the_python_path(project_root: Path) -> None:
    code = (
        "from airflow.providers_manager import ProvidersManager as P; "
        "print(P().providers.keys() & {'airflow-provider-hubspot-deals'}, 'hubspot' in P().hooks)"
    )

    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project_root,
        env={**os.environ, "PYTHONPATH": f".{os.pathsep}{PROVIDER_METADATA}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip().endswith(f"{{'{PACKAGE}'}} True"), found.stderr


def test_the_metadata_directory_holds_nothing_that_can_be_imported() -> None:
    assert not list(PROVIDER_METADATA.rglob("*.py"))


def test_hubspots_deals_are_a_dataset_of_openlineage() -> None:
    dataset = dataset_of(Asset(uri="hubspot://1234567/deals"), None)

    assert (dataset.namespace, dataset.name) == ("hubspot://1234567", "deals")


@pytest.mark.parametrize("uri", ["hubspot:///deals", "hubspot://1234567", "hubspot://1/a/b"])
def test_a_uri_names_an_account_and_an_object(uri: str) -> None:
    with pytest.raises(ValueError, match="write it as hubspot://"):
        checked_uri(urlsplit(uri))
