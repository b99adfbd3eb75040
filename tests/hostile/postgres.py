"""`python -m tests.hostile.postgres`: scans under hostile settings of PostgreSQL.

A scan, changes in HubSpot, a second scan; under each of many settings of the database, the role,
the environment and the server, directly and through PgBouncer. Either the rows are those that the
same scans leave under no setting at all, or the scan fails with an error that names what is wrong,
before it has written a row.
"""

import argparse
import itertools
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import conninfo, sql

from include.errors import HubSpotDealsError, WarehouseConfigError
from include.ops.local.demo_servers import connections
from include.ops.local.postgres import EmbeddedPostgres
from tests.hostile import postgres_servers
from tests.hubspot_simulator import HubSpotSimulator, Portal, portals
from tests.support.pgbouncer import PROGRAM, PgBouncer
from tests.support.scans import run, scan

SCHEMA = "hubspot_deals"
TENANT = "hostile"
NAMES = (
    "Größe ändern",
    "Ω ≤ 10 €",
    "emoji 🚀 „quoted“",
    "back\\slash 'quote' \"double\"",
    "日本語",
)
#: Read by libpq.
VARIABLES = ("PGCLIENTENCODING", "PGDATESTYLE", "PGTZ", "PGOPTIONS", "PGGEQO")


@dataclass(frozen=True)
class Case:
    """``statements``: run by a superuser in the new database; {role}, {database} are names.

    ``refused``: what the error must name; None: the scans must succeed.
    """

    name: str
    statements: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    database: str = "encoding 'UTF8'"
    pooled: bool = False
    refused: str | None = None


#: Settings that anybody may set for a database or a role.
SETTINGS = {
    "client_encoding": ("WIN1252", "LATIN1", "SQL_ASCII", "EUC_JP", "KOI8R", "SJIS"),
    "datestyle": ("German", "SQL, DMY", "Postgres, MDY", "ISO, YMD"),
    "timezone": ("Asia/Kathmandu", "America/St_Johns", "<+13:45>-13:45"),
    "intervalstyle": ("iso_8601", "sql_standard", "postgres_verbose"),
    "search_path": ("", "pg_temp", "shadow, pg_catalog", "nowhere"),
    "default_transaction_isolation": ("serializable", "repeatable read", "read uncommitted"),
    "default_transaction_read_only": ("on",),
    "default_transaction_deferrable": ("on",),
    "statement_timeout": ("1",),
    "lock_timeout": ("1",),
    "idle_in_transaction_session_timeout": ("1",),
    "idle_session_timeout": ("1",),
    "transaction_timeout": ("1", "1min"),
    "standard_conforming_strings": ("off",),
    "escape_string_warning": ("off",),
    "backslash_quote": ("off", "on"),
    "quote_all_identifiers": ("on",),
    "bytea_output": ("escape",),
    "extra_float_digits": ("-15", "3"),
    "array_nulls": ("off",),
    "transform_null_equals": ("on",),
    "xmloption": ("document",),
    "row_security": ("off",),
    "default_toast_compression": ("pglz",),
    "jit": ("off",),
    "jit_above_cost": ("0",),
    "plan_cache_mode": ("force_generic_plan", "force_custom_plan"),
    "enable_seqscan": ("off",),
    "enable_indexscan": ("off",),
    "enable_hashjoin": ("off",),
    "enable_sort": ("off",),
    "enable_hashagg": ("off",),
    "enable_nestloop": ("off",),
    "work_mem": ("64kB",),
    "maintenance_work_mem": ("1MB",),
    "max_parallel_workers_per_gather": ("8",),
    "synchronous_commit": ("off", "local"),
    "check_function_bodies": ("off",),
    "client_min_messages": ("debug5", "error"),
    "default_statistics_target": ("1",),
    "from_collapse_limit": ("1",),
    "geqo_threshold": ("2",),
    "constraint_exclusion": ("on",),
    "cursor_tuple_fraction": ("0",),
    "default_tablespace": ("",),
    "default_table_access_method": ("heap2",),
    "lo_compat_privileges": ("on",),
    "log_statement": ("all",),
    "temp_file_limit": ("0",),
    "session_replication_role": ("replica",),
    "lc_messages": ("C",),
    "lc_numeric": ("C",),
    "max_stack_depth": ("100kB",),
    "gin_fuzzy_search_limit": ("1",),
    "temp_buffers": ("100",),
    "debug_discard_caches": ("0",),
    "ignore_system_indexes": ("on",),
    "zero_damaged_pages": ("on",),
    "commit_delay": ("10000",),
    "local_preload_libraries": ("$libdir/plugins/nothing",),
    "event_triggers": ("off",),
    "createrole_self_grant": ("set, inherit",),
    "debug_parallel_query": ("on",),
    "tcp_keepalives_idle": ("1",),
    "client_connection_check_interval": ("1",),
    "stats_fetch_consistency": ("snapshot",),
    "vacuum_cost_delay": ("100",),
    "application_name": ("hubspot_deals/00000000-0000-0000-0000-000000000000/9",),
    "password_encryption": ("md5",),
    "default_text_search_config": ("simple",),
    "wal_compression": ("on",),
    "recursive_worktable_factor": ("0.001",),
    "hash_mem_multiplier": ("1",),
    "logical_decoding_work_mem": ("64kB",),
}
#: A pooler drops our options, and these would do harm: they are refused by name.
REFUSED_WHEN_POOLED = (
    "default_transaction_isolation",
    "default_transaction_read_only",
    "quote_all_identifiers",
    "array_nulls",
    "transform_null_equals",
    "row_security",
    "bytea_output",
    "search_path: shadow",
)
#: Refused in any case: no option of ours reaches them, or nothing can be done with them.
REFUSED = {"session_replication_role": "session_replication_role"}
#: Any error of ours will do: whether it gets so far is a matter of time.
MAY_FAIL_WHEN_POOLED = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "default_table_access_method",
)
#: A superuser's settings that may be of no use, if they say so.
MAY_FAIL = ("temp_file_limit", "max_stack_depth", "transaction_timeout", "local_preload_libraries")

SHADOW = (
    "create schema shadow",
    "grant usage on schema shadow to public",
    *(
        f"create function shadow.{function} returns {returns} language sql as $$ select {value} $$"
        for function, returns, value in (
            ("now()", "timestamptz", "timestamptz '1999-01-01'"),
            ("clock_timestamp()", "timestamptz", "timestamptz '1999-01-01'"),
            ("length(text)", "integer", "0"),
            ("starts_with(text, text)", "boolean", "false"),
            ("current_setting(text)", "text", "'nothing'"),
            ("jsonb_typeof(jsonb)", "text", "'nothing'"),
            ("left(text, integer)", "text", "''"),
            ("lower(text)", "text", "''"),
        )
    ),
    "create function shadow.differs(bigint, bigint) returns boolean language sql as"
    " $$ select false $$",
    "create operator shadow.<> (leftarg = bigint, rightarg = bigint, function = shadow.differs)",
    *(
        f"create table shadow.{table} (id int)"
        for table in ("deals", "scans", "pg_class", "pg_namespace", "pg_roles", "pg_locks", "link")
    ),
    "grant select on all tables in schema shadow to public",
)


def cases(*, pooled: bool) -> Iterator[Case]:
    """Yield every setting, of the database and of the role; without a pooler, and more besides."""
    for name, values in SETTINGS.items():
        for value, level in itertools.product(values, ("database {database}", "role {role}")):
            if pooled and name == "local_preload_libraries":
                # no pooler gets a session at all
                continue
            label = f"{name}: {value}"
            refused = REFUSED.get(name)
            if name == "application_name" or (pooled and name in MAY_FAIL_WHEN_POOLED):
                refused = None if name == "application_name" else "*"
            if name in MAY_FAIL:
                refused = "*"
            if pooled and label.startswith(REFUSED_WHEN_POOLED):
                refused = name
            literal = value if name == "search_path" and value else f"'{value}'"
            yield Case(
                f"{'pooled ' if pooled else ''}{level.split()[0]} {label}",
                (*SHADOW, f"alter {level} set {name} = {literal}"),
                pooled=pooled,
                refused=refused,
            )
    if pooled:
        return
    for variable, value in (
        ("PGCLIENTENCODING", "WIN1252"),
        ("PGCLIENTENCODING", "SQL_ASCII"),
        ("PGDATESTYLE", "German"),
        ("PGDATESTYLE", "SQL, DMY"),
        ("PGTZ", "Asia/Tokyo"),
        ("PGOPTIONS", "-c statement_timeout=1 -c datestyle=German"),
        ("PGOPTIONS", "-c search_path=shadow,pg_catalog"),
        ("PGGEQO", "off"),
    ):
        yield Case(f"environment {variable}={value}", SHADOW, {variable: value})
    for encoding in ("LATIN1", "WIN1252", "SQL_ASCII", "EUC_JP", "KOI8R", "LATIN9"):
        yield Case(
            f"server encoding {encoding}",
            database=f"encoding '{encoding}' lc_collate 'C' lc_ctype 'C' locale_provider libc",
            refused=encoding,
        )


class Hostile:
    """A server on which each case gets a database and a role of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = itertools.count(1)
        self._expected: Mapping[str, list[Any]] | None = None

    def outcome(self, case: Case) -> str:
        """Run the scans; say what came of them. AssertionError: it is not what may come."""
        with self._database(case) as (login, owner):
            error: HubSpotDealsError | None = None
            rows: Mapping[str, list[Any]] = {}
            try:
                rows = _rows_after_two_scans(login, owner, case)
            except HubSpotDealsError as exc:
                error = exc
            if error:
                said = " ".join(str(error).split())
                assert case.refused is not None, f"{case.name}: {said}"
                if case.refused != "*":
                    assert case.refused in said, f"{case.name}: {said}"
                    assert isinstance(error, WarehouseConfigError), f"{case.name}: {said}"
                    assert not _written(owner), f"{case.name}: rows were written"
                return f"refused: {said[:150]}"
        assert case.refused in (None, "*"), f"{case.name}: not refused"
        expected = self._rows_expected()
        for name, table in expected.items():
            assert rows[name] == table, f"{case.name}: {name}: {_first(rows[name], table)}"
        return "equal"

    def is_known(self, setting: str) -> bool:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(
                "select from pg_settings where lower(name) = lower(%s)"
                " and context in ('user', 'superuser')",
                [setting],
            ).fetchone()
        return row is not None

    def _rows_expected(self) -> Mapping[str, list[Any]]:
        if self._expected is None:
            case = Case("no setting")
            with self._database(case) as (login, owner):
                self._expected = _rows_after_two_scans(login, owner, case)
        return self._expected

    @contextmanager
    def _database(self, case: Case) -> Iterator[tuple[str, str]]:
        """Yield the URL of a login, and a superuser's."""
        number = next(self._numbers)
        database, role, password = f"hostile_{number}", f"hostile_{number}", secrets.token_hex(8)
        names = {"database": sql.Identifier(database), "role": sql.Identifier(role)}
        owner = conninfo.make_conninfo(self.url, dbname=database)
        parts = conninfo.conninfo_to_dict(self.url)
        login = f"postgresql://{role}:{password}@{parts['host']}:{parts['port']}/{database}"

        def execute(connection: psycopg.Connection, statement: str) -> None:
            connection.execute(sql.SQL(cast("LiteralString", statement)).format(**names))

        with psycopg.connect(self.url, autocommit=True) as connection:
            execute(connection, f"create role {{role}} login createrole password '{password}'")
            execute(connection, f"create database {{database}} template template0 {case.database}")
            execute(connection, "grant all on database {database} to {role}")
        try:
            with psycopg.connect(owner, autocommit=True, client_encoding="UTF8") as connection:
                for statement in case.statements:
                    execute(connection, statement)
            yield login, owner
        finally:
            with psycopg.connect(self.url, autocommit=True) as connection:
                execute(connection, "drop database {database} with (force)")
                execute(connection, "drop owned by {role}")
                execute(connection, f"drop role if exists hubspot_{TENANT}")
                execute(connection, "drop role {role}")


def _rows_after_two_scans(login: str, owner: str, case: Case) -> Mapping[str, list[Any]]:
    portal = _portal()
    with ExitStack() as stack:
        url = login
        if case.pooled:
            url = stack.enter_context(PgBouncer(login, pool_size=4)).url
        simulator = stack.enter_context(HubSpotSimulator([portal]))
        tokens = {TENANT: portal.tokens[0].text}
        environ = {
            **connections(simulator.base_url, [TENANT], tokens),
            **case.environ,
            "DATABASE_URL": url,
            "DLT_DATABASE_SCHEMA": SCHEMA,
        }
        stack.enter_context(_environment(environ))
        run(_scan("1"))
        _change(portal)
        run(_scan("2"))
    return _rows(owner)


def _scan(run_id: str) -> Any:
    return scan(
        run_id,
        TENANT,
        search_lag_s=0,
        objects={"deal_property_history": ["dealstage"], "deal_associations": ["contacts"]},
    )


def _portal() -> Portal:
    portal = portals.generated(
        deals=40, archived=3, associations=True, nasty=True, requests_per_window=1_000_000
    )
    for deal_id, name in zip(portal.live_ids(), NAMES, strict=False):
        portal.deals[deal_id].properties["dealname"] = name
    portal.owners[0]["firstName"] = NAMES[0]
    portal.pipelines[0]["label"] = NAMES[1]
    portal.users[0]["firstName"] = portal.teams[0]["name"] = portal.roles[0]["name"] = NAMES[0]
    return portal


def _change(portal: Portal) -> None:
    ids = portal.live_ids()
    for deal_id, name in zip(ids[10:], NAMES, strict=False):
        portal.update(deal_id, dealname=name, closedate="2026-02-03T04:05:06.789Z", amount="0.1")
    portal.archive(ids[20])
    portal.merge(ids[21], ids[22])


#: Without what differs from scan to scan.
_TABLES = {
    "deals": "select * from {schema}.deals order by deal_id",
    "of tenant": "select * from {tenant}.deals order by deal_id",
    "properties": "select deal_id, properties::text from {schema}.deals order by 1",
    "owners": "select * from {schema}.owners order by owner_id",
    "users": "select * from {schema}.users order by user_id",
    "teams": "select * from {schema}.teams order by team_id",
    "roles": "select * from {schema}.roles order by role_id",
    "pipelines": "select * from {schema}.pipelines order by pipeline_id",
    "stages": "select * from {schema}.pipeline_stages order by stage_id",
    "definitions": "select * from {schema}.property_definitions order by object, name",
    "associations": "select * from {schema}.associations order by from_id, to_id, type_id",
    "history": "select * from {schema}.property_history order by record_id, property, changed_at",
    "scans": "select mode, state, repairs, misfits,"
    " warnings, error from {schema}.scans order by started_at",
    "checks": "select check_name, status, observed from {schema}.quality_results"
    " order by checked_at, check_name",
}
_VOLATILE = frozenset({"_scan_id", "_content_hash", "properties"})
_BEGAN_AT = datetime.now(UTC)
_MOMENT = re.compile(r"20\d\d-\d\d-\d\dT[0-9:.]+Z")


def _rows(owner: str) -> dict[str, list[Any]]:
    """Read with settings that are known to be good."""
    names = {"schema": sql.Identifier(SCHEMA), "tenant": sql.Identifier(f"{SCHEMA}__{TENANT}")}
    options = "-c datestyle=ISO -c timezone=UTC -c search_path=pg_catalog -c enable_seqscan=on"
    options += " -c statement_timeout=0 -c transform_null_equals=off -c lock_timeout=0"
    options += " -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0"
    found = {}
    with psycopg.connect(owner, client_encoding="UTF8", options=options) as connection:
        for name, statement in _TABLES.items():
            query = sql.SQL(cast("LiteralString", statement)).format(**names)
            cursor = connection.execute(query)
            columns = [column.name for column in cursor.description or ()]
            found[name] = [
                {
                    column: _stable(value)
                    for column, value in zip(columns, row, strict=True)
                    if column not in _VOLATILE or name == "properties"
                }
                for row in cursor
            ]
    return found


def _stable(value: Any) -> Any:
    """Return *value*, without moments after this module was imported: they are never the same."""
    if isinstance(value, datetime) and value > _BEGAN_AT:
        return "now"
    if isinstance(value, str):
        return _MOMENT.sub(lambda found: str(_stable(datetime.fromisoformat(found[0]))), value)
    return value


def _written(owner: str) -> bool:
    with psycopg.connect(owner, client_encoding="UTF8", options="-c search_path=") as connection:
        row = connection.execute(
            "select from pg_catalog.pg_tables where schemaname = %s", [SCHEMA]
        ).fetchone()
    return row is not None


def _first(found: Sequence[Any], expected: Sequence[Any]) -> str:
    for one, other in itertools.zip_longest(found, expected):
        if one != other:
            if isinstance(one, dict) and isinstance(other, dict):
                return str({k: (one[k], other[k]) for k in one if one[k] != other.get(k)})[:400]
            return f"{one} instead of {other}"[:400]
    return "equal"


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def try_all(url: str, wanted: Iterator[Case], say: Any) -> tuple[int, list[str]]:
    """Try cases; return how many were tried, and what was wrong."""
    hostile, wrong, tried = Hostile(url), [], 0
    for case in wanted:
        setting = case.statements[-1].split(" set ")[-1].split(" ")[0] if case.statements else ""
        if "environment" not in case.name and setting and not hostile.is_known(setting):
            say(f"unknown    {case.name}")
            continue
        tried += 1
        began = time.monotonic()
        try:
            said = hostile.outcome(case)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is not what may come
            said = f"WRONG: {type(exc).__name__}: {' '.join(str(exc).split())[:500]}"
            wrong.append(f"{case.name}: {said}")
        say(f"{time.monotonic() - began:5.1f} s {case.name}: {said}")
    return tried, wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="hostile.postgres", description=__doc__)
    parser.add_argument("--only", default="", help="cases whose names hold this text")
    parser.add_argument("--direct", action="store_true", help="not through PgBouncer")
    parser.add_argument("--versions", action="store_true", help="other versions only")
    arguments = parser.parse_args()
    wrong: list[str] = []
    tried = 0

    def go(url: str, *, pooled: bool) -> None:
        nonlocal tried
        wanted = (case for case in cases(pooled=pooled) if arguments.only in case.name)
        count, found = try_all(url, wanted, say)
        tried += count
        wrong.extend(found)

    with tempfile.TemporaryDirectory(prefix="hubspot_deals_hostile_") as directory:
        os.environ["AIRFLOW_HOME"] = f"{directory}/airflow"
        if not arguments.versions:
            server = EmbeddedPostgres(Path(directory, "postgres"))
            try:
                server.start()
                go(server.dsn("postgres"), pooled=False)
                if PROGRAM and not arguments.direct:
                    go(server.dsn("postgres"), pooled=True)
            finally:
                server.remove()
        for binaries in postgres_servers.programs():
            say(f"--- {binaries}")
            with postgres_servers.server(binaries) as url:
                go(url, pooled=False)
    say(f"{tried} settings were tried, {len(wrong)} were wrong")
    sys.exit("\n".join(wrong) or 0)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
