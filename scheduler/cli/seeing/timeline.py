"""What happened to a workload, from its records in the ledger: placed, moved, replaced, refused.

A record says what was decided; what it changed follows from the decision in force before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from scheduler.ledger.reader import RecordSource
from scheduler.ledger.record import NOT_CARRIED_OUT_KIND, Record, undone_ids

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
_SHOWN_SITES: Final = 6
_OF_KIND: Final[Mapping[str, Event]] = {
    "refusal": "NotAccepted",
    "deletion": "Deleted",
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
        if record.kind == "deletion":
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
        event = _OF_KIND.get(record.kind, "Other")
        return entry | {"event": event, "phase": None, "line": _line_of(record), "reasons": {}}
    after = shares_of(decision)
    gained = {site: n - before.get(site, 0) for site, n in after.items() if n > before.get(site, 0)}
    left = {site: n - after.get(site, 0) for site, n in before.items() if n > after.get(site, 0)}
    return entry | {
        "event": _event_of(record, decision, before, after),
        "phase": decision.get("phase"),
        "from": _listed(left),
        "to": _listed(gained),
        "sites": _listed(after),
        "replicas": sum(after.values()),
        "reasons": dict(decision.get("reasons") or {}),
        "line": str(decision.get("line", "")),
        "why": _why(decision, left),
        "cost": dict(decision.get("cost") or {}),
    }


def _line_of(record: Record) -> str:
    refusal = record.content.get("refusal")
    if isinstance(refusal, Mapping):
        return f"{refusal.get('reason', '')}: {refusal.get('message', '')}"
    return str(record.content.get("line", record.kind))


def _event_of(record: Record, decision: Mapping[str, Any], before: Shares, after: Shares) -> Event:
    phase = decision.get("phase")
    if before == after:
        if decision.get("startAt"):
            return "Planned"
        waits = phase in ("Waiting", "Refused") and not after
        return ("Waiting" if phase == "Waiting" else "Refused") if waits else "Kept"
    left = {site for site, count in before.items() if count > after.get(site, 0)}
    if left & _evicted_sites(record.content.get("demand")):
        return "FailedOver"
    if left & set(decision.get("ended") or ()):
        return "Ended"
    if not before:
        return "Placed"
    return "Scaled" if before.keys() == after.keys() or not left or not after else "Moved"


def _evicted_sites(demand: object) -> set[str]:
    """Sites whose replicas were to be replaced, by failover, a drain or an operator."""
    if not isinstance(demand, Mapping):
        return set()
    unready = (one.get("site") for one in demand.get("unready") or () if isinstance(one, Mapping))
    return {str(site) for site in (*(demand.get("evicted") or ()), *unready) if site}


def _why(decision: Mapping[str, Any], left: Shares) -> dict[str, str]:
    """Why replicas ended, by site, as far as the decision says so."""
    said = {**(decision.get("violations") or {}), **(decision.get("endedBy") or {})}
    return {site: str(said[site]) for site in left if site in said}


def _listed(shares: Shares) -> list[dict[str, Any]]:
    return [{"name": name, "replicas": count} for name, count in sorted(shares.items())]


def format_shares(shares: Sequence[Mapping[str, Any]] | None) -> str:
    """Sites and replicas for people: `m1 (2), m2 (1)`."""
    listed = [f"{one['name']} ({one['replicas']})" for one in shares or ()]
    more = len(listed) - _SHOWN_SITES
    return ", ".join(listed[:_SHOWN_SITES] + ([f"{more} more"] if more > 0 else []))


def format_at(text: object) -> str:
    """An instant for people, to the second: `2026-11-24 12:00:00Z`."""
    instant = str(text)
    zone = "Z" if instant.endswith(("+00:00", "Z")) else instant[-6:]
    return instant[:19].replace("T", " ") + zone
