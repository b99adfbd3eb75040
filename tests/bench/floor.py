"""The plain floor: what reading pages and upserting them costs with nothing around it.

One page after the other with `requests` and `json`; for every hundred pages a COPY into a temporary
table and one INSERT … ON CONFLICT, in one transaction. PostgreSQL converts the values. The rows are
the product's, in a table with the same columns and indexes: tests/bench/cpu.py compares them.
"""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import psycopg
import requests
from psycopg import sql

PAGES_PER_CHUNK = 100
#: Column of `deals` → HubSpot's property.
COLUMNS = {
    "deal_name": "dealname",
    "deal_type": "dealtype",
    "pipeline_id": "pipeline",
    "stage_id": "dealstage",
    "owner_id": "hubspot_owner_id",
    "amount": "amount",
    "amount_in_home_currency": "amount_in_home_currency",
    "currency": "deal_currency_code",
    "probability": "hs_deal_stage_probability",
    "forecast_category": "hs_manual_forecast_category",
    "priority": "hs_priority",
    "is_closed": "hs_is_closed",
    "is_won": "hs_is_closed_won",
    "close_date": "closedate",
    "stage_entered_at": "hs_v2_date_entered_current_stage",
}
KEY = ("_tenant_id", "deal_id")
ALL_COLUMNS = (
    *KEY,
    *COLUMNS,
    "created_at",
    "updated_at",
    "archived",
    "archived_at",
    "url",
    "properties",
    "_scan_id",
    "_extracted_at",
)

Deal = dict[str, Any]


def load(
    base_url: str, token: str, names: str, database_url: str, schema: str, tenant_id: str
) -> Callable[[], int]:
    """Job: load all deals, live and archived, and return how many."""

    def work() -> int:
        pages = read_pages(base_url, token, names)
        count = 0
        with psycopg.connect(database_url) as connection:
            while chunk := list(islice(pages, PAGES_PER_CHUNK)):
                rows = [_row(deal, tenant_id) for page in chunk for deal in page]
                _upsert(connection, schema, rows)
                count += len(rows)
        return count

    return work


def read_pages(base_url: str, token: str, names: str) -> Iterator[list[Deal]]:
    """Yield every page of the live and then of the archived deals."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    for archived in ("false", "true"):
        after: str | None = ""
        while after is not None:
            answer = session.get(
                f"{base_url}/crm/v3/objects/deals?limit=100&archived={archived}"
                f"&properties={names}" + (f"&after={after}" if after else ""),
                timeout=60,
            )
            answer.raise_for_status()
            document = json.loads(answer.content)
            yield document["results"]
            after = document.get("paging", {}).get("next", {}).get("after")


def _row(deal: Deal, tenant_id: str) -> tuple[Any, ...]:
    properties = deal["properties"]
    return (
        tenant_id,
        deal["id"],
        *(properties.get(name) or None for name in COLUMNS.values()),
        deal["createdAt"],
        deal["updatedAt"],
        deal["archived"],
        deal.get("archivedAt"),
        deal["url"],
        json.dumps(properties),
        "floor",
        "now",
    )


def _upsert(connection: psycopg.Connection, schema: str, rows: list[tuple[Any, ...]]) -> None:
    deals = sql.Identifier(schema, "deals")
    columns = sql.SQL(", ").join(map(sql.Identifier, ALL_COLUMNS))
    changes = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name))
        for name in ALL_COLUMNS
        if name not in KEY
    )
    connection.execute(
        sql.SQL("create temporary table incoming (like {} including defaults) on commit drop")
        .format(deals)
    )  # fmt: skip
    with connection.cursor().copy(sql.SQL("copy incoming ({}) from stdin").format(columns)) as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute(
        sql.SQL(
            "insert into {deals} ({columns}) select {columns} from incoming"
            " on conflict ({key}) do update set {changes}"
        ).format(
            deals=deals,
            columns=columns,
            key=sql.SQL(", ").join(map(sql.Identifier, KEY)),
            changes=changes,
        )
    )
    connection.commit()
