"""`make mail`: what the demo's mail server has taken."""

import html
import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from include.local.mailbox import FOLDER
from include.local.report import Report

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
