"""The one-shot `secrets`: every secret is a file before anything else starts.

Demo and dev get random ones. In staging and production a missing secret is an error until a person
asks for it: a new password would not be the existing database's. The volume `shared` is for
Airflow's containers, `owner` for PostgreSQL and what sets it up, `broker` for Redis.
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
    """What is wrong and why, then what to do. Never with a secret in it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n{remedy}")


def variable(environ: Mapping[str, str], name: str) -> str:
    """Return a variable that docker-compose.yaml sets. Raises DeployError."""
    if value := environ.get(name):
        return value
    raise DeployError(
        f"{name} is not set.", "docker-compose.yaml sets it: run this by its services."
    )


#: Directory → the variable that says where it is.
DIRECTORIES = {
    "shared": "SECRETS_DIR",
    "owner": "OWNER_SECRETS_DIR",
    "broker": "BROKER_SECRETS_DIR",
}
#: The containers of PostgreSQL and Redis run as other users than the one that writes the files.
MODES = {"shared": 0o440, "owner": 0o444, "broker": 0o444}
MADE_UNASKED = ("demo", "dev")


class SecretFiles:
    """The secrets of this deployment, wherever *environ* says that they are."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self.postgres = environ.get("POSTGRES_ADDRESS", "postgres:5432")
        self.redis = environ.get("REDIS_ADDRESS", "redis:6379")

    def path(self, name: str) -> Path:
        return Path(variable(self._environ, DIRECTORIES[SECRETS[name][0]])) / name

    def read(self, name: str) -> str:
        return self.path(name).read_text().strip()

    def missing(self) -> list[str]:
        """Return the names of the secrets that are not there, or empty."""
        paths = {name: self.path(name) for name in SECRETS}
        return [n for n, path in paths.items() if not path.is_file() or not path.stat().st_size]

    def make(self, name: str) -> None:
        """Give a secret a new random value."""
        self.write(name, SECRETS[name][1](self))

    def write(self, name: str, text: str) -> None:
        """Replace a secret in one step."""
        # no line end: Airflow takes what `cat` prints as it is
        write_file(self.path(name), text.strip().encode(), mode=MODES[SECRETS[name][0]])


def _password() -> str:
    # of letters that need no quoting in a URL or in redis.conf
    return secrets.token_urlsafe(24)


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
#: Name of a file → its directory, and what makes a new random content.
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
    """The user that a database URL logs in, and where."""

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


def provide(
    arguments: Sequence[str], environ: Mapping[str, str], stdin: TextIO = sys.stdin
) -> list[str]:
    """Do what the command line says; return what was done, in lines. Raises DeployError."""
    options = _parser().parse_args(arguments)
    files = SecretFiles(environ)
    if options.set:
        value = pasted(stdin.read())
        if not value.isprintable() or not value:
            raise DeployError(
                "There is no secret on standard input, or more than one line, "
                "or a control character.",
                "Write it there: docker compose run --rm -T secrets --set NAME < file",
            )
        files.write(options.set, value)
        return [f"{options.set}: taken from standard input"]
    if options.renew:
        if options.renew == "postgres_password":
            raise DeployError(
                "PostgreSQL reads postgres_password at its very first start only.",
                "Change it there first, then hand it over by --set: docs/deploy.md#rotate-secrets.",
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
            "Make random ones:     docker compose run --rm secrets --generate\n"
            "or hand over your own: docker compose run --rm -T secrets --set NAME < file\n"
            "docs/deploy.md#secrets says what each is.",
        )
    for name in missing:
        # redis.conf may have come with broker_url
        if name in files.missing():
            files.make(name)
    return [f"made: {', '.join(missing)}" if missing else "all secrets are there"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="secrets", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--generate", action="store_true", help="make what is missing")
    choice.add_argument("--list", action="store_true", help="names only, never values")
    choice.add_argument("--set", choices=SECRETS, help="read one line from standard input")
    choice.add_argument("--renew", choices=SECRETS, help="a new random value")
    return parser
