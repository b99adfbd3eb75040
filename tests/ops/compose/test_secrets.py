"""Secrets are made in demo and dev, and otherwise asked for; values are never shown."""

import io
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from include.ops.compose.secrets import SECRETS, DeployError, SecretFiles, provide


@pytest.mark.parametrize("deployment", ["demo", "dev"])
def test_demo_and_dev_get_random_ones(environ: dict[str, str], deployment: str) -> None:
    provide([], {**environ, "DEPLOYMENT": deployment})

    assert SecretFiles(environ).missing() == []


@pytest.mark.parametrize("deployment", ["staging", "production", ""])
def test_elsewhere_what_is_missing_is_listed_and_nothing_made(
    environ: dict[str, str], deployment: str
) -> None:
    with pytest.raises(DeployError) as caught:
        provide([], {**environ, "DEPLOYMENT": deployment})

    assert all(name in str(caught.value) for name in SECRETS)
    assert "secrets --generate" in str(caught.value)
    assert len(SecretFiles(environ).missing()) == len(SECRETS)


def test_production_makes_them_when_it_is_asked_to(environ: dict[str, str]) -> None:
    production = {**environ, "DEPLOYMENT": "production"}

    provide(["--generate"], production)

    assert provide([], production) == ["all secrets exist"]


def test_what_is_there_is_never_replaced(environ: dict[str, str]) -> None:
    provide([], environ)
    before = {name: SecretFiles(environ).read(name) for name in SECRETS}

    provide(["--generate"], environ)

    assert {name: SecretFiles(environ).read(name) for name in SECRETS} == before


def test_one_can_be_handed_over(environ: dict[str, str]) -> None:
    url = "postgresql://loader:s3cret@db.example.com/warehouse"

    said = provide(["--set", "warehouse_url"], environ, io.StringIO(f"{url}\n"))

    assert SecretFiles(environ).read("warehouse_url") == url
    assert "s3cret" not in "".join(said)


@pytest.mark.parametrize("text", ["", "\n", "two\nlines"])
def test_nothing_or_several_lines_are_refused(environ: dict[str, str], text: str) -> None:
    with pytest.raises(DeployError, match="Standard input"):
        provide(["--set", "fernet_key"], environ, io.StringIO(text))


def test_a_renewed_broker_password_reaches_both_of_its_readers(environ: dict[str, str]) -> None:
    provide([], environ)
    before = SecretFiles(environ).read("broker_url")

    provide(["--renew", "broker_url"], environ)

    files = SecretFiles(environ)
    password = files.read("redis.conf").removeprefix("requirepass ")
    assert files.read("broker_url") == f"redis://:{password}@redis:6379/0" != before


def test_the_superusers_password_is_not_renewed_behind_the_servers_back(
    environ: dict[str, str],
) -> None:
    with pytest.raises(DeployError, match="rotate-secrets"):
        provide(["--renew", "postgres_password"], environ)


def test_the_list_has_names_only(environ: dict[str, str]) -> None:
    provide([], environ)

    assert provide(["--list"], environ) == [f"{name}: present" for name in SECRETS]


def test_files_hold_the_value_and_no_line_end(environ: dict[str, str]) -> None:
    provide([], environ)

    files = SecretFiles(environ)

    assert all(files.path(name).read_text() == files.read(name) for name in SECRETS)
    Fernet(files.read("fernet_key"))


def test_only_the_containers_of_other_users_can_read_what_is_not_theirs(
    environ: dict[str, str],
) -> None:
    provide([], environ)

    modes = {name: Path(SecretFiles(environ).path(name)).stat().st_mode & 0o777 for name in SECRETS}

    assert modes["fernet_key"] == modes["metadata_url"] == 0o440
    assert modes["postgres_password"] == modes["redis.conf"] == 0o444
