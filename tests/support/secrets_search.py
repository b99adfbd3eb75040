"""Looking for secrets in everything that an Airflow with its warehouse leaves behind."""

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
import requests
from psycopg import sql

#: Of Airflow's API: what shows DAGs, runs, tasks and settings. `~` stands for all.
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


#: What is left of a secret however its odd characters are escaped.
_RUN = re.compile(r"[A-Za-z0-9]{10,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{40,}")
_COMPRESSED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
#: Of what was compressed, and of compressed within base64 within compressed …
_MOST_BYTES, _MOST_LAYERS = 4_000_000, 4


def _base64_anywhere(text: str) -> set[str]:
    """Return what a text in base64 has in it wherever *text* begins there."""
    found = set()
    for before in range(3):
        content = bytes(before) + text.encode("utf-8", "surrogatepass")
        encoded = base64.b64encode(content).decode()
        # without the characters that what stands before and behind has a part in
        found.add(encoded[-(-before * 8 // 6) : len(content) * 8 // 6])
    return found | {part.replace("+", "-").replace("/", "_") for part in found}


def _hex(text: str) -> set[str]:
    plain = text.encode("utf-8", "surrogatepass").hex()
    return {plain, plain.upper()}


_SHAPES: tuple[Callable[[str], str], ...] = (
    str,
    _in_json,
    _in_a_row,
    lambda secret: _in_a_row(_in_json(secret)),
    lambda secret: quote(secret, safe="", errors="surrogatepass"),
)


class Search:
    """Finds *secrets*, plain or encoded; says where they are, never which."""

    def __init__(self, secrets: Iterable[str]) -> None:
        whole = {secret.strip() for secret in secrets}
        runs = {run for secret in whole for run in _RUN.findall(secret)}
        self._needles = sorted(
            {shape(secret) for secret in whole for shape in _SHAPES}
            | {form for text in whole | runs for form in (_base64_anywhere(text) | _hex(text))}
            | runs
        )

    def is_in(self, text: str) -> bool:
        return any(needle in text for needle in self._needles)

    def is_below(self, content: bytes, layers: int = _MOST_LAYERS) -> bool:
        """Say whether one is in *content*, or in what is compressed there, in base64 or not."""
        if self.is_in(content.decode("latin-1")) or self.is_in(content.decode(errors="ignore")):
            return True
        return layers > 0 and any(
            self.is_below(inner, layers - 1) for inner in _decompressed(content)
        )

    def files(self, folder: Path, but: Iterable[str] = ()) -> tuple[set[str], int]:
        """Return the files below *folder* that hold one, and how many were read."""
        found, read = set(), 0
        for path in folder.rglob("*"):
            name = str(path.relative_to(folder))
            if name in but or path.is_symlink() or not path.is_file():
                continue
            read += 1
            if self.is_below(path.read_bytes()):
                found.add(name)
        return found, read

    def database(self, dsn: str) -> tuple[set[str], int]:
        """Return the tables and views with a row that holds one, and how many were read."""
        found, read = set(), 0
        with psycopg.connect(dsn) as connection:
            for schema, name in _relations(connection):
                rows = connection.execute(
                    sql.SQL("select t::text from {} t").format(sql.Identifier(schema, name))
                ).fetchall()
                read += 1
                # dlt's own tables: its state is compressed
                look = self._is_in_rows if name.startswith("_dlt") else self._is_in_text
                if look([row for (row,) in rows]):
                    found.add(f"{schema}.{name}")
        return found, read

    def _is_in_text(self, rows: list[str]) -> bool:
        # A hundred searches of one long text: a regular expression of all of them, in PostgreSQL
        # or here, takes several times as long.
        return self.is_in("\n".join(rows))

    def _is_in_rows(self, rows: list[str]) -> bool:
        return any(self.is_below(row.encode()) for row in rows)

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


def _decompressed(content: bytes) -> Iterator[bytes]:
    whole = memoryview(content)
    for start in _COMPRESSED.finditer(content):
        # 47: zlib or gzip, as its first bytes say
        with suppress(zlib.error):
            yield zlib.decompressobj(47).decompress(whole[start.start() :], _MOST_BYTES)
    for found in _BASE64.finditer(content):
        text = found[0].replace(b"-", b"+").replace(b"_", b"/")
        with suppress(ValueError):
            decoded = base64.b64decode(text[: len(text) // 4 * 4])
            if _COMPRESSED.match(decoded):
                yield decoded


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
