"""The API server's copy of the tenants, and when it is read again."""

import os
from pathlib import Path
from typing import Any

import pytest

from include.web import access
from include.web.access import CHECK_EVERY_S, known_tenant, tenants_by_id
from include.web.problems import Code, Problem

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


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        pytest.param("shedule: x", Code.TENANTS_FILE, "entry of tenant acme", id="invalid"),
        pytest.param("enabled: false", Code.NOT_FOUND, "acme is disabled", id="disabled"),
        pytest.param(None, Code.NOT_FOUND, "no such tenant", id="removed"),
    ],
)
def test_a_tenant_that_is_not_loaded_says_why_to_those_who_may_see_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, entry: str | None, code: Code, said: str
) -> None:
    (folder / "acme.yaml").unlink()
    if entry:
        (folder / "acme.yaml").write_text(entry)
    user: Any = object()
    monkeypatch.setattr(access, "visible_dag_ids", lambda _: set())

    monkeypatch.setattr(access, "may", lambda *_: True)
    with pytest.raises(Problem, match=said) as raised:
        known_tenant("acme", user)
    monkeypatch.setattr(access, "may", lambda *_: False)
    with pytest.raises(Problem, match="no such tenant") as hidden:
        known_tenant("acme", user)

    assert (raised.value.code, hidden.value.code) == (code, Code.NOT_FOUND)
