"""`RunningAnswers`: what the page asks of a running scheduler, answered off the event loop.

What reads the hub's objects runs on the loop in small steps; what decides or reads the ledger runs
on a thread, one question of a kind at a time, on values that do not change.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from scheduler.control.ports.hub import HubError, Object
from scheduler.inquiry.explanation import (
    SitePage,
    changes_as_json,
    explain_page,
)
from scheduler.inquiry.history import history_page
from scheduler.inquiry.recorded import ExplainedDecision, NothingToExplain, read_recorded
from scheduler.inquiry.room import MAX_MOVES, find_room, lose_site, shape_demand
from scheduler.inquiry.spend import DayMeter, Spending, spend_as_json, spending_of
from scheduler.inquiry.versus import compare_two_sites, compare_with_site
from scheduler.ledger.errors import LedgerError
from scheduler.ledger.pages import VisibleNames, without_other_names
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.storage.places import LedgerPlace
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.workload import Workload
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock
from scheduler.web.answers.source import (
    Answer,
    FitQuestion,
    LedgerUnreadable,
    NothingThere,
    QuestionRefused,
    TooManyQuestions,
    WhyQuestion,
)
from scheduler.web.snapshot import StateSnapshot

MAX_WAITING_QUESTIONS: Final = 8
"""So many questions wait for their turn; one more is refused."""
_METER_SECONDS: Final = 60.0
_DEMANDS_PER_STEP: Final = 50
_MAX_EVENTS: Final = 200
_MAX_CHOSEN: Final = 8
_KEPT_SECONDS: Final = 10.0
_MAX_KEPT: Final = 3
"""A fleet of 1,000 sites is some tens of megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerInputs:
    """What the answers are about.

    Attributes:
        place: where the ledger is.
        take_snapshot: takes a snapshot; called on the event loop.
        terms: gives the terms of the next decision.
        demands_at: the demands of the workloads with replicas at a site; each step resolves one, on
            the event loop.
        read_events: reads the Events of a namespace about an object of this name, as JSON.
        clock: for the meter.
    """

    place: LedgerPlace
    take_snapshot: Callable[[], StateSnapshot]
    terms: Callable[[], Terms]
    demands_at: Callable[[str], Iterable[Demand]]
    read_events: "ReadEvents"
    clock: Clock


class ReadEvents(Protocol):
    """Reads Kubernetes Events."""

    async def __call__(self, namespace: str, name: str, limit: int) -> list[Object]:
        """At most `limit` Events about an object of this namespace and name.

        Raises:
            HubError: the hub does not answer.
        """
        ...


@dataclass(slots=True)
class _Turn:
    """One question at a time, and few that wait."""

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _waiting: int = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Waits for the turn.

        Raises:
            TooManyQuestions: too many wait already.
        """
        if self._waiting >= MAX_WAITING_QUESTIONS:
            raise TooManyQuestions(
                f"{MAX_WAITING_QUESTIONS} questions are being answered; ask again in some seconds"
            )
        self._waiting += 1
        try:
            async with self._lock:
                yield
        finally:
            self._waiting -= 1


class RunningAnswers:
    """Implements `scheduler.web.answers.source.AnswerSource`.

    Args:
        inputs: what the answers are about.
    """

    def __init__(self, inputs: AnswerInputs) -> None:
        self._inputs = inputs
        self._why, self._engine, self._ledger = _Turn(), _Turn(), _Turn()
        self._meter, self._metering = DayMeter(), asyncio.Lock()
        self._fleet: tuple[list[Any], Fleet] | None = None
        self._decisions = _RecentDecisions(inputs.place, inputs.clock)

    async def explain(self, question: WhyQuestion) -> Answer:
        """The verdicts and costs of a recorded decision, site by site."""
        async with self._why.taken():
            return await asyncio.to_thread(_explain, self._decisions, question)

    async def changes(self, workload: str) -> Answer:
        """The smallest changes after which a workload that waits would be placed."""
        async with self._why.taken():
            return await asyncio.to_thread(_changes, self._decisions, workload)

    async def history(self, workload: str, before: int, limit: int) -> Answer:
        """What was decided about a workload, the newest first."""
        async with self._ledger.taken():
            return await asyncio.to_thread(_history, self._inputs.place, workload, before, limit)

    async def events(self, workload: Workload) -> Answer:
        """The Kubernetes Events about a workload, the newest first."""
        meta = workload.metadata
        try:
            found = await self._inputs.read_events(meta.namespace, meta.name, _MAX_EVENTS)
        except HubError as error:
            raise LedgerUnreadable(f"the hub does not answer: {error}") from error
        rows = [_event_row(one) for one in found]
        return {"events": sorted(rows, key=lambda row: row["lastSeen"] or "", reverse=True)}

    async def fits(self, question: FitQuestion) -> Answer:
        """Where pods of a shape fit now."""
        try:
            demand = shape_demand(question.requests, question.replicas, question.data_class)
        except ValueError as error:
            raise QuestionRefused(str(error)) from error
        async with self._engine.taken():
            snapshot, terms = self._inputs.take_snapshot(), self._inputs.terms()

            def answer() -> Answer:
                fleet = self._fleet_of(snapshot)
                return find_room(demand, fleet, now=snapshot.at, terms=terms, limit=question.limit)

            return await asyncio.to_thread(answer) | {"now": snapshot.at}

    async def lost_with(self, site: str) -> Answer:
        """What becomes of the workloads at a site if it is lost now."""
        async with self._engine.taken():
            snapshot, terms = self._inputs.take_snapshot(), self._inputs.terms()
            if all(one.name != site for one in snapshot.facts):
                names = ", ".join(one.name for one in snapshot.facts[:8]) or "none"
                raise NothingThere(f"there is no site {site}; sites: {names}")
            demands: list[Demand] = []
            for count, demand in enumerate(self._inputs.demands_at(site), start=1):
                demands.append(demand)
                if count % _DEMANDS_PER_STEP == 0:
                    await self._inputs.clock.sleep(0)
                if count > 10 * MAX_MOVES:
                    raise QuestionRefused(f"{site} runs more than {10 * MAX_MOVES} workloads")
            answer = await asyncio.to_thread(
                lose_site, site, snapshot.facts, demands, now=snapshot.at, terms=terms
            )
            return answer | {"now": snapshot.at}

    async def spend(self, snapshot: StateSnapshot) -> Answer:
        """Power, carbon and cost now and today, by tenant and site."""
        spending = await self._read_spending(snapshot)
        terms = self._inputs.terms()
        return await asyncio.to_thread(spend_as_json, snapshot, spending, self._meter, terms)

    async def run_meter(self) -> None:
        """Reads what placed work spends each minute; runs until cancelled."""
        while True:
            await self._read_spending(self._inputs.take_snapshot())
            await self._inputs.clock.sleep(_METER_SECONDS)

    async def _read_spending(self, snapshot: StateSnapshot) -> Spending:
        async with self._metering:
            found = await asyncio.to_thread(spending_of, snapshot, self._inputs.terms())
            self._meter.read(found)
            return found

    def _fleet_of(self, snapshot: StateSnapshot) -> Fleet:
        """A fleet of its own, brought up to date by the sites that changed."""
        if self._fleet is None:
            self._fleet = (snapshot.facts, Fleet(snapshot.facts))
            return self._fleet[1]
        before, fleet = self._fleet
        known = {one.name: one for one in before}
        for facts in snapshot.facts:
            if known.pop(facts.name, None) is not facts:
                fleet.upsert(facts)
        for name in known:
            fleet.remove(name)
        self._fleet = (snapshot.facts, fleet)
        return fleet


class _TenantsReader(LedgerReader):
    """Reads blobs without the names of other tenants' workloads in flight."""

    namespace = ""

    def blob(self, digest: str) -> Any:  # noqa: ANN401 - any JSON value
        """The JSON value under this digest, as who may read one namespace may see it."""
        return without_other_names(super().blob(digest), VisibleNames(self.namespace))


class _RecentDecisions:
    """Decisions with their fleets, kept for the pages that a reader asks one after the other.

    One thread at a time.
    """

    def __init__(self, place: LedgerPlace, clock: Clock) -> None:
        self._place, self._clock = place, clock
        self._kept: dict[WhyQuestion, tuple[float, ExplainedDecision]] = {}

    def find(self, workload: str, decision: str, *, sees_all: bool) -> ExplainedDecision:
        """The newest decision about a workload, or the one of an id; it is at most seconds old.

        Raises:
            NothingThere: there is none.
            LedgerUnreadable: the ledger cannot be read.
        """
        key = WhyQuestion(workload=workload, decision=decision, sees_all=sees_all)
        now = self._clock.monotonic()
        known = self._kept.get(key)
        if known is not None and now - known[0] < _KEPT_SECONDS:
            return known[1]
        found = self._read(key)
        while len(self._kept) >= _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept.pop(key, None)
        self._kept[key] = (now, found)
        return found

    def _read(self, key: WhyQuestion) -> ExplainedDecision:
        try:
            with (LedgerReader if key.sees_all else _TenantsReader)(self._place) as reader:
                if isinstance(reader, _TenantsReader):
                    reader.namespace = key.workload.partition("/")[0]
                return read_recorded(reader, key.workload, key.decision or None)
        except NothingToExplain as error:
            raise NothingThere(str(error)) from error
        except LedgerError as error:
            raise LedgerUnreadable(f"the ledger cannot be read: {error}") from error


def _explain(decisions: _RecentDecisions, question: WhyQuestion) -> Answer:
    explained = decisions.find(question.workload, question.decision, sees_all=question.sees_all)
    page = SitePage(
        offset=question.offset,
        limit=question.limit,
        search=question.search,
        also=_compared(question.versus, explained),
    )
    answer = explain_page(explained, page)
    also = {site["name"]: site for site in answer.pop("also")}
    if len(question.versus) == 2:  # noqa: PLR2004 - a pair
        one, other = (also[name] for name in question.versus)
        return answer | {"versus": compare_two_sites(one, other)}
    if question.versus:
        whole = answer | {"sites": list(also.values())}
        compared = compare_with_site(whole, question.versus[0], explained.demand)
        return answer | {"versus": compared["versus"]}
    return answer


def _compared(names: tuple[str, ...], explained: ExplainedDecision) -> tuple[str, ...]:
    """The sites to compare; for one site also those that were chosen, the first by name.

    Raises:
        NothingThere: the decision knew no site of this name.
    """
    unknown = next((name for name in names if name not in explained.fleet.slot_of), None)
    if unknown is not None:
        raise NothingThere(f"the decision knew no site {unknown}")
    if len(names) != 1 or explained.decision is None:
        return names
    chosen = [one.site for one in explained.decision.assignment if one.site not in names]
    return (*names, *chosen[:_MAX_CHOSEN])


def _changes(decisions: _RecentDecisions, workload: str) -> Answer:
    explained = decisions.find(workload, "", sees_all=True)
    return {"workload": workload, "smallestChange": changes_as_json(explained)}


def _history(place: LedgerPlace, workload: str, before: int, limit: int) -> Answer:
    try:
        with LedgerReader(place) as reader:
            return history_page(reader, workload, before, limit)
    except LedgerError as error:
        raise LedgerUnreadable(f"the ledger cannot be read: {error}") from error


def _event_row(event: Object) -> dict[str, Any]:
    series = event.get("series") or {}
    return {
        "type": event.get("type"),
        "reason": event.get("reason"),
        "message": event.get("message") or event.get("note"),
        "count": series.get("count") or event.get("count") or 1,
        "firstSeen": event.get("firstTimestamp") or event.get("eventTime"),
        "lastSeen": series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime"),
    }
