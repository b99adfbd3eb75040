"""Secrets in awkward forms, planted wherever the product takes one, and looked for everywhere.

`python -m tests.hostile.secrets` tries each form in each place and situation; the suite a sample.
A case runs code of the product in this process, as a task, a callback or a command does. What it
logs, prints, raises, returns, shows as `repr`, writes into the warehouse, into files or into alerts
is searched. Airflow's masking is not relied on: it is switched off, as far as it is asked for here.
"""

import contextlib
import io
import itertools
import json
import logging
import os
import random
import socket
import string
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import psycopg
from airflow.sdk._shared.secrets_masker import reset_secrets_masker
from psycopg import sql

from include.ops.local.postgres import EmbeddedPostgres
from include.warehouse.connection import Warehouse
from tests.support.secrets_search import Search

TENANT = "acme"
#: Each gets a function that makes a run of random letters and digits.
FORMS: Mapping[str, Callable[[Callable[[], str]], str]] = {
    "plain": lambda run: run(),
    "like a token": lambda run: f"pat-na1-{run()}-{run()}",
    "percent": lambda run: f"{run()}%{run()}%41%zz",
    "slash": lambda run: f"{run()}/{run()}",
    "at": lambda run: f"{run()}@{run()}",
    "colon": lambda run: f"{run()}:{run()}",
    "hash": lambda run: f"{run()}#{run()}",
    "question": lambda run: f"{run()}?{run()}&x={run()}",
    "plus and equals": lambda run: f"{run()}+{run()}==",
    "backslash": lambda run: f"{run()}\\{run()}",
    "double quote": lambda run: f'{run()}"{run()}',
    "single quote": lambda run: f"'{run()}'",
    "braces": lambda run: f"{{{{ {run()} }}}}{{{run()}}}",
    "space": lambda run: f"{run()} {run()}",
    "line break behind": lambda run: f"{run()}\n",
    "CRLF behind": lambda run: f"{run()}\r\n",
    "line break": lambda run: f"{run()}\n{run()}",
    "line break and space": lambda run: f"{run()}\n {run()}",
    "tab": lambda run: f"{run()}\t{run()}",
    "NUL": lambda run: f"{run()}\0{run()}",
    "escape": lambda run: f"\x1b[31m{run()}",
    "no-break space": lambda run: f"\u00a0{run()}\u00a0{run()}",
    "zero width": lambda run: f"\ufeff{run()}\u200b{run()}",
    "umlaut": lambda run: f"{run()}ü{run()}",
    "euro and emoji": lambda run: f"{run()}€😀{run()}",
    "300 characters": lambda run: "".join(run() for _ in range(25)),
    "a number": lambda run: "".join(str(ord(c) % 10) for c in run() + run()),
    "the tenant's name": lambda run: f"{TENANT}-{run()}-{TENANT}",
    "a regular expression": lambda run: f"(?i){run()}.*+?^$|[{run()}](",
    "dollar": lambda run: f"${{{run()}}}$$",
    "Bearer": lambda run: f"Bearer {run()}",
    "JSON": lambda run: json.dumps({"token": run()}),
    "a URL": lambda run: f"https://{run()}:{run()}@example.com/{run()}",
    "a comma and semicolon": lambda run: f"{run()},{run()};{run()}",
}


@dataclass
class World:
    """What cases need: a warehouse, and a server that says what it received."""

    warehouse: Warehouse
    database_url: str
    rng: random.Random
    folder: Path
    #: Everything that was to be seen of a case.
    seen: dict[str, bytes] = field(default_factory=dict)

    def saw(self, where: str, what: object) -> None:
        text = what if isinstance(what, bytes) else str(what).encode("utf-8", "surrogatepass")
        self.seen[where] = self.seen.get(where, b"") + b"\n" + text

    def run_of_letters(self) -> str:
        return "".join(self.rng.choices(string.ascii_letters + string.digits, k=12))


@dataclass(frozen=True)
class Case:
    """``plant``: puts the secret where it belongs, and has the product use it."""

    place: str
    situation: str
    plant: Callable[[World, str], None]

    def __str__(self) -> str:
        return f"{self.place}: {self.situation}"


def leaks(world: World, case: Case, form: str) -> list[str]:
    """Run a case; return where the secret was to be seen."""
    secret = FORMS[form](world.run_of_letters)
    world.seen.clear()
    reset_secrets_masker()
    log, out = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    environ = {"TMPDIR": str(world.folder), "DLT_DATABASE_SCHEMA": world.warehouse.schema}
    try:
        with (
            mock.patch.dict(
                os.environ, {"NO_PROXY": "", "DATABASE_URL": world.database_url, **environ}
            ),
            mock.patch.object(tempfile, "tempdir", str(world.folder)),
            mock.patch("include.hubspot.hook.TEST_RETRY_TIMEOUT_S", 0),
            mock.patch("include.hubspot.hook.mask_secret"),
            # those of other cases would only cost time
            mock.patch.dict("include.secret_text._secrets", clear=True),
            mock.patch("include.tenants.adding.TEST_RETRY_TIMEOUT_S", 0),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
            written_to_descriptors(world),
        ):
            try:
                case.plant(world, secret)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - that is what is looked at
                saw_exception(world, exc)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    world.saw("log", log.getvalue())
    world.saw("output", out.getvalue())
    search = Search([secret])
    found = [where for where, content in world.seen.items() if search.is_below(content)]
    files, _ = search.files(world.folder)
    found += [f"file {name}" for name in files]
    rows = rows_of(world.warehouse)
    found += [f"table {name}" for name, content in rows if search.is_below(content)]
    return found


@contextlib.contextmanager
def written_to_descriptors(world: World) -> Iterator[None]:
    """Note what is written to standard output and error past Python's own: Airflow's loggers."""
    with tempfile.TemporaryFile() as file:
        kept = {number: os.dup(number) for number in (1, 2)}
        try:
            for number in kept:
                os.dup2(file.fileno(), number)
            yield
        finally:
            for number, before in kept.items():
                os.dup2(before, number)
                os.close(before)
            file.seek(0)
            world.saw("standard output", file.read())


def saw_exception(world: World, exc: BaseException) -> None:
    """Note all that a log would show of it, and its attributes: they are pickled with it."""
    world.saw("exception", "".join(traceback.format_exception(exc)))
    world.saw("exception", f"{exc!s} {exc!r} {exc.args!r}")
    if type(exc).__module__ == "include.errors":
        world.saw("exception", vars(exc))


def rows_of(warehouse: Warehouse) -> Iterator[tuple[str, bytes]]:
    """Yield each table of the warehouse's schemas with its rows as text, then empty some."""
    with psycopg.connect(**warehouse.parameters) as connection:
        names = connection.execute(
            "select nspname, relname from pg_class join pg_namespace n on n.oid = relnamespace"
            " where relkind in ('r', 'p') and starts_with(nspname, %s)",
            [warehouse.schema],
        ).fetchall()
        for schema, name in names:
            rows = connection.execute(
                sql.SQL("select t::text from {} t").format(sql.Identifier(schema, name))
            ).fetchall()
            yield f"{schema}.{name}", "\n".join(row for (row,) in rows).encode()
        names = [
            sql.Identifier(warehouse.schema, name) for name in ("scans", "alerts", "incidents")
        ]
        connection.execute(sql.SQL("truncate {} cascade").format(sql.SQL(", ").join(names)))


# --- what answers -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Echo:
    """How a server says what it received, and with which status."""

    status: int
    kind: str

    def __str__(self) -> str:
        return f"{self.status} {self.kind}"


ECHOES = tuple(
    itertools.starmap(
        Echo,
        [
            *itertools.product((400, 401, 403, 404, 409, 429, 477, 500, 502), ("message", "html")),
            *itertools.product(
                (401, 403, 500), ("escaped", "headers", "context", "long", "base64")
            ),
            *itertools.product((200,), ("html", "wrong shape", "headers", "truncated")),
            (302, "redirect"),
            (200, "broken off"),
        ],
    )
)


@contextlib.contextmanager
def echoing(echo: Echo) -> Iterator[str]:
    """Run a server that answers with all it received, in the way of *echo*; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            sent = f"{self.path} {' '.join(self.headers.values())} {body}"
            self._answer(sent)

        do_GET = do_PATCH = do_PUT = do_POST

        def _answer(self, sent: str) -> None:
            content = {
                "html": lambda: f"<html><body>{sent}</body></html>",
                "wrong shape": lambda: json.dumps(
                    {"portalId": sent, "results": sent, "hub_id": sent}
                ),
                "escaped": lambda: json.dumps({"message": json.dumps(sent) + quote(sent, safe="")}),
                "context": lambda: json.dumps(
                    {
                        "category": sent,
                        "context": {"requiredScopes": [sent]},
                        "message": "no",
                    }
                ),
                "long": lambda: json.dumps({"message": "x" * 250 + sent}),
                "base64": lambda: json.dumps(
                    {"message": __import__("base64").b64encode(sent.encode()).decode()}
                ),
                "truncated": lambda: f'{{"portalId": "{sent}',
            }.get(
                echo.kind,
                lambda: json.dumps({"message": sent, "status": sent, "error": sent}),
            )()
            self.send_response(echo.status)
            one_line = " ".join(sent.split()).encode("ascii", "replace").decode()[:2_000]
            if echo.kind == "headers":
                for name in ("X-HubSpot-Correlation-Id", "Content-Type", "Retry-After", "Date",
                             "X-HubSpot-RateLimit-Daily"):  # fmt: skip
                    self.send_header(name, one_line)
            if echo.kind == "redirect":
                self.send_header("Location", f"http://127.0.0.1:9/{quote(one_line)}")
            length = len(content.encode())
            self.send_header(
                "Content-Length", str(length * (2 if echo.kind == "broken off" else 1))
            )
            self.end_headers()
            self.wfile.write(content.encode())
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def greeting_smtp(refusal: str) -> Iterator[int]:
    """Run a mail server that refuses a message and quotes it in the answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError), server.accept()[0] as client:
                client.sendall(b"220 here\r\n")
                with client.makefile("rb") as lines:
                    for line in lines:
                        said = line.strip()
                        if said[:4].upper() in (b"EHLO", b"HELO"):
                            client.sendall(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n")
                        elif said[:4].upper() == refusal.encode():
                            client.sendall(b"535 5.7.8 refused: " + said + b"\r\n")
                        else:
                            client.sendall(b"250 ok\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- HubSpot's secrets --------------------------------------------------------------------------


def _use_hubspot(world: World) -> None:
    """Do what a scan's first task does, with as few retries as possible, and alert of it."""
    from include.alerts.events import Run
    from include.alerts.incidents import AlertDispatcher
    from include.hubspot.hook import HubSpotHook
    from include.scan import Scan
    from include.tenants import Tenant
    from include.warehouse.client_state import SharedTokens
    from include.warehouse.scans import ScanLog

    tenant = Tenant.model_validate({"id": TENANT, "alerts": {"channels": [{"webhook": {}}]}})
    scan = Scan(tenant, f"manual__{world.run_of_letters()}")
    log = ScanLog(world.warehouse, scan)
    log.open()
    try:
        with log.step("validating"):
            hook = HubSpotHook(tenant.connection_id)
            world.saw("repr", repr(hook))
            client = hook.get_conn(
                None, SharedTokens(world.warehouse), retry_timeout_s=0, timeout_s=(2, 2)
            )
            world.saw("repr", f"{client!r} {vars(client)!r} {vars(client.transport)!r}")
            world.saw("result", f"{client.account()!r} {client.scopes!r}")
            world.saw("result", repr(client.record_page("deals", ["dealname"], archived=False)))
    except Exception as exc:  # noqa: BLE001 - that is what is looked at
        saw_exception(world, exc)
        run = Run(tenant.dag_id, scan.run_id, "validate_token", 1, "task_failure", error=exc)
        with echoing(Echo(200, "message")) as url:
            os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": url})
            AlertDispatcher(tenant, run).task_failed()
    world.saw("result", HubSpotHook(tenant.connection_id).test_connection())


def _in_json_connection(fields: Callable[[str, str], dict[str, Any]]) -> Callable[..., None]:
    def plant(world: World, secret: str, url: str) -> None:
        connection = {"conn_type": "hubspot", "host": url, **fields(secret, world.run_of_letters())}
        os.environ["AIRFLOW_CONN_HUBSPOT_ACME"] = json.dumps(connection)
        _use_hubspot(world)

    return plant


def _in_uri(quoted: bool) -> Callable[..., None]:
    def plant(world: World, secret: str, url: str) -> None:
        password = quote(secret, safe="", errors="surrogatepass") if quoted else secret
        where = url.removeprefix("http://")
        uri = f"hubspot://:{password}@{where}/http?x=y".replace("\0", "")
        os.environ["AIRFLOW_CONN_HUBSPOT_ACME"] = uri
        _use_hubspot(world)

    return plant


def _broken_json(world: World, secret: str, url: str) -> None:
    whole = json.dumps({"conn_type": "hubspot", "host": url, "password": secret})
    os.environ["AIRFLOW_CONN_HUBSPOT_ACME"] = whole[:-1]
    _use_hubspot(world)


def _broken_extra(world: World, secret: str, url: str) -> None:
    os.environ["AIRFLOW_CONN_HUBSPOT_ACME"] = json.dumps(
        {
            "conn_type": "hubspot",
            "host": url,
            "extra": '{"refresh_token": ' + secret.replace("\0", ""),
        }
    )
    _use_hubspot(world)


def _as_base_url(world: World, secret: str, url: str) -> None:
    where = url.removeprefix("http://")
    for host in (f"http://user:{secret}@{where}", f"{url}/?hapikey={secret}", f"{secret}@{where}"):
        os.environ["AIRFLOW_CONN_HUBSPOT_ACME"] = json.dumps(
            {"conn_type": "hubspot", "host": host, "password": "pat-na1-of-no-importance"}
        )
        with contextlib.suppress(Exception):
            _use_hubspot(world)


def _as_proxy(world: World, secret: str, url: str) -> None:
    where = url.removeprefix("http://")
    proxy = f"http://user:{quote(secret, safe='', errors='surrogatepass')}@{where}"
    os.environ.update({"HTTP_PROXY": proxy, "http_proxy": proxy})
    os.environ["AIRFLOW_CONN_HUBSPOT_ACME"] = json.dumps(
        {"conn_type": "hubspot", "host": "http://hubspot.invalid", "password": "pat-na1-of-none",
         "extra": {"allow_plain_http": True}}
    )  # fmt: skip
    _use_hubspot(world)


def _in_environment(world: World, secret: str, url: str) -> None:
    from include.hubspot.hook import HubSpotHook

    os.environ.update(
        {"HUBSPOT_ACCESS_TOKEN": secret.replace("\0", ""), "HUBSPOT_API_BASE_URL": url}
    )
    hook = HubSpotHook("hubspot_default")
    world.saw("result", hook.test_connection())
    hook.get_conn(retry_timeout_s=0).account()


def _seed(world: World, secret: str, url: str) -> None:
    from include.ops.local.seed import seed_test_deals

    connection = {"conn_type": "hubspot", "host": url, "password": secret}
    os.environ["AIRFLOW_CONN_HUBSPOT_ACME"] = json.dumps(connection)
    seed_test_deals(TENANT, lambda _: True)


def _tenants_add(world: World, secret: str, url: str) -> None:
    from include.tenants.__main__ import main

    file = world.folder / "tenants.yaml"
    file.write_text("tenants: []\n")
    os.environ["HUBSPOT_DEALS_TENANTS_FILE"] = str(file)
    with mock.patch.object(sys, "stdin", io.StringIO(secret)):
        main(["add", TENANT, "--token-stdin", "--base-url", url])


def _app(**given: str) -> dict[str, Any]:
    app = {"client_id": "c1", "client_secret": "s1-of-no-importance", "refresh_token": "r1-of-none"}
    return {"extra": {**app, **given}}


HUBSPOT_PLACES: Mapping[str, Callable[[World, str, str], None]] = {
    "token in a JSON connection": _in_json_connection(lambda secret, _: {"password": secret}),
    "token in a URI, quoted": _in_uri(quoted=True),
    "token in a URI, not quoted": _in_uri(quoted=False),
    "token in broken JSON": _broken_json,
    "secret in broken extras": _broken_extra,
    "HUBSPOT_ACCESS_TOKEN": _in_environment,
    "client secret": _in_json_connection(lambda secret, _: _app(client_secret=secret)),
    "refresh token": _in_json_connection(lambda secret, _: _app(refresh_token=secret)),
    "token and app": _in_json_connection(
        lambda secret, _: {"password": secret, **_app(refresh_token=secret)}
    ),
    "base URL": _as_base_url,
    "proxy": _as_proxy,
    "make seed-test-deals": _seed,
    "tenants add": _tenants_add,
}


def _hubspot_cases() -> Iterator[Case]:
    def answered(
        use: Callable[[World, str, str], None], echo: Echo
    ) -> Callable[[World, str], None]:
        def plant(world: World, secret: str) -> None:
            with echoing(echo) as url:
                use(world, secret, url)

        return plant

    def at(use: Callable[[World, str, str], None], url: str) -> Callable[[World, str], None]:
        return lambda world, secret: use(world, secret, url)

    for place, use in HUBSPOT_PLACES.items():
        for echo in ECHOES:
            yield Case(place, str(echo), answered(use, echo))
        yield Case(place, "closed port", at(use, f"http://127.0.0.1:{closed_port()}"))
        yield Case(place, "unknown host", at(use, "https://hubspot.invalid"))
        yield Case(place, "plain text", at(use, "http://hubspot.invalid"))
        yield Case(place, "malformed URL", at(use, "http://127.0.0.1:99999999"))
        yield Case(place, "wrong scheme", at(use, f"https://127.0.0.1:{closed_port()}"))


def _answered_token(world: World, secret: str) -> None:
    """HubSpot gives an access token and a refresh token that are secrets from then on."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "oauth" in self.path and "introspect" not in self.path:
                status, answer = (
                    200,
                    {"access_token": secret, "refresh_token": secret, "expires_in": 1800},
                )
            else:
                status = 403
                answer = {"message": f"no: {self.headers['Authorization']}"}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        _in_json_connection(lambda *_: _app())(world, secret, url)
    finally:
        server.shutdown()
        server.server_close()


def _whole_scan(world: World, secret: str) -> None:
    """A scan that succeeds with the secret as its token."""
    from tests.hubspot_simulator import HubSpotSimulator, portals
    from tests.support.scans import run, scan

    portal = portals.getting_started()
    portal.tokens[0].text = secret.strip()
    with HubSpotSimulator([portal]) as simulator:
        os.environ["AIRFLOW_CONN_HUBSPOT_ACME"] = json.dumps(
            {"conn_type": "hubspot", "host": simulator.base_url, "password": secret}
        )
        world.saw("result", run(scan(f"manual__{world.run_of_letters()}")))


# --- the database's password --------------------------------------------------------------------


def _database_urls(world: World, secret: str) -> dict[str, dict[str, str]]:
    """Return situations: how the password gets to the database, and to which."""
    there = world.warehouse.parameters
    where = f"{there['host']}:{there['port']}/{there['dbname']}"
    quoted = quote(secret, safe="", errors="surrogatepass")
    raw = secret.replace("\0", "")
    keywords = f"host={there['host']} port={there['port']} user=nobody dbname=x password={raw}"
    escaped = raw.replace("\\", "\\\\").replace("'", "\\'")
    return {
        "wrong password": {"DATABASE_URL": f"postgresql://nobody:{quoted}@{where}"},
        "not quoted": {"DATABASE_URL": f"postgresql://nobody:{raw}@{where}"},
        "closed port": {"DATABASE_URL": f"postgresql://u:{quoted}@127.0.0.1:{closed_port()}/x"},
        "unknown host": {"DATABASE_URL": f"postgresql://u:{quoted}@warehouse.invalid/x"},
        "wrong scheme": {"DATABASE_URL": f"mysql://u:{raw}@{where}"},
        "port is a word": {"DATABASE_URL": f"postgresql://u:{quoted}@127.0.0.1:{raw}/x"},
        "an option": {"DATABASE_URL": f"postgresql://{where}?user=u&passwort={quoted}"},
        "keywords": {"DATABASE_URL": keywords},
        "keywords, quoted": {"DATABASE_URL": f"host=127.0.0.1 port=1 password='{escaped}'"},
        "only the password": {"DATABASE_URL": raw},
        "connection URI": {"AIRFLOW_CONN_WAREHOUSE": f"postgresql://nobody:{quoted}@{where}"},
        "connection URI, not quoted": {"AIRFLOW_CONN_WAREHOUSE": f"postgresql://u:{raw}@{where}"},
        "JSON connection": {
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(
                {"conn_type": "postgres", "host": there["host"], "port": there["port"],
                 "login": "nobody", "password": secret, "schema": "x"}
            )
        },
        "broken JSON connection": {
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "postgres", "password": secret})[:-1]
        },
        "host in JSON": {
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(
                {"conn_type": "postgres", "host": f"u:{secret}@127.0.0.1", "password": "x"}
            )
        },
    }  # fmt: skip


def _database_case(situation: str) -> Callable[[World, str], None]:
    def plant(world: World, secret: str) -> None:
        from include.alerts.events import Run
        from include.alerts.incidents import AlertDispatcher
        from include.pipeline.load.dlt_loader import DltLoader  # noqa: F401 - dlt, as in a task
        from include.pipeline.validate_token import validate_token
        from include.tenants import Tenant
        from include.warehouse.connection import open_warehouse
        from tests.support.scans import scan

        environ = _database_urls(world, secret)[situation]
        os.environ.pop("DATABASE_URL", None)
        os.environ.update({name: value.replace("\0", "") for name, value in environ.items()})
        tenant = Tenant.model_validate({"id": TENANT, "alerts": {"channels": [{"webhook": {}}]}})
        with contextlib.suppress(Exception):
            warehouse = open_warehouse(TENANT)
            world.saw("repr", repr(warehouse))
            with warehouse.connect(TENANT):
                pass
        try:
            validate_token(scan(f"manual__{world.run_of_letters()}"))
        except Exception as exc:  # noqa: BLE001 - that is what is looked at
            saw_exception(world, exc)
            run = Run(tenant.dag_id, "r", "validate_token", 1, "task_failure", error=exc)
            with echoing(Echo(200, "message")) as url:
                os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps(
                    {"conn_type": "http", "host": url}
                )
                AlertDispatcher(tenant, run).task_failed()

    return plant


def _good_login(world: World, secret: str) -> None:
    """A scan of a login that has the secret as its password."""
    password = secret.replace("\0", "")
    name = f"planted_{world.run_of_letters().lower()}"
    there = world.warehouse.parameters
    with psycopg.connect(**there, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create role {} login superuser password {}").format(
                sql.Identifier(name), sql.Literal(password)
            )
        )
    quoted = quote(password, safe="")
    os.environ["DATABASE_URL"] = (
        f"postgresql://{name}:{quoted}@{there['host']}:{there['port']}/{there['dbname']}"
    )
    try:
        _whole_scan(world, "pat-na1-of-no-importance")
    finally:
        with psycopg.connect(**there, autocommit=True) as connection:
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


# --- the secrets of alerts ----------------------------------------------------------------------


def _channel(kind: str, secret: str, url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the channel and the connection that it needs."""
    address = quote(secret, safe="", errors="surrogatepass")
    where = url.removeprefix("http://")
    connections: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "webhook": (
            {"webhook": {"endpoint": "hook"}},
            {"conn_type": "http", "host": f"{url}/{address}"},
        ),
        "webhook with a password": (
            {"webhook": {}},
            {"conn_type": "http", "host": url, "login": "u", "password": secret},
        ),
        "webhook with a header": (
            {"webhook": {}},
            {"conn_type": "http", "host": url, "extra": {"X-Api-Key": secret}},
        ),
        "webhook with a user in its host": (
            {"webhook": {}},
            {"conn_type": "http", "host": f"http://u:{address}@{where}"},
        ),
        "slack": (
            {"slack": {}},
            {"conn_type": "slackwebhook", "host": f"{url}/services", "password": secret},
        ),
        "slack, the whole address": (
            {"slack": {}},
            {"conn_type": "slackwebhook", "password": f"{url}/{address}"},
        ),
        "apprise": (
            {"apprise": {}},
            _apprise(f"json://{where}/{address}"),
        ),
        "apprise with a password": (
            {"apprise": {}},
            _apprise(f"json://u:{address}@{where}"),
        ),
        "apprise, no address": (
            {"apprise": {}},
            _apprise(secret),
        ),
    }  # fmt: skip
    channel, connection = connections[kind]
    (name,) = channel
    return channel, {
        f"AIRFLOW_CONN_{name.upper().replace('WEBHOOK', 'HTTP')}_DEFAULT": json.dumps(connection)
    }


def _apprise(path: str) -> dict[str, Any]:
    return {"conn_type": "apprise", "extra": {"config": {"path": path, "tag": "a"}}}


CHANNELS = (
    "webhook",
    "webhook with a password",
    "webhook with a header",
    "webhook with a user in its host",
    "slack",
    "slack, the whole address",
    "apprise",
    "apprise with a password",
    "apprise, no address",
)


def _alert(world: World, channel: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Have an alert of a failed scan delivered, and tried again."""
    from include.alerts.delivery import DeliveryBudget
    from include.alerts.events import Run
    from include.alerts.incidents import AlertDispatcher
    from include.errors import TokenRejectedError
    from include.tenants import Tenant

    os.environ.update(environ)
    tenant = Tenant.model_validate({"id": TENANT, "alerts": {"channels": [channel]}})
    world.saw("repr", repr(tenant))
    run = Run(tenant.dag_id, world.run_of_letters(), error=TokenRejectedError("no"))
    AlertDispatcher(tenant, run, DeliveryBudget(5)).task_failed()
    with mock.patch.dict(os.environ, {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}):
        AlertDispatcher(tenant, run, DeliveryBudget(5)).task_failed()


def _alert_cases() -> Iterator[Case]:
    def answered(kind: str, echo: Echo) -> Callable[[World, str], None]:
        def plant(world: World, secret: str) -> None:
            with echoing(echo) as url:
                _alert(world, *_channel(kind, secret, url))

        return plant

    def at(kind: str, url: str) -> Callable[[World, str], None]:
        return lambda world, secret: _alert(world, *_channel(kind, secret, url))

    echoes = [
        Echo(status, kind) for status in (200, 404, 500) for kind in ("message", "html", "headers")
    ]
    for kind in CHANNELS:
        for echo in (*echoes, Echo(302, "redirect"), Echo(200, "broken off")):
            yield Case(kind, str(echo), answered(kind, echo))
        yield Case(kind, "closed port", at(kind, f"http://127.0.0.1:{closed_port()}"))
        yield Case(kind, "unknown host", at(kind, "http://alerts.invalid"))
        yield Case(kind, "malformed URL", at(kind, "http://127.0.0.1:99999999"))
    for refusal in ("AUTH", "MAIL", "RCPT", "DATA", "EHLO"):
        yield Case("smtp", f"refuses {refusal}", _refusing(refusal))
    yield Case("smtp", "closed port", lambda world, secret: _mail(world, secret, closed_port()))
    yield Case("smtp", "broken JSON", _broken_smtp)


def _refusing(refusal: str) -> Callable[[World, str], None]:
    def plant(world: World, secret: str) -> None:
        with greeting_smtp(refusal) as port:
            _mail(world, secret, port)

    return plant


def _mail(world: World, secret: str, port: int) -> None:
    connection = {
        "conn_type": "smtp", "host": "127.0.0.1", "port": port, "login": "u", "password": secret,
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "a@b.c", "timeout": 2,
                  "retry_limit": 1},
    }  # fmt: skip
    channel = {"smtp": {"to": ["ops@example.com"]}}
    _alert(world, channel, {"AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(connection)})


def _broken_smtp(world: World, secret: str) -> None:
    connection = json.dumps({"conn_type": "smtp", "password": secret})[:-1]
    channel = {"smtp": {"to": ["ops@example.com"]}}
    _alert(world, channel, {"AIRFLOW_CONN_SMTP_DEFAULT": connection})


# --- the secrets of the deployment --------------------------------------------------------------


def _deployed(name: str, url: str) -> Callable[[World, str], None]:
    """`init` with one secret file that holds the secret."""

    def plant(world: World, secret: str) -> None:
        from include.ops.compose.__main__ import main
        from include.ops.compose.secrets import DIRECTORIES, SECRETS, SecretFiles

        raw = secret.replace("\0", "")
        there = world.warehouse.parameters
        # not below what is searched: files that are there to hold secrets
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            environ = dict.fromkeys(DIRECTORIES.values(), folder)
            environ |= {"POSTGRES_ADDRESS": f"{there['host']}:{there['port']}", "DEPLOYMENT": "dev"}
            os.environ.update(environ)
            files = SecretFiles()
            for known in SECRETS:
                files.make(known)
            files.write(name, url.format(raw=raw, quoted=quote(raw, safe=""), **there))
            # Airflow's own part needs a database of its own
            with mock.patch("include.ops.compose.init._run", return_value=None):
                main(["init"])

    return plant


def _handed_over(world: World, secret: str) -> None:
    from include.ops.compose.__main__ import main
    from include.ops.compose.secrets import DIRECTORIES

    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        mock.patch.object(sys, "stdin", io.StringIO(secret)),
        mock.patch.dict(os.environ, dict.fromkeys(DIRECTORIES.values(), folder)),
    ):
        for name in ("fernet_key", "warehouse_url"):
            main(["secrets", "--set", name])


def cases() -> list[Case]:
    """Return all cases: each is run with each form."""
    places = ("warehouse_url", "metadata_url", "warehouse_migrator_url")
    urls = {
        "not quoted": "postgresql://u:{raw}@{host}:{port}/x",
        "quoted": "postgresql://u:{quoted}@{host}:{port}/x",
        "elsewhere": "postgresql://u:{quoted}@127.0.0.1:1/x",
    }
    situations = tuple(_database_urls(_NOWHERE, "x"))
    return [
        *_hubspot_cases(),
        Case("access token", "given, and echoed", _answered_token),
        Case("token", "success", _whole_scan),
        *(
            Case("database password", situation, _database_case(situation))
            for situation in situations
        ),
        Case("database password", "success", _good_login),
        *_alert_cases(),
        *(
            Case(f"secret file {name}", how, _deployed(name, url))
            for name in places
            for how, url in urls.items()
        ),
        Case("secret file postgres_password", "wrong", _deployed("postgres_password", "{raw}")),
        Case("secret file", "handed over", _handed_over),
    ]


_NOWHERE = World(
    Warehouse({"host": "h", "port": "1", "dbname": "d"}),
    "",
    random.Random(0),
    Path(),
)


def main() -> None:
    """Try every form in every case; say what was found, and fail if anything was."""
    import argparse

    parser = argparse.ArgumentParser(prog="planted secrets", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="0: until all were tried")
    parser.add_argument("--seed", type=int, help="of an order; by default a new one")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    arguments = parser.parse_args()
    from include.warehouse.migrations import migrate

    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    rng = random.Random(seed)
    pairs = [(case, form) for case in cases() for form in FORMS if arguments.only in str(case)]
    rng.shuffle(pairs)
    say = sys.stdout.write
    directory = Path(tempfile.mkdtemp(prefix="hubspot_deals_secrets_"))
    folder = directory / "files"
    folder.mkdir()
    ends_at = time.monotonic() + 60 * arguments.minutes if arguments.minutes else float("inf")
    tried, found = 0, 0
    server = EmbeddedPostgres(directory / "postgres")
    try:
        server.start()
        url = server.dsn("warehouse")
        warehouse = Warehouse.from_url(url, "planted")
        migrate(warehouse)
        world = World(warehouse, url, rng, folder)
        for case, form in pairs:
            if time.monotonic() > ends_at:
                break
            tried += 1
            if where := leaks(world, case, form):
                found += 1
                say(f"FOUND {case}, {form}: {', '.join(where)}\n")
    finally:
        server.remove()
    say(f"{tried} of {len(pairs)} planted secrets, {found} were to be seen (seed {seed})\n")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
