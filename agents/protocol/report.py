"""What a site has: the report, and what its parts mean.

A report says what was *seen*, node by node, so that the hub can tell what really fits: four nodes
with four free cores take no pod of six. `nodeClasses`, `rtt`, `intensity`, `power` and `apiKinds`
have exactly the shape of `Site.status`. Units stand in the names; a quantity is a Kubernetes
quantity (text) or a plain count. What an agent does not know it leaves out.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from agents.protocol.codec import Codec
from agents.protocol.shapes import AtMost, Between, RemainingKeys

MAX_NODE_ROWS: Final = 5_000
MAX_ORDERS: Final = 20_000
MAX_NAMESPACES: Final = 500

FigureOrigin = Literal["measured", "estimated", "modelled", "yearly", "assumed", "unknown"]
"""Where a figure comes from; the words of the whole project."""

Count = Annotated[int, Between(0, 2**53)]
Amount = Annotated[float, Between(0, 1e18)]
Seconds = Annotated[float, Between(0, 1e12)]


@dataclass(frozen=True, kw_only=True)
class MessageHeader:
    """Who sent a message up and when it was true; every message up begins with it.

    Attributes:
        agent: name of the agent within its site; a site may have several, one of which executes.
        boot_id: random per start of the agent. Sequences compare only within one.
        boot_number: starts so far by the agent's own disk; an old boot's replayed message has a
            lower one.
        sequence: grows by at least one with every message of this boot, whatever its topic.
        observed_seconds_ago: time from looking to sending; add the time since arrival for the age.
    """

    agent: Annotated[str, AtMost(64)] = "main"
    boot_id: Annotated[str, AtMost(64)]
    boot_number: Count
    sequence: Count
    observed_seconds_ago: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedTaint:
    """A node's taint as Kubernetes has it; `effect` NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str | None = None
    effect: Annotated[str, AtMost(32)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeRow:
    """Nodes with equal free capacity: how many, and what is free on *each* of them.

    Attributes:
        count: nodes with this vector.
        resources: resource name (cpu, memory, pods, nvidia.com/gpu, …) to quantity; beside `count`
            on the wire. Free = allocatable minus the requests of bound pods that have not ended;
            never below 0.
    """

    count: Annotated[int, Between(1, 10_000_000)]
    resources: Annotated[dict[str, str | int], RemainingKeys(), AtMost(64)] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedNodeClass:
    """Nodes that a scheduler cannot tell apart except by what is free on them."""

    labels: Annotated[dict[str, str], AtMost(64)] = field(default_factory=dict)
    taints: Annotated[tuple[ReportedTaint, ...], AtMost(64)] = ()
    architecture: Annotated[str, AtMost(64)] = ""
    cpu_vendor: Annotated[str, AtMost(64)] = ""
    gpu_model: Annotated[str, AtMost(128)] = ""
    free: Annotated[tuple[FreeRow, ...], AtMost(MAX_NODE_ROWS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBoundPods:
    """Pods of one order that hold room on nodes, from the same look as the free vectors.

    Attributes:
        id: the order's id.
        generation: the newest generation that was applied when looking.
        bound: its pods bound to nodes and not ended, terminating ones included.
    """

    id: str
    generation: Count
    bound: Count


Quantities = Annotated[dict[str, str | int], AtMost(64)]
"""Resource name to quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedNamespace:
    """What a namespace of the cluster lets pods ask: its ResourceQuotas and LimitRanges.

    Attributes:
        name: of the namespace; one without any limit is not listed.
        quota_left: hard minus used by the quota's own names (`requests.cpu`, `pods`, …), the least
            of several quotas; never below 0. Quotas with scopes do not count.
        container_min: the least that each container must ask.
        container_max: the most that each container may ask, or be limited to.
        container_default: limits of containers that name none.
        container_default_request: requests of containers that name none.
        pod_min: the least that a pod must ask in all.
        pod_max: the most that a pod may ask in all.
        not_counted: stable slugs of limits that are there and not told, as `scoped-quota`.
    """

    name: Annotated[str, AtMost(253)]
    quota_left: Quantities | None = None
    container_min: Quantities | None = None
    container_max: Quantities | None = None
    container_default: Quantities | None = None
    container_default_request: Quantities | None = None
    pod_min: Quantities | None = None
    pod_max: Quantities | None = None
    not_counted: Annotated[tuple[Annotated[str, AtMost(64)], ...], AtMost(8)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRtt:
    """Round-trip time to a peer by its name in the hub (a site)."""

    to: Annotated[str, AtMost(253)]
    milliseconds: Amount
    origin: FigureOrigin = "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedIntensity:
    """Location-based carbon intensity of the electricity here, if the site knows it."""

    gco2_per_kwh: Amount
    origin: FigureOrigin
    observed_at: Annotated[str, AtMost(64)] | None = None
    observed_seconds_ago: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedPower:
    """What the site's equipment draws now."""

    watts: Amount
    origin: FigureOrigin
    observed_seconds_ago: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedEnergy:
    """Energy as totals that only grow, so that a lost report loses nothing; and what goes with it.

    Attributes:
        counter_id: names the counters' life. It changes when the agent's disk was lost; totals
            compare only within one. Kept on disk, so a restart of the agent goes on counting.
        it_joules: drawn by the equipment.
        pv_joules: made on the site's own roof.
        export_joules: given to the grid.
        battery_charge_joules: put into the battery.
        battery_discharge_joules: taken from it.
        unmeasured_seconds: how long the agent was blind since the counters began (no power known).
        origin: of the power that was summed up.
        pue: facility power over equipment power, and its origin.
        pv_watts: now.
        battery_ratio: state of charge, 0 to 1.
    """

    counter_id: Annotated[str, AtMost(64)]
    it_joules: Amount | None = None
    pv_joules: Amount | None = None
    export_joules: Amount | None = None
    battery_charge_joules: Amount | None = None
    battery_discharge_joules: Amount | None = None
    unmeasured_seconds: Seconds | None = None
    origin: FigureOrigin = "unknown"
    pue: Annotated[float, Between(1, 10)] | None = None
    pue_origin: FigureOrigin | None = None
    pv_watts: Amount | None = None
    battery_ratio: Annotated[float, Between(0, 1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedHost:
    """The machine that the agent itself runs on."""

    hostname: Annotated[str, AtMost(253)] | None = None
    architecture: Annotated[str, AtMost(64)] | None = None
    processors: Count | None = None
    load_ratio: Amount | None = None
    memory_bytes: Count | None = None
    memory_available_bytes: Count | None = None
    agent_rss_bytes: Count | None = None
    agent_version: Annotated[str, AtMost(64)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedExecutor:
    """There is a cluster API here. Absent: reports only, takes no work (`no-executor`).

    Attributes:
        is_active: this agent holds the site's lease and applies; another one does otherwise.
        server_version: of the cluster's API.
        is_reachable: whether the API answered at the last look.
    """

    is_active: bool
    server_version: Annotated[str, AtMost(64)] | None = None
    is_reachable: bool = True


@dataclass(frozen=True, kw_only=True)
class ReportSections:
    """The parts of a report, each absent when not known; in a delta: when not changed.

    `faults` are stable slugs of what a sensor could not do (`kubernetes-unreachable`).
    """

    node_classes: Annotated[tuple[ReportedNodeClass, ...], AtMost(MAX_NODE_ROWS)] | None = None
    orders: Annotated[tuple[OrderBoundPods, ...], AtMost(MAX_ORDERS)] | None = None
    api_kinds: Annotated[tuple[str, ...], AtMost(2_000)] | None = None
    rtt: Annotated[tuple[ReportedRtt, ...], AtMost(2_000)] | None = None
    intensity: ReportedIntensity | None = None
    power: ReportedPower | None = None
    energy: ReportedEnergy | None = None
    host: ReportedHost | None = None
    executor: ReportedExecutor | None = None
    namespaces: Annotated[tuple[ReportedNamespace, ...], AtMost(MAX_NAMESPACES)] | None = None
    faults: Annotated[tuple[str, ...], AtMost(64)] | None = None


@dataclass(frozen=True, kw_only=True)
class Report(MessageHeader, ReportSections):
    """A full report: what is absent is unknown.

    Attributes:
        kind: tells full from delta on the same topic.
        site: whose; must be the topic's.
    """

    kind: Literal["full"] = "full"
    site: Annotated[str, AtMost(253)]


@dataclass(frozen=True, kw_only=True)
class ReportDelta(MessageHeader, ReportSections):
    """What changed since a full report of the same boot; cumulative, so that any one may be lost.

    Attributes:
        kind: tells full from delta on the same topic.
        site: whose; must be the topic's.
        base: sequence of the full report that this builds on.
        cleared: names of sections that became unknown since, as `nodeClasses`.
        node_classes_gone: positions in the base's `nodeClasses` of classes that are no longer
            there.
        orders_gone: ids of orders that are no longer there.
    """

    kind: Literal["delta"] = "delta"
    site: Annotated[str, AtMost(253)]
    base: Count
    cleared: Annotated[tuple[str, ...], AtMost(32)] = ()
    node_classes_gone: Annotated[tuple[Count, ...], AtMost(MAX_NODE_ROWS)] = ()
    orders_gone: Annotated[tuple[str, ...], AtMost(MAX_ORDERS)] = ()


REPORT: Final = Codec(Report)
REPORT_DELTA: Final = Codec(ReportDelta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """The last will: this boot's session ended without a good-bye. Ignored for any later boot."""

    kind: Literal["offline"] = "offline"
    site: Annotated[str, AtMost(253)]
    agent: Annotated[str, AtMost(64)] = "main"
    boot_id: Annotated[str, AtMost(64)]
    boot_number: Count


OFFLINE: Final = Codec(Offline)
