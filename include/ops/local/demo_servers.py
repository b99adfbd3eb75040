"""The servers of the demo: the simulated HubSpot, and aiosmtpd, which stores mails as files."""

import html
import json
import re
from collections.abc import Iterable, Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from include.ops.local.processes import LOOPBACK, PROJECT_ROOT, Programs, free_port

DEMO_TENANTS_FILE = PROJECT_ROOT / "tests" / "hubspot_simulator" / "demo_tenants.yaml"
#: Tenant → its token in the simulator's demo accounts; valid only there.
DEMO_TOKENS = {
    "acme": "pat-na1-demo-acme",
    "globex": "pat-eu1-demo-globex",
    "initech": "pat-na1-demo-initech",
}


def start_simulator(programs: Programs, env: Mapping[str, str]) -> str:
    """Start it on a free port; return its base URL once it listens. Raises LocalError."""
    port = free_port()
    module = ["tests.hubspot_simulator", "--demo", "--port", str(port)]
    programs.start_server("simulator", module, env, port)
    return f"http://{LOOPBACK}:{port}"


def connections(
    base_url: str, tenant_ids: Iterable[str], tokens: Mapping[str, str] = DEMO_TOKENS
) -> dict[str, str]:
    """Return Airflow connections of tenants to the simulator, as environment variables."""
    return {
        f"AIRFLOW_CONN_HUBSPOT_{tenant_id.upper()}": json.dumps(
            connection_to(base_url, tokens[tenant_id])
        )
        for tenant_id in tenant_ids
    }


def connection_to(base_url: str, token: str) -> dict[str, Any]:
    """Return the fields of an Airflow connection to the simulator."""
    # Airflow's Test button requires a port, although the host is a URL
    port = urlsplit(base_url).port
    return {"conn_type": "hubspot", "host": base_url, "port": port, "password": token}


#: A maildir in the state directory.
FOLDER = "mail"
SENDER = "airflow@example.com"
CONNECTION = "AIRFLOW_CONN_SMTP_DEFAULT"
HEADERS = ("Date", "From", "To", "Subject")
_TAG = re.compile(r"<[^>]+>")


def start_mailbox(programs: Programs, state_dir: Path, env: Mapping[str, str]) -> str:
    """Start it; return Airflow's SMTP connection to it once it listens. Raises LocalError."""
    port = free_port()
    module = ["aiosmtpd", "--nosetuid", "--listen", f"{LOOPBACK}:{port}"]
    module += ["--class", "aiosmtpd.handlers.Mailbox", str(state_dir / FOLDER)]
    programs.start_server("mailbox", module, env, port)
    extra = {"disable_tls": True, "disable_ssl": True, "from_email": SENDER, "timeout": 10}
    return json.dumps({"conn_type": "smtp", "host": LOOPBACK, "port": port, "extra": extra})


def mails_in(state_dir: Path) -> list[Path]:
    """Return the files of the mails, the newest last."""
    files = (state_dir / FOLDER).glob("new/*")
    return sorted(files, key=lambda path: path.stat().st_mtime_ns)


def print_mails(state_dir: Path, newest: int) -> None:
    """Print the newest mails, the newest last: the main headers, then the text."""
    found = mails_in(state_dir)
    if not found:
        print("No mail. `make demo` sends its alerts here; docs/alerts.md lists the events.")
        return
    for path in found[-newest:]:
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        print("-" * 79, *(f"{name}: {mail[name]}" for name in HEADERS), "", sep="\n")
        print(_text_of(mail))
    if len(found) > newest:
        older = len(found) - newest
        print(f"{older} older message{'' if older == 1 else 's'} in {state_dir / FOLDER}.")


def _text_of(mail: EmailMessage) -> str:
    """Return a mail's text without its markup."""
    body = mail.get_body(("plain", "html"))
    if body is None:
        return ""
    content = str(body.get_content())
    if body.get_content_type() == "text/html":
        content = html.unescape(_TAG.sub("", content))
    return content.strip() + "\n"
