"""Replay: repeats a recorded decision from its record, and compares byte for byte.

A decision is a function of its demand, the fleet, the terms and the time. A record holds all four,
so the same engine must give the same bytes. A record of an earlier engine is decided again too: an
equal decision, apart from texts, is proved; of another one, and of records that this engine cannot
read, replay says that it cannot compare.

Equal decisions of one record are made again in one step, as they were made: of a share, those up to
it, and it is compared; of a whole record all, and all are compared.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from scheduler.ledger.errors import LedgerCorruptError
from scheduler.ledger.fleet import read_fleet
from scheduler.ledger.reader import RecordSource
from scheduler.ledger.record import EQUAL_KIND, VICTIMS, Record, share_of
from scheduler.model.canonical import canonical_json, to_plain_json
from scheduler.model.decision import (
    ENGINE_VERSION,
    Decision,
    EqualDecisions,
    decision_bytes,
    expand,
)
from scheduler.model.demand.assignment import AssignedWorkload, BatchAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.preemption import POSSIBLE_VICTIMS, PossibleVictim
from scheduler.model.demand.terms import ScarcityPrice, Terms
from scheduler.placement.choose import choose
from scheduler.placement.equal_work import choose_equal
from scheduler.placement.fleet.fleet import Fleet

_T = TypeVar("_T")

EARLIER_ENGINES = frozenset({"3", "4", "5", "6"})
"""Engines whose records this one reads, and decides alike where no rule has changed since.

An equal decision, apart from texts, is proved by that. Another one proves nothing: a rule may have
changed. Review this with each new `ENGINE_VERSION`.
"""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The result of a replay.

    Attributes:
        is_same: whether the bytes are equal, apart from texts if the record is of an engine in
            `EARLIER_ENGINES`; None when they cannot be compared.
        sentence: the result in words, with the reason for None.
        recorded: the recorded decision.
        replayed: the decision made now; None when none could be made.
    """

    is_same: bool | None
    sentence: str
    recorded: Decision | None = None
    replayed: Decision | None = None


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A recorded decision with its inputs.

    Attributes:
        demand: the demand.
        terms: prices and limits.
        fleet: all sites as they were; for a share of a record, with the shares before it in flight.
        decision: the decision.
        assigned: where a batch put the workload, if the decision follows that.
    """

    demand: Demand
    terms: Terms
    fleet: Fleet
    decision: Decision
    assigned: BatchAssignment | None = None


def read_recorded_decision(reader: RecordSource, record: Record) -> RecordedDecision:
    """Reads a decision's record and the fleet that it refers to.

    Raises:
        LedgerCorruptError: the record or its fleet cannot be read.
    """
    content = record.content
    demand = _read_demand(reader, record)
    terms = _read_terms(reader, record)
    fleet = _read_recorded_fleet(reader, record)
    if record.index is not None:
        _decide_shares(reader, record, demand, fleet, record.index)
    return RecordedDecision(
        demand=demand,
        terms=terms,
        fleet=fleet,
        decision=_decode_value(record, "decision", content.get("decision"), Decision),
        assigned=_read_assignment(reader, record, demand.key),
    )


def replay(reader: RecordSource, record: Record) -> ReplayResult:
    """Repeats the decision of a record.

    Args:
        reader: the ledger, for the fleet that the record refers to.
        record: the record of a decision.

    Raises:
        LedgerCorruptError: the record or its fleet cannot be read.
    """
    content = record.content
    if record.kind == EQUAL_KIND:
        return _replay_all(reader, record)
    if "decision" not in content:
        article = "an" if record.kind[:1] in "aeiou" else "a"
        why = _why_no_decision(content)
        return ReplayResult(
            None, f"{record.id} is {article} {record.kind}: {why}, there is no decision to repeat"
        )
    engine = _engine_version_of(content["decision"])
    if engine != ENGINE_VERSION and engine not in EARLIER_ENGINES:
        # Before the decision is read: another engine may know other fields.
        return ReplayResult(None, _different_engine(record, engine, "cannot read it"))
    recorded = _decode_value(record, "decision", content["decision"], Decision)
    replayed = (
        _decide_again(reader, record, recorded)
        if record.index is None
        else _decide_share_again(reader, record, record.index)
    )
    same, answer = _compare(content["decision"], replayed, engine)
    if not same and engine != ENGINE_VERSION:
        return ReplayResult(None, _different_engine(record, engine, "decides otherwise"))
    return ReplayResult(same, f"{record.id} decided again: {answer}", recorded, replayed)


def _decide_again(reader: RecordSource, record: Record, recorded: Decision) -> Decision:
    inputs = read_recorded_decision(reader, record)
    return choose(
        inputs.demand,
        inputs.fleet,
        now=recorded.decided_at,
        terms=inputs.terms,
        assigned=inputs.assigned,
    )


def _decide_share_again(reader: RecordSource, record: Record, index: int) -> Decision:
    demand = _decode_value(record, "demand", record.content.get("demand"), Demand)
    fleet = _read_recorded_fleet(reader, record)
    return expand(_decide_shares(reader, record, demand, fleet, index + 1), index)


def _decide_shares(
    reader: RecordSource, record: Record, demand: Demand, fleet: Fleet, count: int
) -> EqualDecisions:
    """Decides the first shares of a record again; they are in flight in the fleet afterwards.

    Args:
        reader: the ledger, for limits and prices, and for a list that they follow.
        record: the record, or a share of it.
        demand: what each of them asks.
        fleet: the sites before all of them.
        count: how many are decided.
    """
    # A share shows the content of its own decision; what it shares with others is in the body.
    content = json.loads(record.body)["content"]
    decisions = _decode_value(record, "decisions", content.get("decisions"), EqualDecisions)
    if not decisions.outcomes:
        raise LedgerCorruptError(f"record {record.id}: it has no outcome")
    now = decisions.outcomes[0].decided_at
    subjects, terms = decisions.subjects[:count], _read_terms(reader, record)
    assigned = _read_assignments(reader, record, {one.workload for one in subjects})
    return choose_equal(demand, subjects, fleet, now=now, terms=terms, assigned=assigned)


def _replay_all(reader: RecordSource, record: Record) -> ReplayResult:
    """Repeats all decisions of a record; the first that differs is the one that is shown."""
    count = len(_share_subjects(record))
    outcomes = record.content["decisions"].get("outcomes") or [{}]
    engine = _engine_version_of(outcomes[0])
    if engine != ENGINE_VERSION and engine not in EARLIER_ENGINES:
        return ReplayResult(None, _different_engine(record, engine, "cannot read it"))
    demand = _decode_value(record, "demand", record.content.get("demand"), Demand)
    fleet = _read_recorded_fleet(reader, record)
    again = _decide_shares(reader, record, demand, fleet, count)
    for index in range(count):
        share = share_of(record, index)
        replayed = expand(again, index)
        same, answer = _compare(share.content["decision"], replayed, engine)
        if same:
            continue
        if engine != ENGINE_VERSION:
            return ReplayResult(None, _different_engine(record, engine, "decides otherwise"))
        recorded = _decode_value(record, "decision", share.content["decision"], Decision)
        sentence = f"{share.id} decided again: {answer}"
        return ReplayResult(same, sentence, recorded, replayed)
    sentence = f"{record.id} decided again: {count} decisions, each the same"
    return ReplayResult(is_same=True, sentence=sentence)


def _share_subjects(record: Record) -> list[str]:
    try:
        return record.share_subjects
    except ValueError as error:
        raise LedgerCorruptError(f"record {record.id}: {error}") from error


def _different_engine(record: Record, engine: str, what: str) -> str:
    return (
        f"{record.id} was decided by engine {engine}, and this program has engine"
        f" {ENGINE_VERSION}, which {what}: replay it with the version of Kapok that decided it"
    )


def _why_no_decision(content: Mapping[str, Any]) -> str:
    if "solver" in content:
        return "prices only"
    # A deletion, and what is recorded about the ledger itself, say in a line what happened.
    return str(content.get("line") or "the workload was not accepted")


def _compare(recorded: Mapping[str, Any], replayed: Decision, engine: str) -> tuple[bool, str]:
    """Whether a recorded decision (JSON) and its repetition are equal, and that in words."""
    if engine == ENGINE_VERSION:
        same = decision_bytes(replayed) == canonical_json(recorded)
        answer = "the same, byte for byte"
    else:
        same = without_texts(replayed) == without_texts(recorded)
        answer = f"the same; engine {engine} may have worded its texts differently"
    return same, answer if same else f"a different decision: {replayed.line}"


def without_texts(decision: Decision | Mapping[str, Any]) -> bytes:
    """The canonical JSON of a decision without its engine and what that engine words.

    The texts are the line, the notes, and what ended replicas; at which sites they ended stays.

    Args:
        decision: the decision, or its JSON as recorded.
    """
    plain: dict[str, Any] = to_plain_json(decision)
    kept = {name: value for name, value in plain.items() if name not in _TEXT_FIELDS}
    return canonical_json(kept | {_ENDED_BY: sorted(plain.get(_ENDED_BY, ()))})


_TEXT_FIELDS = frozenset({"line", "notes", "engine"})
_ENDED_BY = "endedBy"


_FIRST_ENGINE_VERSION = "1"
"""The engine of decisions that do not name theirs."""


def _engine_version_of(decision: Any) -> str:  # noqa: ANN401 - JSON
    """The engine of a decision; ours for a malformed one, which decoding then refuses."""
    return (
        str(decision.get("engine", _FIRST_ENGINE_VERSION))
        if isinstance(decision, dict)
        else ENGINE_VERSION
    )


def _read_demand(reader: RecordSource, record: Record) -> Demand:
    """The demand, with what could end for it; in the first records that had any it is inside."""
    demand = _decode_value(record, "demand", record.content.get("demand"), Demand)
    digest = record.content.get(VICTIMS)
    if not digest:
        return demand
    listed = reader.blob(str(digest))
    victims = listed.get(POSSIBLE_VICTIMS) if isinstance(listed, dict) else None
    found = _decode_value(record, VICTIMS, victims, tuple[PossibleVictim, ...])
    return msgspec.structs.replace(demand, victims=found)


def _read_terms(reader: RecordSource, record: Record) -> Terms:
    terms = _decode_value(record, "terms", record.content.get("terms"), Terms)
    if not terms.scarcity_version or terms.scarcity:
        return terms
    listed = reader.blob(terms.scarcity_version)
    prices = _decode_value(record, "scarcity prices", listed, tuple[ScarcityPrice, ...])
    return msgspec.structs.replace(terms, scarcity=prices)


def _read_assignment(reader: RecordSource, record: Record, workload: str) -> BatchAssignment | None:
    """What the batch or plan that a decision follows gave its workload; nothing is solved again."""
    found = _read_assignments(reader, record, {workload})
    return found[workload] if found else None


def _read_assignments(
    reader: RecordSource, record: Record, workloads: Collection[str]
) -> dict[str, BatchAssignment]:
    """The same for several workloads; empty: they follow none."""
    version = record.content.get("assignment")
    if not version:
        return {}
    listed = reader.blob(str(version))
    entries = _decode_value(record, "assignment", listed, tuple[AssignedWorkload, ...])
    loss = str(record.content.get("planOf", ""))
    found = {
        one.workload: BatchAssignment(version=str(version), sites=one.sites, loss=loss)
        for one in entries
        if one.workload in workloads
    }
    missing = next((one for one in sorted(workloads) if one not in found), None)
    if missing is not None:
        raise LedgerCorruptError(f"record {record.id}: {version} assigns nothing to {missing}")
    return found


def _read_recorded_fleet(reader: RecordSource, record: Record) -> Fleet:
    fleet = Fleet()
    for name, facts in read_fleet(str(record.content.get("fleet")), reader.blob).items():
        fleet.upsert(_decode_value(record, f"fleet.{name}", facts, SiteFacts))
    return fleet


def _decode_value(record: Record, label: str, value: Any, value_type: type[_T]) -> _T:  # noqa: ANN401 - JSON
    try:
        return msgspec.json.decode(msgspec.json.encode(value), type=value_type)
    except msgspec.ValidationError as error:
        raise LedgerCorruptError(f"record {record.id}: {label}: {error}") from error
