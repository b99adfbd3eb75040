"""Imports point in one direction, and nothing heavy is imported where DAGs are parsed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Which of our packages a package may import; everything may import errors, scan and tenants.
MAY_IMPORT = {
    "include.secret_text": set(),
    "include.errors": {"include.secret_text"},
    "include.objects": set(),
    "include.loopback": set(),
    # commands for people, which no DAG file imports: they ask HubSpot about a token
    "include.tenants.account": {"include.hubspot"},
    "include.tenants.adding": {
        "include.errors",
        "include.hubspot.hook",
        "include.secret_text",
        "include.tenants",
    },
    "include.tenants": {"include.errors", "include.objects", "include.tenants"},
    "include.scan": {"include.errors", "include.tenants"},
    "include.dag_params": {"include.scan", "include.tenants"},
    "include.deals_asset": {"include.tenants"},
    "include.metrics": {"include.errors", "include.scan"},
    "include.scan_link": {"include.scan"},
    "include.airflow_provider": set(),
    "include.hubspot": {
        "include.errors",
        "include.loopback",
        "include.secret_text",
        "include.tenants",
        "include.hubspot",
    },
    "include.warehouse": {
        "include.errors",
        "include.loopback",
        "include.scan",
        "include.warehouse",
        "include.hubspot.answers",
        "include.hubspot.rate_limit",
        "include.hubspot.token_store",
    },
    "include.extract": {
        "include.errors",
        "include.metrics",
        "include.objects",
        "include.scan",
        "include.tenants",
        "include.hubspot",
        "include.warehouse",
        "include.extract",
    },
    "include.quality": {
        "include.errors",
        "include.extract.typed_columns",
        "include.metrics",
        "include.scan",
        "include.warehouse",
        "include.quality",
    },
    "include.alerts": {
        "include.errors",
        "include.scan",
        "include.tenants",
        "include.warehouse",
        "include.alerts",
    },
    "include.status": {"include.errors", "include.status", "include.warehouse"},
    "include.web": {
        "include.errors",
        "include.scan",
        "include.status",
        "include.tenants",
        "include.warehouse",
        "include.web",
    },
    "include.validation": {
        "include.scan",
        "include.hubspot",
        "include.warehouse",
    },
    # what tasks import
    "include.deploy.worker_imports": {
        "include.alerts",
        "include.dag_params",
        "include.deals_asset",
        "include.extract",
        "include.quality.checks",
        "include.scan_link",
        "include.validation",
    },
    "include.deploy": {
        "include.deploy",
        "include.errors",
        "include.local.airflow_api",
        "include.local.simulator",
        "include.secret_text",
        "include.tenants",
        "include.warehouse.connection",
    },
    # the one thing that writes to HubSpot, for people who try the pipeline on
    "include.local.seed": {
        "include.errors",
        "include.hubspot",
        "include.local",
        "include.secret_text",
    },
    "include.local.__main__": {"include.errors", "include.hubspot.answers", "include.local"},
    "include.local.executor": {"include.deploy.worker_imports"},
    "include.local": {"include.local", "include.tenants", "include.errors"},
    "dags": {
        "include.alerts.callbacks",
        "include.dag_params",
        "include.deals_asset",
        "include.errors",
        "include.metrics",
        "include.scan",
        "include.scan_link",
        "include.tenants",
        "include.validation",
        "include.extract.pipeline",
        "include.quality.checks",
        # of the example
        "include.warehouse.connection",
        "include.warehouse.view_columns",
    },
}


def source_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_by(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


def covers(prefix: str, name: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize("path", source_files("include", "dags"), ids=module_of)
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

    assert importers == {"include.extract.loader"}


@pytest.mark.parametrize(
    "module",
    [
        "include.tenants",
        "include.objects",
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
