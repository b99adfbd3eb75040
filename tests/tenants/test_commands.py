"""`python -m include.tenants`: against a real simulated HubSpot, and Airflow's own database."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.models.connection import Connection
from airflow.models.crypto import get_fernet
from airflow.models.pool import Pool
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from cryptography.fernet import Fernet
from sqlalchemy import select, text

from include.tenants.__main__ import main
from tests.conftest import connect
from tests.hubspot_simulator import HubSpotSimulator, Portal, portals

TOKEN = "pat-na1-demo-acme"
PORTAL_ID = 1_000_001


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "tenants.yaml"
    file.write_text("# ours\ntenants:\n  - id: globex\n")
    monkeypatch.setenv("HUBSPOT_DEALS_TENANTS_FILE", str(file))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.delenv("HUBSPOT_ACCESS_TOKEN", raising=False)
    return file


@pytest.fixture
def portal() -> Portal:
    return portals.getting_started()


@pytest.fixture
def hubspot(empty_simulator: HubSpotSimulator, portal: Portal) -> HubSpotSimulator:
    empty_simulator.add(portal)
    return empty_simulator


@pytest.fixture
def add(
    file: Path, hubspot: HubSpotSimulator, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    def run(*arguments: str, token: str = TOKEN) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
        return main(["add", "acme", "--token-stdin", "--base-url", hubspot.base_url, *arguments])

    return run


@pytest.fixture(scope="module")
def airflow_db() -> None:
    initdb()


@pytest.fixture
def session(airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Airflow's database, with a key that connections are encrypted with."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    get_fernet.cache_clear()
    yield from in_airflow_db()
    get_fernet.cache_clear()


def in_airflow_db() -> Iterator[Any]:
    with create_session() as session:
        yield session
        session.rollback()
        session.execute(text("delete from connection where conn_id = 'hubspot_acme'"))
        session.execute(text("delete from slot_pool where pool <> 'default_pool'"))


def entries(file: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.safe_load(file.read_text())["tenants"]
    return loaded


def test_a_tenant_is_added_with_the_account_that_its_token_opens(
    add: Callable[..., int], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add("--set", "schedule=H 4 * * *", "--set", "retries=1") == 0

    assert entries(file)[-1] == {
        "id": "acme",
        "schedule": "H 4 * * *",
        "retries": 1,
        "portal_id": PORTAL_ID,
    }
    assert file.read_text().startswith("# ours\n")
    printed = capsys.readouterr().out
    assert f"HubSpot account {PORTAL_ID}" in printed
    assert "crm.objects.deals.read" in printed
    assert "put the token into the Airflow connection hubspot_acme" in printed
    assert TOKEN not in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--set", "schedul=x"], "unknown key 'schedul'", id="misspelt key"),
        pytest.param(["--set", "pool=large"], "'large' is not listed", id="unknown pool"),
        pytest.param(["--set", "schedule"], "'schedule' is not a setting", id="no value"),
        pytest.param(["--set", "retries=["], "is not a setting", id="no YAML"),
        pytest.param(["--set", "id=other"], "is not a setting", id="another id"),
        pytest.param(["--set", "portal_id=5"], "--set has 5", id="another account"),
    ],
)
def test_a_wrong_setting_is_refused_and_nothing_is_written(
    add: Callable[..., int],
    file: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    before = file.read_text()

    assert add(*arguments) == 1

    assert said in capsys.readouterr().err
    assert file.read_text() == before


@pytest.mark.parametrize("tenant_id", ["../x", "a/b", "ACME", "acme\n", "_defaults", ""])
def test_what_is_no_id_is_refused_before_hubspot_is_asked(
    file: Path, portal: Portal, capsys: pytest.CaptureFixture[str], tenant_id: str
) -> None:
    assert main(["add", tenant_id, "--token-stdin"]) == 1

    assert "must match" in capsys.readouterr().err
    assert [path.name for path in file.parent.iterdir()] == ["tenants.yaml"]


def test_a_token_that_hubspot_refuses_is_refused(
    add: Callable[..., int], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(token="pat-na1-wrong") == 1

    said = capsys.readouterr()
    assert "401" in said.err
    assert "pat-na1-wrong" not in said.err + said.out
    assert len(entries(file)) == 1


def test_a_token_that_may_not_read_deals_is_refused(
    add: Callable[..., int], portal: Portal, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portal.tokens[0].scopes = ("crm.objects.contacts.read",)

    assert add() == 1

    assert "lacks the scope crm.objects.deals.read" in capsys.readouterr().err
    assert len(entries(file)) == 1


def test_without_a_token_nothing_is_asked(
    add: Callable[..., int], portal: Portal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(token="") == 1

    assert "there is no token" in capsys.readouterr().err
    assert portal.requests.total() == 0


def test_an_account_that_another_tenant_has_is_added_by_force_only(
    add: Callable[..., int], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"tenants:\n  - id: globex\n    portal_id: {PORTAL_ID}\n")

    assert add() == 1
    assert "is already tenant 'globex'" in capsys.readouterr().err
    assert add("--force") == 0


def test_a_tenant_that_is_there_is_not_added_again(
    add: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert add() == 0
    assert add() == 1

    assert "tenant 'acme' already exists" in capsys.readouterr().err


def test_the_token_of_an_existing_connection_is_used(
    file: Path,
    hubspot: HubSpotSimulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connect(monkeypatch, "acme", hubspot, TOKEN)

    assert main(["add", "acme"]) == 0

    assert entries(file)[-1] == {"id": "acme", "portal_id": PORTAL_ID}
    assert "Using the Airflow connection hubspot_acme" in capsys.readouterr().out


def test_a_saved_connection_is_encrypted_and_taken_by_the_hook(
    add: Callable[..., int], session: Any, hubspot: HubSpotSimulator
) -> None:
    assert add("--save-connection") == 0

    stored = session.execute(
        text("select conn_type, host, password from connection where conn_id = 'hubspot_acme'")
    ).one()
    assert (stored.conn_type, stored.host) == ("hubspot", hubspot.base_url)
    assert TOKEN not in stored.password
    found = session.scalar(select(Connection).where(Connection.conn_id == "hubspot_acme"))
    assert found.password == TOKEN


def test_a_stored_connection_is_replaced_by_force_only(
    add: Callable[..., int], file: Path, session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    session.add(Connection(conn_id="hubspot_acme", conn_type="http", password="old", extra="{}"))
    session.commit()

    assert add("--save-connection") == 1
    assert "already exists" in capsys.readouterr().err
    assert len(entries(file)) == 1
    assert add("--save-connection", "--force") == 0

    session.expire_all()
    found = session.scalar(select(Connection).where(Connection.conn_id == "hubspot_acme"))
    assert (found.password, found.conn_type) == (TOKEN, "http")


def test_no_token_is_stored_where_it_could_not_be_encrypted(
    add: Callable[..., int],
    file: Path,
    session: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")

    assert add("--save-connection") == 1

    assert "no Fernet key" in capsys.readouterr().err
    assert not session.execute(
        text("select 1 from connection where conn_id = 'hubspot_acme'")
    ).all()


def test_pools_are_made_and_changed_and_none_is_deleted(
    file: Path, session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    session.add(Pool(pool="of_others", slots=3, include_deferred=True))
    session.commit()

    for slots in (2, 2, 5):
        file.write_text(f"pools: {{large: {slots}}}\ntenants: []\n")
        assert main(["pools"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "pool large: created with 2 slots",
        "pool large: has 2 slots",
        "pool large: had 2 slots, now 5",
    ]
    pools = session.scalars(select(Pool).where(Pool.pool != "default_pool")).all()
    assert {(pool.pool, pool.slots) for pool in pools} == {("large", 5), ("of_others", 3)}


def test_a_check_prints_all_and_fails_for_problems(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    file.write_text(
        "pools: {large: 2}\n"
        "tenants: [{id: acme, pool: large}, {id: globex, enabled: false}, {id: bad, x: 1}]\n"
    )

    assert main(["check", "--dags", str(dags)]) == 1

    printed = capsys.readouterr().out
    assert "tenant 'bad': unknown key 'x'" in printed
    assert f"{file}: 1 tenant, 1 disabled, 1 problem" in printed
    assert "pool large: 1 tenant, 2 slots" in printed
    assert "hubspot_deals.py: 1 DAG" in printed


def test_a_check_says_what_a_first_scan_costs(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = "{deal_associations: false, contacts: {property_history: all}, notes: }"
    file.write_text(f"tenants: [{{id: acme, daily_quota_share: 0.5, objects: {objects}}}]\n")

    main(["check", "--dags", str(tmp_path)])

    printed = capsys.readouterr().out
    assert (
        "acme: a first scan sends about this many requests for each 10,000 records: deals 300 "
        "(histories 200), contacts 300 (histories 200), notes 100; up to 50% of the daily quota"
    ) in printed
    assert "250,000 (Free, Starter)" in printed


def test_a_check_of_a_good_file_succeeds(file: Path, tmp_path: Path) -> None:
    assert main(["check", "--dags", str(tmp_path)]) == 0


def test_shards_are_made_and_counted(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()

    assert main(["shards", "2", "--dags", str(dags)]) == 0

    assert [path.name for path in dags.iterdir()] == ["hubspot_deals_02_of_02.py"]
    counts = [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert sorted(counts) == ["0 DAGs", "1 DAG"]


def test_a_file_that_can_not_be_used_is_a_sentence(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("tenants: [")

    for command in (["check"], ["list"], ["pools"], ["add", "acme"]):
        assert main(command) == 1

    said = capsys.readouterr().err
    assert said.count("is not valid YAML") == 4
    assert "Traceback" not in said


def test_the_list_shows_plain_schedules(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("tenants: [{id: acme, schedule: H 4 * * *}, {id: globex, enabled: false}]")

    assert main(["list"]) == 0

    assert capsys.readouterr().out.splitlines()[0].startswith("acme  on  41 4 * * *  UTC")
    assert os.environ["HUBSPOT_DEALS_TENANTS_FILE"] == str(file)


def test_the_list_names_the_entries_that_it_leaves_out(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("tenants: [{id: acme}, {id: globex, shedule: x}]")

    assert main(["list"]) == 1

    said = capsys.readouterr()
    assert said.out.startswith("acme  on")
    assert "unknown key 'shedule'" in said.err


def test_a_token_that_is_not_text_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written_by_powershell = io.BytesIO("pat-na1-x\r\n".encode("utf-16"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(written_by_powershell, "utf-8"))

    assert main(["add", "acme", "--token-stdin"]) == 1

    assert "UTF-8" in capsys.readouterr().err


def test_a_stored_connection_is_not_denied_where_the_file_can_not_be_written(
    add: Callable[..., int],
    file: Path,
    session: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("include.tenants.adding.write_file", full)

    assert add("--save-connection") == 1

    said = capsys.readouterr()
    assert "Stored the token" in said.out
    assert "No space left on device" in said.err
    assert "Nothing was changed" not in said.err
    assert "hubspot_acme" in said.err
