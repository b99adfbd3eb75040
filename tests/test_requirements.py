"""What is imported is listed: in requirements.in, and in the image's requirements."""

import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.support.imports import ROOT, imported_by, source_files

OURS = ("include", "dags", "plugins", "tests")
#: What the image runs: everything but the local stack, of which it imports single modules.
OF_THE_IMAGE = [
    path
    for path in source_files("dags", "plugins", "include")
    if (ROOT / "include" / "ops" / "local") not in path.parents
]


def file_of(name: str) -> Path | None:
    """Return the file of a module of ours, or of the module that has the name in it."""
    path = ROOT.joinpath(*name.split("."))
    module = path.parent
    places = (path.with_suffix(".py"), path / "__init__.py", module.with_suffix(".py"))
    return next((p for p in (*places, module / "__init__.py") if p.is_file()), None)


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
    product = set(source_files("dags", "plugins", "include"))

    # Airflow's own packages have one distribution, apache-airflow
    assert not_listed(product, "requirements.in") - {"airflow"} == set()


def test_the_image_has_every_package_that_its_programs_import() -> None:
    programs = with_all_they_import(OF_THE_IMAGE)

    assert not_listed(programs, "requirements-image.txt") == set()
