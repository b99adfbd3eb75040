"""A mail server that keeps what it gets as files, and printing those.

`python -m include.ops.local.mail DIRECTORY PORT` runs it; `start_mailbox` starts that.
"""

import html
import json
import re
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from include.files import write_file
from include.ops.local.processes import LOOPBACK, Programs

#: Below the state directory.
FOLDER = "mail"
SENDER = "airflow@example.com"
CONNECTION = "AIRFLOW_CONN_SMTP_DEFAULT"
HEADERS = ("Date", "From", "To", "Subject")
_TAG = re.compile(r"<[^>]+>")


def print_mails(state_dir: Path, newest: int) -> None:
    """Print the newest mails, the newest last: headers that matter, then the text."""
    files = sorted((state_dir / FOLDER).glob("*.eml"))
    if not files:
        print("No mail. Alerts of `make demo` come here; docs/alerts.md says when.")
        return
    for path in files[-newest:]:
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        print("-" * 79, *(f"{name}: {mail[name]}" for name in HEADERS), "", sep="\n")
        print(_text_of(mail))
    if len(files) > newest:
        print(f"Older ones, {len(files) - newest} in number, are in {state_dir / FOLDER}.")


def _text_of(mail: EmailMessage) -> str:
    """Return a mail's text without its markup."""
    body = mail.get_body(("plain", "html"))
    if body is None:
        return ""
    content = str(body.get_content())
    if body.get_content_type() == "text/html":
        content = html.unescape(_TAG.sub("", content))
    return content.strip() + "\n"


class MailSink:
    """Writes each mail to a new file, named after the moment it came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        write_file(self.folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.eml", content)
        return "250 kept"


def start_mailbox(programs: Programs, state_dir: Path, env: Mapping[str, str]) -> str:
    """Start it; return Airflow's SMTP connection to it once it listens. Raises LocalError."""
    port = programs.start_server("mailbox", [__name__, str(state_dir / FOLDER)], env)
    extra = {"disable_tls": True, "disable_ssl": True, "from_email": SENDER, "timeout": 10}
    return json.dumps({"conn_type": "smtp", "host": LOOPBACK, "port": port, "extra": extra})


def main(folder: str, port: str) -> None:
    """Run the server until a signal comes."""
    server = Controller(MailSink(Path(folder)), hostname=LOOPBACK, port=int(port))
    server.start()
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    server.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    main(*sys.argv[1:])
