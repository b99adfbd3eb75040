"""What PostgreSQL's failures mean for an operator, and how a scan's row keeps an error.

Decided by SQLSTATE. A refused connection has none in psycopg, psycopg2 and ADBC: those are
identified by their text, which a server may translate (`lc_messages`).
"""

import re
from dataclasses import dataclass
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
    rf"(?P<type>\w+): (?P<message>.*?)(?: See {re.escape(RUNBOOK)}#(?P<heading>[\w-]+))?",
    re.DOTALL,
)
_FOREIGN = re.compile(r"(?P<type>\w+), (?P<message>see the log)")
_TENANT = re.compile(r"tenant \w+: ")


@dataclass(frozen=True)
class RecordedError:
    """``message``: what happened, and to which tenant; without remedy and heading.

    ``is_ours``: it is one of `include.errors`; of others only the type is on record.
    """

    type: str
    message: str
    remedy: str | None
    heading: str | None
    is_ours: bool

    @classmethod
    def of_columns(cls, error: str, remedy: str | None) -> Self:
        """Take the columns apart."""
        ours = _OURS.fullmatch(error)
        found = ours or _FOREIGN.fullmatch(error)
        if found is None:
            return cls("Exception", error, remedy, None, False)
        message = found["message"].removesuffix(remedy or "").rstrip()
        return cls(found["type"], message, remedy, ours and ours["heading"], bool(ours))

    @property
    def what(self) -> str:
        """What happened, where it is known to which tenant."""
        return _TENANT.sub("", self.message, count=1)


def columns_of(error: Exception) -> tuple[str, str | None]:
    """Return (error, remedy). Messages of other libraries can hold rows: they are left out."""
    name = type(error).__name__
    if not isinstance(error, HubSpotDealsError):
        return f"{name}, see the log", None
    return f"{name}: {error}", error.remedy or None


#: Raised by our own triggers. docs/how-scans-work.md#fences
OUTDATED_ATTEMPT = "HD001"
#: Tables or schemas that are gone, or not those that our migrations made.
UNDEFINED = frozenset({"42P01", "42703", "3F000"})
#: In the options of every session; only servers before PostgreSQL 14 don't know it.
_NEW_SETTING = "idle_session_timeout"


class _Meaning(NamedTuple):
    error: type[HubSpotDealsError]
    what: str
    remedy: str


_CONNECTION = "Correct the Airflow connection 'warehouse' or DATABASE_URL."
_RIGHTS = _Meaning(
    WarehouseConfigError,
    "PostgreSQL refuses",
    "Grant the warehouse connection's role what docs/setup.md lists.",
)
_REFUSED = _Meaning(WarehouseConfigError, "PostgreSQL refuses the connection", _CONNECTION)
_UNREACHABLE = _Meaning(
    WarehouseUnavailableError,
    "PostgreSQL can't be reached or broke off",
    "Check the server and the connection 'warehouse'; the task is retried.",
)
_CONFLICT = _Meaning(
    WarehouseUnavailableError,
    "another transaction was in the way",
    "The task is retried. If it goes on: look for sessions that hold locks, in pg_locks.",
)
_LOCKED = _Meaning(
    WarehouseUnavailableError,
    "another session holds a lock that is needed",
    "The task is retried. If it goes on, end that session: docs/runbook.md has the query that "
    "finds it.",
)
_BUSY = _Meaning(
    WarehouseUnavailableError,
    "PostgreSQL has no connection left",
    "The task is retried. If it goes on: raise max_connections or the role's connection limit, or "
    "put a pooler before it (docs/deploy.md).",
)
_READ_ONLY = _Meaning(
    WarehouseUnavailableError,
    "PostgreSQL takes no writes",
    "After a failover: have the connection lead to the new primary. The task is retried.",
)
_TIMED_OUT = _Meaning(
    WarehouseUnavailableError,
    "PostgreSQL broke off",
    "The task is retried. If a timeout of the database or role ends it each time: "
    "alter role … set … = 0 for the one that is named.",
)
_DAMAGED = _Meaning(
    WarehouseConfigError,
    "PostgreSQL says that its data are damaged",
    "Have the server's administrator check the disk, and restore the database from a backup.",
)
_CHANGED = _Meaning(
    WarehouseConfigError,
    "the warehouse's tables are not those that its migrations made",
    "Undo what was changed by hand, or restore them from a backup.",
)

#: By SQLSTATE, or its class (two characters). The longer one counts.
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
    "53": _Meaning(
        WarehouseUnavailableError,
        "PostgreSQL has run out of something",
        "Have its administrator look; the task is retried.",
    ),
    "53100": _Meaning(
        WarehouseUnavailableError,
        "the disk of PostgreSQL is full",
        "Free or add space; the task is retried.",
    ),
    "53200": _Meaning(
        WarehouseUnavailableError,
        "PostgreSQL has no memory left, or no room for locks",
        "The task is retried. If it goes on: look for a session that holds very many locks, in "
        "pg_locks; raise max_locks_per_transaction or the server's memory.",
    ),
    "53300": _BUSY,
    "53400": _Meaning(
        WarehouseUnavailableError,
        "a limit of PostgreSQL's settings is reached",
        "Raise the limit that is named (temp_file_limit, for one) for the warehouse connection's "
        "role; the task is retried.",
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
#: Values, not the server, are at fault: data exceptions, and what exceeds a limit (an index row).
_OF_VALUES = ("22", "54")

#: What a refused connection's text holds, in order.
_BY_TEXT = (
    (("too many connections", "too many clients", "connection slots"), _BUSY),
    (
        ("server does not support SSL",),
        _Meaning(
            WarehouseConfigError,
            "PostgreSQL offers no TLS, and is not on this machine",
            "Switch it on in the server (ssl = on). Or, if no third party can read or change the "
            "traffic, allow plain text: sslmode=disable in the connection 'warehouse' or "
            "DATABASE_URL.",
        ),
    ),
    (
        (
            "certificate verify failed",
            "server certificate for",
            "root certificate file",
            "weak sslmode",
        ),
        _Meaning(
            WarehouseConfigError,
            "PostgreSQL's certificate can't be trusted",
            "Set sslrootcert to the file of the authority that signed it, and host to a name that "
            "it holds.",
        ),
    ),
    (
        ("unsupported startup parameter",),
        _Meaning(
            WarehouseConfigError,
            "the pooler before PostgreSQL refuses the connection",
            "Set ignore_startup_parameters = options there: docs/how-scans-work.md has all that a "
            "pooler needs.",
        ),
    ),
    (
        (_NEW_SETTING,),
        _Meaning(
            WarehouseConfigError,
            "PostgreSQL is too old",
            "Use PostgreSQL 15 or newer.",
        ),
    ),
    (
        ("session is read-only", "server is in hot standby mode", "server is not in hot standby"),
        _READ_ONLY,
    ),
    (("permission denied",), _RIGHTS),
    (
        (
            "authentication failed",
            "authentication required",
            "does not exist",
            "pg_hba.conf",
            "no password supplied",
            "not permitted to log in",
            "not currently accepting connections",
            "invalid port number",
            "invalid integer value",
            "invalid sslmode value",
        ),
        _REFUSED,
    ),
    (
        ("Connection refused", "could not translate host name", "failed to resolve host"),
        _Meaning(
            WarehouseUnavailableError,
            "PostgreSQL can't be reached",
            "Check that the server runs, and host and port in the connection 'warehouse' or "
            "DATABASE_URL; the task is retried.",
        ),
    ),
)
#: libpq puts two spaces after the severity of what a server answered, in any language.
_ANSWERED = re.compile(r"failed: [^:]{1,30}:  (?P<said>.*)", re.DOTALL)
_QUOTES = "\"'\u00ab\u00bb\u201e\u201c\u201d\u2018\u2019"
_QUOTED = re.compile(f"[{_QUOTES}].+?[{_QUOTES}]")


def as_warehouse_error(exc: Exception, tenant_id: str | None) -> HubSpotDealsError:
    """Return what a failure means, and what to do. libpq's text holds no password."""
    return warehouse_error(exc, tenant_id) or _error(_UNREACHABLE, _text(exc), tenant_id)


def warehouse_error(exc: Exception, tenant_id: str | None) -> HubSpotDealsError | None:
    """Return what a failure means; None for a mistake of ours, such as a syntax error."""
    sqlstate = _sqlstate(exc)
    if sqlstate is None:
        return _error(_of_text(str(exc)), _text(exc), tenant_id)
    if sqlstate == OUTDATED_ATTEMPT:
        return OutdatedAttemptError(tenant_id=tenant_id)
    if sqlstate.startswith(_OF_VALUES):
        return value_refused(sqlstate, tenant_id)
    meaning = _BY_SQLSTATE.get(sqlstate) or _BY_SQLSTATE.get(sqlstate[:2])
    return _error(meaning, _text(exc), tenant_id) if meaning else None


def value_refused(sqlstate: str, tenant_id: str | None) -> LoadError:
    """Return the error for a value that PostgreSQL does not take, without quoting the value."""
    return LoadError(
        f"PostgreSQL does not take a value (SQLSTATE {sqlstate}).",
        tenant_id=tenant_id,
        remedy="The task is retried; report it: every value should fit.",
    )


def is_of_values(exc: BaseException) -> bool:
    """Return whether PostgreSQL does not take a value, by any of its drivers."""
    return (_sqlstate(exc) or "").startswith(_OF_VALUES)


def _sqlstate(exc: BaseException) -> str | None:
    """Return it as psycopg, psycopg2 or ADBC hold it; ADBC has NULs where it knows none."""
    known = getattr(exc, "sqlstate", None) or getattr(exc, "pgcode", None)
    return known if isinstance(known, str) and known.strip("\0") else None


def _of_text(text: str) -> _Meaning:
    for parts, meaning in _BY_TEXT:
        if any(part in text for part in parts):
            return meaning
    # In another language: what names a role, a database or a host is a setting, and what is full,
    # starting or stopping names nothing.
    answered = _ANSWERED.search(text)
    return _REFUSED if answered and _QUOTED.search(answered["said"]) else _UNREACHABLE


def _error(meaning: _Meaning, text: str, tenant_id: str | None) -> HubSpotDealsError:
    return meaning.error(f"{meaning.what}: {text}.", tenant_id=tenant_id, remedy=meaning.remedy)


def _text(exc: Exception) -> str:
    """Return the first line of a server's message: what follows may quote values."""
    diagnosis = getattr(exc, "diag", None)
    said = getattr(diagnosis, "message_primary", None) or str(exc)
    said = re.split("\n(?:DETAIL|CONTEXT):", said, maxsplit=1)[0]
    said = re.sub(r"\s*Is the server running[^?]*\?", "", said)
    return " ".join(said.split()).rstrip(".")
