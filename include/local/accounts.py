"""Running a program as an unprivileged user: PostgreSQL refuses to run as root."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.local.errors import LocalError


@dataclass(frozen=True)
class Account:
    """The user that a program runs as. ``uid`` None: whoever runs this process."""

    uid: int | None = None
    gid: int | None = None

    @property
    def popen_options(self) -> dict[str, Any]:
        """Return the keyword arguments that make `subprocess` run a program as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give *path* to this user."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_read(self, path: Path) -> bool:
        """Say whether this user gets to *path* through all the directories above it."""
        if self.uid is None:
            return True
        test = shutil.which("test") or "/bin/test"
        answer = subprocess.run([test, "-r", str(path)], cwd="/", check=False, **self.popen_options)
        return answer.returncode == 0


def unprivileged_account() -> Account:
    """Return the current user, or for root the user `nobody`. Raises LocalError."""
    if os.geteuid() != 0:
        return Account()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise LocalError(
            "PostgreSQL can't run as root, and there is no user 'nobody' to run it as.",
            "Run this command as an ordinary user.",
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)
