"""The parts of the documentation that are written from the code: `make reference` runs this.

In a page, a part stands between `<!-- make reference: <name> -->` and `<!-- end -->`. Cells have no
padding, so that `wc -w` counts words.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from include import errors, metrics
from include.airflow_provider.provider_info import get_provider_info
from include.alerts import delivery
from include.dag import params_of
from include.hubspot import endpoints, http
from include.hubspot.crm_objects import STANDARD_OBJECTS
from include.ops.local.postgres import EmbeddedPostgres
from include.pipeline import associations
from include.pipeline.load import chunk_writer
from include.pipeline.load.typed_columns import TYPED_COLUMNS
from include.pipeline.quality_rules import RULES
from include.pipeline.read import concurrency
from include.tenants.model import (
    AlertSettings,
    AppriseChannel,
    Objects,
    OtherObject,
    SlackChannel,
    SmtpChannel,
    Tenant,
    WebhookChannel,
)
from include.warehouse import checkpoints, fencing
from include.warehouse.connection import Warehouse, WarehouseConnection
from include.warehouse.migrations import migrate
from include.warehouse.tenant_views import plan, views
from include.web import models
from include.web.app import create_app
from include.web.problems import Code

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CHANNELS = (SmtpChannel, SlackChannel, WebhookChannel, AppriseChannel)
_PART = re.compile(r"(<!-- make reference: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Rows = Iterable[Iterable[str]]


def table(head: str, rows: Rows) -> str:
    """Return a Markdown table; *head* has the names of its columns, separated by blanks."""
    columns = head.split()
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"|{'|'.join(map(_cell, line))}|" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split()).removesuffix(".")


def code(value: object) -> str:
    return f"`{value}`"


# Settings ---------------------------------------------------------------------------------------


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, ...]]:
    """Return name, default, allowed values and description of each field."""
    described = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        known_as = field.alias or name
        yield (
            code(f"{prefix}{known_as}"),
            as_yaml(field.default),
            allowed(described[known_as]),
            field.description or "",
        )


def as_yaml(default: object) -> str:
    if default is PydanticUndefined:
        return "required"
    if default is None or isinstance(default, bool):
        return code({None: "null", True: "true", False: "false"}[default])
    if isinstance(default, tuple):
        return code(f"[{', '.join(default)}]")
    if isinstance(default, BaseModel):
        return "below"
    return code(f'"{default}"' if "*" in str(default) else default)


def allowed(schema: dict[str, Any]) -> str:
    """Return in a few words what a JSON Schema lets through."""
    if "$ref" in schema:
        return "below"
    if "anyOf" in schema:
        return ", ".join(map(allowed, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(code(_json(value)) for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "")
    if isinstance(kind, list):
        return ", ".join(allowed({**schema, "type": each}) for each in kind if each != "null")
    if kind in ("integer", "number"):
        return _bounds(schema)
    if kind == "array":
        return f"list of {allowed(schema['items'])}"
    if kind == "string" and "pattern" in schema:
        return code(schema["pattern"])
    if kind == "string" and "maxLength" in schema:
        return f"{schema.get('minLength', 0)} to {schema['maxLength']} characters"
    return {
        "boolean": "`true`, `false`",
        "null": "`null`",
        "string": schema.get("format", "text"),
    }.get(kind, kind)


def _bounds(schema: dict[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    above = f"above {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else ""
    below = f"at most {schema['maximum']}" if "maximum" in schema else ""
    least = f"at least {schema['minimum']}" if "minimum" in schema else ""
    return ", ".join(filter(None, (above, least, below))) or "number"


def _json(value: object) -> object:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def channels() -> Iterator[tuple[str, ...]]:
    for model in CHANNELS:
        yield from settings(model, f"{model.__name__.removesuffix('Channel').lower()}.")


def environment(*, of_compose: bool) -> Iterator[tuple[str, ...]]:
    """Return name, default and comment of each variable of `.env.example`."""
    text = (ROOT / ".env.example").read_text()
    parts = text.partition("# --- Docker Compose")
    for block in parts[2 if of_compose else 0].split("\n\n"):
        variables = dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", block, re.MULTILINE))
        comment = re.findall(r"^# ((?![A-Z][A-Z0-9_]+=)(?! ).*)$", block, re.MULTILINE)
        if variables:
            defaults = map(code, filter(None, variables.values()))
            yield ", ".join(map(code, variables)), ", ".join(defaults), " ".join(comment)


def connection_extras() -> Iterator[tuple[str, ...]]:
    fields = get_provider_info()["connection-types"][0]["conn-fields"]
    for name, field in fields.items():
        yield code(name), allowed(field["schema"]), field.get("description") or field["label"]


def params() -> Iterator[tuple[str, ...]]:
    for name, param in params_of(Tenant(id="acme")).items():
        default = "" if param.value is None else code(_json(param.value))
        # what a first scan costs depends on the tenant
        yield code(name), default, allowed(param.schema), param.description.partition(";")[0]


def fixed_values() -> Iterator[tuple[str, ...]]:
    connect_s, read_s = http.TIMEOUT_S
    yield "records per page, and per batch", f"{endpoints.LIST_PAGE_SIZE}, HubSpot's maximum"
    yield "records per search", f"{endpoints.SEARCH_PAGE_SIZE}, HubSpot's maximum"
    yield "searches", f"{endpoints.SEARCHES_PER_S} per second and account, HubSpot's limit"
    yield "records per batch of histories", f"{endpoints.HISTORY_BATCH_SIZE}, HubSpot's maximum"
    batch = endpoints.ASSOCIATIONS_BATCH_SIZE
    yield "records per batch of associations", f"{batch:,}, HubSpot's maximum"
    most = associations.ALL_ASSOCIATIONS_MAX_RECORDS
    yield "live records up to which incremental scans read all associations", f"{most:,}"
    yield "rows loaded together", f"{chunk_writer.CHUNK_BYTES // 1_000_000} MB, about"
    yield "threads that read", f"{concurrency.MAX_REQUESTS_AT_ONCE} at most"
    most = endpoints.URL_PROPERTIES_MAX_CHARS
    yield "property names in a URL", f"{most:,} characters; above, records are read by id"
    yield "time-outs of a request", f"{connect_s:.0f} s to connect, {read_s:.0f} s between packets"
    yield "retries of a request", f"for {http.RETRY_TIMEOUT_S:.0f} s"
    assumed = endpoints.DEFAULT_REQUESTS_PER_WINDOW
    yield "rate limit until HubSpot states one", f"{assumed} in {endpoints.RATE_WINDOW_S:.0f} s"
    yield "wait for another run of the tenant", f"{fencing.TENANT_WAIT_S} s"
    yield "lifetime of an unfinished scan's checkpoint", checkpoints.GIVEN_UP_AFTER
    yield "loads at the same time, per schema", str(fencing.STAGING_SLOTS)
    yield "wait for queries before a view is left as it was", views.VIEW_LOCK_TIMEOUT
    yield "properties that become columns of a view", f"{plan.MAX_PROPERTIES:,}"
    yield "time to deliver alerts", f"{delivery.DELIVERY_TIMEOUT_S:.0f} s per process"
    yield "attempts to deliver an alert", str(delivery.MAX_ATTEMPTS)


# The REST API -----------------------------------------------------------------------------------


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in create_app().openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def routes() -> Iterator[tuple[str, ...]]:
    for method, path, operation in _operations():
        yield code(f"{method} {path}"), operation["summary"]


def parameters() -> Iterator[tuple[str, ...]]:
    for method, path, operation in _operations():
        for found in operation.get("parameters", []):
            if found["in"] == "query":
                schema = {**found["schema"]}
                default = schema.pop("default", None)
                yield (
                    code(f"{method} {path}"),
                    code(found["name"]),
                    code(default) if default not in (None, "") else "",
                    ", ".join(part for part in allowed(schema).split(", ") if part != "`null`"),
                    found.get("description", ""),
                )


def problems() -> Iterator[tuple[str, ...]]:
    for problem in Code:
        yield code(problem), str(problem.status), problem.heading


# What is declared -------------------------------------------------------------------------------


def error_classes() -> list[type[errors.HubSpotDealsError]]:
    """Return the errors that say more than who must act."""
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type)
        and issubclass(value, errors.HubSpotDealsError)
        and "runbook_heading" in vars(value)
        and value is not errors.HubSpotDealsError
    ]


def error_rows() -> Iterator[tuple[str, ...]]:
    for error in error_classes():
        yield f"[{error.__name__}](#{error.runbook_heading})", error.action


def checks() -> Iterator[tuple[str, ...]]:
    for rule in RULES:
        yield f"[{rule.name}](#{rule.name})", rule.severity, rule.why


def metric_rows() -> Iterator[tuple[str, ...]]:
    for name, metric in metrics.METRICS.items():
        tags = ", ".join(map(code, metric.tags))
        yield code(metrics.PREFIX + name), metric.kind, metric.unit, tags, metric.meaning


def crm_objects() -> Iterator[tuple[str, ...]]:
    for name, known in STANDARD_OBJECTS.items():
        yield (
            code(name),
            code(known.modified_property),
            code(known.created_property),
            code(known.object_type),
            code(known.type_id) if known.type_id else "none",
            code(known.read_scope),
        )


def typed_columns() -> Iterator[tuple[str, ...]]:
    for column in TYPED_COLUMNS:
        yield code(column.hubspot_property), code(column.name)


# The tables of PostgreSQL -----------------------------------------------------------------------


def tables(connection: WarehouseConnection) -> str:
    """Return a heading and the columns of each table of the schema, as they were made."""
    found = connection.execute(_TABLES, {"schema": connection.schema}).fetchall()
    return "\n" + "\n".join(_table(connection, *each) for each in found)


def _table(connection: WarehouseConnection, oid: int, name: str, comment: str) -> str:
    keys = [key for (key,) in connection.execute(_KEYS, {"table": oid})]
    rows = (
        (code(column), code(kind), "" if nullable else "not null", meaning or "")
        for column, kind, nullable, meaning in connection.execute(_COLUMNS, {"table": oid})
    )
    return f"### {name}\n\n{comment} {'. '.join(keys)}.\n\n" + table(
        "column type null meaning", rows
    )


_TABLES = """
    select oid, relname, obj_description(oid, 'pg_class') from pg_class
    where relnamespace = to_regnamespace(%(schema)s) and relkind = 'r'
      and relname not like '\\_dlt%%'
    order by oid
"""
_COLUMNS = """
    select attname, replace(replace(format_type(atttypid, atttypmod),
                                    'timestamp with time zone', 'timestamptz'), ',', ', '),
           not attnotnull, col_description(attrelid, attnum)
    from pg_attribute where attrelid = %(table)s and attnum > 0 and not attisdropped
    order by attnum
"""
_KEYS = """
    select case when indisprimary then 'Key: ' else 'Unique: ' end || '`' ||
           regexp_replace(pg_get_indexdef(indexrelid), '^.* USING btree ', '') || '`'
    from pg_index join pg_class on pg_class.oid = indexrelid
    where indrelid = %(table)s and indisunique
    order by not indisprimary, relname
"""


# Pages ------------------------------------------------------------------------------------------

Part = Callable[[WarehouseConnection], str]


def _rows(head: str, rows: Callable[[], Rows]) -> Part:
    return lambda _: table(head, rows())


_SETTING = "key default allowed meaning"
PARTS: dict[str, dict[str, Part]] = {
    "database-schema.md": {"tables": tables},
    "configuration.md": {
        "tenant": _rows(_SETTING, lambda: settings(Tenant)),
        "objects": _rows(_SETTING, lambda: settings(Objects)),
        "other-object": _rows(_SETTING, lambda: settings(OtherObject)),
        "alerts": _rows(_SETTING, lambda: settings(AlertSettings)),
        "channels": _rows(_SETTING, channels),
        "environment": _rows("variable value meaning", lambda: environment(of_compose=False)),
        "compose": _rows("variable value meaning", lambda: environment(of_compose=True)),
        "connection": _rows("extra allowed meaning", connection_extras),
        "fixed": _rows("what value", fixed_values),
        "params": _rows("param default allowed meaning", params),
    },
    "api-documentation.md": {
        "routes": _rows("route does", routes),
        "parameters": _rows("route parameter default allowed meaning", parameters),
        "start": _rows(_SETTING, lambda: settings(models.StartScan)),
        "problems": _rows("code status meaning", problems),
    },
    "api-integration.md": {
        "objects": _rows("object modified created path id scope", crm_objects),
        "properties": _rows("property column", typed_columns),
    },
    "metrics.md": {"metrics": _rows("name type unit tags meaning", metric_rows)},
    "runbook.md": {
        "errors": _rows("error action", error_rows),
        "checks": _rows("check severity reason", checks),
    },
}


def written(page: str, connection: WarehouseConnection) -> str:
    """Return a page of docs/ with its parts as the code is now."""
    parts, text = PARTS[page], (DOCS / page).read_text()
    named = [name for _, name, _ in _PART.findall(text)]
    if sorted(named) != sorted(parts):
        raise ValueError(f"{page} has the parts {named}, not {list(parts)}")
    return _PART.sub(lambda found: found[1] + parts[found[2]](connection) + found[3], text)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with EmbeddedPostgres(Path(folder)) as server:
            warehouse = Warehouse.from_url(server.dsn("warehouse"))
            migrate(warehouse)
            with warehouse.connect() as connection:
                for page in PARTS:
                    text = written(page, connection)
                    (DOCS / page).write_text(text)
        server.remove()
    sys.stdout.write(f"wrote the reference of {', '.join(PARTS)}\n")


if __name__ == "__main__":
    main()
