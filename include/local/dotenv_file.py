"""`.env`: the variables of `make run`, and what of the caller's environment reaches the stack."""

import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from include.local.errors import LocalError

DEFAULT_PORT = 5200
#: What would lead the demo to a real HubSpot account or a real database.
_THE_USERS_OWN = re.compile(
    r"AIRFLOW_.*|HUBSPOT_.*|DATABASE_URL|DLT_.*|DESTINATION__.*|PYTHONPATH|PYTHONHOME|PG[A-Z]+"
)


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the variables of *path*, none if there is no such file.

    KEY=VALUE lines, `#` comments, quotes, an optional `export`. `$` stands for itself, because
    passwords have it. A variable without a value counts as not set.
    """
    values = dotenv_values(path, interpolate=False) if path.exists() else {}
    return {name: value for name, value in values.items() if value}


def without_the_users_own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without anything that names an account, a database or another Airflow."""
    return {k: v for k, v in environ.items() if not _THE_USERS_OWN.fullmatch(k)}


def airflow_port(environ: Mapping[str, str]) -> int:
    """Return AIRFLOW_PORT or its default. Raises LocalError."""
    value = environ.get("AIRFLOW_PORT") or str(DEFAULT_PORT)
    if not value.isdecimal() or not 0 < int(value) < 2**16:
        raise LocalError(
            f"AIRFLOW_PORT is {value!r}.",
            f"It must be a port number such as {DEFAULT_PORT}.",
        )
    return int(value)
