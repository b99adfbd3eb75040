"""A mail server that keeps what it gets as files, and printing those.

`python -m include.ops.local.mail DIRECTORY READY_FILE` runs it; `start_mailbox` starts that.
"""

import argparse
import html
import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from include.files import write_file
from include.ops.local.processes import Programs, free_port, python
from include.ops.local.report import Report

HEADERS = ("Date", "From", "To", "Subject")
_TAG = re.compile(r"<[^>]+>")


def print_mails(state_dir: Path, report: Report, newest: int) -> None:
    """Print the newest mails, the newest last: headers that matter, then the text."""
    files = sorted((state_dir / FOLDER).glob("*.eml"))
    if not files:
        report.line("No mail. Alerts of `make demo` come here; docs/alerts.md says when.")
        return
    for path in files[-newest:]:
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        report.line("-" * 79)
        for name in HEADERS:
            report.line(f"{name}: {mail[name]}")
        report.line(f"\n{text_of(mail)}")
    if len(files) > newest:
        report.line(f"Older ones, {len(files) - newest} in number, are in {state_dir / FOLDER}.")


def text_of(mail: EmailMessage) -> str:
    """Return a mail's text without its markup."""
    body = mail.get_body(("plain", "html"))
    if body is None:
        return ""
    content = str(body.get_content())
    if body.get_content_type() == "text/html":
        content = html.unescape(_TAG.sub("", content))
    return content.strip() + "\n"


NAME = "mailbox"
#: Below the state directory.
FOLDER = "mail"
SENDER = "airflow@example.com"
READY_TIMEOUT_S = 30
CONNECTION = "AIRFLOW_CONN_SMTP_DEFAULT"


class MailSink:
    """Writes each mail to a file of its own, named after the moment it came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        path = self.folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.eml"
        write_file(path, content)
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
    server = Controller(MailSink(options.directory), hostname="127.0.0.1", port=port)
    server.start()
    unfinished = options.ready_file.with_suffix(".part")
    unfinished.write_text(json.dumps({"port": port}))
    unfinished.replace(options.ready_file)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    server.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    main(sys.argv[1:])
