"""The documentation says what the code does: what can be compared is compared."""

import ast
import re
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import psycopg
import pytest

from include import errors
from include.alerts.delivery import Message
from include.hubspot import answers, endpoints, http, search
from include.pipeline import associations
from include.pipeline.check_quality import Checked
from include.pipeline.extract_deals import Extracted
from include.pipeline.load import chunk_writer
from include.pipeline.quality_rules import RULES
from include.pipeline.read import concurrency, list_reader, ranges
from include.tenants import AlertSettings, Objects, OtherObject, Tenant, load_tenants
from include.tenants.model import (
    AlertKind,
)
from include.warehouse import checkpoints, connection, fencing, scans
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import LOCK_TIMEOUT, migrations
from include.warehouse.scans import ScanFacts
from include.warehouse.tenant_views import views
from include.web.models import ScanState, StartScan
from tests.support import reference

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RUNBOOK = DOCS / "runbook.md"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "tests").rglob("*.md")],
)
SOURCES = sorted(
    path
    for folder in ("include", "dags")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".sql", ".yaml"}
)

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_DOCS_REFERENCE = re.compile(r"\bdocs/[\w/-]+\.md(?:#[\w-]+)?")
_ENVIRONMENT = re.compile(r"""environ(?:\.get\(|\[)\s*["']([A-Z][A-Z0-9_]+)["']""")
#: Variables of the system and of Airflow itself, which the local stack sets or passes on.
_NOT_OURS = re.compile(r"PATH|HOME|USER|TMPDIR|PYTHON\w+|AIRFLOW__\w+|AIRFLOW_HOME")


def prose(page: Path) -> str:
    """A page without its code blocks: a `#` in these is no heading."""
    return _FENCE.sub("", page.read_text())


def anchor(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in _HEADING.findall(prose(page))}


def section(page: Path, heading: str) -> str:
    """The text below *heading* up to the next heading of any level."""
    found = re.search(
        rf"^#+ {re.escape(heading)}$(.*?)(?=^#+ |\Z)", page.read_text(), re.MULTILINE | re.DOTALL
    )
    return found[1] if found else ""


def table_rows(text: str) -> list[list[str]]:
    """The cells of every table line that starts with a `name`."""
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(("| `", "|`"))
    ]


def error_classes() -> list[type[errors.HubSpotDealsError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.HubSpotDealsError)
    ]


def environment_variables() -> set[str]:
    named = {
        name
        for path in SOURCES
        if path.suffix == ".py"
        for name in _ENVIRONMENT.findall(path.read_text())
    }
    return {name for name in named if not _NOT_OURS.fullmatch(name)}


def blocks(language: str) -> list[Any]:
    """Every block of code in a language, as parameters of a test."""
    return [
        pytest.param(dedent(code), id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, (_, found, code) in enumerate(_BLOCK.findall(page.read_text()), start=1)
        if found == language
    ]


def keys_in_code(text: str) -> list[str]:
    """The names in the first cells of a table, in which some cells have several."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith(("| `", "|`"))]
    return [name for cell in rows for name in re.findall(r"`(\w+)`", cell)]


def lock_timeout() -> str:
    """How long our sessions wait for a lock, as PostgreSQL takes it."""
    (found,) = re.findall(r"lock_timeout=(\w+)", connection.with_session({}, {})["options"])
    return str(found)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_has_its_heading_in_the_runbook(
    error: type[errors.HubSpotDealsError],
) -> None:
    assert error.runbook_heading in anchors(DOCS / "runbook.md")


def test_every_quality_check_has_its_heading_in_the_runbook() -> None:
    assert {rule.name for rule in RULES} - anchors(DOCS / "runbook.md") == set()


def test_every_heading_of_the_runbook_has_the_same_four_parts() -> None:
    page = DOCS / "runbook.md"
    headings = _HEADING.findall(prose(page))
    failures = headings[headings.index("Errors") + 1 : headings.index("Commands")]

    parts = {
        heading: re.findall(r"^\*\*(\w+)\.\*\*", section(page, heading), re.MULTILINE)
        for heading in failures
    }

    assert len(parts) > len(RULES)
    assert {tuple(found) for found in parts.values()} == {("Symptom", "Cause", "Check", "Fix")}


def test_sql_of_the_runbook_can_be_pasted(database_url: str, warehouse: Warehouse) -> None:
    # A role belongs to the server: acme's may be in use by the database of another test.
    tenant = "of_the_runbook"
    values = {"tenant": tenant, "scan": "5f0e8d1c-0000-5000-8000-000000000000"}
    sql = "\n".join(
        code for _, language, code in _BLOCK.findall(RUNBOOK.read_text()) if language == "sql"
    )
    sql = re.sub(r":'(\w+)'", lambda found: f"'{values[found[1]]}'", sql)
    sql = sql.replace("_acme", f"_{tenant}")

    statements = re.findall(r"[^;\\]+(?:;|\\gexec)", sql)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.removesuffix("\\gexec").encode())
            if statement.endswith("gexec"):
                for (made,) in cursor.fetchall():
                    connection.execute(made.encode())

    assert len(statements) > len(RULES)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_code_says_about_the_docs_exists(path: Path) -> None:
    references = set(_DOCS_REFERENCE.findall(path.read_text()))

    broken = {
        reference
        for reference in references
        for page, _, name in [reference.partition("#")]
        if not (ROOT / page).exists() or (name and name not in anchors(ROOT / page))
    }

    assert broken == set()


def test_the_code_refers_to_the_docs_at_all() -> None:
    references = {r for path in SOURCES for r in _DOCS_REFERENCE.findall(path.read_text())}

    assert "docs/api-integration.md#many-properties" in references


def test_every_field_of_the_webhooks_json_is_documented() -> None:
    rows = [row[0] for row in table_rows(section(DOCS / "alerts.md", "Webhook JSON"))]

    assert rows == ["version", *Message.__dataclass_fields__]


def test_every_event_of_alerts_is_documented() -> None:
    rows = [row[0] for row in table_rows(section(DOCS / "alerts.md", "Events"))]

    assert sorted(rows) == sorted(get_args(AlertKind))


@pytest.mark.parametrize(
    ("heading", "sentences"),
    [
        pytest.param(
            "extract_deals", [f"waits up to {fencing.TENANT_WAIT_S} s for it"], id="tenant busy"
        ),
        pytest.param(
            "check_quality",
            [f"begun in the last {checkpoints.GIVEN_UP_AFTER}"],
            id="scans left in the middle",
        ),
        pytest.param("Search", [f"is asked for again: {search.TRIES - 1} times"], id="search"),
        pytest.param(
            "Chunks",
            [
                f"{chunk_writer.COLLECTED_AT_ONCE:,} or more at a time",
                f"A chunk has about {chunk_writer.CHUNK_BYTES // 1_000_000} MB of rows at most",
            ],
            id="chunks",
        ),
        pytest.param(
            "Fences",
            [f"waits for that ({scans.WRITE_WAIT.removesuffix('s')} s at most"],
            id="fences",
        ),
        pytest.param(
            "Reading in parallel",
            [
                f"reads the first {list_reader.LEAD_PAGES} pages",
                f"the {list_reader.PROBE_IDS}th id from the end",
                f"a range with fewer than {ranges.SPLIT_MIN_RECORDS} left is not cut",
                f" {concurrency.RESERVE}, plus one; {concurrency.MAX_REQUESTS_AT_ONCE} at most",
                f"The target is at most {concurrency.PAGES_PER_S:.0f} requests a second",
            ],
            id="readers",
        ),
        pytest.param(
            "Lists that do not end",
            [
                f"after {answers.EMPTY_PAGES_MAX} empty pages in a row",
                f"more than {answers.UNCOUNTED_RECORDS:,} records above twice the number",
            ],
            id="lists",
        ),
        pytest.param(
            "Associations",
            [
                f"({endpoints.ASSOCIATIONS_BATCH_SIZE:,} records a request)",
                f"up to {associations.ALL_ASSOCIATIONS_MAX_RECORDS:,} live records",
            ],
            id="associations",
        ),
        pytest.param(
            "Many properties",
            [f"longer than {endpoints.URL_PROPERTIES_MAX_CHARS:,} characters together"],
            id="many properties",
        ),
        pytest.param(
            "Leases and slots",
            [
                f"staging slot (1 to {fencing.STAGING_SLOTS})",
                f"given up after {views.VIEW_LOCK_TIMEOUT.removesuffix('s')} s and left",
                f"a migration is given up after {LOCK_TIMEOUT.removesuffix('s')} s",
                f"waits longer than {lock_timeout().removesuffix('min')} minutes for a lock",
                f"no load longer than {fencing.SLOT_WAIT_S // 60} minutes for a staging slot",
                f"lasts {fencing.LEASE_S} s, by PostgreSQL's clock",
                f"renews it every {fencing.RENEWED_EVERY_S} s",
                f"waits for it, up to {fencing.TENANT_WAIT_S} s: longer than the lease",
            ],
            id="leases",
        ),
        pytest.param(
            "Retries", [f"tried again for up to {http.RETRY_TIMEOUT_S:.0f} s"], id="retry time-out"
        ),
    ],
)
def test_the_numbers_of_how_scans_work_are_those_of_the_code(
    heading: str, sentences: list[str]
) -> None:
    text = " ".join(section(DOCS / "how-scans-work.md", heading).split())

    assert [sentence for sentence in sentences if sentence not in text] == []


def test_a_tenant_is_waited_for_longer_than_a_lease_lasts_without_renewal() -> None:
    assert fencing.RENEWED_EVERY_S < fencing.LEASE_S < fencing.TENANT_WAIT_S


def test_readme_names_the_oldest_postgresql_that_will_do() -> None:
    oldest = connection.MIN_SERVER_VERSION // 10_000

    assert f"your own PostgreSQL ({oldest} or newer)" in (ROOT / "README.md").read_text()


def test_every_key_of_the_xcoms_is_documented() -> None:
    text = section(DOCS / "how-scans-work.md", "XCom")
    of_tasks, _, of_extract = text.partition("Of `extract_deals`")
    checked = of_tasks.partition("|`check_quality`|")[2].partition(": what")[0]

    assert re.findall(r"`(\w+)`", checked) == list(Checked.__annotations__)
    assert set(keys_in_code(of_extract)) == set(Extracted.__annotations__)


def test_every_key_of_an_asset_event_is_documented() -> None:
    page = DOCS / "how-to" / "use-in-other-dags.md"

    documented = keys_in_code(section(page, "What the event carries"))

    assert set(documented) == set(ScanFacts.__annotations__)


def test_every_state_of_a_scans_row_is_documented() -> None:
    documented = keys_in_code(section(DOCS / "how-scans-work.md", "States"))

    # a queued run has no row
    assert set(documented) == set(get_args(ScanState)) - {"queued"}


def test_the_migrations_that_setup_shows_are_all() -> None:
    numbers = [number for number, _ in migrations()]

    assert f"applied: {numbers}`" in (DOCS / "setup.md").read_text()


@pytest.mark.parametrize("page", reference.PARTS)
def test_the_reference_is_what_the_code_says(page: str, warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        written = reference.written(page, connection)

    assert (DOCS / page).read_text() == written, "run `make reference`"


def test_every_setting_is_described() -> None:
    models = (Tenant, Objects, OtherObject, AlertSettings, StartScan, *reference.CHANNELS)

    silent = [
        f"{model.__name__}.{name}"
        for model in models
        for name, field in model.model_fields.items()
        if not field.description
    ]

    assert silent == []


def test_every_environment_variable_is_in_the_example() -> None:
    documented = {
        name
        for of_compose in (False, True)
        for names, *_ in reference.environment(of_compose=of_compose)
        for name in re.findall(r"\w+", names)
    }

    # what docker-compose.yaml sets for its own programs
    section_text = section(DOCS / "configuration.md", "Docker Compose")
    documented |= set(re.findall(r"`([A-Z_]+)`", section_text))
    used = environment_variables()

    assert {"DATABASE_URL", "HUBSPOT_ACCESS_TOKEN"} <= used
    assert used - documented == set()


def test_every_table_says_what_it_is_for(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        silent = connection.execute(
            "select relname from pg_class where relnamespace = to_regnamespace(%s)"
            " and relkind = 'r' and obj_description(oid, 'pg_class') is null"
            " and not starts_with(relname, '_dlt')",
            [warehouse.schema],
        ).fetchall()

    assert silent == []


def test_every_typed_column_names_its_property() -> None:
    from include.pipeline.load.typed_columns import TYPED_COLUMNS

    meanings = {row[0]: row[3] for row in table_rows(section(DOCS / "database-schema.md", "deals"))}
    in_schema = {
        name: found[1]
        for name, meaning in meanings.items()
        if (found := re.match(r"HubSpot property `(\w+)", meaning))
    }
    in_api = {
        row[1]: row[0]
        for row in table_rows(section(DOCS / "api-integration.md", "Standard properties"))
    }

    expected = {column.name: column.hubspot_property for column in TYPED_COLUMNS}

    assert {name: in_schema.get(name) for name in expected} == expected
    assert {name: in_api.get(name) for name in expected} == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = [
        link
        for link in _LINK.findall(prose(page))
        for target, _, name in [link.partition("#")]
        if "://" not in link
        for file in [(page.parent / target).resolve() if target else page]
        if not file.exists() or (name and file.suffix == ".md" and name not in anchors(file))
    ]

    assert broken == []


def test_every_picture_is_shown() -> None:
    shown = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in _LINK.findall(prose(page))
        if link.endswith(".png")
    }

    assert set((DOCS / "images").iterdir()) - shown == set()


@pytest.mark.parametrize("code", blocks("python"))
def test_python_in_the_docs_can_be_parsed(code: str) -> None:
    ast.parse(code)


@pytest.mark.parametrize(
    "text", [block for block in blocks("yaml") if "tenants:" in block.values[0]]
)
def test_tenants_in_the_docs_are_accepted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(text)

    tenants = load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(file)})

    assert tenants.problems == ()
    assert tenants.enabled != ()


def test_every_package_and_dag_file_is_in_the_layout() -> None:
    parts = {f"include/{path.parent.name}/" for path in ROOT.glob("include/*/__init__.py")}
    parts |= {path.stem for path in ROOT.glob("include/*.py")} - {"__init__"}
    # DAG files that `python -m include.tenants shards` has made are no part of the layout
    parts |= {path.name for path in ROOT.glob("dags/*.py") if "_of_" not in path.name}

    layout = section(ROOT / "CONTRIBUTING.md", "Layout")

    assert {part for part in parts if f"`{part}`" not in layout} == set()


def test_every_page_is_in_the_index() -> None:
    linked = {
        (DOCS / link.partition("#")[0]).resolve()
        for link in _LINK.findall(prose(DOCS / "README.md"))
    }

    assert set(DOCS.rglob("*.md")) - linked == {DOCS / "README.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_mentioned_exists(page: Path) -> None:
    text = page.read_text()
    mentioned = {
        *re.findall(r"`make ([a-z][\w-]*)", text),
        *re.findall(r"^ *\$? ?make ([a-z][\w-]*)", "\n".join(_FENCE.findall(text)), re.MULTILINE),
    }

    assert not mentioned or mentioned - make_targets() == set()


def test_every_make_target_is_mentioned() -> None:
    text = "\n".join(page.read_text() for page in PAGES)

    unheard_of = {name for name in make_targets() if not re.search(rf"\bmake {name}\b", text)}

    assert unheard_of == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_of_make_that_is_mentioned_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()

    calls = re.findall(r"make(?: -s)? [a-z][\w-]*((?: [A-Z]+=\S+)+)", page.read_text())

    mentioned = {name for call in calls for name in re.findall(r"([A-Z]+)=", call)}
    assert {name for name in mentioned if f"$({name})" not in makefile} == set()


def test_readme_has_at_most_1200_words() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1_200


def test_readme_counts_the_quality_checks() -> None:
    assert f"{len(RULES)} checks" in (ROOT / "README.md").read_text()


def test_the_checks_of_an_all_clear_that_is_shown_are_all() -> None:
    text = (DOCS / "alerts.md").read_text()

    counts = re.findall(r"^Checks [a-z ]+: (\d+)$", text, re.MULTILINE)

    assert sum(map(int, counts)) == len(RULES)


def test_the_documentation_has_at_most_27000_words() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]

    assert sum(len(page.read_text().split()) for page in pages) <= 27_000
