"""One HubSpot account: its endpoints as Python calls, each with its limits."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from include.errors import (
    AccessDeniedError,
    ContractError,
    HubSpotUnavailableError,
    PortalMismatchError,
    ScopeMissingError,
)
from include.hubspot import endpoints
from include.hubspot.answers import (
    Account,
    AssociationPage,
    AssociationResult,
    CursorGuard,
    HistoryPage,
    Listed,
    ListedPage,
    Owner,
    Page,
    Pipeline,
    PropertyDefinition,
    Role,
    SearchPage,
    Team,
    TokenInfo,
    User,
    decode_definitions,
    decode_history,
    decode_page,
    decoder_of,
    unexplained,
)
from include.hubspot.endpoints import DEALS_READ_SCOPE, SENSITIVITIES, sensitive_scopes
from include.hubspot.http import RETRY_TIMEOUT_S, TIMEOUT_S, Token, Transport
from include.hubspot.oauth import OAuthToken
from include.hubspot.rate_limit import (
    DEFAULT_SHARE,
    SEARCH_RULE,
    Limits,
    LocalLimits,
    RateLimiter,
    Rule,
    app_key,
    search_key,
)
from include.hubspot.retry import backoff_s

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_BatchPage = TypeVar("_BatchPage", Page, HistoryPage, AssociationPage)

#: Tries of a batch whose answers leave out records without a reason.
BATCH_TRIES = 4


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield *items* in lists of *size*; the last may be shorter. (itertools has it from 3.12.)"""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


class HubSpotClient:
    """Reads one HubSpot account. ``object_type`` is a name or an id, as in HubSpot's paths.

    Any number of threads may use it at once. ``transport`` sends its requests and counts them.

    :param limits: stores the state of the account's rate limits; None: in this process only.
    :param rule: how much of its app's rate limit this client uses.
    :param daily_quota_share: of the account's daily quota; above it DailyLimitError is raised.

    Errors: every method raises the classes of `include.errors`.
    """

    def __init__(
        self,
        base_url: str,
        token: str | Token,
        *,
        tenant_id: str | None = None,
        api_version: str = endpoints.DEFAULT_API_VERSION,
        limits: Limits | None = None,
        rule: Rule | None = None,
        daily_quota_share: float = DEFAULT_SHARE,
        retry_timeout_s: float = RETRY_TIMEOUT_S,
        timeout_s: tuple[float, float] = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.tenant_id = tenant_id
        self.api_version = api_version
        self._token = token if isinstance(token, Token) else Token(token)
        self._token.accept = self._require_same_access
        self._portal_id: int | None = None
        #: Those of the token that `scopes` was requested for.
        self._sensitive_scopes: frozenset[str] = frozenset()
        limiter = partial(RateLimiter, limits or LocalLimits(), sleep=sleep)
        self.transport = Transport(
            base_url,
            self._token,
            limiter(lambda: app_key(self._token.limited_as), rule or Rule()),
            tenant_id=tenant_id,
            daily_share=daily_quota_share,
            retry_timeout_s=retry_timeout_s,
            timeout_s=timeout_s,
            sleep=sleep,
        )
        self._searches = limiter(
            lambda: search_key(self._token.limited_as, self._portal_id), SEARCH_RULE
        )

    def account(self) -> Account:
        """Return the token's account: GET /account-info/…/details."""
        account = self._get(endpoints.account_path(self.api_version), Account)
        self._portal_id = account.portal_id
        self.transport.set_time_zone(account.time_zone)
        return account

    def token_info(self) -> TokenInfo | None:
        """Return the token's scopes; None if HubSpot does not state them."""
        token = self._token.text
        try:
            if isinstance(self._token, OAuthToken):
                return self._token.info()
            return self._info_of(token)
        except (AccessDeniedError, ContractError):
            if token != self._token.text:
                # This request replaced the token, so the answer was about the old one.
                return self.token_info()
            log.info("tenant %s: HubSpot does not state this token's scopes", self.tenant_id)
            return None

    @cached_property
    def scopes(self) -> frozenset[str]:
        """The token's scopes, requested once; empty if HubSpot does not state them.

        Raises ScopeMissingError if the token can't read deals.
        """
        info = self.token_info()
        if info is None:
            # Not a private app's token: only reading shows whether it may read.
            self.transport.call("GET", f"{self._records_path('deals')}?limit=1", decode_page)
            return frozenset()
        if DEALS_READ_SCOPE not in info.scopes:
            raise ScopeMissingError([DEALS_READ_SCOPE], tenant_id=self.tenant_id)
        self._sensitive_scopes = frozenset(filter(endpoints.is_sensitive_scope, info.scopes))
        return frozenset(info.scopes)

    def readable_sensitivities(self, scope_name: str) -> list[str]:
        """Return the kinds of sensitive properties that the token may read."""
        return [
            kind for kind in SENSITIVITIES if self.scopes & set(sensitive_scopes(scope_name, kind))
        ]

    # Reference data

    def property_definitions(
        self, object_type: str, data_sensitivity: str | None = None, *, archived: bool = False
    ) -> list[PropertyDefinition]:
        """List an object's properties: the live non-sensitive ones unless asked otherwise."""
        query = {"archived": "true"} if archived else {}
        if data_sensitivity:
            query["dataSensitivity"] = data_sensitivity
        path = f"{endpoints.crm_path('properties', self.api_version)}/{object_type}{_query(query)}"
        return self.transport.call("GET", path, decode_definitions)

    def pipelines(self, object_type: str) -> list[Pipeline]:
        path = f"{endpoints.crm_path('pipelines', self.api_version)}/{object_type}"
        return self._get(path, Listed[Pipeline]).results

    def owners(self, *, archived: bool) -> Iterator[Owner]:
        """Yield the live owners of records, or the archived ones."""
        path = endpoints.crm_path("owners", self.api_version)
        return self._each(path, Listed[Owner], {"archived": str(archived).lower()})

    def users(self) -> Iterator[User]:
        """Yield the account's users, including those that are not owners."""
        return self._each(endpoints.users_path(self.api_version), Listed[User], {})

    def teams(self) -> list[Team]:
        return self._get(endpoints.users_path(self.api_version, "/teams"), Listed[Team]).results

    def roles(self) -> list[Role]:
        return self._get(endpoints.users_path(self.api_version, "/roles"), Listed[Role]).results

    def _each(self, path: str, shape: type[Any], query: dict[str, str]) -> Iterator[Any]:
        """Yield the items of all pages of a list."""
        guard = CursorGuard(path)
        query = {"limit": "100", **query}
        while True:
            page = self._get(path + _query(query), shape)
            yield from page.results
            after = guard.next(page.after, [item.id for item in page.results])
            if after is None:
                return
            query["after"] = after

    # Records

    def record_page(
        self, object_type: str, properties: Sequence[str], after: str | None, *, archived: bool
    ) -> ListedPage:
        """Read the page of live or archived records at the cursor *after*; None: the first one.

        If the properties do not fit into a URL, the page is listed without them and then read by
        id: two requests instead of one. docs/api-integration.md#many-properties
        """
        by_id = requests_a_page(properties) > 1
        # Encoded by hand: `requests` encodes commas as %2C, which makes the URL a third longer.
        query = f"limit={endpoints.LIST_PAGE_SIZE}&archived={str(archived).lower()}"
        if properties and not by_id:
            query += f"&properties={quote(','.join(properties), safe=',')}"
        if after is not None:
            query += f"&after={quote(after, safe='')}"
        path = f"{self._records_path(object_type)}?{query}"
        page = self.transport.call("GET", path, decode_page)
        ids, next_cursor = [record.id for record in page.results], page.after
        if by_id and ids:
            page = self.read_batch(object_type, ids, properties, archived=archived)
        else:
            self._complete(page, object_type, properties, archived=archived)
        return ListedPage(ids, next_cursor, page)

    def read_batch(
        self, object_type: str, ids: Sequence[str], properties: Sequence[str], *, archived: bool
    ) -> Page:
        """Read up to 100 records by id, as they are now.

        Ids that HubSpot reports as not found are left out. A merged record is returned under the id
        of its survivor. Raises HubSpotUnavailableError if the answers lack other ids.
        """
        page, missing = self._batch(
            self._batch_path(object_type, archived=archived),
            _inputs(ids),
            decode_page,
            lambda page: _found_by(ids, page),
            properties=list(properties),
        )
        if missing:
            reasons = [
                f"with the error {problem.category} {problem.message[:200]!r}"
                for problem in page.errors
                if not problem.is_not_found
            ]
            raise HubSpotUnavailableError(
                f"HubSpot left out {len(missing)} of {len(ids)} {object_type} of a batch, "
                f"{reasons[0] if reasons else 'without a reason'}.",
                remedy="If this continues, look at HubSpot's status page.",
            )
        self._complete(page, object_type, properties, archived=archived)
        return page

    def read_history(
        self, object_type: str, ids: Sequence[str], properties: Sequence[str]
    ) -> HistoryPage:
        """Read the earlier values of some properties of up to 50 live records.

        ``unanswered`` of the page: the ids that the answers lack, and that HubSpot does not report
        as not found.
        """
        page, unanswered = self._batch(
            self._batch_path(object_type),
            _inputs(ids),
            decode_history,
            _histories_in,
            properties=["hs_object_id"],
            propertiesWithHistory=list(properties),
        )
        page.unanswered = unanswered
        # results with an invalid id belong to no record
        page.results = [history for history in page.results if history.id.isdecimal()]
        return page

    def _batch(
        self,
        path: str,
        inputs: Sequence[dict[str, str]],
        decode: Callable[[bytes], _BatchPage],
        answered: Callable[[_BatchPage], set[str]],
        **asked: list[str],
    ) -> tuple[_BatchPage, list[str]]:
        """Read a batch, and missing records again; return the page and the ids still missing."""

        def ask(ids: Collection[str]) -> _BatchPage:
            body = {"inputs": [entry for entry in inputs if entry["id"] in ids], **asked}
            return self.transport.call("POST", path, decode, json=body)

        page = ask({entry["id"] for entry in inputs})
        missing = unexplained((entry["id"] for entry in inputs), answered(page), page.errors)
        for attempt in range(1, BATCH_TRIES):
            if not missing:
                break
            pause_s = backoff_s(attempt)
            log.warning(
                "tenant %s: the answer to POST %s lacks %d records; requesting them again in "
                "%.1f s",
                self.tenant_id,
                path.partition("?")[0],
                len(missing),
                pause_s,
            )
            self.transport.sleep(pause_s)
            again = ask(missing)
            page.results += again.results
            page.errors = again.errors
            page.repairs.add(again.repairs)
            missing = unexplained(missing, answered(page), again.errors)
        return page, missing

    def _complete(
        self, page: Page, object_type: str, properties: Sequence[str], *, archived: bool
    ) -> None:
        """Fill in `archived`, and read records again that came without properties."""
        bare = dict.fromkeys(record.id for record in page.results if record.is_bare)
        if bare:
            again, _ = self._batch(
                self._batch_path(object_type, archived=archived),
                _inputs(bare),
                decode_page,
                lambda page: {record.id for record in page.results},
                properties=list(properties),
            )
            page.repairs.add(again.repairs)
            whole = {record.id: record for record in again.results if not record.is_bare}
            page.results = [
                whole.get(record.id, record) if record.is_bare else record
                for record in page.results
            ]
        for record in page.results:
            if record.archived is None:
                record.archived = archived
            if record.is_bare:
                record.empty()

    def search(
        self,
        object_type: str,
        filters: Sequence[dict[str, Any]],
        limit: int,
        *,
        descending: bool = False,
    ) -> SearchPage:
        """Return the ids of the first *limit* records, by ascending id, that pass all filters.

        Only ids, because search may return an old state of a record.
        """
        direction = "DESCENDING" if descending else "ASCENDING"
        body = {
            "filterGroups": [{"filters": list(filters)}] if filters else [],
            "sorts": [{"propertyName": "hs_object_id", "direction": direction}],
            "properties": ["hs_object_id"],
            "limit": limit,
        }
        path = f"{self._records_path(object_type)}/search"
        return self.transport.call(
            "POST", path, decoder_of(SearchPage), json=body, also=self._searches
        )

    def associations(
        self, from_type: str, to_type: str, ids: Sequence[str]
    ) -> tuple[list[AssociationResult], set[str]]:
        """Return the associations of up to 1,000 records, and the ids without an answer.

        A record with many associations has several results. One that HubSpot reports as having no
        associations has none, and is not among the ids without an answer.
        """
        path = endpoints.associations_path(self.api_version, from_type, to_type)
        guard = CursorGuard(path)
        results: list[AssociationResult] = []
        unanswered: set[str] = set()
        inputs = _inputs(ids)
        while inputs:
            page, missing = self._batch(
                path,
                inputs,
                decoder_of(AssociationPage),
                lambda page: {str(result.source.id) for result in page.results},
            )
            results += page.results
            unanswered.update(missing)
            # next: records with another page
            inputs = []
            for result in page.results:
                source, cursor = str(result.source.id), result.after
                if cursor is not None:
                    targets = (str(target.to_object_id) for target in result.to)
                    guard.next(f"{source} {cursor}", [source, *targets] if result.to else [])
                    inputs.append({"id": source, "after": cursor})
        return results, unanswered

    def _require_same_access(self, token: str) -> None:
        """Refuse a new token of another account, or one that hides values which the old one shows.

        Rows of two accounts would be mixed. Sensitive values are left out of HubSpot's answers,
        without an error, if the token lacks their scope.
        """
        path = endpoints.account_path(self.api_version)
        account = self.transport.call("GET", path, decoder_of(Account), token=token)
        found = account.portal_id
        if self._portal_id not in (None, found):
            raise PortalMismatchError(
                f"the token was replaced by one of HubSpot account {found} while a scan of account "
                f"{self._portal_id} was running. Nothing of the other account was read.",
                remedy="Put a token of the right account into its connection.",
            )
        # a refresh of an OAuth app's token keeps its scopes
        if self._sensitive_scopes and not self._token.oauth:
            try:
                scopes = self._info_of(token, sent=token).scopes
            except (AccessDeniedError, ContractError):
                scopes = []
            if lost := sorted(self._sensitive_scopes.difference(scopes)):
                raise ScopeMissingError(lost, tenant_id=self.tenant_id)

    def _records_path(self, object_type: str) -> str:
        return endpoints.records_path(self.api_version, object_type)

    def _batch_path(self, object_type: str, *, archived: bool = False) -> str:
        return f"{self._records_path(object_type)}/batch/read?archived={str(archived).lower()}"

    def _info_of(self, token: str, *, sent: str | None = None) -> TokenInfo:
        path, asked = endpoints.TOKEN_INFO_PATH, {"tokenKey": token}
        return self.transport.call("POST", path, decoder_of(TokenInfo), json=asked, token=sent)

    def _get(self, path: str, shape: type[_T]) -> _T:
        return self.transport.call("GET", path, decoder_of(shape))


def _inputs(ids: Iterable[str]) -> list[dict[str, str]]:
    return [{"id": record_id} for record_id in ids]


class _Merged(msgspec.Struct):
    hs_merged_object_ids: Any = None


def _found_by(asked: Sequence[str], page: Page) -> set[str]:
    """Return the ids of a batch's results, and of the records that were merged into them."""
    found = {record.id for record in page.results}
    if found.issuperset(asked):
        return found
    for record in page.results:
        if not record.is_bare:
            merged = msgspec.json.decode(record.properties, type=_Merged).hs_merged_object_ids
            found.update(part.strip() for part in str(merged or "").split(";"))
    return found


def _histories_in(page: HistoryPage) -> set[str]:
    """Return the ids with a history. A record that is returned twice without one has none."""
    times = Counter(history.id for history in page.results)
    return {
        history.id
        for history in page.results
        if history.properties_with_history is not None or times[history.id] > 1
    }


def requests_a_page(properties: Sequence[str]) -> int:
    """Return how many requests a page of a list takes with these properties."""
    return 2 if len(",".join(properties)) > endpoints.URL_PROPERTIES_MAX_CHARS else 1


def _query(parameters: dict[str, str]) -> str:
    return "?" + urlencode(parameters, quote_via=quote) if parameters else ""
