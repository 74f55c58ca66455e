"""What happened to a workload, from its records in the ledger: placed, moved, replaced, refused.

A record says what was decided; what it changed follows from the decision in force before it.
`kapok history` shows one entry for each record, the page groups them (`history.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from scheduler.ledger.reader import RecordSource
from scheduler.ledger.record import NOT_CARRIED_OUT_KIND, Record, undone_ids
from scheduler.ledger.recorder import DELETION_KIND

Event = Literal[
    "Placed",
    "Moved",
    "FailedOver",
    "Ended",
    "Scaled",
    "Kept",
    "Planned",
    "Waiting",
    "Refused",
    "NotAccepted",
    "NotCarriedOut",
    "Deleted",
    "Other",
]
"""What a record brought about; the help of `kapok history` explains each."""
_PAGE: Final = 256
_OF_KIND: Final[Mapping[str, Event]] = {
    "refusal": "NotAccepted",
    DELETION_KIND: "Deleted",
    NOT_CARRIED_OUT_KIND: "NotCarriedOut",
}

Shares = Mapping[str, int]
"""Replicas by site."""


def read_records(source: RecordSource, subject: str, most: int) -> tuple[list[Record], bool]:
    """The records about a workload, oldest first, and whether there are more than `most`."""
    found: list[Record] = []
    while page := source.records(found[-1].seq if found else 0, _PAGE, subject=subject):
        found += page
        if len(found) > most:
            return found[:most], True
    return found, False


def timeline(records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """One entry for each record, oldest first.

    Args:
        records: all records about one workload, oldest first.
    """
    undone = undone_ids(records)
    before: Shares = {}
    for record in records:
        is_undone = record.id in undone
        entry = _entry(record, before, is_undone=is_undone)
        yield entry
        decision = record.content.get("decision")
        if record.kind == DELETION_KIND:
            before = {}
        elif isinstance(decision, Mapping) and not is_undone:
            before = shares_of(decision)


def shares_of(decision: Mapping[str, Any]) -> dict[str, int]:
    """The replicas by site of a recorded decision."""
    listed = decision.get("assignment") or ()
    return {str(one["site"]): int(one["replicas"]) for one in listed if one.get("replicas")}


def _entry(record: Record, before: Shares, *, is_undone: bool) -> dict[str, Any]:
    decision = record.content.get("decision")
    entry: dict[str, Any] = {"id": record.id, "at": record.at, "carriedOut": not is_undone}
    if not isinstance(decision, Mapping):
        return entry | {
            "event": event_of(record, before),
            "phase": None,
            "line": _line_of(record),
            "reasons": {},
        }
    after = shares_of(decision)
    gained, left = change_of(before, after)
    return entry | {
        "event": event_of(record, before),
        "phase": decision.get("phase"),
        "from": _listed(left),
        "to": _listed(gained),
        "sites": _listed(after),
        "replicas": sum(after.values()),
        "reasons": dict(decision.get("reasons") or {}),
        "line": str(decision.get("line", "")),
        "why": why_left(decision, left),
        "cost": dict(decision.get("cost") or {}),
    }


def _line_of(record: Record) -> str:
    refusal = record.content.get("refusal")
    if isinstance(refusal, Mapping):
        return f"{refusal.get('reason', '')}: {refusal.get('message', '')}"
    return str(record.content.get("line", record.kind))


def change_of(before: Shares, after: Shares) -> tuple[dict[str, int], dict[str, int]]:
    """The replicas that each site got, and those that each lost."""
    gained = {site: n - before.get(site, 0) for site, n in after.items() if n > before.get(site, 0)}
    left = {site: n - after.get(site, 0) for site, n in before.items() if n > after.get(site, 0)}
    return gained, left


def event_of(record: Record, before: Shares) -> Event:
    """What a record brought about.

    Args:
        record: the record.
        before: the replicas of the decision in force before it.
    """
    decision = record.content.get("decision")
    if not isinstance(decision, Mapping):
        return _OF_KIND.get(record.kind, "Other")
    after = shares_of(decision)
    if before == after:
        return _event_without_change(decision, after)
    left = {site for site, count in before.items() if count > after.get(site, 0)}
    if left & _evicted_sites(record.content.get("demand")):
        return "FailedOver"
    if left & set(decision.get("ended") or ()):
        return "Ended"
    if not before:
        return "Placed"
    return "Scaled" if before.keys() == after.keys() or not left or not after else "Moved"


def _event_without_change(decision: Mapping[str, Any], after: Shares) -> Event:
    if decision.get("startAt"):
        return "Planned"
    phase = decision.get("phase")
    waits = phase in ("Waiting", "Refused") and not after
    return ("Waiting" if phase == "Waiting" else "Refused") if waits else "Kept"


def _evicted_sites(demand: object) -> set[str]:
    """Sites whose replicas were to be replaced, by failover, a drain or an operator."""
    if not isinstance(demand, Mapping):
        return set()
    unready = (one.get("site") for one in demand.get("unready") or () if isinstance(one, Mapping))
    return {str(site) for site in (*(demand.get("evicted") or ()), *unready) if site}


def why_left(decision: Mapping[str, Any], left: Shares) -> dict[str, str]:
    """Why replicas ended, by site, as far as the decision says so."""
    said = {**(decision.get("violations") or {}), **(decision.get("endedBy") or {})}
    return {site: str(said[site]) for site in left if site in said}


def _listed(shares: Shares) -> list[dict[str, Any]]:
    return [{"name": name, "replicas": count} for name, count in sorted(shares.items())]
