"""After runs that passed and runs that failed: no secret is anywhere but where it belongs."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from include.scan import scan_id
from tests.e2e.conftest import STRANGER, TENANTS, Pipeline, dag_of
from tests.support.secrets_search import AIRFLOW_PATHS, Search, of_runs
from tests.web.api.routes import VALUES, routes

pytestmark = pytest.mark.e2e

TASKS = ("validate_token", "extract_deals", "check_quality")
#: Below the state directory: files that are there to hold secrets, for their owner only.
MEANT = frozenset({"credentials.json", "postgres/password", "airflow/passwords.json"})
STORED_TOKEN = "pat-na1-stored-in-airflow-itself"
#: Put where anybody may read it, to see that it is found.
PLANTED = 'planted-"%_\\-marker'


@dataclass(frozen=True)
class Left:
    """What is left of the runs."""

    pipeline: Pipeline
    session: requests.Session
    runs: list[dict[str, Any]]

    @property
    def urls(self) -> list[str]:
        airflow = [*AIRFLOW_PATHS, *of_runs(self.runs, TASKS)]
        airflow += [f"dagSources/{dag_of(tenant)}" for tenant in (*TENANTS, STRANGER)]
        base = self.pipeline.stack.url
        return [*(f"{base}/api/v2/{path}" for path in airflow), *self.own_urls]

    @property
    def own_urls(self) -> list[str]:
        paths = set()
        for run in self.runs:
            tenant = run["dag_id"].partition("__")[2]
            values = {
                **VALUES,
                "tenant_id": tenant,
                "scan_id": scan_id(run["dag_id"], run["dag_run_id"]),
                "check": "values_fit_their_columns",
            }
            paths |= {
                route.template.replace(":path", "").format(**values)
                for route in routes()
                if route.method == "GET"
            }
        return [f"{self.pipeline.stack.url}/hubspot-deals{path}" for path in sorted(paths)]


@pytest.fixture(scope="module")
def left(pipeline: Pipeline, first_runs: dict[str, str], refused_run: str) -> Iterator[Left]:
    stack = pipeline.stack
    stack.api.save_connection(
        "secrets_grep", {"conn_type": "hubspot", "password": STORED_TOKEN, "port": 443}
    )
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {stack.api.token()}"
        ids = {**first_runs, STRANGER: refused_run}
        runs = [stack.api.run(dag_of(tenant), run_id) for tenant, run_id in ids.items()]
        yield Left(pipeline, session, runs)


@pytest.fixture(scope="module")
def secrets(left: Left) -> Search:
    own = left.pipeline.stack.credentials
    return Search(
        [
            *left.pipeline.tokens,
            STORED_TOKEN,
            left.pipeline.stack.postgres.password,
            own.admin_password,
            own.fernet_key,
            own.jwt_secret,
            own.api_secret_key,
        ]
    )


def test_the_runs_ended_as_they_should(left: Left) -> None:
    states = {run["dag_id"]: run["state"] for run in left.runs}

    assert states.pop(dag_of(STRANGER)) == "failed"
    assert set(states.values()) == {"success"}


def test_no_row_of_airflows_database_holds_a_secret(left: Left, secrets: Search) -> None:
    """Rendered fields, XComs, conf, serialized DAGs, callbacks, the audit log, connections …"""
    found, tables = secrets.database(left.pipeline.stack.postgres.dsn("airflow"))

    assert found == set()
    assert tables > 40


def test_no_row_of_the_warehouse_holds_a_secret(left: Left, secrets: Search) -> None:
    """Views, staging, dlt's own tables and the outbox of alerts included."""
    dsn = left.pipeline.stack.postgres.dsn("warehouse")
    with psycopg.connect(dsn) as connection:
        alerts = connection.execute(
            "select count(*) from hubspot_deals.alerts where tenant_id = %s", [STRANGER]
        ).fetchone()

    found, tables = secrets.database(dsn)

    assert found == set()
    assert tables > 60
    assert alerts
    assert alerts[0] >= 1


def test_no_file_holds_a_secret_but_those_that_are_there_for_it(
    left: Left, secrets: Search
) -> None:
    """Logs of tasks, components and PostgreSQL; Airflow's home; temporary files."""
    state_dir = left.pipeline.stack.state_dir

    found, files = secrets.files(state_dir, but=MEANT)

    assert found == set()
    assert files > 20
    for name in MEANT:
        assert (state_dir / name).stat().st_mode & 0o077 == 0, name
    log = left.pipeline.stack.postgres.data_dir.parent / "server.log"
    assert not secrets.is_in(log.read_text(errors="replace"))


def test_no_process_has_a_secret_among_its_arguments(secrets: Search) -> None:
    assert secrets.command_lines() == set()


def test_no_answer_of_the_apis_holds_a_secret(left: Left, secrets: Search) -> None:
    found, answered = secrets.answers(left.session, left.urls)

    assert found == set()
    assert answered > len(left.urls) / 2
    own, of_ours = secrets.answers(left.session, left.own_urls)
    assert (own, of_ours > 8) == (set(), True)


def test_the_stored_connection_is_encrypted_and_shown_as_stars(left: Left) -> None:
    with psycopg.connect(left.pipeline.stack.postgres.dsn("airflow")) as connection:
        row = connection.execute(
            "select password, is_encrypted from connection where conn_id = 'secrets_grep'"
        ).fetchone()

    shown = left.session.get(
        f"{left.pipeline.stack.url}/api/v2/connections/secrets_grep", timeout=60
    ).json()

    assert row
    assert STORED_TOKEN not in row[0]
    assert row[1] is True
    assert shown["password"] == "***"


def test_what_is_planted_is_found_everywhere(left: Left) -> None:
    """Or the tests above prove nothing."""
    planted, text = Search([PLANTED]), f"before {PLANTED} after"
    stack, run = left.pipeline.stack, left.runs[0]
    url = f"{stack.url}/api/v2/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}"
    folder = Path(tempfile.mkdtemp(dir=stack.state_dir))
    try:
        (folder / "file.bin").write_bytes(b"\xff\x00" + text.encode() + b"\xff")
        noted = left.session.patch(url, json={"note": text}, timeout=60)
        noted.raise_for_status()
        with psycopg.connect(stack.postgres.dsn("warehouse")) as connection:
            connection.execute("create schema planted")
            connection.execute("create table planted.bytes as select %s::bytea it", [text.encode()])
            connection.execute("create table planted.base as select 1 as it")
            connection.execute(
                "create view planted.looks as select jsonb_build_object('a', b.it) from"
                " (select convert_from(it, 'utf8') it from planted.bytes) b"
            )

        assert planted.files(stack.state_dir, MEANT)[0] == {f"{folder.name}/file.bin"}
        # the second is the audit log, which has the request
        assert planted.database(stack.postgres.dsn("airflow"))[0] >= {
            "public.dag_run_note",
            "public.log",
        }
        assert planted.database(stack.postgres.dsn("warehouse"))[0] == {
            "planted.bytes",
            "planted.looks",
        }
        assert url in planted.answers(left.session, [url, stack.url])[0]
    finally:
        shutil.rmtree(folder)
        left.session.patch(url, json={"note": None}, timeout=60)
        with psycopg.connect(stack.postgres.dsn("warehouse")) as connection:
            connection.execute("drop schema if exists planted cascade")
