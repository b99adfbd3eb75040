"""Ways to change one answer of HubSpot, generated from the answer itself.

Each mutation is one change: of a field, of a page, of the body as a whole, of the status or of a
header. Pure: `mutations_of` takes a recorded answer and returns what can become of it.
"""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from include.hubspot import answers
from tests.hubspot_simulator.errors import HTML, JSON, Answer, error

HUGE_TEXT = "x" * 65_536
STATUSES = (400, 401, 403, 404, 409, 423, 429, 477, 500, 502)
#: Keys under which a record's own values are: what HubSpot says there can't be proved wrong.
DATA_KEYS = ("properties", "propertiesWithHistory")
#: What the product goes by. Any other value is one that HubSpot alone knows.
STRUCTURE = frozenset(
    {
        *("results", "paging", "next", "after", "total", "id", "from", "to", "associationTypes"),
        *("errors", "context", "ids", "fromObjectId", "portalId", "hubId", "scopes"),
    }
)
#: What the product reads: of everything else two mutations are enough to show that it is not read.
READ = frozenset(
    field.encode_name
    for shape in vars(answers).values()
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct)
    for field in msgspec.structs.fields(shape)
)
#: Parts of an answer that say nothing about the account.
IRRELEVANT = ("startedAt", "completedAt", "requestedAt", "link", "correlationId")


@dataclass(frozen=True)
class Mutation:
    """One change. ``kind``: field, page, body, status or header.

    ``is_data``: it changes a value that HubSpot alone knows. A scan stores what it was sent; only
    reading the record again can show another value. ``alters_list``: an item of a list is missing,
    has the id of another one, or is none of the account's; only a list that HubSpot also counts can
    show that.
    """

    name: str
    kind: str
    change: Callable[[Answer], Answer]
    is_data: bool = False
    alters_list: bool = False


def mutations_of(answer: Answer) -> Iterator[Mutation]:
    """Return every mutation of one recorded answer."""
    document = json.loads(answer.body)
    for path, value in _nodes(document):
        name = "/".join(map(str, path))
        is_data = _is_data(path)
        is_item = len(path) == 2 and path[0] == "results"
        # how many associations a record has, and of which types, is HubSpot's word, too
        is_association = "to" in path and isinstance(path[-1], int)
        remove = _edit(path, _remove)
        yield Mutation(f"{name} missing", "field", remove, is_data or is_association, is_item)
        is_read = path[-1] in READ or isinstance(path[-1], int) or "context" in path
        for what, other in _others(value) if is_read else [("as a list", _become([]))]:
            none = path[-1] == "to" and what == "empty"
            alters_list = (path == ("results",) and what == "empty") or path == ("results", 0, "id")
            change = _edit(path, _put(other))
            yield Mutation(f"{name} {what}", "field", change, is_data or none, alters_list)
    yield from _pages(document)
    yield from _bodies()
    yield from _statuses()
    yield from _headers()


def _is_data(path: tuple[Any, ...]) -> bool:
    names = [key for key in path if isinstance(key, str)]
    return any(key in DATA_KEYS for key in names[:-1]) or not STRUCTURE.issuperset(names)


def _nodes(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Return each node with its path; of a list the first one, of values two and the id."""
    if path:
        yield path, document
    if isinstance(document, dict):
        keys = [key for key in document if key not in IRRELEVANT]
        if path and path[-1] in DATA_KEYS:
            keys = sorted({*keys[:2], *(key for key in keys if key == "hs_object_id")})
        for key in keys:
            yield from _nodes(document[key], (*path, key))
    elif isinstance(document, list) and document:
        yield from _nodes(document[0], (*path, 0))


def _others(value: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Return what may stand in the place of a value: null, another type, nothing, too much."""
    for name, other in _constants(value):
        yield name, _become(other)
    if isinstance(value, list) and value:
        # of what the answer holds then, which may have changed since this one was recorded
        yield "doubled", lambda items: items + items
        yield "huge", lambda items: items * 30


def _constants(value: Any) -> Iterator[tuple[str, Any]]:
    yield "null", None
    if isinstance(value, bool):
        yield from (("as text", "yes"), ("turned", not value), ("as a list", []))
    elif isinstance(value, int | float):
        yield from (("as text", str(value)), ("negative", -1), ("huge", 10**30), ("a float", 1.5))
        yield from (("as an object", {}), ("zero", 0))
        yield from (("beyond an integer", 2**31), ("beyond a bigint", 2**63))
    elif isinstance(value, str):
        yield from (("a number", 7), ("empty", ""), ("huge", HUGE_TEXT), ("as a list", [value]))
        yield from (("as an object", {}), ("true", True), ("unprintable", "\x00\x1b\u2028\ud800"))
        if value.isdecimal():
            yield from (("as a huge number", "9" * 30), ("beyond a bigint", str(2**63)))
    elif isinstance(value, list):
        yield from (("empty", []), ("as an object", {}), ("as text", "none"))
        if value:
            yield "of nulls", [None]
    elif isinstance(value, dict):
        yield from (("empty", {}), ("as a list", []), ("as text", "none"))


def _become(value: Any) -> Callable[[Any], Any]:
    return lambda _: copy.deepcopy(value)


def _edit(path: tuple[Any, ...], do: Callable[[Any, Any], None]) -> Callable[[Answer], Answer]:
    def change(document: Any) -> Any:
        *way, last = path
        node = document
        try:
            for key in way:
                node = node[key]
            do(node, last)
        except (KeyError, IndexError, TypeError):
            pass  # this answer has no such node: it stays as it is
        return document

    return _on_document(change)


def _remove(node: Any, key: Any) -> None:
    del node[key]


def _put(other: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    def put(node: Any, key: Any) -> None:
        node[key] = other(node[key])

    return put


def _on_document(change: Callable[[Any], Any]) -> Callable[[Answer], Answer]:
    def changed(answer: Answer) -> Answer:
        if answer.status not in (200, 207):
            return answer
        document = change(json.loads(answer.body))
        return replace(answer, body=json.dumps(document).encode("utf-8", "surrogatepass"))

    return changed


def _pages(document: Any) -> Iterator[Mutation]:
    if not isinstance(document, dict) or not isinstance(document.get("results"), list):
        return
    sent: list[list[Any]] = []

    def page(
        name: str, change: Callable[[dict[str, Any]], object], *, alters_list: bool = False
    ) -> Mutation:
        def changed(whole: Any) -> Any:
            change(whole)
            return whole

        return Mutation(name, "page", _on_document(changed), alters_list=alters_list)

    def repeat(whole: dict[str, Any]) -> None:
        sent.append(whole["results"])
        whole["results"] = sent[-2] if len(sent) > 1 else whole["results"]

    def lead_to(after: Callable[[], str]) -> Callable[[dict[str, Any]], None]:
        return lambda whole: whole.update(paging={"next": {"after": after()}})

    counter = iter(range(10**9))
    for name, part in (
        ("a page without its first record", slice(0, 1)),
        ("a page without its last record", slice(-1, None)),
        ("half a page", slice(0, max(1, len(document["results"]) // 2))),
    ):
        yield page(name, lambda whole, part=part: _drop(whole, part), alters_list=True)
    yield page("a page in reverse", lambda whole: whole["results"].reverse())
    yield page("the page before again", repeat)
    yield page("the last page", lambda whole: whole.pop("paging", None), alters_list=True)
    yield page("an empty page that leads on", _empty_that_leads_on, alters_list=True)
    yield page("a cursor that leads to itself", lead_to(lambda: "7"))
    yield page("a cursor that leads nowhere", lead_to(lambda: "no such cursor"))
    yield page("ever new cursors", lead_to(lambda: str(next(counter))))
    foreign = {"id": "424242"}
    yield page("a foreign record", lambda w: w["results"].append(foreign), alters_list=True)
    if "total" in document:
        yield page("nothing found", lambda whole: whole.update(total=0, results=[]))
        yield page("the total of this page", lambda w: w.update(total=len(w["results"])))
    if "errors" in document:
        yield page("no errors", lambda whole: whole.pop("errors", None))
        yield page("another category", _another_category)


def _drop(whole: dict[str, Any], part: slice) -> None:
    del whole["results"][part]


def _empty_that_leads_on(whole: dict[str, Any]) -> None:
    whole["results"] = []
    if "paging" not in whole:
        whole["paging"] = {"next": {"after": "1"}}


def _another_category(whole: dict[str, Any]) -> None:
    for problem in whole.get("errors", []):
        problem["category"] = "INTERNAL_ERROR"


def _bodies() -> Iterator[Mutation]:
    def body(name: str, make: Callable[[bytes], bytes]) -> Mutation:
        return Mutation(name, "body", lambda answer: replace(answer, body=make(answer.body)))

    yield body("an empty body", lambda _: b"")
    yield body("half a body", lambda sent: sent[: len(sent) // 2])
    yield body("null", lambda _: b"null")
    yield body("an empty list", lambda _: b"[]")
    yield body("an empty object", lambda _: b"{}")
    yield body("text", lambda _: b'"ok"')
    yield body("HTML", lambda _: b"<html><body>Just a moment...</body></html>")
    yield body("a byte order mark", lambda sent: b"\xef\xbb\xbf" + sent)
    yield body("bytes that are no UTF-8", lambda sent: sent.replace(b'":"', b'":"\xff', 1))
    yield body("deeply nested", lambda _: b"[" * 100_000 + b"]" * 100_000)
    yield body("not a number", lambda sent: sent.replace(b'"id"', b'"n":NaN,"id"', 1))
    yield body(
        "a key twice", lambda sent: sent.replace(b'{"results"', b'{"results":[],"results"', 1)
    )


def _statuses() -> Iterator[Mutation]:
    for status in STATUSES:
        yield Mutation(f"{status} in JSON", "status", lambda _, s=status: _refused(s))
        yield Mutation(f"{status} in HTML", "status", lambda _, s=status: _edge(s))
    yield Mutation(
        "429 of the day",
        "status",
        lambda _: Answer(
            429, b'{"policyName":"DAILY","message":"You have reached your daily limit."}'
        ),
    )
    yield Mutation("204 without a body", "status", lambda _: Answer(204, b""))
    yield Mutation(
        "302 to a login page",
        "status",
        lambda _: Answer(302, b"", HTML, {"Location": "https://login.example/"}),
    )
    for context in ("text", ["list"], {"requiredScopes": "text"}, {"requiredGranularScopes": None}):
        yield Mutation(
            f"403 with the context {context!r}",
            "status",
            lambda _, c=context: error(403, "FORBIDDEN", "No.", context=c, errors=c).answer,
        )


def _refused(status: int) -> Answer:
    return error(status, "SOME_CATEGORY", f"This is a {status}.").answer


def _edge(status: int) -> Answer:
    return Answer(status, b"<html><body>A page of a proxy</body></html>", HTML)


def _headers() -> Iterator[Mutation]:
    def header(name: str, value: str, status: int | None = None) -> Mutation:
        def changed(answer: Answer) -> Answer:
            given = answer if status is None else _refused(status)
            return replace(given, headers={**given.headers, name: value})

        return Mutation(f"{name}: {value}" + (f" ({status})" if status else ""), "header", changed)

    for value in (
        "yesterday",
        "",
        "Sat, 28 Nov 2026 18:00:00 -0000",
        "Mon, 01 Jan 0001 00:00:00 GMT",
    ):
        yield header("Date", value)
    for value in ("-1", "0", "1e400", "nan", "soon", "31536000", "Sat, 28 Nov 2099 18:00:00 -0000"):
        yield header("Retry-After", value, 429)
        yield header("Retry-After", value, 477)
    for name in ("Max", "Remaining", "Interval-Milliseconds", "Daily", "Daily-Remaining"):
        for value in ("0", "-5", "many", str(2**31), "9" * 20):
            yield header(f"X-HubSpot-RateLimit-{name}", value)
    yield header("Content-Type", JSON.replace("utf-8", "latin-1"))
    yield header("Content-Encoding", "gzip")
