"""docker-compose.yaml: valid, hardened, documented, and read by these tests as Compose reads it."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.ops.compose.compose import (
    FILE,
    PROFILES,
    ROOT,
    MissingVariableError,
    Service,
    document_of,
    interpolated,
    services,
    variables_of,
)

DEV_FILE = ROOT / "docker-compose.dev.yaml"
ENV_FILES = sorted((ROOT / "include" / "ops" / "compose" / "profiles").glob("*.env"))
SCHEMA = Path(__file__).parent / "schema" / "compose-spec.json"
ONE_SHOTS = {"secrets", "init"}
PORTS = {"demo": 5200, "dev": 5200, "staging": 5201, "production": 5202}
_PINNED = re.compile(r"[\w./-]+:(local|\d+\.\d+[\w.-]*)(@sha256:[0-9a-f]{64})?")


def compose_binary() -> str | None:
    installed = ROOT / ".tools" / "bin" / "docker-compose"
    return str(installed) if installed.exists() else shutil.which("docker-compose")


def everything() -> list[Any]:
    return [
        pytest.param(service, id=f"{profile}-{name}")
        for profile in PROFILES
        for name, service in services({"COMPOSE_PROFILES": profile}).items()
    ]


@pytest.mark.parametrize("path", [FILE, DEV_FILE], ids=lambda path: path.name)
def test_the_file_is_valid_by_the_compose_specification(path: Path) -> None:
    validator = Draft7Validator(json.loads(SCHEMA.read_text()))

    errors = validator.iter_errors(document_of({"COMPOSE_PROFILES": "demo"}, path))

    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.skipif(compose_binary() is None, reason="no docker-compose: make deploy-tools")
@pytest.mark.parametrize("profile", PROFILES)
def test_compose_itself_reads_the_file_as_these_tests_do(profile: str) -> None:
    variables = {"COMPOSE_PROFILES": profile, "AIRFLOW_PORT": "7777", "TENANTS_FILE": ""}

    done = subprocess.run(
        [str(compose_binary()), "-f", str(FILE), "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "COMPOSE_ENV_FILES": os.devnull, **variables},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)["services"]
    ours = services(variables)
    assert theirs.keys() == ours.keys()
    for name, service in ours.items():
        # in its output Compose writes a dollar sign as it must be written in the file
        unescaped = {
            k: v.replace("$$", "$") for k, v in theirs[name].get("environment", {}).items()
        }
        assert unescaped == service.environment
        assert theirs[name]["command"] == service.definition["command"]


@pytest.mark.skipif(compose_binary() is None, reason="no docker-compose: make deploy-tools")
def test_the_profile_dev_runs_the_code_of_the_checkout() -> None:
    done = subprocess.run(
        [str(compose_binary()), "-f", str(FILE), "-f", str(DEV_FILE), "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "COMPOSE_PROFILES": "dev"},
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(done.stdout)["services"]

    for name in ("init", "airflow-apiserver", "scheduler", "dag-processor", "triggerer", "worker"):
        mounts = {mount["target"]: mount for mount in found[name]["volumes"]}
        for folder in ("dags", "include", "plugins"):
            assert mounts[f"/opt/airflow/{folder}"]["source"] == str(ROOT / folder)
            assert mounts[f"/opt/airflow/{folder}"]["read_only"]
        assert "/run/secrets" in mounts


def test_without_a_profile_it_says_what_to_set() -> None:
    with pytest.raises(MissingVariableError, match="demo, dev, staging or production"):
        interpolated(FILE.read_text(), {})


@pytest.mark.parametrize("service", everything())
class TestEveryService:
    def test_runs_as_an_unprivileged_user(self, service: Service) -> None:
        user, _, _ = str(service.definition["user"]).partition(":")

        assert user.isdecimal()
        assert int(user) > 0

    def test_can_do_and_write_no_more_than_it_must(self, service: Service) -> None:
        assert service.definition["read_only"] is True
        assert service.definition["cap_drop"] == ["ALL"]
        assert service.definition["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service.definition
        assert "cap_add" not in service.definition

    def test_is_limited(self, service: Service) -> None:
        assert {"mem_limit", "cpus", "pids_limit"} <= service.definition.keys()

    def test_comes_back_and_is_watched_unless_it_has_an_end(self, service: Service) -> None:
        one_shot = service.name in ONE_SHOTS

        assert service.definition["restart"] == ("no" if one_shot else "unless-stopped")
        assert bool(service.health_check) != one_shot

    def test_has_a_pinned_image(self, service: Service) -> None:
        assert _PINNED.fullmatch(service.definition["image"])

    def test_has_no_secret_in_its_environment(self, service: Service) -> None:
        secret = re.compile(r"password|secret_key|fernet|jwt|conn$|broker|_url$", re.IGNORECASE)
        harmless = ("_FILE", "_CMD", "EXECUTION_API_SERVER_URL", "BASE_URL")
        harmless += ("DEMO_HUBSPOT_URL", "TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT")

        named = {
            name
            for name, value in service.environment.items()
            if secret.search(name) and not name.endswith(harmless) and not value.startswith("/run/")
        }

        assert named == set()
        assert "://" not in " ".join(service.command).replace("http://", "")

    def test_waits_for_what_it_needs(self, service: Service) -> None:
        needed = {"secrets": set(), "postgres": {"secrets"}, "redis": {"secrets"}}
        needed |= {"init": {"postgres", "redis"}, "simulator": set()}

        assert needed.get(service.name, {"init"}) <= {*service.definition.get("depends_on", {})}

    def test_keeps_secrets_from_whom_they_do_not_concern(self, service: Service) -> None:
        allowed = {
            "secrets": {"secrets", "owner-secrets", "broker-secrets"},
            "init": {"secrets", "owner-secrets", "broker-secrets"},
            "postgres": {"owner-secrets"},
            "redis": {"broker-secrets"},
            "simulator": set(),
        }

        mounted = {mount.source for mount in service.mounts if mount.source.endswith("secrets")}

        assert mounted == allowed.get(service.name, {"secrets"})
        assert service.name == "secrets" or all(
            mount.read_only for mount in service.mounts if mount.source.endswith("secrets")
        )


@pytest.mark.parametrize("profile", PROFILES)
def test_only_the_api_server_is_reachable_and_from_this_machine_alone(profile: str) -> None:
    published = {
        name: service.definition["ports"]
        for name, service in services({"COMPOSE_PROFILES": profile}).items()
        if "ports" in service.definition
    }

    assert list(published.values()) == [[f"127.0.0.1:{PORTS[profile]}:8080"]]
    assert next(iter(published)).startswith("airflow-apiserver")


def test_databases_can_not_be_reached_from_outside() -> None:
    document = document_of({"COMPOSE_PROFILES": "production"})

    assert document["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "redis", "simulator"):
        assert document["services"][name]["networks"] == ["inside"]


def test_workers_can_be_scaled_and_end_their_tasks_first() -> None:
    worker = services({"COMPOSE_PROFILES": "production"})["worker"]

    assert "container_name" not in worker.definition
    assert "ports" not in worker.definition
    assert worker.environment["DUMB_INIT_SETSID"] == "0"
    assert worker.definition["stop_grace_period"] == "10m"


def test_only_the_demo_has_a_simulated_hubspot() -> None:
    assert {
        profile
        for profile in PROFILES
        if services({"COMPOSE_PROFILES": profile}).keys() & {"simulator"}
    } == {"demo"}


def test_every_variable_is_in_the_example_and_none_too_many() -> None:
    text = FILE.read_text() + "".join(path.read_text() for path in ENV_FILES)
    _, _, section = (ROOT / ".env.example").read_text().partition("--- Docker Compose")

    documented = set(re.findall(r"^# ?([A-Z][A-Z0-9_]+)=", section, re.MULTILINE))

    shared = {"DLT_DATABASE_SCHEMA", "DLT_PIPELINE_NAME", "AIRFLOW_PORT"}
    assert documented == variables_of(text) - shared


def test_settings_differ_between_profiles_in_files_of_their_own() -> None:
    assert [path.stem for path in ENV_FILES] == sorted(PROFILES)
    assert "COMPOSE_PROFILES}.env" in FILE.read_text()


def test_the_image_ignores_everything_but_what_it_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in lines
    assert not (ROOT / ".dockerignore").read_text().count("!.env")


def test_yaml_anchors_are_all_used() -> None:
    text = FILE.read_text()

    anchors = set(re.findall(r"&([\w-]+)", text))

    assert {anchor for anchor in anchors if not re.search(rf"\*{anchor}\b", text)} == set()
    assert yaml.safe_load(text)["name"] == "hubspot-deals"
