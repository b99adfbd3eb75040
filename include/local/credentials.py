"""The secrets of a stack: made once, kept in a file that only its owner can read."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Credentials:
    """What the processes of one Airflow installation have to agree on, and the login for its UI."""

    fernet_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    api_secret_key: str = field(repr=False)
    admin_password: str = field(repr=False)
    admin_user: str = "admin"

    @classmethod
    def of(cls, state_dir: Path) -> "Credentials":
        """Read them, or make and store them at the first call."""
        path = state_dir / "credentials.json"
        if not path.exists():
            write_private(path, json.dumps(asdict(cls._new()), indent=2))
        return cls(**json.loads(path.read_text()))

    @classmethod
    def _new(cls) -> "Credentials":
        return cls(
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            jwt_secret=secrets.token_urlsafe(48),
            api_secret_key=secrets.token_urlsafe(32),
            admin_password=secrets.token_urlsafe(12),
        )


def write_private(path: Path, text: str) -> None:
    """Write *path* in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - Path.open takes no mode
        file.write(text)
    unfinished.replace(path)
