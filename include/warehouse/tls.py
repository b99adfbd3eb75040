"""Encryption on the way to PostgreSQL: on by default, except to this machine.

libpq's own default, `prefer`, goes on in plain text where the server, or somebody on the way, says
that it has no TLS. docs/security.md#tls
"""

import os
from collections.abc import Mapping
from typing import Any

from include.loopback import is_loopback

#: What the parameters of a connection, or the environment, may say of it themselves.
_SAID_BY = ("sslmode", "service")
_SAID_IN_ENVIRONMENT = ("PGSSLMODE", "PGSERVICE")


def with_tls(
    parameters: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Return libpq's *parameters* with an `sslmode`, if they need one and nobody has said which.

    psycopg, dlt's psycopg2 and ADBC are all given the result.
    """
    said = any(parameters.get(name) for name in _SAID_BY)
    said = said or any(environ.get(name) for name in _SAID_IN_ENVIRONMENT)
    if said or all(map(_is_here, _hosts(parameters, environ))):
        return dict(parameters)
    # `require` with the system's certificates is refused by libpq: they are there to be checked
    mode = "verify-full" if parameters.get("sslrootcert") == "system" else "require"
    return {**parameters, "sslmode": mode}


def _hosts(parameters: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    named = (
        parameters.get("hostaddr")
        or environ.get("PGHOSTADDR")
        or parameters.get("host")
        or environ.get("PGHOST")
        or ""
    )
    return str(named).split(",")


def _is_here(host: str) -> bool:
    # a directory, or nothing: a Unix socket
    return not host or host.startswith(("/", "@")) or is_loopback(host)
