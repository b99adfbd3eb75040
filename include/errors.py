"""All errors of this package, sorted by who must act.

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
    │   └── ComeBackLaterError      until a known time: the task is rescheduled, without a retry
    │       └── DailyLimitError, PortalMigratingError
    ├── ContractError     HubSpot's answer contradicts its documentation: a developer must act
    ├── QualityError      the data is loaded but a blocking check failed: never retried
    └── DeadlineMissedError, AlertNotDeliveredError     never raised by a task: alerts only

A message says what happened, to which tenant, why, and what to do, and ends with a heading of
docs/runbook.md. It never contains a token, a header or a property's value; secrets that HubSpot's
response quotes are masked by `include.secret_text`. Standard library only: the DAG processor
imports this module at parse time.
"""

import copyreg
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from include.secret_text import without_secrets

RUNBOOK = "docs/runbook.md"


def runbook_url(airflow: str, heading: str) -> str:
    """Return the address of a heading of the runbook, in Airflow or in the user's own copy.

    :param airflow: the address of Airflow, or the path that it is served below.
    """
    page = os.environ.get("HUBSPOT_DEALS_RUNBOOK_URL") or f"{airflow}/hubspot-deals/help/runbook"
    return f"{page}#{heading}"


class HubSpotDealsError(Exception):
    """Base of all. ``str()`` is the whole message, for the log of a task.

    ``what`` and ``remedy`` are sentences. A remedy that is given says what a person must do;
    ``remedy`` also says how the task continues.
    """

    #: Anchor of the heading in docs/runbook.md.
    runbook_heading = "scan-failed"
    #: What to do in general, for the runbook's table. `remedy` is specific.
    action = "Read the log."
    #: The remedy in a task. {} is the given one.
    in_task = "{}"

    def __init__(self, what: str, *, tenant_id: str | None = None, remedy: str = "") -> None:
        self.what = without_secrets(what)
        super().__init__(self.what)
        self.tenant_id = tenant_id
        self._given_remedy = without_secrets(remedy)
        self.remedy = self.in_task.format(self._given_remedy).strip()

    def __str__(self) -> str:
        return self._message(self.remedy)

    @property
    def for_command(self) -> str:
        """The message for a person who runs a command, which has no task."""
        return self._message(self._given_remedy)

    def _message(self, remedy: str) -> str:
        tenant = f"tenant {self.tenant_id}: " if self.tenant_id else ""
        action = f" {remedy}" if remedy else ""
        return f"{tenant}{self.what}{action} See {RUNBOOK}#{self.runbook_heading}"

    def __reduce__(self) -> tuple[object, ...]:
        # The default calls the constructor with `what` only; those of subclasses differ.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


@contextmanager
def naming_tenant(tenant_id: str | None) -> Iterator[None]:
    """Name the tenant in errors of the block that name none."""
    try:
        yield
    except HubSpotDealsError as exc:
        exc.tenant_id = exc.tenant_id or tenant_id
        raise


class ConfigError(HubSpotDealsError):
    """A person must change a setting, a token or a permission."""

    action = "Correct the connection, then clear the task."
    in_task = "{} Then clear the task."


class TenantsFileError(ConfigError):
    """The tenants file, or an entry of it, is invalid."""

    runbook_heading = "tenants-file"
    in_task = "{}"
    action = "Correct the file; Airflow reads it again."


class TenantCommandError(ConfigError):
    """`python -m include.tenants` refused or failed."""

    runbook_heading = "tenant-command"
    in_task = "{}"
    action = "Run the command again."


class ScanRequestError(ConfigError):
    """The run's params are invalid or contradict each other."""

    runbook_heading = "scan-request"
    in_task = "{}"
    action = "Trigger a new run."


class ScanCancelledError(ConfigError):
    """A user cancelled the scan; its tasks can no longer write."""

    runbook_heading = "scan-cancelled"
    in_task = "{}"
    action = "None, or start another scan."

    def __init__(self, *, tenant_id: str | None = None) -> None:
        super().__init__(
            "the scan was cancelled.",
            tenant_id=tenant_id,
            remedy="Start another scan, or clear all tasks of the run.",
        )


class TokenMissingError(ConfigError):
    """The tenant has no token."""

    runbook_heading = "token-missing"


class TokenMalformedError(ConfigError):
    """The token contains a character that tokens never have."""

    runbook_heading = "token-malformed"


class TokenRejectedError(ConfigError):
    """HubSpot answered 401: the token is wrong, expired or revoked."""

    runbook_heading = "token-rejected"


class AccessDeniedError(ConfigError):
    """HubSpot answered 403, and not because of a scope: plan, permission or block."""

    runbook_heading = "access-denied"
    action = "Grant it in HubSpot, then clear the task."


class ScopeMissingError(AccessDeniedError):
    """The token is valid but lacks a scope.

    ``scopes``: the missing ones, as HubSpot names them.
    """

    runbook_heading = "scope-missing"

    def __init__(self, scopes: Sequence[str], *, tenant_id: str | None = None) -> None:
        self.scopes = tuple(map(without_secrets, scopes))
        names = f"the scope{'s' if len(self.scopes) > 1 else ''} {', '.join(self.scopes)}"
        super().__init__(
            f"the token lacks {names if self.scopes else 'a scope that HubSpot did not name'}.",
            tenant_id=tenant_id,
            remedy="Add the scope to the service key or app in HubSpot, and install an OAuth app "
            "again.",
        )


class OAuthAppError(ConfigError):
    """HubSpot refuses a token to an OAuth app, or the connection lacks one of the app's fields."""

    runbook_heading = "oauth-app"


class CertificateRejectedError(ConfigError):
    """The server's certificate can't be trusted."""

    runbook_heading = "certificate-rejected"
    action = "Check the issuer, then clear the task."


class PlainTextRefusedError(ConfigError):
    """The token would be sent unencrypted over a network."""

    runbook_heading = "plain-text-refused"


class PortalMismatchError(ConfigError):
    """The token belongs to another HubSpot account than the tenant."""

    runbook_heading = "portal-mismatch"


class WarehouseConfigError(ConfigError):
    """The warehouse connection is missing or wrong, or its role lacks a privilege."""

    runbook_heading = "warehouse-config"


class TransientError(HubSpotDealsError):
    """Waiting helps; Airflow retries the task."""

    action = "Wait for Airflow's retries."
    in_task = "The task is retried. {}"


class HubSpotUnavailableError(TransientError):
    """HubSpot can't be reached, or keeps answering 5xx or no JSON."""

    runbook_heading = "hubspot-unavailable"


class RateLimitedError(TransientError):
    """HubSpot kept answering 429 for longer than a request may take."""

    runbook_heading = "rate-limited"


class ComeBackLaterError(TransientError):
    """HubSpot refuses requests until ``resume_at``, which may be a day away.

    The task frees its worker slot and is rescheduled. It uses up no retry.
    """

    action = "None: the task is rescheduled."
    in_task = "{}"

    def __init__(self, what: str, *, resume_at: datetime, tenant_id: str | None = None) -> None:
        self.resume_at = resume_at
        super().__init__(
            what,
            tenant_id=tenant_id,
            remedy=f"The task waits, without using up retries, until {resume_at:%Y-%m-%d %H:%M} "
            f"{resume_at.tzname()}.",
        )


class DailyLimitError(ComeBackLaterError):
    """The account's daily API quota, or the tenant's share of it, is used up."""

    runbook_heading = "daily-limit"


class PortalMigratingError(ComeBackLaterError):
    """HubSpot answered 477: it is moving the account to another data region."""

    runbook_heading = "portal-migrating"


class WarehouseUnavailableError(TransientError):
    """PostgreSQL can't be reached, or ended the session or a statement."""

    runbook_heading = "warehouse-unavailable"


class TenantBusyError(TransientError):
    """Another scan of the tenant is running."""

    runbook_heading = "tenant-busy"


class OutdatedAttemptError(TransientError):
    """A newer try of the scan, or another scan, replaced this try."""

    runbook_heading = "outdated-attempt"
    in_task = "{}"
    action = "None: the newer try continues."

    def __init__(self, *, tenant_id: str | None = None) -> None:
        super().__init__(
            "a newer try of the scan replaced this one, or Airflow gave this one up. It stops and "
            "has written nothing since.",
            tenant_id=tenant_id,
            remedy="No action is needed: the next try continues from the last checkpoint.",
        )


class TaskTimeoutError(TransientError):
    """The task took longer than `task_timeout_s`, and Airflow ended it."""

    runbook_heading = "task-timeout"


class LoadError(TransientError):
    """dlt could not load a chunk. A chunk is loaded completely or not at all."""

    runbook_heading = "load-failed"


class ContractError(HubSpotDealsError):
    """HubSpot's answer contradicts its documentation.

    ``status``: the HTTP status, if it is what contradicts the documentation.
    """

    status: int | None = None

    runbook_heading = "unexpected-answer"
    action = "Check host and version; report it."


class QualityError(HubSpotDealsError):
    """A blocking quality check failed; the message has the figures."""

    runbook_heading = "quality-check-failed"
    action = "Follow the heading of the check."


#: A retry would fail again: a person must act.
NEVER_RETRIED = (ConfigError, ContractError, QualityError)


class ScanKilledError(TransientError):
    """A task ended without an error: it was killed, or a user marked it as failed."""

    runbook_heading = "scan-killed"
    in_task = "{}"
    action = "Clear the task."


class DeadlineMissedError(HubSpotDealsError):
    """A scan took longer than the tenant's `deadline_s`; it continues."""

    runbook_heading = "deadline-missed"
    action = "See what it waits for."


class AlertNotDeliveredError(HubSpotDealsError):
    """A channel did not accept an alert; the tenant's next event sends it again."""

    runbook_heading = "alert-not-delivered"
    action = "Correct the channel's connection."
