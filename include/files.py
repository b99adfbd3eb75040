"""Atomic writes: a reader sees the old content or the new."""

import os
import shutil
import tempfile
from pathlib import Path


def write_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write *content* to *path*, which may exist. Raises OSError.

    The temporary file in the same directory is hidden, readable by its owner only, and has a suffix
    that readers of the directory ignore.

    :param mode: permissions; None: those of the existing file, or 0o644.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is None and path.exists():
            shutil.copymode(path, temporary)
        else:
            temporary.chmod(0o644 if mode is None else mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
