"""Cursors: where the next page of a list begins, opaque to the client."""

import base64
import binascii
import hashlib
import json
from typing import Any

_CHECK_BYTES = 9
_MAX_LENGTH = 2_000


class InvalidCursorError(Exception):
    """A cursor was changed, or belongs to another list or other filters."""


def cursor_of(what: str, position: list[Any]) -> str:
    """Return the cursor of *position* in *what*: the list's name and everything it is filtered by.

    Nothing secret goes into a cursor; what its bearer may see is decided for each page anew.
    """
    body = json.dumps(position, separators=(",", ":")).encode()
    return _text(_check(what, body) + body)


def position_of(what: str, cursor: str) -> list[Any]:
    """Return the position that *cursor* means in *what*. Raises InvalidCursorError."""
    if len(cursor) > _MAX_LENGTH:
        raise InvalidCursorError
    try:
        whole = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursorError from None
    check, body = whole[:_CHECK_BYTES], whole[_CHECK_BYTES:]
    # the last character has bits that mean nothing: changed, it would be let through
    if check != _check(what, body) or _text(whole) != cursor:
        raise InvalidCursorError
    position = json.loads(body)
    if not isinstance(position, list):
        raise InvalidCursorError
    return position


def _text(whole: bytes) -> str:
    return base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _check(what: str, body: bytes) -> bytes:
    return hashlib.blake2b(what.encode() + b"\0" + body, digest_size=_CHECK_BYTES).digest()
