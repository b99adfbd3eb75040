"""One HubSpot account over HTTP: paced, patient, and never telling the token to anybody."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from urllib.parse import quote

import msgspec
import requests
from requests.auth import AuthBase

from include.errors import ContractError, HubSpotDealsError, HubSpotUnavailableError
from include.hubspot import api
from include.hubspot.answers import (
    Account,
    Page,
    Pipeline,
    Pipelines,
    PropertyDefinition,
    PropertyDefinitions,
    TokenInfo,
    decode_page,
)
from include.hubspot.failures import Failure, as_error, backoff_s, seconds_to_wait
from include.hubspot.rate_limit import Pacer

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds to connect, and between two packets of an answer.
TIMEOUT_S = (10.0, 60.0)
#: How long one request may go on failing before the task gives up and leaves it to Airflow.
PATIENCE_S = 180.0


class BearerToken(AuthBase):
    """Sets the Authorization header; as an auth object no .netrc can replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class HubSpotClient:
    """Reads one HubSpot account.

    :param patience_s: how long one request may keep failing before its error is raised.
    :param sleep: replaced by tests.

    Errors: every method raises the classes of `include.errors`; nothing of `requests` gets out.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        tenant_id: str | None = None,
        api_version: str = api.DEFAULT_API_VERSION,
        pacer: Pacer | None = None,
        patience_s: float = PATIENCE_S,
        timeout_s: tuple[float, float] = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.tenant_id = tenant_id
        #: Requests sent, and how many of them were answered with 429.
        self.requests = 0
        self.throttled = 0
        self.sleep = sleep
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._version = api_version
        self._pacer = pacer or Pacer(sleep=sleep)
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.auth = BearerToken(token)
        self._session.headers["User-Agent"] = "hubspot-deals-airflow"

    def account(self) -> Account:
        """Ask whose token this is: GET /account-info/…/details."""
        return self._call("GET", api.account_path(self._version), _as(Account))

    def token_info(self) -> TokenInfo | None:
        """Ask what the token may do; None when HubSpot does not tell (OAuth tokens)."""
        try:
            return self._call(
                "POST", api.TOKEN_INFO_PATH, _as(TokenInfo), json={"tokenKey": self._token}
            )
        except ContractError:
            log.info("tenant %s: HubSpot does not introspect this kind of token", self.tenant_id)
            return None

    def probe_deals(self) -> None:
        """Read one deal, to find out whether the token may. Raises ScopeMissingError if not."""
        self._call("GET", f"{api.deals_path(self._version)}?limit=1", decode_page)

    def deal_properties(self, data_sensitivity: str | None = None) -> list[PropertyDefinition]:
        """List the portal's deal properties: the non-sensitive ones unless asked otherwise."""
        path = api.deal_properties_path(self._version)
        if data_sensitivity:
            path += f"?dataSensitivity={quote(data_sensitivity)}"
        return self._call("GET", path, _as(PropertyDefinitions)).results

    def deal_pipelines(self) -> list[Pipeline]:
        path = api.deal_pipelines_path(self._version)
        return self._call("GET", path, _as(Pipelines)).results

    def deal_pages(self, properties: Sequence[str], *, archived: bool) -> Iterator[Page]:
        """Yield every page of the live (or the archived) deals with these properties.

        Many properties overflow a URL: then a page is listed without them and read again by id,
        two requests a page instead of one. docs/api-integration.md#many-properties
        """
        names = ",".join(properties)
        by_id = len(names) > api.URL_PROPERTIES_MAX_CHARS
        after: str | None = None
        while True:
            page = self._list_page("" if by_id else names, after, archived=archived)
            after = page.after
            yield self._with_properties(page, properties, archived=archived) if by_id else page
            if after is None:
                return

    def _list_page(self, names: str, after: str | None, *, archived: bool) -> Page:
        # Built by hand: requests would write each comma as %2C and make the URL a third longer.
        query = f"limit={api.LIST_PAGE_SIZE}&archived={str(archived).lower()}"
        if names:
            query += f"&properties={quote(names, safe=',')}"
        if after is not None:
            query += f"&after={quote(after, safe='')}"
        return self._call("GET", f"{api.deals_path(self._version)}?{query}", decode_page)

    def _with_properties(self, page: Page, properties: Sequence[str], *, archived: bool) -> Page:
        """Read the records of *page* again by id, with *properties*.

        A record that is gone by now is left out (HubSpot answers 207): if it was archived since,
        the archived listing has it. A merged one comes back under its survivor's id.
        """
        if not page.results:
            return page
        return self._call(
            "POST",
            f"{api.deals_path(self._version)}/batch/read?archived={str(archived).lower()}",
            decode_page,
            json={
                "inputs": [{"id": record.id} for record in page.results],
                "properties": list(properties),
            },
        )

    def _call(
        self, method: str, path: str, decode: Callable[[bytes], _T], json: object = None
    ) -> _T:
        """Send a request until it is answered well, and return the decoded answer."""
        spent_s = 0.0
        for attempt in itertools.count(1):
            started = time.monotonic()
            try:
                return self._attempt(method, path, decode, json, attempt)
            except _Setback as setback:
                spent_s += time.monotonic() - started
                if setback.pause_s is None or spent_s + setback.pause_s > self._patience_s:
                    raise setback.error from None
                log.warning(
                    "tenant %s: %s Trying again in %.1f s.",
                    self.tenant_id,
                    setback.error.what,
                    setback.pause_s,
                )
                self.sleep(setback.pause_s)
                spent_s += setback.pause_s
        raise AssertionError("itertools.count does not end")

    def _attempt(
        self, method: str, path: str, decode: Callable[[bytes], _T], json: object, attempt: int
    ) -> _T:
        request = f"{method} {path.partition('?')[0]}"
        self._pacer.wait_for_turn()
        self.requests += 1
        try:
            # A redirect would take the token to another host: HubSpot's API has none.
            answer = self._session.request(
                method,
                self.base_url + path,
                json=json,
                timeout=self._timeout_s,
                allow_redirects=False,
            )
        except requests.RequestException as exc:
            raise _Setback(backoff_s(attempt), self._unreachable(request, exc)) from exc
        self._pacer.learn(answer.headers)
        if answer.status_code not in (200, 207):
            failure = Failure(answer.status_code, answer.headers, answer.content, request)
            self.throttled += answer.status_code == 429
            raise _Setback(seconds_to_wait(failure, attempt), as_error(failure, self.tenant_id))
        try:
            return decode(answer.content)
        except msgspec.ValidationError as exc:
            # Well-formed, but not what is documented: asking again would bring the same.
            raise _Setback(None, self._unexpected(request, exc)) from exc
        except ValueError as exc:
            raise _Setback(backoff_s(attempt), self._garbled(request, answer)) from exc

    def _unreachable(self, request: str, exc: requests.RequestException) -> HubSpotUnavailableError:
        return HubSpotUnavailableError(
            f"{self.base_url} can't be reached or broke off ({type(exc).__name__}) at {request}.",
            tenant_id=self.tenant_id,
            remedy="Check the connection's host and the network; the task is retried.",
        )

    def _garbled(self, request: str, answer: requests.Response) -> HubSpotUnavailableError:
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


class _Setback(Exception):
    """One try failed. ``pause_s``: wait this long before the next; None: there is no use in one."""

    def __init__(self, pause_s: float | None, error: HubSpotDealsError) -> None:
        self.pause_s = pause_s
        self.error = error
        super().__init__(str(error))


def _as(shape: type[_T]) -> Callable[[bytes], _T]:
    return msgspec.json.Decoder(shape).decode
