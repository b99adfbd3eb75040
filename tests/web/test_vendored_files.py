"""What is vendored is what its README says: unmodified, with a licence."""

import hashlib
import re

import pytest

from include.web.static_files import DIRECTORY

VENDOR = DIRECTORY / "vendor"
LISTED = dict(
    re.findall(
        r"^\| `([^`]+)` .* `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.MULTILINE
    )
)


def test_every_vendored_file_is_listed() -> None:
    present = {
        path.relative_to(VENDOR).as_posix()
        for path in VENDOR.rglob("*")
        if path.is_file() and path != VENDOR / "README.md"
    }

    assert present == set(LISTED)


@pytest.mark.parametrize("name", sorted(LISTED))
def test_a_vendored_file_is_as_it_was_published(name: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == LISTED[name]


def test_every_package_has_its_licence() -> None:
    assert {path.parent.name for path in VENDOR.rglob("LICENSE")} == {
        path.name for path in VENDOR.iterdir() if path.is_dir()
    }
