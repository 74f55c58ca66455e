"""What waits, for what, since when, what would wake it; and what tenants use of their quotas."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from scheduler.model.demand.facts import RESERVED_FOR_PREFIX
from scheduler.model.kinds.tenant import Tenant, quota_of
from scheduler.model.kinds.workload import Workload
from scheduler.model.quantities import CPU, MILLI_PER_UNIT, NotAQuantity, requests_of
from scheduler.model.reasons import REASONS, TRANSIENT_REASONS
from scheduler.placement.queue.order import wake_events_of
from scheduler.web.answers.table_rows import tenants_by_namespace
from scheduler.web.snapshot import StateSnapshot

MAX_WAITING: Final = 1000
_WAITING_PHASES: Final = frozenset({"Pending", "Waiting", "Refused"})


def queue_answer(snapshot: StateSnapshot, visible: Collection[str] | None) -> dict[str, Any]:
    """Unplaced workloads by priority and waiting time, by reason, and what is reserved for them.

    Args:
        snapshot: the state.
        visible: the namespaces that may be seen; None: all.
    """
    tenants = tenants_by_namespace(snapshot)
    waiting = [one for one in snapshot.workloads if _waits(one) and _is_seen(one, visible)]
    waiting.sort(key=_urgency)
    reserved = _reserved(snapshot)
    rows = [
        _waiting_row(one, snapshot, tenants.get(one.metadata.namespace, ""), reserved)
        for one in waiting[:MAX_WAITING]
    ]
    answer: dict[str, Any] = {
        "waiting": rows,
        "total": len(waiting),
        "byReason": _by_reason(waiting, snapshot),
        "reserved": [
            {"workload": name, "sites": sites}
            for name, sites in sorted(reserved.items())
            if visible is None or name.partition("/")[0] in visible
        ],
        "now": snapshot.at,
    }
    # The backlog is of all tenants, so only those who may see all of them see it.
    return answer | ({"depths": dict(snapshot.queue_depths)} if visible is None else {})


def tenant_shares(snapshot: StateSnapshot, visible: Collection[str] | None) -> dict[str, Any]:
    """What each tenant uses of its quota, borrows and lends, the largest share first.

    What a cohort lends is not lent by one tenant: each counts with its part of what is unused.

    Args:
        snapshot: the state.
        visible: the namespaces that may be seen; None: all. A tenant is shown if one of its
            namespaces is: its sums, and the names and workloads of these namespaces.
    """
    shares = {one.metadata.name: _Share(one, snapshot) for one in snapshot.tenants}
    lent = _lent(shares.values())
    counts = Counter[tuple[str, str]]()
    owner = tenants_by_namespace(snapshot)
    for workload in snapshot.workloads:
        name = owner.get(workload.metadata.namespace)
        if name and _is_seen(workload, visible):
            counts[name, workload.status.phase or "Pending"] += 1
    rows = [
        one.row(lent.get(name, {}), visible)
        | {"phases": {phase: n for (of, phase), n in sorted(counts.items()) if of == name}}
        for name, one in shares.items()
        if visible is None or not one.namespaces.isdisjoint(visible)
    ]
    rows.sort(key=lambda row: (-(row["share"] if row["share"] is not None else -1), row["name"]))
    return {"tenants": rows, "now": snapshot.at}


class _Share:
    """What one tenant uses; amounts in millicores for cpu, whole units for all else."""

    def __init__(self, tenant: Tenant, snapshot: StateSnapshot) -> None:
        self.tenant = tenant
        self.namespaces = frozenset(tenant.spec.namespaces)
        used = Counter[str]()
        for name in self.namespaces:
            used.update(snapshot.quota_used.get(name, {}))
        self.used = {name: amount for name, amount in used.items() if amount}
        self.problem = ""
        try:
            self.quota = quota_of(tenant)
        except NotAQuantity as error:
            self.quota, self.problem = {}, str(error)

    def borrowed(self) -> dict[str, int]:
        """What it uses beyond its own quota."""
        over = {name: self.used.get(name, 0) - amount for name, amount in self.quota.items()}
        return {name: amount for name, amount in over.items() if amount > 0}

    def unused(self) -> dict[str, int]:
        """What it leaves of its quota to its cohort."""
        left = {name: amount - self.used.get(name, 0) for name, amount in self.quota.items()}
        return {name: amount for name, amount in left.items() if amount > 0}

    def row(self, lent: Mapping[str, float], visible: Collection[str] | None) -> dict[str, Any]:
        """The row of the tenant, with those of its namespaces that may be seen."""
        borrowed, spec = self.borrowed(), self.tenant.spec
        ratios = {
            name: self.used.get(name, 0) / amount for name, amount in self.quota.items() if amount
        }
        names = sorted({*self.quota, *self.used})
        most = max(ratios, key=lambda name: ratios[name], default=None)
        return {
            "name": self.tenant.metadata.name,
            "namespaces": sorted(
                one for one in self.namespaces if visible is None or one in visible
            ),
            "weight": spec.weight,
            "cohort": spec.cohort,
            "borrowing": spec.borrowing,
            "share": ratios[most] if most is not None else None,
            "dominant": most,
            "resources": [
                {
                    "name": name,
                    "used": _units(name, self.used.get(name, 0)),
                    "quota": _units(name, self.quota[name]) if name in self.quota else None,
                    "borrowed": _units(name, borrowed.get(name, 0)),
                    "lent": _units(name, lent.get(name, 0)),
                    "borrowLimit": self._limit(name),
                }
                for name in names
            ],
        } | ({"problem": self.problem} if self.problem else {})

    def _limit(self, name: str) -> float | None:
        written = self.tenant.spec.borrowing_limit
        try:
            return _units(name, requests_of({name: written[name]}).get(name, 0))
        except (KeyError, NotAQuantity):
            return None


def _lent(shares: Iterable[_Share]) -> dict[str, dict[str, float]]:
    """What each tenant lends: of what its cohort borrows, its part of what is unused there."""
    cohorts: dict[str, list[_Share]] = {}
    for one in shares:
        cohorts.setdefault(one.tenant.spec.cohort, []).append(one)
    lent: dict[str, dict[str, float]] = {}
    for members in cohorts.values():
        borrowed, unused = Counter[str](), Counter[str]()
        for one in members:
            unused.update(one.unused())
            if one.tenant.spec.borrowing:
                borrowed.update(one.borrowed())
        for one in members:
            lent[one.tenant.metadata.name] = {
                name: min(amount, borrowed[name] * amount / unused[name])
                for name, amount in one.unused().items()
                if borrowed[name]
            }
    return lent


def _units(resource: str, amount: float) -> float:
    """Cores instead of millicores; all else as it is."""
    return amount / MILLI_PER_UNIT if resource == CPU else amount


def _waits(workload: Workload) -> bool:
    return (workload.status.phase or "Pending") in _WAITING_PHASES


def _is_seen(workload: Workload, visible: Collection[str] | None) -> bool:
    return visible is None or workload.metadata.namespace in visible


def _urgency(workload: Workload) -> tuple[int, float, str]:
    created = workload.metadata.creation_timestamp
    return (
        -workload.spec.priority,
        created.timestamp() if created else float("inf"),
        workload.metadata.key,
    )


def waiting_since(workload: Workload) -> datetime | None:
    """Since when it is not placed: since its condition Placed says so, else its creation."""
    placed = next((one for one in workload.status.conditions if one.type == "Placed"), None)
    if placed is not None and placed.status != "True" and placed.last_transition_time:
        return placed.last_transition_time
    return workload.metadata.creation_timestamp


def wakes_of(reasons: Iterable[str]) -> list[str]:
    """The events of which any could change one of the reasons."""
    return sorted({event for slug in reasons for event in wake_events_of(slug)})


def _waiting_row(
    workload: Workload,
    snapshot: StateSnapshot,
    tenant: str,
    reserved: Mapping[str, list[dict[str, Any]]],
) -> dict[str, Any]:
    meta, status = workload.metadata, workload.status
    reasons = snapshot.reasons_by_workload.get((meta.namespace, meta.name), {})
    # A site that only lacks room or time would do: the reasons that can pass are what it waits for.
    passing = [slug for slug in reasons if slug in TRANSIENT_REASONS]
    return {
        "namespace": meta.namespace,
        "name": meta.name,
        "tenant": tenant,
        "phase": status.phase or "Pending",
        "priority": workload.spec.priority,
        "since": waiting_since(workload),
        "createdAt": meta.creation_timestamp,
        "reasons": dict(reasons),
        "line": status.decision.line if status.decision else status.reason,
        "wakes": wakes_of(passing or reasons) if reasons else [],
        "startAt": status.plan.start_at if status.plan else None,
        "reserved": reserved.get(meta.key, []),
    }


def _by_reason(waiting: Iterable[Workload], snapshot: StateSnapshot) -> list[dict[str, Any]]:
    """How many workloads wait by the reason of most of their sites."""
    counts = Counter[str]()
    for one in waiting:
        reasons = snapshot.reasons_by_workload.get((one.metadata.namespace, one.metadata.name), {})
        if reasons:
            counts[min(reasons, key=lambda slug: (-reasons[slug], slug))] += 1
    return [
        {
            "reason": slug,
            "workloads": count,
            "meaning": next((text for known, text in REASONS.items() if known == slug), ""),
            "wakes": wakes_of([slug]),
        }
        for slug, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _reserved(snapshot: StateSnapshot) -> dict[str, list[dict[str, Any]]]:
    """The capacity that is reserved for each waiting workload, by site."""
    found: dict[str, list[dict[str, Any]]] = {}
    for facts in snapshot.facts:
        for name in facts.reserved_for:
            entry = next(
                one for one in facts.in_flight if one.workload == RESERVED_FOR_PREFIX + name
            )
            found.setdefault(name, []).append({"site": facts.name, "replicas": entry.replicas})
    return found
