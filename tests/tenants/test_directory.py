"""A directory with a file for each tenant."""

import json
import os
from pathlib import Path

import pytest

from include.errors import TenantsFileError
from include.tenants import Tenant, Tenants, load_tenants
from include.tenants.shards import Shard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tenants"
    folder.mkdir()
    (folder / "acme.yaml").write_text("retries: 1\n")
    (folder / "globex.json").write_text('{"id": "globex"}')
    return folder


def load(folder: Path, only: str | None = None, shard: Shard | None = None) -> Tenants:
    environ = {"HUBSPOT_DEALS_TENANTS_FILE": str(folder)}
    return load_tenants(environ, only=only, shard=shard or Shard())


def test_the_name_of_the_file_is_the_id(folder: Path) -> None:
    assert load(folder).enabled == (Tenant(id="acme", retries=1), Tenant(id="globex"))
    assert load(folder).problems == ()


def test_an_empty_file_is_a_tenant_with_all_defaults(folder: Path) -> None:
    (folder / "acme.yaml").write_text("# nothing to say\n")

    assert load(folder, "acme").enabled == (Tenant(id="acme"),)


@pytest.mark.parametrize("name", ["_defaults.yaml", "_defaults.json"])
def test_defaults_and_pools_have_a_file_of_their_own(folder: Path, name: str) -> None:
    (folder / name).write_text(
        '{"defaults": {"pool": "large", "retries": 5}, "pools": {"large": 2}}'
    )

    tenants = load(folder)

    assert tenants.pools == {"large": 2}
    assert [(t.id, t.pool, t.retries) for t in tenants.enabled] == [
        ("acme", "large", 1),
        ("globex", "large", 5),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("schedule: null", "unknown key 'schedule'", id="an entry's key at the top"),
        pytest.param("tenants: []", "'defaults' and 'pools' only", id="tenants"),
        pytest.param("[]", "'defaults' and 'pools' only", id="a list"),
        pytest.param("defaults: {retrys: 1}", "defaults: unknown key 'retrys'", id="a bad default"),
        pytest.param("defaults: {pool: large}", "'large' is not listed", id="an unknown pool"),
        pytest.param("a: [", "is not valid YAML", id="no YAML"),
    ],
)
def test_what_is_wrong_with_the_defaults_is_said_for_all(
    folder: Path, text: str, said: str
) -> None:
    (folder / "_defaults.yaml").write_text(text)

    with pytest.raises(TenantsFileError, match=r"_defaults\.yaml") as refused:
        load(folder)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("bad.yaml", b"schedul: x", "unknown key 'schedul'", id="misspelt key"),
        pytest.param("bad.yaml", b"id: other", "the id 'other' is not", id="another id"),
        pytest.param("bad.yaml", b"id: true", "the id True is not", id="an id that is no text"),
        pytest.param("bad.yaml", b"- id: bad", "expected keys such as", id="a list"),
        pytest.param("bad.yaml", b"\x00", "is not valid YAML", id="one byte of garbage"),
        pytest.param("bad.yaml", b"\xff", "is not valid YAML", id="no text"),
        pytest.param("bad.json", b"{", "is not valid JSON at line 1", id="half a JSON"),
        pytest.param("bad.json", b'"\xff"', "can't be read (Unicode", id="JSON that is no text"),
        pytest.param("bad.json", b"[" * 100_000, "can't be read (Recursion", id="deep JSON"),
        pytest.param("bad.yaml", b" " * 10_000_000, "has 10,000,000 bytes", id="10 MB"),
        pytest.param("bad.yaml", b"when: 2026-99-99", "can't be read (ValueError", id="no date"),
        pytest.param("A.yaml", b"", "id 'A' must match", id="capitals"),
        pytest.param("bad.yml", b"", "is named <id>.yaml", id="another suffix"),
        pytest.param("bad.yml~", b"", "is named <id>.yaml", id="an editor's copy"),
        pytest.param("bad.yaml.bak", b"", "is named <id>.yaml", id="a copy"),
        pytest.param(".hidden.yaml", b"", "hidden files are not read", id="hidden"),
        pytest.param("a b.yaml", b"", "id 'a b' must match", id="a blank"),
        pytest.param("x\n.yaml", b"", "x\\n.yaml': a tenant's file is", id="a line break"),
        pytest.param("асme.yaml", b"", "must match", id="a look-alike"),  # noqa: RUF001
        pytest.param("x;drop table deals.yaml", b"", "must match", id="SQL"),
        pytest.param(f"{'a' * 41}.yaml", b"", "must match", id="41 characters"),
        pytest.param("__init__.yaml", b"", "must match", id="reserved in Python"),
        pytest.param("_default.yaml", b"", "must match", id="nearly _defaults"),
        pytest.param("acme.json", b"{}", "listed twice", id="a second file of a tenant"),
    ],
)
def test_an_odd_file_is_reported_and_hides_no_other(
    folder: Path, name: str, content: bytes, said: str
) -> None:
    (folder / name).write_bytes(content)

    tenants = load(folder)

    assert [tenant.id for tenant in tenants.enabled] == ["acme", "globex"]
    (problem,) = tenants.problems
    assert said in str(problem)
    assert str(folder) in str(problem)
    assert len(str(problem)) < 1_000


@pytest.mark.parametrize("name", ["README.md", ".gitkeep", ".acme.yaml.swp", "..data", ".x.tmp"])
def test_files_that_are_no_tenants_are_passed_over(folder: Path, name: str) -> None:
    (folder / name).write_text("anything")

    assert load(folder).problems == ()


def test_a_subfolder_and_a_pipe_are_no_tenants(folder: Path) -> None:
    (folder / "sub.yaml").mkdir()
    os.mkfifo(folder / "pipe.yaml")

    tenants = load(folder)

    assert len(tenants.enabled) == 2
    assert ["is not a regular file" in str(problem) for problem in tenants.problems] == [True, True]


def test_a_link_that_leads_out_is_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text("secret: 1")
    (folder / "linked.yaml").symlink_to(outside)
    (folder / "nowhere.yaml").symlink_to(tmp_path / "gone.yaml")

    problems = [str(problem) for problem in load(folder).problems]

    assert ["outside of the directory" in problem for problem in problems] == [True, True]
    assert not any("secret" in problem for problem in problems)


def test_a_mounted_config_map_is_a_directory_of_tenants(folder: Path) -> None:
    (folder / "..2026_11_24").mkdir()
    (folder / "..2026_11_24" / "initech.yaml").write_text("retries: 2")
    (folder / "..data").symlink_to("..2026_11_24")
    (folder / "initech.yaml").symlink_to("..data/initech.yaml")

    tenants = load(folder)

    assert tenants.problems == ()
    assert tenants.enabled[-1] == Tenant(id="initech", retries=2)


def test_a_task_reads_the_file_of_its_tenant_alone(folder: Path) -> None:
    (folder / "broken.yaml").write_text("a: [")

    tenants = load(folder, "acme")

    assert tenants.enabled == (Tenant(id="acme", retries=1),)
    assert tenants.problems == ()


def test_a_dag_file_reads_the_files_of_its_tenants_alone(folder: Path) -> None:
    parts = [load(folder, shard=Shard(number, 7)).enabled for number in range(1, 8)]

    assert sorted(tenant.id for part in parts for tenant in part) == ["acme", "globex"]


@pytest.mark.parametrize(
    "only",
    [
        pytest.param("../outside", id="up"),
        pytest.param("sub/acme", id="down"),
        pytest.param("/etc/passwd", id="root"),
        pytest.param("acme\x00", id="NUL"),
        pytest.param("acme\n", id="line break"),
        pytest.param("_defaults", id="the defaults"),
        pytest.param("", id="nothing"),
        pytest.param("а", id="look-alike"),  # noqa: RUF001
    ],
)
def test_nothing_but_an_id_ever_becomes_a_path(folder: Path, tmp_path: Path, only: str) -> None:
    (tmp_path / "outside.yaml").write_text("retries: 1")

    tenants = load(folder, only)

    assert (tenants.all, tenants.problems) == ((), ())


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TenantsFileError, match=r"nowhere: can't be read"):
        load(tmp_path / "nowhere")


def test_json_can_hold_all_tenants_too(tmp_path: Path) -> None:
    file = tmp_path / "tenants.json"
    file.write_text(json.dumps({"defaults": {"retries": 2}, "tenants": [{"id": "acme"}]}))

    assert load(file).enabled == (Tenant(id="acme", retries=2),)
    assert load(file, "globex").enabled == ()


def test_an_empty_directory_is_a_problem(tmp_path: Path) -> None:
    tenants = load(tmp_path)

    assert tenants.all == ()
    assert "there are no tenants" in str(tenants.problems[0])


def test_two_files_of_defaults_are_refused(folder: Path) -> None:
    (folder / "_defaults.yaml").write_text("defaults: {retries: 1}")
    (folder / "_defaults.json").write_text('{"defaults": {"retries": 2}}')

    with pytest.raises(TenantsFileError, match=r"_defaults\.json exists, too"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("double.yaml", "portal_id: 4242\nportal_id: 777\n"),
        ("double.json", '{"portal_id": 4242,\n "portal_id": 777}'),
    ],
)
def test_a_key_that_stands_twice_in_a_file_hides_no_other(
    folder: Path, name: str, content: str
) -> None:
    before = load(folder).all
    (folder / name).write_text(content)

    tenants = load(folder)

    assert tenants.all == before
    (problem,) = tenants.problems
    assert f"{name}: tenant 'double': duplicate key 'portal_id' in lines 1 and 2" in str(problem)


def test_a_bad_file_is_not_replaced_by_the_token_of_the_environment(folder: Path) -> None:
    (folder / "default.yaml").write_text("shedule: null")

    tenants = load_tenants(
        {"HUBSPOT_DEALS_TENANTS_FILE": str(folder), "HUBSPOT_ACCESS_TOKEN": "pat"}
    )

    assert "default" not in {tenant.id for tenant in tenants.all}


def test_a_link_that_leads_nowhere_is_a_problem_of_its_tenant(folder: Path) -> None:
    (folder / "gone.yaml").symlink_to(folder / "not_there.yaml")

    (problem,) = load(folder).problems

    assert "gone.yaml" in str(problem)
