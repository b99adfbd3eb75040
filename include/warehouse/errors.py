"""Translate PostgreSQL's failures into errors with a remedy, and store errors in a scan's row.

A failure is identified by its SQLSTATE. A refused connection has none in psycopg, psycopg2 and
ADBC, so it is identified by its text, which a server may translate (`lc_messages`).
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

from include.errors import (
    RUNBOOK,
    HubSpotDealsError,
    LoadError,
    OutdatedAttemptError,
    WarehouseConfigError,
    WarehouseUnavailableError,
)

_OURS = re.compile(
    rf"(?P<type>\w+): (?P<message>.*?)(?: See {re.escape(RUNBOOK)}#(?P<heading>[\w-]+))?", re.DOTALL
)
_FOREIGN = re.compile(r"(?P<type>\w+), (?P<message>see the log)")
_TENANT = re.compile(r"tenant \w+: ")


@dataclass(frozen=True)
class RecordedError:
    """``message``: what happened, and to which tenant; without remedy and heading.

    ``is_ours``: it is one of `include.errors`; of others, only the type is stored.
    """

    type: str
    message: str
    remedy: str | None
    heading: str | None
    is_ours: bool

    @classmethod
    def of_columns(cls, error: str, remedy: str | None) -> Self:
        """Parse the columns `error` and `remedy`."""
        ours = _OURS.fullmatch(error)
        found = ours or _FOREIGN.fullmatch(error)
        if found is None:
            return cls("Exception", error, remedy, None, False)
        message = found["message"].removesuffix(remedy or "").rstrip()
        return cls(found["type"], message, remedy, ours and ours["heading"], bool(ours))

    @property
    def what(self) -> str:
        """The message without the tenant, for places that show it already."""
        return _TENANT.sub("", self.message, count=1)


def columns_of(error: Exception) -> tuple[str, str | None]:
    """Return (error, remedy), without messages of other libraries, which can quote rows."""
    name = type(error).__name__
    if not isinstance(error, HubSpotDealsError):
        return f"{name}, see the log", None
    return f"{name}: {error}", error.remedy or None


#: Raised by our own triggers. docs/how-scans-work.md#fences
OUTDATED_ATTEMPT = "HD001"
#: A table, a column or a schema does not exist.
UNDEFINED = frozenset({"42P01", "42703", "3F000"})


class _Meaning(NamedTuple):
    error: type[HubSpotDealsError]
    what: str
    remedy: str


_config = partial(_Meaning, WarehouseConfigError)
_unavailable = partial(_Meaning, WarehouseUnavailableError)

_CONNECTION = "Correct the Airflow connection 'warehouse' or DATABASE_URL."
_RIGHTS = _config(
    "PostgreSQL denies access",
    "Grant the warehouse connection's role the rights that docs/setup.md lists.",
)
_REFUSED = _config("PostgreSQL refuses the connection", _CONNECTION)
_UNREACHABLE = _unavailable(
    "PostgreSQL can't be reached, or the connection broke",
    "Check the server and the connection 'warehouse'.",
)
_CONFLICT = _unavailable(
    "there was a conflict with another transaction",
    "If this continues, look for sessions that hold locks, in pg_locks.",
)
_LOCKED = _unavailable(
    "another session holds a lock that this one needs",
    "If this continues, find that session with the query in docs/runbook.md, and end it.",
)
_BUSY = _unavailable(
    "PostgreSQL has no connection left",
    "If this continues, raise max_connections or the role's connection limit, "
    "or put a pooler in front of PostgreSQL (docs/deploy.md).",
)
_READ_ONLY = _unavailable(
    "PostgreSQL accepts no writes", "After a failover, point the connection at the new primary."
)
_TIMED_OUT = _unavailable(
    "PostgreSQL ended the statement or the session",
    "If a timeout of the database or the role ends it each time, disable the "
    "timeout that is named: alter role … set … = 0.",
)
_DAMAGED = _config(
    "PostgreSQL reports damaged data",
    "Ask the server's administrator to check the disk, and to restore the database from a backup.",
)
_CHANGED = _config(
    "the warehouse's tables differ from those that its migrations created",
    "Undo changes that were made by hand, or restore the tables from a backup.",
)

#: By SQLSTATE, or by its class (two characters) if the SQLSTATE itself is not listed.
_BY_SQLSTATE = {
    "08": _UNREACHABLE,
    "25006": _READ_ONLY,
    "25P03": _TIMED_OUT,
    "25P04": _TIMED_OUT,
    "28": _REFUSED,
    "3D000": _REFUSED,
    **dict.fromkeys(UNDEFINED, _CHANGED),
    "40": _CONFLICT,
    "42501": _RIGHTS,
    "53": _unavailable(
        "PostgreSQL has run out of a resource", "Ask the server's administrator to check it."
    ),
    "53100": _unavailable("the disk of PostgreSQL is full", "Free or add space."),
    "53200": _unavailable(
        "PostgreSQL has no memory left, or no room for locks",
        "If this continues, look for a session with very many locks, in "
        "pg_locks; raise max_locks_per_transaction or the server's memory.",
    ),
    "53300": _BUSY,
    "53400": _unavailable(
        "a limit in PostgreSQL's settings is reached",
        "Raise the limit that is named (temp_file_limit, for example) for the warehouse "
        "connection's role.",
    ),
    "55": _CONFLICT,
    "55P03": _LOCKED,
    "57": _UNREACHABLE,
    "57014": _TIMED_OUT,
    "57P04": _REFUSED,
    "57P05": _TIMED_OUT,
    "58": _UNREACHABLE,
    "XX": _UNREACHABLE,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}
#: Classes of errors in values: data exceptions, and exceeded limits (an index row).
_OF_VALUES = ("22", "54")

#: By a pattern in the text of a refused connection. The first match counts.
_BY_TEXT = {
    "too many connections|too many clients|connection slots": _BUSY,
    "server does not support SSL": _config(
        "PostgreSQL offers no TLS, and is not on this machine",
        "Switch it on in the server (ssl = on). Or, if no third party can read or change the "
        "traffic, allow plain text: sslmode=disable in the connection 'warehouse' or DATABASE_URL.",
    ),
    "certificate verify failed|server certificate for|root certificate file|weak sslmode": _config(
        "PostgreSQL's certificate can't be trusted",
        "Set sslrootcert to the file of the authority that signed it, and host to a name in the "
        "certificate.",
    ),
    "unsupported startup parameter": _config(
        "the pooler in front of PostgreSQL refuses the connection",
        "Set ignore_startup_parameters = options there: docs/how-scans-work.md lists the settings "
        "that a pooler needs.",
    ),
    # one of the options of every session, which servers before PostgreSQL 14 don't know
    "idle_session_timeout": _config("PostgreSQL is too old", "Use PostgreSQL 15 or newer."),
    "session is read-only|server is in hot standby mode|server is not in hot standby": _READ_ONLY,
    "permission denied": _RIGHTS,
    "authentication failed|authentication required|no password supplied|not permitted to log in"
    "|does not exist|pg_hba[.]conf|not currently accepting connections"
    "|invalid port number|invalid integer value|invalid sslmode value": _REFUSED,
    "Connection refused|could not translate host name|failed to resolve host": _unavailable(
        "PostgreSQL can't be reached",
        "Check that the server runs, and host and port in the connection 'warehouse' or "
        "DATABASE_URL.",
    ),
}
#: In any language, libpq puts two spaces after the severity of a server's message.
_ANSWERED = re.compile(r"failed: [^:]{1,30}:  (?P<message>.*)", re.DOTALL)
_QUOTES = "\"'\u00ab\u00bb\u201e\u201c\u201d\u2018\u2019"
_QUOTED = re.compile(f"[{_QUOTES}].+?[{_QUOTES}]")


def as_warehouse_error(exc: Exception) -> HubSpotDealsError:
    """Return the error for a failure of PostgreSQL. libpq's messages contain no password."""
    return warehouse_error(exc) or _error(_UNREACHABLE, exc)


def warehouse_error(exc: Exception) -> HubSpotDealsError | None:
    """Return the error for a failure; None for a programming error, such as a syntax error."""
    sqlstate = _sqlstate(exc)
    if sqlstate is None:
        return _error(_of_text(str(exc)), exc)
    if sqlstate == OUTDATED_ATTEMPT:
        return OutdatedAttemptError()
    if sqlstate.startswith(_OF_VALUES):
        return LoadError(
            # without the text, which may quote the value
            f"PostgreSQL does not accept a value (SQLSTATE {sqlstate}).",
            remedy="Report it, because every value should fit.",
        )
    meaning = _BY_SQLSTATE.get(sqlstate) or _BY_SQLSTATE.get(sqlstate[:2])
    return _error(meaning, exc) if meaning else None


def is_of_values(exc: BaseException) -> bool:
    """Return whether PostgreSQL does not accept a value, for an exception of any driver."""
    return (_sqlstate(exc) or "").startswith(_OF_VALUES)


def _sqlstate(exc: BaseException) -> str | None:
    """Return the SQLSTATE of psycopg, psycopg2 or ADBC, which has NULs if it knows none."""
    known = getattr(exc, "sqlstate", None) or getattr(exc, "pgcode", None)
    return known if isinstance(known, str) and known.strip("\0") else None


def _of_text(text: str) -> _Meaning:
    for pattern, meaning in _BY_TEXT.items():
        if re.search(pattern, text):
            return meaning
    # In another language: a message that quotes a role, a database or a host is about a wrong
    # setting; those of a server that is full, starting or stopping quote nothing.
    answered = _ANSWERED.search(text)
    return _REFUSED if answered and _QUOTED.search(answered["message"]) else _UNREACHABLE


def _error(meaning: _Meaning, exc: Exception) -> HubSpotDealsError:
    """Return an error with the server's message without DETAIL and CONTEXT: they quote values."""
    diagnosis = getattr(exc, "diag", None)
    message = getattr(diagnosis, "message_primary", None) or str(exc)
    message = re.split("\n(?:DETAIL|CONTEXT):", message, maxsplit=1)[0]
    message = re.sub(r"\s*Is the server running[^?]*\?", "", message)
    text = " ".join(message.split()).rstrip(".")
    return meaning.error(f"{meaning.what}: {text}.", remedy=meaning.remedy)
