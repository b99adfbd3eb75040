"""A place for secrets, and a PostgreSQL whose address they name."""

from pathlib import Path

import pytest
from psycopg import conninfo

from include.ops.compose.secrets import DIRECTORIES, SecretFiles


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of the one-shot `secrets` in the profile demo."""
    folders = {variable: tmp_path / name for name, variable in DIRECTORIES.items()}
    for folder in folders.values():
        folder.mkdir()
    return {"DEPLOYMENT": "demo", **{name: str(path) for name, path in folders.items()}}


@pytest.fixture
def files(environ: dict[str, str], database_url: str) -> SecretFiles:
    """Secrets whose URLs lead to the tests' PostgreSQL, and its superuser's password."""
    server = conninfo.conninfo_to_dict(database_url)
    environ["POSTGRES_ADDRESS"] = f"{server['host']}:{server['port']}"
    files = SecretFiles(environ)
    for name in files.missing():
        files.make(name)
    files.write("postgres_password", str(server["password"]))
    return files
