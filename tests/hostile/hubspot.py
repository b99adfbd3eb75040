"""`python -m tests.hostile.hubspot`: each answer of HubSpot is changed, one at a time.

An account is scanned, changes, and is scanned again; in that scan one answer, or every answer of an
endpoint from some moment on, is another one than the account would give. What may come of it:

- the warehouse equals the account, or
- the scan says what is missing (a warning, a check, or an error with a remedy), and the next scan,
  which gets good answers, makes the warehouse equal to the account.

What must not: a scan that never ends, more requests than MOST_REQUESTS, an exception of a library,
a value that PostgreSQL does not accept, or a scan that says nothing and is wrong.
"""

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from include.errors import HubSpotDealsError, LoadError
from include.hubspot import endpoints, search
from include.hubspot.client import HubSpotClient
from include.ops.local.demo_servers import connections
from include.ops.local.postgres import EmbeddedPostgres
from include.pipeline import associations, history
from include.pipeline.check_quality import check_quality
from include.pipeline.extract_deals import extract_deals
from include.pipeline.read import reader
from include.pipeline.validate_token import validate_token
from include.scan import Scan
from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate
from tests.chaos.facts import Facts
from tests.chaos.holdings import Holdings
from tests.hostile.mutations import Mutation, mutations_of
from tests.hubspot_simulator import Fault, HubSpotSimulator, Portal, portals
from tests.hubspot_simulator.errors import Answer
from tests.support.databases import WITHOUT_DURABILITY, make_logins_cheap
from tests.support.scans import query, scan, scan_row

MOST_REQUESTS = 1_500
MOST_SECONDS = 60
#: Of one account: each case leaves merged records and histories, which the next scans read again.
MOST_SCANS = 100
#: Endpoint → the queries that make different lists of it, and the scans that read these.
ENDPOINTS: dict[str, dict[str, tuple[str, ...]]] = {
    "account": {"": ("incremental",)},
    "token_info": {"": ("incremental",)},
    "pipelines": {"": ("incremental",)},
    "owners": {"archived=false": ("incremental",), "archived=true": ("full",)},
    "users": {"": ("incremental",)},
    "teams": {"": ("full",)},
    "roles": {"": ("full",)},
    "properties": {"^$": ("incremental",), "archived=true": ("full",)},
    "properties:contacts": {"^$": ("full",)},
    "search": {"": ("incremental", "full")},
    "search:contacts": {"": ("incremental",)},
    "list": {"archived=false": ("full",), "archived=true": ("incremental", "full")},
    "list:contacts": {"archived=false": ("full",), "archived=true": ("incremental",)},
    "batch_read": {"archived=false": ("incremental", "full"), "archived=true": ("full",)},
    "batch_read:contacts": {"archived=false": ("incremental",)},
    "associations": {"": ("incremental",)},
}
#: HubSpot counts these nowhere: what a list of them leaves out or adds, no client can see.
UNCOUNTED = {"owners", "users", "teams", "roles", "pipelines", "properties", "properties:contacts"}
HISTORIES = ("amount", "dealstage")
SETTINGS: dict[str, Any] = {
    "search_lag_s": 0,
    "checkpoint_pages": 20,
    "objects": {"contacts": True, "deal_property_history": list(HISTORIES)},
}
MODES = ("incremental", "full")


class Where(NamedTuple):
    """Requests of one kind in one kind of scan. ``nth``: the first one that is meant."""

    mode: str
    endpoint: str
    query: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.mode}: {self.endpoint} {self.query} #{self.nth}"


class Case(NamedTuple):
    """``always``: every such answer from the nth on is changed, not one alone."""

    where: Where
    mutation: Mutation
    always: bool

    @property
    def is_hubspots_word(self) -> bool:
        """Whether no client could tell that the answer is wrong."""
        alters_list = self.mutation.alters_list and self.where.endpoint in UNCOUNTED
        return self.mutation.is_data or alters_list

    def part_of(self, parts: int) -> int:
        """Return the part that tries this case, the same for each recording.

        Recordings differ by a few pages, so neither the number of an answer nor the case's place in
        the list decides.
        """
        case = self._replace(where=self.where._replace(nth=0))
        return zlib.crc32(str(case).encode()) % parts + 1

    def rank(self, seed: int) -> int:
        """Return a number that orders the cases of each recording alike, so that --skip resumes.

        Except for cases of a middle or last answer whose number differs.
        """
        return zlib.crc32(f"{seed} {self}".encode())

    def __str__(self) -> str:
        return f"{self.where}{' and all after it' if self.always else ''}: {self.mutation.name}"


@dataclass
class Findings:
    """What came of the cases. ``wrong``: case → why it must not be so."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        tried = sum(self.outcomes.values())
        counts = ", ".join(f"{count} {name}" for name, count in self.outcomes.most_common())
        return f"{tried} mutations: {counts}; {len(self.wrong)} wrong"


def _account() -> Portal:
    portal = portals.generated(deals=14, archived=5, associations=True, requests_per_window=10**6)
    portal.quota.searches_per_second = None
    # five records a page, so that each list has several
    portal.short_pages_by = 95
    portal.add_object("contacts", count=12, archived=3)
    return portal


class Hostile:
    """One account and what the warehouse holds of it; each case leaves both equal, or new."""

    def __init__(self, warehouse: Warehouse, connect: Callable[[str, str, str], None]) -> None:
        self._warehouse = warehouse
        self._connect = connect
        self._number = 0
        self._stack = ExitStack()
        self._rng = random.Random(1)
        self._begin()

    def close(self) -> None:
        self._stack.close()

    def record(self) -> Iterator[tuple[Where, Answer]]:
        """Scan in each mode, and return the first, a middle and the last answer of each kind."""
        for mode in MODES:
            self._change_the_account()
            came: dict[Where, list[Answer]] = {}
            for endpoint, queries in ENDPOINTS.items():
                for asked, modes in queries.items():
                    if mode not in modes:
                        continue
                    where = Where(mode, endpoint, asked)
                    came[where] = []
                    self._fault(where, None, _keeping(came[where]))
            self._scan(mode)
            self.portal.faults.clear()
            unknown = {name for name in self.portal.requests if name not in ENDPOINTS}
            assert not unknown, f"the net knows nothing of {unknown}"
            for where, answers in came.items():
                middle_and_last = {(len(answers) + 1) // 2, len(answers)}
                for nth in sorted({1, *middle_and_last} if answers else ()):
                    yield where._replace(nth=nth), answers[nth - 1]

    def judge(self, case: Case) -> tuple[str, str | None]:
        """Run a case, and return what came of it, and why that is wrong."""
        self._change_the_account()
        before = sum(self.portal.requests.values())
        started = time.monotonic()
        self._fault(case.where, None if case.always else 1, case.mutation.change)
        what, wrong, said = self._scan(case.where.mode)
        self.portal.faults.clear()
        requests = sum(self.portal.requests.values()) - before
        if requests > MOST_REQUESTS:
            wrong = f"{requests} requests"
        if time.monotonic() - started > MOST_SECONDS:
            wrong = f"{time.monotonic() - started:.0f} s"
        difference = self._difference("the scan said nothing, and") if wrong is None else None
        if difference and what == "succeeded" and not said and not case.is_hubspots_word:
            wrong = difference
        if wrong is None and difference:
            # histories are read again with their records, or by a scan that writes all rows again
            _, wrong, _ = self._scan("rewrite" if case.is_hubspots_word else "incremental")
            wrong = wrong or self._difference("after a good scan", case.is_hubspots_word)
        still_differs = bool(difference and self._difference("still"))
        if wrong is not None or still_differs or self._scans > MOST_SCANS:
            self._begin()
        return f"{what} and said so" if what == "succeeded" and said else what, wrong

    def _begin(self) -> None:
        self._stack.close()
        self._number += 1
        self.portal = _account()
        simulator = self._stack.enter_context(HubSpotSimulator([self.portal]))
        self._tenant = f"hostile{self._number}"
        self._connect(self._tenant, simulator.base_url, self.portal.tokens[0].text)
        self._scans = 0
        _, wrong, _ = self._scan("full")
        wrong = wrong or self._difference("after the first scan")
        assert wrong is None, wrong

    def _scan(self, mode: str) -> tuple[str, str | None, bool]:
        """Return how a scan ended, what is wrong with that, and whether it said something."""
        self._scans += 1
        rewrite = mode == "rewrite"
        asked = scan(
            f"manual__{self._scans}", self._tenant, "full" if rewrite else mode, **SETTINGS
        )
        what = replace(asked, rewrite_rows=rewrite)
        try:
            validate_token(what)
            extract_deals(what, what.tenant.checkpoint_pages)
            check_quality(what)
        except LoadError as exc:
            return "LoadError", f"every value must fit, but: {exc}", True
        except HubSpotDealsError as exc:
            return type(exc).__name__, None if exc.remedy else f"{exc!r} has no remedy", True
        except Exception:  # noqa: BLE001 - each one is a finding
            return "crashed", traceback.format_exc(limit=-4), False
        return "succeeded", None, self._said(what)

    def _said(self, what: Scan) -> bool:
        warned = query(
            self._warehouse,
            "select check_name from quality_results where scan_id = %s and status = 'warned'",
            what.id,
        )
        return bool(warned or scan_row(self._warehouse, what)["warnings"])

    def _fault(self, where: Where, count: int | None, change: Callable[[Answer], Answer]) -> None:
        self.portal.add_fault(
            Fault(
                "rewritten",
                endpoint=where.endpoint,
                query=where.query,
                nth=where.nth,
                count=count,
                rewrite=change,
            )
        )

    def _change_the_account(self) -> None:
        portal, rng = self.portal, self._rng
        live = portal.live_ids()
        for deal_id in rng.sample(live, 6):
            portal.update(deal_id, amount=str(rng.randint(1, 10**6)), dealname="changed")
        portal.create(dealname="new")
        # Not the new one: of a deal that is created and archived between two scans, only the list
        # of archived deals knows, which has no total. If it leaves the deal out once, no client
        # can see that; the next scan that reads the list loads it.
        portal.archive(rng.choice(live))
        portal.restore(rng.choice(portal.archived_ids()))
        if len(portal.live_ids()) > 20:
            portal.merge(*rng.sample(portal.live_ids(), 2))
        if len(portal.archived_ids()) > 4:
            portal.purge(rng.choice(portal.archived_ids()))
        portal.associate(rng.choice(portal.live_ids()), "contacts", rng.randint(1, 10**6))
        contacts = portal.objects["contacts"]
        for contact_id in rng.sample(contacts.live_ids(), 3):
            contacts.update(contact_id, firstname=f"name {rng.randint(1, 10**6)}")
        portal.owners[0]["firstName"] = f"Owner {rng.randint(1, 10**6)}"
        portal.users[0]["firstName"] = f"User {rng.randint(1, 10**6)}"
        portal.teams[0]["name"] = f"Team {rng.randint(1, 10**6)}"
        portal.roles[0]["name"] = f"Role {rng.randint(1, 10**6)}"
        portal.pipelines[0]["stages"][0]["label"] = f"Stage {rng.randint(1, 10**6)}"

    def _difference(self, when: str, also_past: bool = False) -> str | None:
        """Return what is not as in the account.

        :param also_past: values that HubSpot sent once may stay in histories, which scans only add
            to.
        """
        held, facts = Holdings(self._warehouse, self._tenant), Facts(self.portal)
        compared = {
            "deals": (held.values(""), facts.values("")),
            "associations": (held.associations(), facts.associations()),
            "histories": (held.histories(), facts.histories(HISTORIES)),
            "merges": (held.merged(), facts.survivors(held.merged(), held.known())),
            "contacts": (self._contacts(), _contacts_of(self.portal)),
            # owners that HubSpot does not list any more stay
            "owners": (self._owners() & _owners_of(self.portal), _owners_of(self.portal)),
            "users": (self._users(), _users_of(self.portal)),
            "stages": (self._stages(), _stages_of(self.portal)),
        }
        if also_past:
            has, true = compared["histories"]
            held_values = {(record_id, name): values for record_id, name, values in has}
            complete = {row for row in true if _is_part(row[2], held_values.get(row[:2], ()))}
            compared["histories"] = (complete, true)
        for name, (has, true) in compared.items():
            if has != true:
                lacks, extra = (sorted(rows, key=repr)[:3] for rows in (true - has, has - true))
                return f"{when} of {name} it lacks {lacks} and has {extra}"
        return None

    def _rows(self, statement: str) -> set[tuple[Any, ...]]:
        return {tuple(row.values()) for row in query(self._warehouse, statement, self._tenant)}

    def _contacts(self) -> set[tuple[Any, ...]]:
        rows = self._rows(
            "select record_id, archived, properties::text from records where _tenant_id = %s"
            " and object = 'contacts' and vanished_at is null"
        )
        return {(i, archived, _sorted(json.loads(text))) for i, archived, text in rows}

    def _owners(self) -> set[tuple[Any, ...]]:
        return self._rows(
            "select owner_id, coalesce(first_name, ''), archived from owners where _tenant_id = %s"
        )

    def _users(self) -> set[tuple[Any, ...]]:
        return self._rows(
            "with tenant as (select %s::text as id) select 'user', user_id::text, first_name"
            " from users join tenant on _tenant_id = tenant.id where listed"
            " union all select 'team', team_id::text, name"
            " from teams join tenant on _tenant_id = tenant.id where listed"
            " union all select 'role', role_id::text, name"
            " from roles join tenant on _tenant_id = tenant.id where listed"
        )

    def _stages(self) -> set[tuple[Any, ...]]:
        return self._rows(
            "select pipeline_id, stage_id, stage_label from pipeline_stages"
            " where _tenant_id = %s and listed"
        )


def _keeping(answers: list[Answer]) -> Callable[[Answer], Answer]:
    def keep(answer: Answer) -> Answer:
        answers.append(answer)
        return answer

    return keep


def _sorted(properties: dict[str, Any]) -> str:
    return json.dumps({k: v for k, v in properties.items() if v is not None}, sort_keys=True)


def _contacts_of(portal: Portal) -> set[tuple[Any, ...]]:
    return {
        (int(record["id"]), record["archived"], _sorted(record["properties"]))
        for record in portal.objects["contacts"].truth()
    }


def _owners_of(portal: Portal) -> set[tuple[Any, ...]]:
    owners = [*portal.owners, *portal.archived_owners]
    return {(owner["id"], owner["firstName"], owner["archived"]) for owner in owners}


def _users_of(portal: Portal) -> set[tuple[Any, ...]]:
    return {
        *(("user", user["id"], user["firstName"]) for user in portal.users),
        *(("team", team["id"], team["name"]) for team in portal.teams),
        *(("role", role["id"], role["name"]) for role in portal.roles),
    }


def _stages_of(portal: Portal) -> set[tuple[Any, ...]]:
    return {
        (pipeline["id"], stage["id"], stage["label"])
        for pipeline in portal.pipelines
        for stage in pipeline["stages"]
    }


def cases(recorded: Iterator[tuple[Where, Answer]]) -> list[Case]:
    """Return all cases: fields of first answers, everything else at the first, middle and last."""
    found = []
    for where, answer in recorded:
        for always in (True, False):
            # Anew for each case: some mutations keep the answers that they have changed.
            for mutation in mutations_of(answer):
                if mutation.kind in ("field", "header", "body") and where.nth > 1:
                    continue
                # what HubSpot alone knows, and headers, come to the same
                if always or not (mutation.is_data or mutation.kind == "header"):
                    found.append(Case(where, mutation, always))
    return found


def _is_part(values: Iterable[str], of: Iterable[str]) -> bool:
    """Return whether *of* has these values in this order, maybe with others between them."""
    others = iter(of)
    return all(value in others for value in values)


@contextmanager
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pauses, no limit of searches, and small pages, so that few records make several."""
    monkeypatch.setitem(HubSpotClient.__init__.__kwdefaults__, "sleep", lambda _: None)  # type: ignore[index]
    monkeypatch.setattr(endpoints, "SEARCHES_PER_S", 10_000)
    monkeypatch.setattr(search, "SEARCH_PAGE_SIZE", 3)
    monkeypatch.setattr(reader, "READ_BATCH_SIZE", 3)
    monkeypatch.setattr(history, "HISTORY_BATCH_SIZE", 4)
    monkeypatch.setattr(associations, "ASSOCIATIONS_BATCH_SIZE", 5)
    yield


def try_cases(
    hostile: Hostile, chosen: list[Case], say: Callable[[str], object], seconds: float | None = None
) -> Findings:
    findings, until = Findings(), time.monotonic() + (seconds or float("inf"))
    for number, case in enumerate(chosen, start=1):
        if time.monotonic() > until:
            break
        outcome, wrong = hostile.judge(case)
        findings.outcomes[outcome] += 1
        if wrong is not None:
            findings.wrong[str(case)] = wrong
            say(f"WRONG {case}\n    {wrong}")
        if number % 100 == 0:
            say(f"{number} of {len(chosen)}: {findings}")
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(prog="hostile.hubspot", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, help="of a random sample; by default all are tried"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose description holds this")
    parser.add_argument("--part", default="1/1", help="2/3: the second third, for three processes")
    parser.add_argument("--skip", type=int, default=0, help="this many, tried by an earlier run")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    directory = Path(tempfile.mkdtemp(prefix="hubspot_deals_hostile_"))
    os.environ["AIRFLOW_HOME"] = str(directory / "airflow")
    server = EmbeddedPostgres(directory / "postgres", WITHOUT_DURABILITY)
    with pytest.MonkeyPatch.context() as monkeypatch, quick(monkeypatch):
        try:
            server.start()
            make_logins_cheap(server)
            warehouse = Warehouse.from_url(server.dsn("warehouse"))
            os.environ["DATABASE_URL"] = server.dsn("warehouse")
            migrate(warehouse)
            hostile = Hostile(warehouse, connect_in(os.environ.__setitem__))
            chosen = [c for c in cases(hostile.record()) if arguments.only in str(c)]
            chosen.sort(key=lambda case: case.rank(arguments.seed))
            part, parts = map(int, arguments.part.split("/"))
            chosen = [c for c in chosen if c.part_of(parts) == part][arguments.skip :]
            say(f"{len(chosen)} cases, seed {arguments.seed}")
            seconds = arguments.minutes and arguments.minutes * 60
            findings = try_cases(hostile, chosen, say, seconds)
            hostile.close()
        finally:
            server.remove()
    say(str(findings))
    sys.exit(bool(findings.wrong))


def connect_in(set_variable: Callable[[str, str], None]) -> Callable[[str, str, str], None]:
    """Return what gives a tenant its connection, as a variable of the environment."""

    def connect(tenant_id: str, base_url: str, token: str) -> None:
        for name, value in connections(base_url, [tenant_id], {tenant_id: token}).items():
            set_variable(name, value)

    return connect


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
