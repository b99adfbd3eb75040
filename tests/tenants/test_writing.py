import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.errors import TenantCommandError
from include.tenants.adding import add_entry

ENTRY = {"id": "acme", "schedule": "H 4 * * *", "portal_id": 7}


def added(tmp_path: Path, text: str, entry: dict[str, Any] = ENTRY) -> str:
    file = tmp_path / "tenants.yaml"
    file.write_bytes(text.encode())
    assert add_entry(file, entry) == file
    return file.read_bytes().decode()


def test_lines_are_added_below_the_last_entry_and_all_others_stay(tmp_path: Path) -> None:
    before = """\
# Who is whom: the wiki.
defaults:
  timezone: Europe/Berlin   # all of them
tenants:
  # the first one
  - id: globex
    objects:
      contacts:   # all of it
  # not any more: - id: old

# the end
"""

    after = added(tmp_path, before)

    assert after == before.replace(
        "# all of it\n",
        "# all of it\n  - id: acme\n    schedule: H 4 * * *\n    portal_id: 7\n",
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("- id: a\n", "- id: a\n- id: acme\n", id="a bare list"),
        pytest.param("tenants:\n- id: a", "tenants:\n- id: a\n- id: acme", id="no last line break"),
        pytest.param("tenants:\n", "tenants:\n  - id: acme\n", id="no entry yet"),
        pytest.param("tenants: []\n", "tenants:\n  - id: acme\n", id="an empty list"),
        pytest.param(
            "tenants: [\n  ]  # none yet\npools: {b: 1}\n",
            "tenants:  # none yet\n  - id: acme\npools: {b: 1}\n",
            id="an empty list over two lines",
        ),
        pytest.param("", "tenants:\n  - id: acme\n", id="an empty file"),
        pytest.param(
            "# ours\ndefaults: {retries: 1}\n\n",
            "# ours\ndefaults: {retries: 1}\ntenants:\n  - id: acme\n",
            id="no list",
        ),
        pytest.param(
            "tenants:\n  - {id: a}\npools: {b: 1}\n",
            "tenants:\n  - {id: a}\n  - id: acme\npools: {b: 1}\n",
            id="another key below",
        ),
        pytest.param(
            "tenants:\r\n    - id: a\r\n",
            "tenants:\r\n    - id: a\r\n    - id: acme\r\n",
            id="line breaks of Windows",
        ),
        pytest.param(
            "tenants:\n  - id: a\n    owner: |-\n      me\n# end\n",
            "tenants:\n  - id: a\n    owner: |-\n      me\n  - id: acme\n# end\n",
            id="a block of text",
        ),
        pytest.param(
            "tenants:\n  - id: a\n    alerts: {on: [failure,\n      quality]}\n\n",
            "tenants:\n  - id: a\n    alerts: {on: [failure,\n      quality]}\n  - id: acme\n\n",
            id="a list over two lines",
        ),
    ],
)
def test_the_layout_of_the_file_is_kept_to(tmp_path: Path, before: str, after: str) -> None:
    assert added(tmp_path, before, {"id": "acme"}) == after


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("tenants: [{id: a}]\n", id="a list in brackets"),
        pytest.param("tenants:\n  - id: a\n    owner: >\n      me\n\n\n  # x\n...\n", id="an end"),
    ],
)
def test_where_lines_can_not_be_added_the_file_stays_as_it_is(tmp_path: Path, before: str) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(before)

    try:
        add_entry(file, ENTRY)
    except TenantCommandError as refused:
        assert "by hand" in str(refused)  # noqa: PT017 - either is right
        assert file.read_text() == before
    else:
        document = yaml.safe_load(file.read_text())
        assert document["tenants"][-1] == ENTRY
    assert [path.name for path in tmp_path.iterdir()] == ["tenants.yaml"]


def test_json_is_written_as_json(tmp_path: Path) -> None:
    file = tmp_path / "tenants.json"
    file.write_text('{"defaults": {"retries": 1}, "tenants": [{"id": "globex"}]}')

    add_entry(file, ENTRY)

    assert json.loads(file.read_text()) == {
        "defaults": {"retries": 1},
        "tenants": [{"id": "globex"}, ENTRY],
    }


def test_in_a_directory_it_is_a_new_file(tmp_path: Path) -> None:
    path = add_entry(tmp_path, ENTRY)

    assert path == tmp_path / "acme.yaml"
    assert path.read_text() == "schedule: H 4 * * *\nportal_id: 7\n"
    with pytest.raises(TenantCommandError, match="already exists"):
        add_entry(tmp_path, ENTRY)


def test_permissions_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("- id: a\n")
    file.chmod(0o640)

    add_entry(file, ENTRY)

    assert file.stat().st_mode & 0o777 == 0o640


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    file = tmp_path / "real.yaml"
    file.write_text("- id: a\n")
    link = tmp_path / "tenants.yaml"
    link.symlink_to(file)

    add_entry(link, ENTRY)

    assert link.is_symlink()
    assert "acme" in file.read_text()


def test_an_entry_that_is_there_is_not_written_again_even_a_bad_one(tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("- id: acme\n  wrong: 1\n")

    with pytest.raises(TenantCommandError, match="already has an entry 'acme'"):
        add_entry(file, ENTRY)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("t.json", b'[{"id": "a", "retries": 1, "retries": 2}]', id="JSON"),
        pytest.param("t.yaml", b"- {id: a, retries: 1, retries: 2}\n", id="YAML"),
        pytest.param("t.yaml", "- id: a\n".encode("utf-16"), id="UTF-16"),
    ],
)
def test_nothing_is_added_to_a_file_that_would_lose_something_by_it(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(TenantCommandError):
        add_entry(tmp_path / name, ENTRY)

    assert (tmp_path / name).read_bytes() == content
