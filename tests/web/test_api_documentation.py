"""docs/api-documentation.md says what the code does."""

import re
from typing import get_args

import pytest
from pydantic import BaseModel

from include.web import airflow, models, warehouse
from tests.test_docs import DOCS, section, table_rows
from tests.web.api.routes import routes

PAGE = DOCS / "api-documentation.md"
FOR_BROWSERS = {
    "/",
    "/help/{name:path}",
    "/ui",
    "/docs",
    "/openapi.json",
    "/static/{version}/{name:path}",
}


def test_every_route_is_documented() -> None:
    documented = [row[0] for row in table_rows(section(PAGE, "Routes"))]

    assert set(documented) == {
        f"{route.method} {route.template}"
        for route in routes()
        if route.template not in FOR_BROWSERS
    }


def test_routes_for_browsers_are_named() -> None:
    text = section(PAGE, "Routes")

    for template in FOR_BROWSERS:
        assert f"`GET {template.replace(':path', '')}`" in text


def test_every_state_of_a_scan_is_documented() -> None:
    words = set(re.findall(r"`(\w+)`", section(PAGE, "Scans")))

    assert set(get_args(models.ScanState)) <= words


def test_every_state_of_a_tenant_is_documented() -> None:
    words = set(re.findall(r"`(\w+)`", section(PAGE, "Tenants")))

    assert set(get_args(models.TenantState)) <= words


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        pytest.param("One scan", models.ScanDetail, id="scan"),
        pytest.param("One scan", models.Progress, id="progress"),
        pytest.param("Tenants", models.Tenant, id="tenant"),
        pytest.param("Deals", models.Deal, id="deal"),
    ],
)
def test_the_examples_have_every_field(heading: str, model: type[BaseModel]) -> None:
    text = section(PAGE, heading)

    assert [name for name in model.model_fields if f'"{name}"' not in text] == []


def test_the_limits_are_those_of_the_code() -> None:
    text = section(PAGE, "Limits")

    assert f"{warehouse.MAX_CONNECTIONS}; a request waits up to {warehouse.WAIT_S} s" in text
    assert f"{warehouse.MAX_STREAMS} more for NDJSON" in text
    assert f"after {warehouse.CACHED_FOR_S} s" in text
    assert f"{airflow.MAX_ACTIVE_RUNS:,}" in text
