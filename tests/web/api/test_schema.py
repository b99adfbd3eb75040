"""The OpenAPI document is true: Schemathesis sends what it allows, and what it does not allow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.web.api.airflow_seed import ROOT
from tests.web.api.routes import routes
from tests.web.api.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_runs")]

EXAMPLES = 15
SEED = 5
#: Not documented on purpose: for browsers.
UNDOCUMENTED = {
    "/",
    "/help/{name:path}",
    "/ui",
    "/docs",
    "/openapi.json",
    "/static/{version}/{name:path}",
}


def test_every_route_of_the_api_is_in_the_document(simple: Server) -> None:
    document = simple.get("/openapi.json").json()

    documented = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }

    assert documented == {
        (route.method, route.template) for route in routes() if route.template not in UNDOCUMENTED
    }


def test_every_error_in_the_document_is_a_problem(simple: Server) -> None:
    document = simple.get("/openapi.json").json()

    kinds = {
        media_type
        for item in document["paths"].values()
        for operation in item.values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
        for media_type in response["content"]
    }

    assert kinds == {"application/problem+json"}
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_no_request_leads_to_a_5xx_or_an_answer_that_is_not_documented(
    simple: Server, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{simple.base}/openapi.json"]
    options = {
        "--header": f"Authorization: Bearer {simple.token('admin')}",
        "--url": simple.base,
        "--phases": "examples,coverage,fuzzing",
        "--max-examples": str(EXAMPLES),
        "--seed": str(SEED),
        "--max-failures": "5",
        # what makes a good cursor, and which windows make sense, no schema can say
        "--exclude-checks": "positive_data_acceptance",
    }
    flat = [part for pair in options.items() for part in pair]

    done = subprocess.run(
        [*command, *flat, "--no-color"],
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.web.api.schema_hooks",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
