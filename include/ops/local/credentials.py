"""The secrets of the local stack, and the user's settings in `.env`."""

import io
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet
from dotenv.parser import parse_stream

from include.files import write_file
from include.ops.local.checks import Problems

DEFAULT_PORT = 5200
#: Settings that could lead the demo to a real HubSpot account or database.
_USERS_SETTINGS = re.compile(
    r"AIRFLOW_.*|HUBSPOT_.*|DATABASE_URL|DLT_.*|DESTINATION__.*|PYTHONPATH|PYTHONHOME|PG[A-Z]+"
)


def read_dotenv(path: Path, problems: Problems) -> dict[str, str]:
    """Return the variables of *path*, none if there is no such file.

    KEY=VALUE lines, `#` comments, quotes, an optional `export`. `$` has no special meaning, because
    passwords contain it. A variable without a value counts as not set.

    Adds the numbers of all lines that can't be read to *problems*, but not their text.
    """
    if not path.exists():
        return {}
    try:
        found = list(parse_stream(io.StringIO(path.read_text("utf-8-sig"))))
    except UnicodeDecodeError:
        problems.append(f"{path} is not UTF-8. Save it as UTF-8.")
        return {}
    if wrong := [str(b.original.line) for b in found if b.error or (b.key and b.value is None)]:
        problems.append(
            f"{path}: no setting can be read from line {', '.join(wrong)}. "
            "Write each as NAME=value, close its quotes, and begin a comment with #."
        )
    return {binding.key: binding.value for binding in found if binding.key and binding.value}


def without_user_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without the settings of an account, a database or another Airflow."""
    return {name: value for name, value in environ.items() if not _USERS_SETTINGS.fullmatch(name)}


def airflow_port(environ: Mapping[str, str], problems: Problems) -> int:
    """Return AIRFLOW_PORT, or its default if it is not set or a problem."""
    value = environ.get("AIRFLOW_PORT") or str(DEFAULT_PORT)
    if not value.isdecimal() or not 0 < int(value) < 2**16:
        problems.append(
            f"AIRFLOW_PORT is {value!r}. It must be a port number such as {DEFAULT_PORT}."
        )
        return DEFAULT_PORT
    return int(value)


@dataclass(frozen=True, repr=False)
class Credentials:
    """The secrets that the processes of one Airflow share, and the login for its UI."""

    fernet_key: str = field(default_factory=lambda: Fernet.generate_key().decode())
    jwt_secret: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    api_secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    admin_user: str = "admin"

    @classmethod
    def of(cls, state_dir: Path) -> "Credentials":
        """Read them; the first call generates and stores them."""
        path = state_dir / "credentials.json"
        if not path.exists():
            write_private(path, json.dumps(asdict(cls()), indent=2))
        return cls(**json.loads(path.read_text()))


def write_private(path: Path, text: str) -> None:
    """Write *path*, readable by its owner only, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.encode(), mode=0o600)
