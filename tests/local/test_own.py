import pytest

from include.errors import TenantsFileError
from include.local.airflow_settings import PROJECT_ROOT
from include.local.errors import LocalError
from include.local.own import chosen, own_environment, with_token
from include.tenants import Tenant, Tenants

DEFAULT, ACME = Tenant(id="default"), Tenant(id="acme")


def test_an_exported_variable_wins_over_the_file() -> None:
    env = own_environment({"A": "file", "B": "file"}, {"A": "exported", "B": ""})

    assert env == {"A": "exported", "B": "file"}


def test_a_relative_tenants_file_starts_at_the_project() -> None:
    env = own_environment({"HUBSPOT_DEALS_TENANTS_FILE": "include/tenants.yaml"}, {})

    assert env["HUBSPOT_DEALS_TENANTS_FILE"] == str(PROJECT_ROOT / "include" / "tenants.yaml")


def test_the_plain_token_is_the_default_tenants() -> None:
    assert with_token([DEFAULT, ACME], {"HUBSPOT_ACCESS_TOKEN": "t"}, set()) == [DEFAULT]


def test_a_connection_may_come_from_the_environment_or_from_airflow() -> None:
    assert with_token([DEFAULT, ACME], {"AIRFLOW_CONN_HUBSPOT_ACME": "{}"}, set()) == [ACME]
    assert with_token([DEFAULT, ACME], {}, {"hubspot_acme", "other"}) == [ACME]


def test_without_any_token_there_is_nothing_to_scan() -> None:
    assert with_token([DEFAULT, ACME], {}, set()) == []


def test_a_tenant_that_was_asked_for_and_has_a_bad_entry_is_refused_with_what_is_wrong() -> None:
    problem = TenantsFileError("unknown key 'shedule'", tenant_id="acme")
    tenants = Tenants((DEFAULT,), (problem,), {})

    with pytest.raises(LocalError, match="unknown key 'shedule'"):
        chosen(tenants, ["acme"])

    assert chosen(tenants, []) == [DEFAULT]
