from pathlib import Path

import pytest

from include.ops.local.checks import Problems
from include.ops.local.credentials import airflow_port, read_dotenv, without_user_settings
from include.ops.local.processes import LocalError


@pytest.fixture
def problems() -> Problems:
    return Problems()


def dotenv(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / ".env"
    path.write_text(text)
    problems = Problems()
    settings = read_dotenv(path, problems)
    problems.require_none()
    return settings


@pytest.mark.parametrize(
    ("line", "value"),
    [
        pytest.param("TOKEN=abc", "abc", id="plain"),
        pytest.param("export TOKEN=abc", "abc", id="exported"),
        pytest.param("TOKEN = 'a b'", "a b", id="quoted"),
        pytest.param("TOKEN=abc # mine", "abc", id="comment"),
        pytest.param("TOKEN=p$HOME${HOME}", "p$HOME${HOME}", id="dollar-is-a-character"),
        pytest.param('TOKEN=\'{"password": "x"}\'', '{"password": "x"}', id="json"),
    ],
)
def test_a_line_gives_its_value(tmp_path: Path, line: str, value: str) -> None:
    assert dotenv(tmp_path, f"# first\n\n{line}\n") == {"TOKEN": value}


def test_a_variable_without_a_value_is_not_set(tmp_path: Path) -> None:
    assert dotenv(tmp_path, "A=\nB=''\n") == {}


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("pat-na1-pasted", id="a value alone"),
        pytest.param("TOKEN pat-na1-pasted", id="no equals sign"),
        pytest.param("TOKEN='pat-na1-pasted", id="an open quote"),
    ],
)
def test_a_line_that_is_no_setting_is_refused_without_showing_it(tmp_path: Path, line: str) -> None:
    with pytest.raises(LocalError, match="line 2") as caught:
        dotenv(tmp_path, f"A=1\n{line}\n")

    assert "pasted" not in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path, problems: Problems) -> None:
    (tmp_path / ".env").write_bytes("A=ü\n".encode("latin-1"))

    assert read_dotenv(tmp_path / ".env", problems) == {}
    assert "not UTF-8" in problems[0]


def test_no_file_means_no_variables(tmp_path: Path, problems: Problems) -> None:
    assert read_dotenv(tmp_path / ".env", problems) == {}
    assert problems == []


def test_the_example_file_is_read_without_complaint_and_sets_no_account(
    project_root: Path, problems: Problems
) -> None:
    values = read_dotenv(project_root / ".env.example", problems)

    assert "HUBSPOT_ACCESS_TOKEN" not in values
    assert "DATABASE_URL" not in values
    assert airflow_port(values, problems) == 5200
    assert problems == []


def test_the_demo_sees_no_account_database_or_airflow_of_the_user() -> None:
    environ = {
        "PATH": "/bin",
        "HUBSPOT_ACCESS_TOKEN": "pat-real",
        "AIRFLOW_CONN_HUBSPOT_ACME": "{}",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "DATABASE_URL": "postgresql://real",
        "DLT_DATABASE_SCHEMA": "production",
        "PGHOST": "db.example.com",
    }

    assert without_user_settings(environ) == {"PATH": "/bin"}


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "5200.0"])
def test_a_port_that_is_none_is_refused(value: str, problems: Problems) -> None:
    assert airflow_port({"AIRFLOW_PORT": value}, problems) == 5200
    assert "AIRFLOW_PORT" in problems[0]


def test_the_port_has_a_default(problems: Problems) -> None:
    assert airflow_port({}, problems) == airflow_port({"AIRFLOW_PORT": ""}, problems) == 5200
    assert problems == []
