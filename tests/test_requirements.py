"""What is imported is listed: in requirements.in, and in the image's requirements."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("include", "dags", "plugins", "tests")
#: What the image runs: everything but the local stack, of which it imports single modules.
OF_THE_IMAGE = [
    path
    for folder in ("dags", "plugins", "include")
    for path in (ROOT / folder).rglob("*.py")
    if (ROOT / "include" / "ops" / "local") not in path.parents
]


def imported_by(path: Path) -> set[str]:
    """Return the names of modules that a file imports anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def with_all_they_import(paths: list[Path]) -> set[Path]:
    """Return the files, and those of ours that they import, directly or not."""
    found: set[Path] = set()
    left = list(paths)
    while left:
        path = left.pop()
        if path in found:
            continue
        found.add(path)
        left += filter(None, map(file_of, imported_by(path)))
    return found


@cache
def distributions() -> dict[str, list[str]]:
    return {name: [*map(normalized, of)] for name, of in packages_distributions().items()}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_in(requirements: str) -> set[str]:
    lines = (ROOT / requirements).read_text().splitlines()
    return {normalized(match[0]) for line in lines if (match := re.match(r"[A-Za-z][\w.-]*", line))}


def not_listed(paths: set[Path], requirements: str) -> set[str]:
    """Return modules of other packages that the files import, and *requirements* does not list."""
    tops = {name.partition(".")[0] for path in paths for name in imported_by(path)}
    foreign = tops - set(sys.stdlib_module_names) - set(OURS)
    assert foreign >= {"psycopg", "requests"}
    listed = names_in(requirements)
    return {top for top in foreign if not listed & set(distributions().get(top, []))}


def test_every_package_that_the_product_imports_is_listed() -> None:
    product = {path for folder in OURS[:3] for path in (ROOT / folder).rglob("*.py")}

    # Airflow's own packages have one distribution, apache-airflow
    assert not_listed(product, "requirements.in") - {"airflow"} == set()


def test_the_image_has_every_package_that_its_programs_import() -> None:
    programs = with_all_they_import(OF_THE_IMAGE)

    assert not_listed(programs, "requirements-image.txt") == set()
