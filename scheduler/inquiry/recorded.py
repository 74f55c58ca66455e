"""Recorded decisions with their inputs, as they are explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from scheduler.ledger.errors import RecordForbidden
from scheduler.ledger.reader import RecordSource, find_undoing, share_about
from scheduler.ledger.record import EVICTIONS_SUBJECT, REFERENCES, UNDOES, Record
from scheduler.ledger.replay import read_recorded_decision
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.preemption import RunningWork
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.fleet.fleet import Fleet

HELD_NOTE = "evictions are held at"
"""How the note begins that says why silent sites keep their replicas."""


class NothingToExplain(Exception):
    """There is no decision to explain; the message says where it was looked for."""


@dataclass(frozen=True, kw_only=True)
class ExplainedDecision:
    """A decision with its inputs.

    Attributes:
        key: namespace/name of the workload.
        record_id: ID of the ledger record; empty: decided offline.
        now: the time that the decision was made for.
        demand: what the workload asks, or why it was not accepted.
        decision: None for a workload that was not accepted.
        fleet: the sites as the decision saw them.
        terms: settings and prices of the decision.
        notes: what the decision left out.
        spec: of the workload, as it was decided; None: it is not known.
        references: what goes along, as recorded.
        others: what runs beside it.
    """

    key: str
    record_id: str
    now: datetime
    demand: Demand | NotAccepted
    decision: Decision | None
    fleet: Fleet
    terms: Terms
    notes: tuple[str, ...] = ()
    spec: WorkloadSpec | None = None
    references: Sequence[Mapping[str, str]] = ()
    others: Sequence[RunningWork] = ()


def read_recorded(reader: RecordSource, key: str, decision: str | None) -> ExplainedDecision:
    """The newest decision about a workload, or the one of an id, with what it knew.

    Args:
        reader: the ledger.
        key: "namespace/name" of the workload.
        decision: the id of a record; None: the newest.

    Raises:
        NothingToExplain: there is no such decision.
        LedgerCorruptError: it cannot be read.
    """
    record = _find_record(reader, key, decision)
    if record is None:
        raise NothingToExplain(
            f"the ledger holds no decision about {key}; `kapok get workloads` lists the "
            "workloads of the hub, and -f FILE decides offline"
        )
    if "refusal" in record.content:
        refusal = msgspec.convert(record.content["refusal"], NotAccepted)
        at = datetime.fromisoformat(record.at)
        return ExplainedDecision(
            key=key,
            record_id=record.id,
            now=at,
            demand=refusal,
            decision=None,
            fleet=Fleet(),
            terms=DEFAULT_TERMS,
        )
    if UNDOES in record.content:
        raise NothingToExplain(
            f"record {record.id} holds no decision: {record.content.get('line')}"
        )
    if "decision" not in record.content:
        raise NothingToExplain(
            f"{key} was deleted at {record.at}; `kapok ledger list --subject {key}` lists what"
            " was decided before"
        )
    recorded = read_recorded_decision(reader, record)
    undoing = find_undoing(reader, record)
    held = _held_note(reader, recorded.decision) if decision is None else ""
    spec = _recorded_spec(reader, record)
    line = str(undoing.content.get("line", "")) if undoing else ""
    notes = tuple(filter(None, (line, held)))
    return ExplainedDecision(
        key=key,
        record_id=record.id,
        now=recorded.decision.decided_at,
        demand=recorded.demand,
        decision=recorded.decision,
        fleet=recorded.fleet,
        terms=recorded.terms,
        notes=notes,
        spec=spec,
        references=record.content.get(REFERENCES, ()),
    )


def _recorded_spec(reader: RecordSource, record: Record) -> WorkloadSpec | None:
    digest = record.content.get("spec")
    if not digest:
        return None
    try:
        return msgspec.convert(reader.blob(str(digest)), WorkloadSpec)
    except msgspec.ValidationError:  # of another version; the decision itself can be read
        return None


def _held_note(reader: RecordSource, decision: Decision) -> str:
    """Why silent sites of the newest decision keep their replicas; "": no record says so.

    Who reads the records of some namespaces has no right to that one, and gets the decision alone.
    """
    try:
        record = reader.last_about(EVICTIONS_SUBJECT)
    except RecordForbidden:
        return ""
    if record is None or not (record.content.get("frozen") or record.content.get("held")):
        return ""
    silent = set(record.content.get("silent") or ())
    sites = ", ".join(one.site for one in decision.assignment if one.site in silent)
    if not sites:
        return ""
    return f"{HELD_NOTE} {sites}: {record.content.get('line', '')} ({record.id}, {record.at})"


def _find_record(reader: RecordSource, key: str, decision: str | None) -> Record | None:
    """The record to explain: that of `--decision`, else the newest one of the workload.

    Raises:
        NothingToExplain: the record does not exist or is about something else.
    """
    if decision is None:
        return reader.last_about(key)
    record = reader.find(decision)
    about = None if record is None else share_about(record, key)
    if about is None:
        what = "not found" if record is None else f"about {record.subject}, not about {key}"
        raise NothingToExplain(
            f"record {decision}: {what}; `kapok ledger list --workload {key}` lists its records"
        )
    return about
