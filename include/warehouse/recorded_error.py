"""An error as the columns `error` and `remedy` of a scan's row hold it: written and read back."""

import re
from dataclasses import dataclass
from typing import Self

from include.errors import RUNBOOK, HubSpotDealsError

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
