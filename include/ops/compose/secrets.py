"""The one-shot `secrets`: it creates a file for each secret before other services start.

In demo and dev, missing secrets are generated. In staging and production, they are an error until
`--generate` is used, because an existing database would not accept a new password. The volume
`shared` is for Airflow's containers, `owner` for PostgreSQL and `init`, `broker` for Redis.
"""

import argparse
import base64
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import quote, unquote, urlsplit

from include.files import write_file
from include.secret_text import pasted


class DeployError(Exception):
    """What is wrong and why, then what to do. Contains no secret."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n{remedy}")


def variable(environ: Mapping[str, str], name: str) -> str:
    """Return a variable that docker-compose.yaml sets. Raises DeployError."""
    if value := environ.get(name):
        return value
    raise DeployError(f"{name} is not set.", "docker-compose.yaml sets it: use its services.")


#: Directory → the variable with its path.
DIRECTORIES = {
    "shared": "SECRETS_DIR",
    "owner": "OWNER_SECRETS_DIR",
    "broker": "BROKER_SECRETS_DIR",
}
#: The containers of PostgreSQL and Redis run as users other than the owner of the files.
MODES = {"shared": 0o440, "owner": 0o444, "broker": 0o444}
MADE_UNASKED = ("demo", "dev")


class SecretFiles:
    """The secrets of this deployment, in the directories of *environ*."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self.postgres = environ.get("POSTGRES_ADDRESS", "postgres:5432")
        self.redis = environ.get("REDIS_ADDRESS", "redis:6379")

    def path(self, name: str) -> Path:
        return Path(variable(self._environ, DIRECTORIES[SECRETS[name][0]])) / name

    def read(self, name: str) -> str:
        return self.path(name).read_text().strip()

    def missing(self) -> list[str]:
        """Return the names of secrets that are missing or empty."""
        paths = {name: self.path(name) for name in SECRETS}
        return [n for n, path in paths.items() if not path.is_file() or not path.stat().st_size]

    def make(self, name: str) -> None:
        """Write a new random value of a secret."""
        self.write(name, SECRETS[name][1](self))

    def write(self, name: str, text: str) -> None:
        """Replace a secret atomically."""
        # no line end: Airflow uses the output of `cat` unchanged
        write_file(self.path(name), text.strip().encode(), mode=MODES[SECRETS[name][0]])


def _password() -> str:
    # characters that need no quoting in a URL or in redis.conf
    return secrets.token_urlsafe(24)


def _database_url(scheme: str, user: str, database: str, query: str = "") -> Callable[..., str]:
    return lambda files: f"{scheme}://{user}:{_password()}@{files.postgres}/{database}{query}"


def _broker_url(files: SecretFiles) -> str:
    """Return Redis' URL, with the password of redis.conf."""
    if not files.path("redis.conf").is_file():
        files.make("redis.conf")
    password = files.read("redis.conf").removeprefix("requirepass ")
    return f"redis://:{quote(password, safe='')}@{files.redis}/0"


#: The private network of the containers has no TLS; elsewhere the warehouse requires it.
_PLAIN = "?sslmode=disable"
#: Name of a file → its directory, and a function that returns new random content.
SECRETS: Mapping[str, tuple[str, Callable[[SecretFiles], str]]] = {
    "fernet_key": (
        "shared",
        lambda _: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    ),
    "jwt_secret": ("shared", lambda _: secrets.token_urlsafe(48)),
    "api_secret_key": ("shared", lambda _: secrets.token_urlsafe(32)),
    "metadata_url": ("shared", _database_url("postgresql+psycopg2", "airflow", "airflow")),
    "broker_url": ("shared", _broker_url),
    "admin_password": ("owner", lambda _: _password()),
    "postgres_password": ("owner", lambda _: _password()),
    "warehouse_url": (
        "owner",
        _database_url("postgresql", "warehouse_loader", "warehouse", _PLAIN),
    ),
    "warehouse_migrator_url": (
        "owner",
        _database_url("postgresql", "warehouse_migrator", "warehouse", _PLAIN),
    ),
    "redis.conf": ("broker", lambda _: f"requirepass {_password()}"),
}


class Login(NamedTuple):
    """The server, user, password and database of a database URL."""

    address: str
    user: str
    password: str
    database: str

    @classmethod
    def of(cls, url: str, name: str = "the secret") -> "Login":
        """Parse a URL. Raises DeployError, which contains no part of the URL."""
        try:
            parts = urlsplit(url)
            port = parts.port or 5432
        except ValueError:
            port, parts = 0, urlsplit("")
        if not port or not parts.hostname or parts.query.count("@") or parts.fragment:
            # not from the ValueError, which shows part of the password
            raise DeployError(
                f"{name} is not a valid database URL.",
                "In its password, characters such as @ : / ? # and % must be percent-encoded: "
                "%40 for @. Then set it again: docs/deploy.md#secrets.",
            )
        return cls(
            f"{parts.hostname}:{port}",
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            parts.path.removeprefix("/"),
        )


def provide(
    arguments: Sequence[str], environ: Mapping[str, str], stdin: TextIO = sys.stdin
) -> list[str]:
    """Run the command; return lines that say what was done. Raises DeployError."""
    options = _parser().parse_args(arguments)
    files = SecretFiles(environ)
    if options.set:
        value = pasted(stdin.read())
        if not value.isprintable() or not value:
            raise DeployError(
                "Standard input has no secret, more than one line, or a control character.",
                "Pass the secret there: docker compose run --rm -T secrets --set NAME < file",
            )
        files.write(options.set, value)
        return [f"{options.set}: set from standard input"]
    if options.renew:
        if options.renew == "postgres_password":
            raise DeployError(
                "PostgreSQL reads postgres_password only at its first start.",
                "Change it there first, then set it with --set: docs/deploy.md#rotate-secrets.",
            )
        of_redis = ("redis.conf", "broker_url")
        for name in of_redis if options.renew in of_redis else (options.renew,):
            files.make(name)
        return [f"{options.renew}: renewed; run `docker compose up -d --force-recreate`"]
    missing = files.missing()
    if options.list:
        return [f"{name}: {'missing' if name in missing else 'present'}" for name in SECRETS]
    if missing and not options.generate and environ.get("DEPLOYMENT") not in MADE_UNASKED:
        raise DeployError(
            f"Secrets are missing: {', '.join(missing)}.",
            "Generate them:    docker compose run --rm secrets --generate\n"
            "or set your own: docker compose run --rm -T secrets --set NAME < file\n"
            "docs/deploy.md#secrets describes each.",
        )
    for name in missing:
        # redis.conf may have been made with broker_url
        if name in files.missing():
            files.make(name)
    return [f"generated: {', '.join(missing)}" if missing else "all secrets exist"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="secrets", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--generate", action="store_true", help="generate missing secrets")
    choice.add_argument("--list", action="store_true", help="names only, never values")
    choice.add_argument("--set", choices=SECRETS, help="read one line from standard input")
    choice.add_argument("--renew", choices=SECRETS, help="generate a new value")
    return parser
