"""Replay: decide again from what a record holds, and compare byte for byte.

A decision is a function of its demand, the fleet, the terms and the time. A record holds all four,
so the same engine must come to the same bytes; another engine may not, and then no claim is made.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from scheduler.ledger.errors import LedgerCorruptError
from scheduler.ledger.fleet import read_fleet
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import Record
from scheduler.model.canonical import canonical
from scheduler.model.decision import ENGINE_VERSION, Decision, decision_bytes
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import ScarcityPrice, Terms
from scheduler.placement.choose import choose
from scheduler.placement.fleet.fleet import Fleet

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What deciding again came to.

    Attributes:
        same: whether the bytes are equal; None when this program cannot tell, see `sentence`.
        sentence: the answer for people.
        recorded: the recorded decision.
        again: the decision made now; None when none could be made.
    """

    same: bool | None
    sentence: str
    recorded: Decision | None = None
    again: Decision | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a decision stood on, read back from its record.

    Attributes:
        demand: what was asked.
        terms: prices and limits.
        fleet: all sites as they were.
        decision: what was decided.
    """

    demand: Demand
    terms: Terms
    fleet: Fleet
    decision: Decision


def recorded_case(reader: LedgerReader, record: Record) -> Recorded:
    """Reads a decision's record and the fleet that it refers to.

    Raises:
        LedgerCorruptError: the record or its fleet cannot be read.
    """
    content = record.content
    return Recorded(
        demand=_read(record, "demand", content.get("demand"), Demand),
        terms=_terms(reader, record),
        fleet=_fleet(reader, record),
        decision=_read(record, "decision", content.get("decision"), Decision),
    )


def replay(reader: LedgerReader, record: Record) -> Replayed:
    """Decides again from a record.

    Args:
        reader: the ledger, for the fleet that the record refers to.
        record: of a decision.

    Raises:
        LedgerCorruptError: the record or its fleet cannot be read.
    """
    content = record.content
    if "decision" not in content:
        why = "prices only" if "solver" in content else "the workload was not accepted"
        return Replayed(None, f"{record.id} is a {record.kind}: {why}, nothing was decided")
    engine = _engine_of(content["decision"])
    if engine != ENGINE_VERSION:  # before it is read: another engine may know other fields
        return Replayed(
            None,
            f"{record.id} was decided by engine {engine}, and this program has engine"
            f" {ENGINE_VERSION}: replay it with the Kapok that decided it",
        )
    recorded = _read(record, "decision", content["decision"], Decision)
    case = recorded_case(reader, record)
    again = choose(case.demand, case.fleet, now=recorded.decided_at, terms=case.terms)
    same = decision_bytes(again) == canonical(content["decision"])
    said = "the same, byte for byte" if same else f"another one: {again.line}"
    return Replayed(same, f"{record.id} decided again: {said}", recorded, again)


_FIRST_ENGINE = "1"
"""Of decisions that do not name their engine."""


def _engine_of(decision: Any) -> str:  # noqa: ANN401 - JSON
    """What is no decision at all is for the reading to refuse."""
    return (
        str(decision.get("engine", _FIRST_ENGINE)) if isinstance(decision, dict) else ENGINE_VERSION
    )


def _terms(reader: LedgerReader, record: Record) -> Terms:
    terms = _read(record, "terms", record.content.get("terms"), Terms)
    if not terms.scarcity_version or terms.scarcity:
        return terms
    listed = reader.blob(terms.scarcity_version)
    prices = _read(record, "scarcity prices", listed, tuple[ScarcityPrice, ...])
    return msgspec.structs.replace(terms, scarcity=prices)


def _fleet(reader: LedgerReader, record: Record) -> Fleet:
    fleet = Fleet()
    for name, facts in read_fleet(str(record.content.get("fleet")), reader.blob).items():
        fleet.upsert(_read(record, f"fleet.{name}", facts, SiteFacts))
    return fleet


def _read(record: Record, what: str, value: Any, kind: type[_T]) -> _T:  # noqa: ANN401 - JSON
    try:
        return msgspec.json.decode(msgspec.json.encode(value), type=kind)
    except msgspec.ValidationError as error:
        raise LedgerCorruptError(f"record {record.id}: {what}: {error}") from error
