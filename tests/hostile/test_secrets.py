"""A sample of the planted secrets; all of them: `make chaos`."""

import random
from collections.abc import Iterator

import pytest

from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate
from tests.hostile.secrets import FORMS, Case, World, cases, leaks

pytestmark = pytest.mark.slow

#: What showed a secret before, and should stay as it is now: case, form.
SHOWN = {
    "token in a JSON connection: 401 message": "line break behind",
    "token in a JSON connection: 400 message": "plain",
    "token in a JSON connection: 500 escaped": "plus and equals",
    "token in a JSON connection: 403 context": "percent",
    "token in a JSON connection: 500 long": "like a token",
    "token in a JSON connection: 200 headers": "slash",
    "token in a JSON connection: closed port": "line break",
    "refresh token: 200 html": "line break and space",
    "client secret: 500 base64": "plain",
    "base URL: closed port": "slash",
    "HUBSPOT_ACCESS_TOKEN: 500 headers": "CRLF behind",
    "make seed-test-deals: 403 message": "line break",
    "tenants add: 400 message": "a comma and semicolon",
    "database password: only the password": "plain",
    "database password: not quoted": "slash",
    "database password: port is a word": "a number",
    "database password: wrong scheme": "space",
    "database password: host in JSON": "at",
    "webhook: 404 message": "plain",
    "webhook: closed port": "percent",
    "slack: 200 message": "space",
    "apprise, no address: 200 message": "slash",
    "secret file metadata_url: not quoted": "slash",
    "secret file warehouse_migrator_url: not quoted": "hash",
    "token: success": "line break behind",
    "database password: success": "percent",
    "access token: given, and echoed": "plain",
    "smtp: refuses AUTH": "plain",
}


def sample() -> Iterator[tuple[Case, str]]:
    by_name = {str(case): case for case in cases()}
    for name, form in SHOWN.items():
        yield by_name[name], form
    rng = random.Random(14)
    for case in rng.sample(list(by_name.values()), 12):
        yield case, rng.choice(list(FORMS))


@pytest.fixture(scope="module")
def world(modules_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> World:
    warehouse = Warehouse.from_url(modules_database_url)
    migrate(warehouse)
    folder = tmp_path_factory.mktemp("planted")
    return World(warehouse, modules_database_url, random.Random(14), folder)


@pytest.mark.parametrize(("case", "form"), sample(), ids=str)
def test_a_planted_secret_is_nowhere_to_be_seen(world: World, case: Case, form: str) -> None:
    assert leaks(world, case, form) == []


def test_what_is_shown_is_found(world: World) -> None:
    """Or the test above proves nothing."""

    def plant(world: World, secret: str) -> None:
        (world.folder / "left behind").write_text(secret)
        with world.warehouse.connect() as connection:
            connection.execute(
                f"insert into {world.warehouse.schema}.scans"
                " (scan_id, tenant_id, dag_id, run_id, mode, state, attempt, error)"
                " values ('s', 't', 'd', 'r', 'auto', 'failed', 1, %s)",
                [secret],
            )
        try:
            raise ValueError(secret)
        except ValueError as exc:
            raise RuntimeError("not shown") from exc

    try:
        found = leaks(world, Case("here", "planted", plant), "percent")
    finally:
        (world.folder / "left behind").unlink()

    assert set(found) == {
        "exception",
        "file left behind",
        f"table {world.warehouse.schema}.scans",
    }
