import json
import os
import smtplib
from email.message import EmailMessage
from pathlib import Path

import pytest

from include.ops.local.demo_servers import print_mails, start_mailbox
from include.ops.local.processes import Programs


def deliver(state_dir: Path, *subjects: str) -> None:
    programs = Programs(state_dir)
    try:
        port = json.loads(start_mailbox(programs, state_dir, os.environ))["port"]
        with smtplib.SMTP("127.0.0.1", port) as client:
            for subject in subjects:
                mail = EmailMessage()
                mail["Subject"], mail["From"], mail["To"] = subject, "a@b.c", "ops@example.com"
                mail.set_content("<pre>Tenant &lt;acme&gt;</pre>", subtype="html")
                client.send_message(mail)
    finally:
        programs.stop()


def printed(capsys: pytest.CaptureFixture[str], state_dir: Path, newest: int = 3) -> str:
    print_mails(state_dir, newest)
    return capsys.readouterr().out


def test_a_mail_is_kept_and_shown_with_its_headers_and_its_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    deliver(tmp_path, "scan failed")

    text = printed(capsys, tmp_path)

    assert "To: ops@example.com\nSubject: scan failed\n" in text
    assert "Tenant <acme>\n" in text
    assert "<pre>" not in text


@pytest.mark.parametrize(("newest", "shown"), [(1, ["two"]), (9, ["one", "two"])])
def test_the_newest_mails_are_shown_last(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, newest: int, shown: list[str]
) -> None:
    deliver(tmp_path, "one", "two")

    lines = printed(capsys, tmp_path, newest).splitlines()

    assert [line.removeprefix("Subject: ") for line in lines if "Subject" in line] == shown


def test_without_mails_that_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "No mail." in printed(capsys, tmp_path)
