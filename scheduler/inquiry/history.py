"""What was decided about a workload, and which replicas moved: a timeline from the ledger."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from scheduler.inquiry.timeline import change_of, event_of, shares_of, why_left
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import NOT_CARRIED_OUT_KIND, Record, undone_ids
from scheduler.ledger.recorder import DELETION_KIND

MAX_READ: Final = 400
"""So many records are read for one page; decisions that changed nothing are read and not shown."""
_MAX_SITES: Final = 40


def history_page(reader: LedgerReader, subject: str, before: int, limit: int) -> dict[str, Any]:
    """What happened to a workload, the newest first.

    Decisions in a row with the same placement and the same words are one entry, with how many there
    were. Each entry says what it changed: which sites got replicas, and which lost them.

    Args:
        reader: the ledger.
        subject: "namespace/name" of the workload.
        before: entries of records before this sequence; 0: from the newest.
        limit: the most entries.

    Returns:
        `entries`, and `next`, the `before` of the page that follows; null: there is none.
    """
    newest_first = reader.newest_first(subject, before=before or None)
    read = list(islice(newest_first, MAX_READ))
    entries = list(_entries(read))[: limit + 1]
    following = entries[limit]["lastSeq"] + 1 if len(entries) > limit else None
    if following is None and len(read) == MAX_READ:
        following = read[-1].seq
    return {"workload": subject, "entries": entries[:limit], "next": following}


def _entries(newest_first: list[Record]) -> Iterator[dict[str, Any]]:
    undone = undone_ids(newest_first)
    group: list[Record] = []
    for index, record in enumerate(newest_first):
        group.append(record)
        older = newest_first[index + 1] if index + 1 < len(newest_first) else None
        is_last = older is None or undone & {record.id, older.id}
        if older is not None and not is_last and _looks_same(record, older):
            continue
        before = _before(newest_first[index + 1 :], undone)
        if before is None and len(newest_first) < MAX_READ:
            before = {}  # nothing is older
        yield _entry(group, before, undone)
        group = []


def _looks_same(record: Record, older: Record) -> bool:
    decision, other = record.content.get("decision"), older.content.get("decision")
    if not isinstance(decision, Mapping) or not isinstance(other, Mapping):
        return False
    return all(decision.get(name) == other.get(name) for name in ("phase", "assignment", "line"))


def _before(older: list[Record], undone: set[str]) -> dict[str, int] | None:
    """Replicas by site of the decision in force before; None: there is none among these."""
    for record in older:
        if record.kind == DELETION_KIND:
            return {}
        if "decision" in record.content and record.id not in undone:
            return shares_of(record.content["decision"])
    return None


def _entry(group: list[Record], before: dict[str, int] | None, undone: set[str]) -> dict[str, Any]:
    """One entry of equal records; `group` is the newest first."""
    record = group[-1]
    content = record.content
    entry: dict[str, Any] = {
        "id": record.id,
        "seq": record.seq,
        "lastSeq": group[0].seq,
        "kind": record.kind,
        "event": event_of(record, before or {}),
        "at": record.at,
        "lastAt": group[0].at,
        "times": len(group),
        "carriedOut": record.kind != NOT_CARRIED_OUT_KIND and record.id not in undone,
    }
    decision = content.get("decision")
    if not isinstance(decision, Mapping):
        refusal = content.get("refusal")
        line = refusal.get("message") if isinstance(refusal, Mapping) else content.get("line")
        return entry | {"phase": None, "line": str(line or record.kind), "sites": []}
    now = shares_of(decision)
    gained, left = change_of(before or {}, now)
    return entry | {
        "phase": decision.get("phase"),
        "line": str(decision.get("line", "")),
        "reasons": decision.get("reasons") or {},
        "sites": _listed(now),
        "sitesLeftOut": max(0, len(now) - _MAX_SITES),
        "gained": _listed(gained) if before is not None else [],
        "left": _listed(left) if before is not None else [],
        "moved": bool(before is not None and gained and left),
        "why": why_left(decision, left),
        "cost": decision.get("cost") or {},
    }


def _listed(shares: Mapping[str, int]) -> list[dict[str, Any]]:
    ordered = sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"name": name, "replicas": count} for name, count in ordered[:_MAX_SITES]]
