"""One request and its answer, and what it means when either does not get through."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import requests

from include.errors import CertificateRejectedError, ContractError, HubSpotUnavailableError
from include.hubspot.failures import backoff_s
from include.hubspot.patience import Setback, no_use
from include.hubspot.session import Answer, answer_to, is_untrusted

_T = TypeVar("_T")


def _once_more(attempt: int) -> float | None:
    """Well-formed, but not what is documented: a second answer like it is no accident."""
    return backoff_s(attempt) if attempt == 1 else None


@dataclass(frozen=True)
class Wire:
    """To one host, for any number of threads.

    ``timeout_s``: to connect, and between two packets of an answer. The ``name`` of a request is
    for messages. Everything that goes wrong is a `Setback`.
    """

    base_url: str
    session: requests.Session = field(repr=False)
    timeout_s: tuple[float, float]
    tenant_id: str | None = None

    def answer(self, request: requests.PreparedRequest, name: str) -> Answer:
        try:
            return answer_to(request, self.session, self.timeout_s)
        except requests.RequestException as exc:
            if is_untrusted(exc):
                raise Setback(no_use, self._untrusted(name)) from exc
            raise Setback(backoff_s, self._unreachable(name, exc)) from exc

    def decoded(self, answer: Answer, name: str, decode: Callable[[bytes], _T]) -> _T:
        try:
            return decode(answer.content)
        except msgspec.ValidationError as exc:
            raise Setback(_once_more, self._unexpected(name, exc)) from exc
        except (ValueError, RecursionError) as exc:
            raise Setback(backoff_s, self._garbled(name, answer)) from exc

    def _unreachable(self, request: str, exc: requests.RequestException) -> HubSpotUnavailableError:
        return HubSpotUnavailableError(
            f"{self.base_url} can't be reached or broke off ({type(exc).__name__}) at {request}.",
            tenant_id=self.tenant_id,
            remedy="Check the connection's host and the network; the task is retried.",
        )

    def _untrusted(self, request: str) -> CertificateRejectedError:
        return CertificateRejectedError(
            f"the certificate of {self.base_url} can't be trusted at {request}; the token was not "
            "sent.",
            tenant_id=self.tenant_id,
            remedy="Behind a proxy that uses certificates of its own, set REQUESTS_CA_BUNDLE to "
            "its authority's file. Otherwise somebody else answers for HubSpot.",
        )

    def _garbled(self, request: str, answer: Answer) -> HubSpotUnavailableError:
        kind = answer.headers.get("Content-Type", "no content type")
        return HubSpotUnavailableError(
            f"HubSpot's answer to {request} is no JSON ({kind}, {len(answer.content)} bytes).",
            tenant_id=self.tenant_id,
            remedy="The task is retried; if it goes on, look for a proxy in between.",
        )

    def _unexpected(self, request: str, exc: msgspec.ValidationError) -> ContractError:
        return ContractError(
            f"HubSpot's answer to {request} has another shape than documented: {exc}.",
            tenant_id=self.tenant_id,
            remedy="Report it.",
        )
