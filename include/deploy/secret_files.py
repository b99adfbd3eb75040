"""The secrets of a deployment: one file each, in three directories that different services mount.

`shared` is for Airflow's containers, `owner` for PostgreSQL and whoever sets it up, `broker` for
Redis: none of them sees what it has no use for.
"""

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from include.deploy.errors import DeployError

#: Directory → the variable that says where it is.
DIRECTORIES = {
    "shared": "SECRETS_DIR",
    "owner": "OWNER_SECRETS_DIR",
    "broker": "BROKER_SECRETS_DIR",
}
#: The containers of PostgreSQL and Redis run as other users than the one that writes the files.
MODES = {"shared": 0o440, "owner": 0o444, "broker": 0o444}


@dataclass(frozen=True)
class Secret:
    """One file. ``made``: its content, from the addresses of PostgreSQL and Redis."""

    directory: str
    made: Callable[["SecretFiles"], str]


class SecretFiles:
    """The secrets of this deployment, wherever *environ* says that they are."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self.postgres = environ.get("POSTGRES_ADDRESS", "postgres:5432")
        self.redis = environ.get("REDIS_ADDRESS", "redis:6379")

    def path(self, name: str) -> Path:
        return Path(self._environ[DIRECTORIES[SECRETS[name].directory]]) / name

    def read(self, name: str) -> str:
        return self.path(name).read_text().strip()

    def missing(self) -> list[str]:
        """Return the names of the secrets that are not there, or empty."""
        return [
            name
            for name in SECRETS
            if not self.path(name).is_file() or not self.path(name).stat().st_size
        ]

    def make(self, name: str) -> None:
        """Give a secret a new random value."""
        self.write(name, SECRETS[name].made(self))

    def write(self, name: str, text: str) -> None:
        """Replace a secret in one step."""
        path = self.path(name)
        unfinished = path.with_name(f".{name}.new")
        unfinished.unlink(missing_ok=True)
        mode = MODES[SECRETS[name].directory]
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:  # noqa: PTH123 - Path.open takes no descriptor
            # no line end: Airflow takes what `cat` prints as it is
            file.write(text.strip())
        unfinished.chmod(mode)
        unfinished.replace(path)


def _password() -> str:
    # of letters that need no quoting in a URL or in redis.conf
    return secrets.token_urlsafe(24)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _database_url(scheme: str, user: str, database: str, query: str = "") -> Callable[..., str]:
    return lambda files: f"{scheme}://{user}:{_password()}@{files.postgres}/{database}{query}"


def _broker_url(files: SecretFiles) -> str:
    """Return Redis' URL, with the password that Redis itself is given."""
    if not files.path("redis.conf").is_file():
        files.make("redis.conf")
    password = files.read("redis.conf").removeprefix("requirepass ")
    return f"redis://:{quote(password, safe='')}@{files.redis}/0"


#: The private network of the containers has no TLS; elsewhere the warehouse asks for it.
_PLAIN = "?sslmode=disable"

SECRETS: Mapping[str, Secret] = {
    "fernet_key": Secret("shared", lambda _: _fernet_key()),
    "jwt_secret": Secret("shared", lambda _: secrets.token_urlsafe(48)),
    "api_secret_key": Secret("shared", lambda _: secrets.token_urlsafe(32)),
    "metadata_url": Secret("shared", _database_url("postgresql+psycopg2", "airflow", "airflow")),
    "broker_url": Secret("shared", _broker_url),
    "admin_password": Secret("owner", lambda _: _password()),
    "postgres_password": Secret("owner", lambda _: _password()),
    "warehouse_url": Secret(
        "owner", _database_url("postgresql", "warehouse_loader", "warehouse", _PLAIN)
    ),
    "warehouse_migrator_url": Secret(
        "owner", _database_url("postgresql", "warehouse_migrator", "warehouse", _PLAIN)
    ),
    "redis.conf": Secret("broker", lambda _: f"requirepass {_password()}"),
}


@dataclass(frozen=True)
class Login:
    """Whom a database URL logs in, and where."""

    address: str
    user: str
    password: str
    database: str

    @classmethod
    def of(cls, url: str, name: str = "the secret") -> "Login":
        """Take a URL apart. Raises DeployError, without any part of the URL."""
        try:
            parts = urlsplit(url)
            port = parts.port or 5432
        except ValueError:
            port, parts = 0, urlsplit("")
        if not port or not parts.hostname or parts.query.count("@") or parts.fragment:
            # not from the ValueError: it shows what follows the first odd character
            raise DeployError(
                f"{name} is no URL of a database.",
                "In its password, characters such as @ : / ? # and % must be percent-encoded: "
                "%40 for @. Then hand it over again: docs/deploy.md#secrets.",
            )
        return cls(
            f"{parts.hostname}:{port}",
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            parts.path.removeprefix("/"),
        )
