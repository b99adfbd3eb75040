from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from include.errors import TenantsFileError
from include.ops.local import demo
from include.ops.local.checks import Problems
from include.ops.local.demo import chosen, run_environment, with_token
from include.ops.local.demo import run as run_accounts
from include.ops.local.postgres import EmbeddedPostgres
from include.ops.local.processes import LocalError, free_port
from include.ops.local.report import Report
from include.ops.local.stack import LocalStack
from include.tenants import Tenant, Tenants

DEFAULT, ACME = Tenant(id="default"), Tenant(id="acme")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without files; `.env` is read from there."""
    monkeypatch.setattr(demo, "PROJECT_ROOT", tmp_path)
    return tmp_path


def test_an_exported_variable_wins_over_the_file(project: Path) -> None:
    (project / ".env").write_text("A=file\nB=file\n")

    env = run_environment({"A": "exported", "B": ""}, Problems())

    assert env == {"A": "exported", "B": "file"}


def test_a_relative_tenants_file_starts_at_the_project(project: Path) -> None:
    env = run_environment({"HUBSPOT_DEALS_TENANTS_FILE": "include/tenants.yaml"}, Problems())

    assert env["HUBSPOT_DEALS_TENANTS_FILE"] == str(project / "include" / "tenants.yaml")


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


@pytest.fixture
def scanned(
    project: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Any, ...]]:
    """(environment, tenants) of each scan that would have been made."""

    class Stack(LocalStack):
        """With the tests' PostgreSQL, and without Airflow."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.postgres = postgres

        def start(self, step: object = None) -> None: ...

    @contextmanager
    def unguarded(*arguments: Any, detach: bool) -> Iterator[Any]:
        *_, check = arguments
        yield check()

    scans: list[tuple[Any, ...]] = []
    (project / "tenants.yaml").write_text("tenants: [{id: default}, {id: acme}]")
    monkeypatch.setattr(demo, "LocalStack", Stack)
    monkeypatch.setattr(demo, "orderly_end", unguarded)
    # test_checks.py has these
    monkeypatch.setattr(demo, "answers", lambda *_: [])
    monkeypatch.setattr(
        demo, "scan_and_show", lambda stack, tenants, *_: scans.append((stack.env, tenants))
    )
    return scans


def run(tmp_path: Path, dotenv: str, *only: str) -> str:
    """Do what `make run` does; returns what it prints."""
    port = f"AIRFLOW_PORT={free_port()}"
    (tmp_path / ".env").write_text(f"HUBSPOT_DEALS_TENANTS_FILE=tenants.yaml\n{port}\n{dotenv}\n")
    out = StringIO()
    run_accounts(tmp_path / ".run", {}, only, "once", Report(out))
    return out.getvalue()


def test_the_token_and_the_database_of_the_file_are_those_of_the_scan(
    scanned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    run(tmp_path, "HUBSPOT_ACCESS_TOKEN=pat-na1-mine\nDATABASE_URL=postgresql://mine/deals")

    ((env, tenants),) = scanned
    assert [tenant.id for tenant in tenants] == ["default"]
    assert env["HUBSPOT_ACCESS_TOKEN"] == "pat-na1-mine"
    assert env["DATABASE_URL"] == "postgresql://mine/deals"


@pytest.mark.usefixtures("scanned")
def test_a_tenant_without_a_token_is_named(tmp_path: Path) -> None:
    said = run(tmp_path, "HUBSPOT_ACCESS_TOKEN=pat-na1-mine")

    assert "  - acme: no token, not scanned\n" in said


def test_without_a_token_nothing_is_scanned_and_what_to_do_is_said(
    scanned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    with pytest.raises(LocalError, match="No tenant has a HubSpot token") as caught:
        run(tmp_path, "")

    assert "write HUBSPOT_ACCESS_TOKEN=<token> into .env" in str(caught.value)
    assert scanned == []


BAD_ENTRIES = "tenants: [{id: default}, {id: acme, shedule: x}, {id: Globex}]"


def test_every_bad_entry_is_named_and_nothing_is_scanned(
    scanned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    (tmp_path / "tenants.yaml").write_text(BAD_ENTRIES)

    with pytest.raises(LocalError) as caught:
        run(tmp_path, "HUBSPOT_ACCESS_TOKEN=pat-na1-mine")

    assert "unknown key 'shedule'" in str(caught.value)
    assert "id 'Globex' must match" in str(caught.value)
    assert scanned == []


def test_a_tenant_that_was_asked_for_is_scanned_though_others_are_bad_entries(
    scanned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    (tmp_path / "tenants.yaml").write_text(BAD_ENTRIES)

    said = run(tmp_path, "HUBSPOT_ACCESS_TOKEN=pat-na1-mine", "default")

    assert "  ! " in said
    assert len(scanned) == 1


def test_a_file_of_tenants_that_is_not_there_is_named_with_the_other_problems(
    scanned: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    (tmp_path / "tenants.yaml").unlink()

    with pytest.raises(LocalError) as caught:
        run(tmp_path, "HUBSPOT_ACCESS_TOKEN=pat-na1-mine\nAIRFLOW_PORT=x")

    assert "2 problems" in str(caught.value)
    assert "AIRFLOW_PORT is 'x'" in str(caught.value)
    assert "tenants.yaml: can't be read" in str(caught.value)
