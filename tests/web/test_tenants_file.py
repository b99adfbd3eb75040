"""The API server's copy of the tenants, and when it is read again."""

import os
from pathlib import Path

import pytest

from include.web.access import CHECK_EVERY_S, tenants_by_id

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HUBSPOT_DEALS_TENANTS_FILE", str(tmp_path))
    (tmp_path / "globex.yaml").write_text("retries: 1")
    (tmp_path / "acme.yaml").write_text("")
    return tmp_path


def test_a_single_file_is_read_again_as_soon_as_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("[{id: acme}]")
    monkeypatch.setenv("HUBSPOT_DEALS_TENANTS_FILE", str(file))

    first, again = tenants_by_id(lambda: 0), tenants_by_id(lambda: 0)
    file.write_text("[{id: acme}, {id: globex}]")

    assert again is first
    assert list(tenants_by_id(lambda: 0)) == ["acme", "globex"]


@pytest.mark.parametrize("change", ["edited", "added", "removed", "replaced"])
def test_a_change_in_a_directory_is_seen_after_a_few_seconds(folder: Path, change: str) -> None:
    first = tenants_by_id(lambda: 100)
    if change == "edited":
        (folder / "globex.yaml").write_text("retries: 10")
    elif change == "added":
        (folder / "initech.yaml").write_text("")
    elif change == "removed":
        (folder / "acme.yaml").unlink()
    else:
        stat = (folder / "globex.yaml").stat()
        (folder / "new").write_text("retries: 2")
        (folder / "new").rename(folder / "globex.yaml")
        os.utime(folder / "globex.yaml", ns=(stat.st_atime_ns, stat.st_mtime_ns))

    soon = tenants_by_id(lambda: 100 + CHECK_EVERY_S - 0.1)
    later = tenants_by_id(lambda: 100 + CHECK_EVERY_S)

    assert list(first) == ["acme", "globex"]
    assert soon is first
    assert later != first


def test_an_unchanged_directory_is_not_read_again(folder: Path) -> None:
    first = tenants_by_id(lambda: 0)

    assert tenants_by_id(lambda: 1_000) is first


def test_a_link_that_leads_nowhere_does_not_have_all_read_each_time(folder: Path) -> None:
    (folder / "gone.yaml").symlink_to(folder / "nowhere")

    first = tenants_by_id(lambda: 0)

    assert list(first) == ["acme", "globex"]
    assert tenants_by_id(lambda: 1) is first
