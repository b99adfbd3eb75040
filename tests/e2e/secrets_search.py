"""Looking for secrets in everything that an Airflow with its warehouse leaves behind."""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
import requests
from psycopg import sql

#: Of Airflow's API: what tells of DAGs, runs, tasks and settings. `~` stands for all.
AIRFLOW_PATHS = (
    "dags",
    "dags/~/dagRuns?limit=1000",
    "dags/~/dagRuns/~/taskInstances?limit=1000",
    "dagWarnings",
    "importErrors",
    "eventLogs?limit=1000",
    "connections?limit=1000",
    "variables",
    "pools",
    "providers",
    "plugins",
    "assets",
    "assets/events",
    "backfills?dag_id=~",
    "jobs",
)


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _in_a_row(text: str) -> str:
    """As PostgreSQL quotes a column's text when a whole row is cast to text."""
    return text.replace("\\", "\\\\").replace('"', '""')


_SHAPES: tuple[Callable[[str], str], ...] = (
    str,
    _in_json,
    _in_a_row,
    lambda secret: _in_a_row(_in_json(secret)),
    lambda secret: quote(secret, safe=""),
    lambda secret: base64.b64encode(secret.encode()).decode().rstrip("="),
    # as PostgreSQL shows bytea
    lambda secret: secret.encode().hex(),
)


class Search:
    """Finds *secrets*, plain or encoded; says where they are, never which."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._needles = sorted({shape(secret) for secret in secrets for shape in _SHAPES})

    def is_in(self, text: str) -> bool:
        return any(needle in text for needle in self._needles)

    def files(self, folder: Path, but: Iterable[str] = ()) -> tuple[set[str], int]:
        """Return the files below *folder* that hold one, and how many were read."""
        found, read = set(), 0
        for path in folder.rglob("*"):
            name = str(path.relative_to(folder))
            if name in but or path.is_symlink() or not path.is_file():
                continue
            read += 1
            if self.is_in(path.read_bytes().decode("latin-1")):
                found.add(name)
        return found, read

    def database(self, dsn: str) -> tuple[set[str], int]:
        """Return the tables and views with a row that holds one, and how many were read."""
        found, read = set(), 0
        patterns = [f"%{_as_pattern(needle)}%" for needle in self._needles]
        with psycopg.connect(dsn) as connection:
            for schema, name in _relations(connection):
                hit = connection.execute(
                    sql.SQL("select exists (select from {} t where t::text like any(%s))").format(
                        sql.Identifier(schema, name)
                    ),
                    [patterns],
                ).fetchone()
                read += 1
                if hit == (True,):
                    found.add(f"{schema}.{name}")
        return found, read

    def answers(self, session: requests.Session, urls: Iterable[str]) -> tuple[set[str], int]:
        """Return the URLs whose answer holds one, and how many were answered well."""
        found, read = set(), 0
        for url in urls:
            answer = session.get(url, timeout=60)
            read += answer.ok
            headers = json.dumps(dict(answer.headers))
            if self.is_in(answer.text) or self.is_in(headers):
                found.add(url)
        return found, read

    def command_lines(self) -> set[str]:
        """Return the processes whose arguments hold one: all users of a machine see those."""
        return {
            process.info["name"]
            for process in psutil.process_iter(["name", "cmdline"])
            if self.is_in("\0".join(process.info["cmdline"] or ()))
        }


def of_runs(runs: Iterable[dict[str, Any]], tasks: Iterable[str]) -> Iterator[str]:
    """Yield paths of Airflow's API about single runs: conf, XComs, logs, state, rendered fields."""
    for run in runs:
        path = f"dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'], safe='')}"
        yield path
        for task in tasks:
            instance = f"{path}/taskInstances/{task}"
            yield instance
            yield f"{instance}/tries"
            yield f"{instance}/xcomEntries"
            yield f"{instance}/xcomEntries/return_value?deserialize=false"
            yield f"{instance}/state-store"
            yield f"{instance}/logs/1?full_content=true"


def _relations(connection: psycopg.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "select nspname, relname from pg_class join pg_namespace n on n.oid = relnamespace"
        " where relkind in ('r', 'v', 'm', 'p') and nspname <> 'information_schema'"
        " and nspname !~ '^pg_' order by 1, 2"
    ).fetchall()


def _as_pattern(needle: str) -> str:
    return needle.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
