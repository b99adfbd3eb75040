"""`python -m include.ops.compose` where something is missing: a sentence and status 1."""

import pytest

from include.ops.compose.__main__ import main, problem_of
from include.ops.compose.secrets import SecretFiles


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "There is no command ''.", id="no command"),
        pytest.param(["healthy"], "There is no component ''.", id="no component"),
        pytest.param(["healthy", "redis"], "There is no component 'redis'.", id="unknown"),
        pytest.param(["secrets"], "SECRETS_DIR is not set.", id="outside of the containers"),
    ],
)
def test_what_is_missing_is_named(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SECRETS_DIR", raising=False)

    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith(said)


def test_a_database_that_is_down_is_a_problem_not_an_exception(
    files: SecretFiles, environ: dict[str, str]
) -> None:
    files.write("metadata_url", "postgresql+psycopg2://u:secret@127.0.0.1:1/d")

    problem = problem_of("triggerer", environ)

    assert problem is not None
    assert problem.startswith("Airflow's database can't be queried")
    assert "secret" not in problem
