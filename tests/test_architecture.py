"""Imports point in one direction, and nothing heavy is imported where DAGs are parsed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.imports import ROOT, imported_by, module_of, source_files

#: Which of our modules a module may import: the first line that covers it counts. Read from top to
#: bottom, a package imports from those above it only.
MAY_IMPORT = {
    "include.files": set(),
    "include.secret_text": set(),
    "include.loopback": set(),
    "include.errors": {"include.secret_text"},
    "include.hubspot.crm_objects": {"include.hubspot.endpoints"},
    "include.hubspot": {
        "include.errors",
        "include.hubspot",
        "include.loopback",
        "include.secret_text",
    },
    # a command, which no DAG file imports: it asks HubSpot about a token
    "include.tenants.adding": {
        "include.errors",
        "include.files",
        "include.hubspot",
        "include.secret_text",
        "include.tenants",
    },
    "include.tenants": {
        "include.errors",
        "include.files",
        "include.hubspot.crm_objects",
        "include.hubspot.endpoints",
        "include.tenants",
    },
    "include.scan": {"include.errors", "include.tenants"},
    "include.metrics": {"include.errors", "include.scan"},
    "include.dag": {"include.scan", "include.tenants"},
    "include.airflow_provider": set(),
    "include.warehouse": {
        "include.errors",
        # types only: records, objects, tokens, limits
        "include.hubspot.answers",
        "include.hubspot.crm_objects",
        "include.hubspot.oauth",
        "include.hubspot.rate_limit",
        "include.loopback",
        "include.scan",
        # the pattern of ids
        "include.tenants.model",
        "include.warehouse",
    },
    "include.pipeline": {
        "include.errors",
        "include.hubspot",
        "include.metrics",
        "include.pipeline",
        "include.scan",
        "include.tenants",
        "include.warehouse",
    },
    "include.alerts": {
        "include.alerts",
        "include.errors",
        "include.scan",
        "include.tenants",
        "include.warehouse",
    },
    "include.web": {
        "include.errors",
        "include.scan",
        "include.tenants",
        "include.warehouse",
        "include.web",
    },
    # what tasks import
    "include.ops.compose.worker_imports": {
        "include.alerts",
        "include.dag",
        "include.pipeline",
    },
    "include.ops.compose": {
        "include.errors",
        "include.files",
        "include.ops",
        "include.secret_text",
        "include.tenants",
        "include.warehouse.connection",
    },
    # the one thing that writes to HubSpot, for people who try the pipeline on
    "include.ops.local.seed": {
        "include.errors",
        "include.hubspot",
        "include.ops.local",
        "include.secret_text",
    },
    # asks as tasks do
    "include.ops.local.checks": {
        "include.errors",
        "include.hubspot.hook",
        "include.ops.local.processes",
        "include.warehouse.connection",
    },
    "include.ops.local": {
        "include.errors",
        "include.files",
        "include.hubspot.answers",
        "include.ops.compose.worker_imports",
        "include.ops.local",
        "include.tenants",
        "include.warehouse.connection",
    },
    "include.ops": set(),
    "dags": {
        "include.alerts.callbacks",
        "include.dag",
        "include.errors",
        "include.metrics",
        "include.pipeline",
        "include.scan",
        "include.tenants",
        # of the example
        "include.warehouse.connection",
        "include.warehouse.tenant_views.plan",
    },
    "plugins": {"include.web"},
}


def covers(prefix: str, name: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize("path", source_files("include", "dags", "plugins"), ids=module_of)
def test_a_module_imports_only_what_its_package_may(path: Path) -> None:
    module = module_of(path)
    allowed = next((may for package, may in MAY_IMPORT.items() if covers(package, module)), set())

    ours = {
        name
        for name in imported_by(path)
        if name.partition(".")[0] in ("include", "dags", "plugins", "tests")
    }

    assert {n for n in ours if not any(covers(prefix, n) for prefix in allowed)} == set()


def test_the_simulator_never_imports_the_product() -> None:
    ours = {
        name
        for path in source_files("tests/hubspot_simulator")
        for name in imported_by(path)
        if name.partition(".")[0] in ("include", "dags", "plugins")
    }

    assert ours == set()


def test_only_the_extraction_imports_dlt() -> None:
    importers = {
        module_of(path)
        for path in source_files("include", "dags")
        if any(covers("dlt", name) for name in imported_by(path))
    }

    assert importers == {"include.pipeline.load.dlt_loader"}


@pytest.mark.parametrize(
    "module",
    [
        "include.tenants",
        "include.hubspot.crm_objects",
        "include.scan",
        "include.errors",
        "include.alerts.callbacks",
    ],
)
def test_what_a_dag_file_imports_is_light(module: str) -> None:
    heavy = "{'dlt', 'pyarrow', 'psycopg', 'requests', 'airflow'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"

    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert printed.strip() == "[]"


def test_plugins_holds_at_most_one_python_file() -> None:
    assert len(source_files("plugins")) <= 1
