"""The one-shot `secrets`: have every secret there before anything else starts.

Demo and dev get random ones. Staging and production are never surprised by a database that has
another password than the one before: there a missing secret is an error until somebody asks for it.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from include.deploy.errors import DeployError
from include.deploy.secret_files import SECRETS, SecretFiles
from include.secret_text import pasted

MADE_UNASKED = ("demo", "dev")


def provide(
    arguments: Sequence[str], environ: Mapping[str, str], stdin: TextIO = sys.stdin
) -> list[str]:
    """Do what the command line says; return what was done, in lines. Raises DeployError."""
    options = _parser().parse_args(arguments)
    files = SecretFiles(environ)
    if options.set:
        files.write(options.set, _value(stdin))
        return [f"{options.set}: taken from standard input"]
    if options.renew:
        for name in _with_what_depends_on_it(options.renew):
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


def _with_what_depends_on_it(name: str) -> list[str]:
    if name == "postgres_password":
        raise DeployError(
            "PostgreSQL reads postgres_password at its very first start only.",
            "Change it there first, then hand it over by --set: docs/deploy.md#rotate-secrets.",
        )
    return ["redis.conf", "broker_url"] if name in ("redis.conf", "broker_url") else [name]


def _value(stdin: TextIO) -> str:
    value = pasted(stdin.read())
    if not value.isprintable() or not value:
        raise DeployError(
            "There is no secret on standard input, or more than one line, or a control character.",
            "Write it there: docker compose run --rm -T secrets --set NAME < file",
        )
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="secrets", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--generate", action="store_true", help="make what is missing")
    choice.add_argument("--list", action="store_true", help="names only, never values")
    choice.add_argument("--set", choices=SECRETS, help="read one line from standard input")
    choice.add_argument("--renew", choices=SECRETS, help="a new random value")
    return parser
