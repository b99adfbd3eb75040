"""Make the JSON that HubSpot sends acceptable to PostgreSQL, changing nothing else.

PostgreSQL's jsonb refuses three things that occur in real portals: `\\u0000`, half of a surrogate
pair, and bytes that are not UTF-8. JSON does not allow NaN and Infinity, which Python's and Java's
writers can emit. Pages without any of these (nearly all) are not changed.
"""

import json
import re
from dataclasses import dataclass, fields
from typing import Any

#: `\\u0000`, or any surrogate: an escaped pair is fine, but only a parser can decide that.
_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89abcdefABCDEF])")


@dataclass
class Repairs:
    """How many characters or values were changed to make a page storable."""

    nul_characters: int = 0
    lone_surrogates: int = 0
    invalid_numbers: int = 0
    invalid_utf8_pages: int = 0

    def add(self, other: "Repairs") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def needs_repair(body: bytes) -> bool:
    """Return whether *body* contains, or may contain, something that PostgreSQL refuses."""
    if _SUSPICIOUS.search(body):
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return True
    return False


def repair(body: bytes) -> tuple[bytes, Repairs]:
    """Return *body* as JSON that PostgreSQL accepts, and the number of changes.

    Raises ValueError if it is not JSON (truncated, or an HTML page).
    """
    repairs = Repairs()
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = body.decode(errors="replace")
        repairs.invalid_utf8_pages += 1

    def as_text(constant: str) -> str:
        repairs.invalid_numbers += 1
        return constant

    document = json.loads(text, strict=False, parse_constant=as_text)
    return json.dumps(
        _clean(document, repairs), ensure_ascii=False, separators=(",", ":")
    ).encode(), repairs


def _clean(node: Any, repairs: Repairs) -> Any:
    if isinstance(node, str):
        return _clean_text(node, repairs)
    if isinstance(node, dict):
        return {_clean_text(key, repairs): _clean(value, repairs) for key, value in node.items()}
    if isinstance(node, list):
        return [_clean(value, repairs) for value in node]
    return node


def _clean_text(text: str, repairs: Repairs) -> str:
    if "\x00" in text:
        repairs.nul_characters += text.count("\x00")
        text = text.replace("\x00", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        # json.loads has joined complete pairs: any surrogate left is a lone one.
        repairs.lone_surrogates += sum("\ud800" <= char <= "\udfff" for char in text)
        text = re.sub("[\ud800-\udfff]", "\ufffd", text)
    return text
