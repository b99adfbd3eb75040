"""Secrets as text: trims and validates pasted ones, and masks them in messages.

Standard library only: the DAG processor imports this module at parse time.
"""

import base64
import re

#: White space and invisible characters.
_AROUND = "".join(map(chr, (*range(0x21), 0x7F, 0x85, 0xA0, 0xAD, 0x180E, *range(0x2000, 0x2010),
                            0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF)))  # fmt: skip
_KINDS = {
    "\n": "a line break",
    "\r": "a line break",
    "\t": "a tab",
    " ": "a space",
    "\xa0": "a no-break space",
    **dict.fromkeys("\"'`", "a quotation mark"),
    **dict.fromkeys("<>", "an angle bracket"),
    "\\": "a backslash",
}
#: Shorter values could be ordinary words. HubSpot's secrets have at least 36 characters.
_SHORTEST_SECRET = 8
_SHORT_FORMS = {
    "\n": r"\\+n",
    "\r": r"\\+r",
    "\t": r"\\+t",
    " ": r"\+",
    '"': "&quot;",
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
}
_secrets: dict[str, re.Pattern[str]] = {}


def pasted(text: str) -> str:
    """Return a secret without white space and invisible characters around it."""
    return text.strip(_AROUND)


def flaw_of(secret: str) -> str | None:
    """Return why *secret* can't be HubSpot's, without quoting it; None if it can.

    HubSpot's secrets contain no such characters, and an HTTP header must not.
    """
    if secret[:6].lower() == "bearer" and secret[6:7].isspace():
        return "it begins with 'Bearer', which is not part of it"
    for position, character in enumerate(secret, start=1):
        if kind := _KINDS.get(character):
            return f"its character {position} is {kind}"
        if not " " < character < "\x7f":
            return f"its character {position} is {_kind_of_others(character)}"
    return None


def _kind_of_others(character: str) -> str:
    if ord(character) < 0xA0:
        return "a control character"
    return "a letter that is not ASCII" if character.isalpha() else "a character that is not ASCII"


def keep_out_of_messages(secret: str) -> None:
    """Have `without_secrets` mask *secret* from now on, in this process."""
    if len(secret) >= _SHORTEST_SECRET and secret not in _secrets:
        _secrets[secret] = _in_any_form(secret)


def without_secrets(text: str) -> str:
    """Return *text* with *** for each known secret, in any escaped form."""
    for pattern in list(_secrets.values()):
        text = pattern.sub("***", text)
    return text


def _in_any_form(secret: str) -> re.Pattern[str]:
    # Any character can be escaped, as in JSON, a URL, HTML or a repr, and lines can be wrapped.
    plain = r"\s*".join(map(_character_in_any_form, secret))
    content = secret.encode("utf-8", "surrogatepass")
    # `requests` sends a proxy's password in Latin-1
    for_basic = secret.encode("latin-1", "replace")
    encoded = [*_in_base64(content), *_in_base64(for_basic), content.hex(), content.hex().upper()]
    return re.compile("|".join([plain, *map(re.escape, encoded)]))


def _character_in_any_form(character: str) -> str:
    code = ord(character)
    of_url = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
    forms = [
        rf"\\*{re.escape(character)}",
        rf"(?i:{of_url}|\\+(?:u{code:04x}|x{code:02x})|&\#(?:{code}|x0*{code:x});)",
    ]
    if short := _SHORT_FORMS.get(character):
        forms.append(short)
    return f"(?:{'|'.join(forms)})"


def _in_base64(secret: bytes) -> list[str]:
    """Return the parts of the secret's base64 that do not depend on the text around it."""
    found = []
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode()
        whole = len(bytes(before) + secret) * 8 // 6
        kept = encoded[-(-before * 8 // 6) : whole]
        found += [kept, kept.replace("+", "-").replace("/", "_")]
    return found
