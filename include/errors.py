"""Every error this package raises on purpose, sorted by who has to act.

    HubSpotDealsError
    ├── ConfigError       a person must change something: never retried
    │   ├── TenantsFileError, TenantCommandError, ScanRequestError, TokenMissingError,
    │   ├── TokenMalformedError, TokenRejectedError, AccessDeniedError (ScopeMissingError),
    │   ├── PortalMismatchError, WarehouseConfigError, ScanCancelledError,
    │   └── OAuthAppError, CertificateRejectedError, PlainTextRefusedError
    ├── TransientError    waiting helps: retried by Airflow
    │   ├── HubSpotUnavailableError, RateLimitedError, WarehouseUnavailableError,
    │   ├── TenantBusyError, LoadError, TaskTimeoutError, ScanKilledError,
    │   ├── OutdatedAttemptError
    │   └── ComeBackLaterError      when is known: the task sleeps until then, without a retry
    │       └── DailyLimitError, PortalMigratingError
    ├── ContractError     HubSpot answered something we do not understand: a developer must look
    ├── QualityError      the data is loaded but a blocking check failed: never retried
    └── DeadlineMissedError, AlertNotDeliveredError     never raised by a task: alerts only

A message says what happened, to which tenant, why, and what to do, and ends with the heading of
docs/runbook.md that says more. It never holds a token, a header or a property's value: what
`include.secret_text` knows to be a secret is cut out, should an answer of HubSpot's quote it.
Standard library only: the DAG processor imports this module at parse time.
"""

import os
import re
from collections.abc import Sequence
from datetime import datetime

from include.secret_text import without_secrets

RUNBOOK = "docs/runbook.md"


def runbook_url(airflow: str, heading: str) -> str:
    """Return where a heading of the runbook is shown: in Airflow, or in a copy of yours.

    :param airflow: the address of Airflow, or the path that it is served below.
    """
    page = os.environ.get("HUBSPOT_DEALS_RUNBOOK_URL") or f"{airflow}/hubspot-deals/help/runbook"
    return f"{page}#{heading}"


#: What remedies say of a task. A command has none that is retried, or could be cleared.
_OF_A_TASK = re.compile(
    r"[,;:]? ?(?:then )?(?:the task is retried(?:, and [^.]*)?|clear the task)[;,]? ?",
    re.IGNORECASE,
)


class HubSpotDealsError(Exception):
    """Base of all: ``str()`` is the whole message for an operator."""

    #: The heading in docs/runbook.md, as its anchor.
    runbook_heading = "scan-failed"

    def __init__(self, what: str, *, tenant_id: str | None = None, remedy: str = "") -> None:
        what, remedy = without_secrets(what), without_secrets(remedy)
        self.tenant_id = tenant_id
        self.what = what
        self.remedy = remedy
        prefix = f"tenant {tenant_id}: " if tenant_id else ""
        action = f" {remedy}" if remedy else ""
        super().__init__(f"{prefix}{what}{action} See {RUNBOOK}#{self.runbook_heading}")

    @property
    def for_command(self) -> str:
        """The message for a person who runs a command, not a task."""
        remedy = _OF_A_TASK.sub("", self.remedy).lstrip(". ").replace("..", ".")
        if self.remedy:
            remedy = f" {remedy[:1].upper()}{remedy[1:]}" if remedy else " Try again."
        tenant = f"tenant {self.tenant_id}: " if self.tenant_id else ""
        return f"{tenant}{self.what}{remedy} See {RUNBOOK}#{self.runbook_heading}"

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call __init__ with the finished message and prefix it twice.
        return _rebuild, (type(self), str(self), self.__dict__)


def _rebuild(
    cls: type[HubSpotDealsError], message: str, state: dict[str, object]
) -> HubSpotDealsError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class ConfigError(HubSpotDealsError):
    """A person must change a setting, a token or a permission."""


class TenantsFileError(ConfigError):
    """The tenants file, or one entry of it, can't be used."""

    runbook_heading = "tenants-file"


class TenantCommandError(ConfigError):
    """`python -m include.tenants` can't do what it was asked for."""

    runbook_heading = "tenant-command"


class ScanRequestError(ConfigError):
    """What a run was asked for (mode, window) makes no sense."""

    runbook_heading = "scan-request"


class ScanCancelledError(ConfigError):
    """A person has cancelled the scan; its row takes nothing more from its tasks."""

    runbook_heading = "scan-cancelled"

    def __init__(self, *, tenant_id: str | None = None) -> None:
        super().__init__(
            "this scan was cancelled.",
            tenant_id=tenant_id,
            remedy="Start another one; or clear the whole run, from its first task on.",
        )


class TokenMissingError(ConfigError):
    """There is no token for this tenant."""

    runbook_heading = "token-missing"


class TokenMalformedError(ConfigError):
    """The token holds a character that no token has: something was pasted along with it."""

    runbook_heading = "token-malformed"


class TokenRejectedError(ConfigError):
    """HubSpot answered 401: the token is wrong, expired or revoked."""

    runbook_heading = "token-rejected"


class AccessDeniedError(ConfigError):
    """HubSpot answered 403 for another reason than a scope: the plan, a permission, a block."""

    runbook_heading = "access-denied"


class ScopeMissingError(AccessDeniedError):
    """The token is good but lacks a scope; ``scopes`` names the missing ones."""

    runbook_heading = "scope-missing"

    def __init__(self, scopes: Sequence[str], *, tenant_id: str | None = None) -> None:
        self.scopes = tuple(map(without_secrets, scopes))
        super().__init__(
            f"the token lacks the scope(s) {', '.join(self.scopes) or 'HubSpot did not name'}.",
            tenant_id=tenant_id,
            remedy="Add them to the service key or app in HubSpot (an OAuth app is then installed "
            "again), then clear the task.",
        )


class OAuthAppError(ConfigError):
    """HubSpot gives an OAuth app no access token, or the connection holds only part of the app."""

    runbook_heading = "oauth-app"


class CertificateRejectedError(ConfigError):
    """The server that answers for HubSpot has no certificate for it."""

    runbook_heading = "certificate-rejected"


class PlainTextRefusedError(ConfigError):
    """The token would go over a network unencrypted."""

    runbook_heading = "plain-text-refused"


class PortalMismatchError(ConfigError):
    """The token belongs to another HubSpot account than the one this tenant is bound to."""

    runbook_heading = "portal-mismatch"


class WarehouseConfigError(ConfigError):
    """The warehouse connection is missing, or PostgreSQL refuses what we are asked to do."""

    runbook_heading = "warehouse-config"


class TransientError(HubSpotDealsError):
    """Waiting helps; Airflow retries the task."""


class HubSpotUnavailableError(TransientError):
    """HubSpot could not be reached, or kept answering 5xx or garbage."""

    runbook_heading = "hubspot-unavailable"


class RateLimitedError(TransientError):
    """429s went on for longer than a scan is ready to wait."""

    runbook_heading = "rate-limited"


class ComeBackLaterError(TransientError):
    """It is known when there will be use in going on: at ``resume_at``, which may be a day away.

    The task gives its worker slot back and comes again then. It uses up no retry.
    """

    runbook_heading = "daily-limit"

    def __init__(self, what: str, *, resume_at: datetime, tenant_id: str | None = None) -> None:
        self.resume_at = resume_at
        super().__init__(
            what,
            tenant_id=tenant_id,
            remedy=f"The task waits, without using up retries, until {resume_at:%Y-%m-%d %H:%M} "
            f"{resume_at.tzname()}.",
        )


class DailyLimitError(ComeBackLaterError):
    """The account's daily API quota is used up, or what is left of it is for others."""

    runbook_heading = "daily-limit"


class PortalMigratingError(ComeBackLaterError):
    """477: the account is moving between data regions; HubSpot says when to ask again."""

    runbook_heading = "portal-migrating"


class WarehouseUnavailableError(TransientError):
    """PostgreSQL could not be reached, or closed the connection."""

    runbook_heading = "warehouse-unavailable"


class TenantBusyError(TransientError):
    """Another run of the same tenant holds its lock."""

    runbook_heading = "tenant-busy"


class OutdatedAttemptError(TransientError):
    """This try was replaced: by a newer one, or by another scan once its lease had run out."""

    runbook_heading = "outdated-attempt"

    def __init__(self, *, tenant_id: str | None = None) -> None:
        super().__init__(
            "this try of the scan was replaced, by a newer one or after it had been given up; it "
            "stops, and has written nothing since.",
            tenant_id=tenant_id,
            remedy="Nothing to do: the next try goes on where this one was.",
        )


class TaskTimeoutError(TransientError):
    """Airflow ended the task: it ran longer than the tenant's `task_timeout_s`."""

    runbook_heading = "task-timeout"


class LoadError(TransientError):
    """dlt could not load a chunk; the chunk is loaded whole by a later try or not at all."""

    runbook_heading = "load-failed"


class ContractError(HubSpotDealsError):
    """HubSpot answered something that its documentation does not allow.

    ``status``: of the HTTP answer, where that is what was not allowed.
    """

    status: int | None = None

    runbook_heading = "unexpected-answer"


class QualityError(HubSpotDealsError):
    """A blocking data-quality check failed; the message holds the figures."""

    runbook_heading = "quality-check-failed"


class ScanKilledError(TransientError):
    """A scan's task ended without an error: its process was killed, or a person ended it."""

    runbook_heading = "scan-killed"


class DeadlineMissedError(HubSpotDealsError):
    """A scan is not done by its tenant's `deadline_s`."""

    runbook_heading = "deadline-missed"


class AlertNotDeliveredError(HubSpotDealsError):
    """A channel did not take an alert; it is tried again with the tenant's next event."""

    runbook_heading = "alert-not-delivered"
