"""The mail server of `make demo`: takes every mail, and keeps it in a file instead of sending it.

`python -m include.local.mailbox DIRECTORY READY_FILE` runs it; `start_mailbox` starts that.
"""

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from include.local.ports import free_port
from include.local.processes import Programs, python

NAME = "mailbox"
#: Below the state directory.
FOLDER = "mail"
SENDER = "airflow@example.com"
READY_TIMEOUT_S = 30
CONNECTION = "AIRFLOW_CONN_SMTP_DEFAULT"


class Keeper:
    """Writes each mail to a file of its own, named after the moment it came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        path = self.folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.eml"
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(content)
        unfinished.replace(path)
        return "250 kept"


def start_mailbox(programs: Programs, state_dir: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Start it; return Airflow's SMTP connection to it once it listens. Raises LocalError."""
    ready_file = state_dir / "mailbox-ready.json"
    command = python("-m", __name__, str(state_dir / FOLDER), str(ready_file))
    ready = programs.start_until_ready(NAME, command, env, ready_file, READY_TIMEOUT_S)
    return {CONNECTION: smtp_connection(ready["port"])}


def smtp_connection(port: int) -> str:
    """Return the connection to a mail server on this machine that asks for nothing."""
    extra = {"disable_tls": True, "disable_ssl": True, "from_email": SENDER, "timeout": 10}
    return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra})


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("ready_file", type=Path)
    options = parser.parse_args(arguments)
    port = free_port()
    server = Controller(Keeper(options.directory), hostname="127.0.0.1", port=port)
    server.start()
    unfinished = options.ready_file.with_suffix(".part")
    unfinished.write_text(json.dumps({"port": port}))
    unfinished.replace(options.ready_file)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    server.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    main(sys.argv[1:])
