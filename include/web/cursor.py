"""Opaque cursors: the position of a list's next page."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query
from pydantic import TypeAdapter

from include.web.problems import Code, Problem

_CHECK_BYTES = 9
_MAX_LENGTH = 2_000

Limit = Annotated[int, Query(ge=1, le=1000, description="Results per page.")]
Cursor = Annotated[
    str | None,
    Query(max_length=_MAX_LENGTH, description="`next_cursor` of the previous page."),
]
T = TypeVar("T")
_ANY = TypeAdapter[object](object)


class InvalidCursorError(Problem):
    """A cursor was changed, or belongs to another list or other filters."""

    def __init__(self) -> None:
        super().__init__(
            Code.INVALID_CURSOR,
            "The cursor belongs to another list or other parameters, or was changed.",
            remedy="Start again without a cursor.",
        )


def cursor_of(what: str, position: object) -> str:
    """Return the cursor of *position* in *what*: the list's name and its filters.

    A cursor is not secret and grants nothing: permissions are checked for each page.
    """
    body = _ANY.dump_json(position)
    return _text(_check(what, body) + body)


def page_of(
    what: str, rows: Sequence[T], limit: int, position: Callable[[T], object]
) -> tuple[list[T], str | None]:
    """Return the first *limit* of *rows*, and the cursor of the next page if there are more.

    :param position: of a row.
    """
    shown = list(rows[:limit])
    if len(rows) <= limit:
        return shown, None
    return shown, cursor_of(what, position(shown[-1]))


def position_of(what: str, cursor: str | None, shape: TypeAdapter[T], first: T) -> T:
    """Return the position of *cursor* in *what*, or *first* without one.

    Raises InvalidCursorError.

    :param shape: validates the position, because a client can forge a cursor.
    """
    if cursor is None:
        return first
    if len(cursor) > _MAX_LENGTH:
        raise InvalidCursorError
    try:
        whole = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, body = whole[:_CHECK_BYTES], whole[_CHECK_BYTES:]
        # Base64 ignores some bits of the last character: a change of them must fail, too.
        if check == _check(what, body) and _text(whole) == cursor:
            return shape.validate_json(body)
    except ValueError:  # from base64 or from the validation
        pass
    raise InvalidCursorError


def _text(whole: bytes) -> str:
    return base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _check(what: str, body: bytes) -> bytes:
    return hashlib.blake2b(what.encode() + b"\0" + body, digest_size=_CHECK_BYTES).digest()
