"""What the checker is shown of a moment: exported JSON and counts, nothing of the scheduler's own.

Objects are as the API serves them. A site is shown as it really is, beside what was heard of it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Write:
    """A status of a workload that the hub has taken.

    Attributes:
        before: the object before.
        after: the object after.
        lease_epoch: the epoch of the Lease then.
        at: when, in seconds since the start.
    """

    before: Raw
    after: Raw
    lease_epoch: int
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsSeen:
    """What really runs of one order at a site.

    Attributes:
        wanted: number of pods that its last index asks for.
        bound: number of pods that are bound to nodes.
        ready: number of ready pods.
        epoch: the epoch of the index that asked for them.
        cores: cores of each.
        is_ended: they have run to their end.
        is_stopping: they are being withdrawn.
        has_run: all of them were ready once.
    """

    wanted: int
    bound: int
    ready: int
    epoch: int = 1
    cores: int = 1
    is_ended: bool = False
    is_stopping: bool = False
    has_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSeen:
    """A site as it really is.

    Attributes:
        cores: cores of its nodes that are there.
        orders: what runs, by order id.
        version: (epoch, sequence) of the index that it works by; None: none.
        is_running: its power is on.
        is_linked: messages pass in both directions.
        heard_at: when a leader last received a report of it.
        disks: how many disks it has had.
        lies: it lies about its capacity, or did a while ago.
    """

    cores: int
    orders: dict[str, PodsSeen] = field(default_factory=dict)
    version: tuple[int, int] | None = None
    is_running: bool = True
    is_linked: bool = True
    heard_at: float = 0.0
    disks: int = 0
    lies: bool = False
    _by_key: dict[tuple[str, str], list[PodsSeen]] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )

    def pods_of(self, key: tuple[str, str]) -> list[PodsSeen]:
        """What runs of a workload, of each of its incarnations; sorted out once for all workloads.

        A check of one write asks for every workload at the site, so it must not look at all orders
        for each of them.
        """
        if not self._by_key and self.orders:
            for order, pods in self.orders.items():
                self._by_key.setdefault(key_in(order), []).append(pods)
        return self._by_key.get(key, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A site took running pods away because its index said so.

    Attributes:
        at: when.
        site: its name.
        order: id of the order.
        left: number of pods that stay there.
    """

    at: float
    site: str
    order: str
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """A record of the ledger as its file has it."""

    seq: int
    id: str
    hash: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One moment.

    Attributes:
        now: seconds since the start.
        leading_since: since when one scheduler decides without a fault around it; None: none does.
        listening_since: since when the one that leads hears the sites; None: none leads.
        sites: by name.
        site_objects: Sites by name.
        grants: SiteGrants by name.
        workloads: Workloads by namespace and name.
        changed: names of sites whose Site or grants changed since the last moment.
        freed: when the status of a Site came to hold evictions no longer, by name; since the last
            moment.
        wall: the time of the scheduler's clock; None: it was wrong a moment ago.
        writes: statuses written since then.
        removed: workloads that are gone since then.
        lowered: pods taken away since then.
        ended: (site, order) of jobs that ran to their end since then.
        rows: records since then.
        replays: (record, whether a replay gives the same) since then.
        faults: faults that the schedulers' edges have caught, by edge.
        lease_epoch: of the Lease.
        takings: how many times a scheduler took the Lease from another one, or free.
        is_alive: all loops of all schedulers run.
        is_calm: nothing has happened for so long that all should have come to rest.
        is_whole: a check of everything, not only of what changed, is due.
        report_seconds: time between two reports of a site.
        failover_seconds: how long a site must be silent before its replicas are replaced.
    """

    now: float
    leading_since: float | None
    listening_since: float | None = None
    sites: dict[str, SiteSeen] = field(default_factory=dict)
    site_objects: dict[str, Raw] = field(default_factory=dict)
    grants: dict[str, Raw] = field(default_factory=dict)
    workloads: dict[tuple[str, str], Raw] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    freed: dict[str, float] = field(default_factory=dict)
    wall: datetime | None = None
    writes: tuple[Write, ...] = ()
    removed: tuple[Raw, ...] = ()
    lowered: tuple[Lowered, ...] = ()
    ended: tuple[tuple[str, str], ...] = ()
    rows: tuple[LedgerRow, ...] = ()
    replays: tuple[tuple[str, bool], ...] = ()
    faults: dict[str, int] = field(default_factory=dict)
    lease_epoch: int = 1
    takings: int = 1
    is_alive: bool = True
    is_calm: bool = False
    is_whole: bool = False
    report_seconds: float = 10.0
    failover_seconds: float = 300.0
    _grants_of: dict[str, list[Raw]] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )

    def grants_of(self, site: str) -> list[Raw]:
        """The grants that name a site, in the order of all; sorted out once for all sites."""
        if not self._grants_of:
            for one in self.grants.values():
                for name in dict.fromkeys(one["spec"]["sites"]):
                    self._grants_of.setdefault(name, []).append(one)
        return self._grants_of.get(site, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that was broken.

    Attributes:
        promise: its number in the design, 1 to 16.
        at: when it was seen.
        what: about what, stable over time, so that the same one is told once.
        why: a sentence.
    """

    promise: int
    at: float
    what: str
    why: str

    def __str__(self) -> str:
        return f"promise {self.promise} at {self.at:.0f} s: {self.what}: {self.why}"


# ------------------------------------------------------------ reading objects


def staying(workload: Raw) -> dict[str, int]:
    """Replicas that stay, by site."""
    return _replicas(workload, leaving=False)


def leaving(workload: Raw) -> dict[str, int]:
    """Replicas that run until their replacement runs, by site."""
    return _replicas(workload, leaving=True)


def _replicas(workload: Raw, *, leaving: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    placement = (workload.get("status") or {}).get("placement") or {}
    for group in placement.get("groups") or ():
        if (group.get("phase") == "Withdrawing") is leaving:
            for site in group["sites"]:
                found[site] = found.get(site, 0) + int(group.get("replicas", 0))
    return {site: count for site, count in found.items() if count}


def wanted(workload: Raw) -> int:
    """Replicas that a workload asks for."""
    spec = workload["spec"]
    if spec.get("replicas") is not None:
        return int(spec["replicas"])
    for manifest in spec.get("manifests") or ():
        body = manifest.get("spec") or {}
        if manifest.get("kind") == "Job":
            return int(body.get("parallelism", 1))
        if "replicas" in body:
            return int(body["replicas"])
    return 1


def cores_of(workload: Raw) -> int:
    """Cores that each replica asks for."""
    pod = workload["spec"]["manifests"][0]["spec"]["template"]["spec"]
    return int(pod["containers"][0]["resources"]["requests"]["cpu"])


def key_of(workload: Raw) -> tuple[str, str]:
    """Namespace and name."""
    meta = workload["metadata"]
    return meta["namespace"], meta["name"]


def key_in(order: str) -> tuple[str, str]:
    """Namespace and name in an order's id, `HUB/NAMESPACE/NAME/INCARNATION`."""
    _, namespace, name, _ = order.split("/")
    return namespace, name


def is_whole_set(workload: Raw) -> bool:
    """Whether its pods are numbered and may never run at two sites."""
    return (workload["spec"].get("placement") or {}).get("identity") == "Whole"


def condition(workload: Raw, kind: str) -> Raw | None:
    """A condition of the status."""
    for one in (workload.get("status") or {}).get("conditions") or ():
        if one["type"] == kind:
            found: Raw = one
            return found
    return None
