"""The report: what a site has.

A report gives free capacity node by node, so that the hub knows what fits: four nodes with four
free cores each have no room for a pod of six. `nodeClasses`, `rtt`, `intensity`, `power` and
`apiKinds` have the shape of the same fields in `Site.status`. Units are part of the names; a
quantity is a Kubernetes quantity (text) or a plain count. Unknown values are left out.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from agents.protocol.bounds import (
    MAX_API_KINDS,
    MAX_ASKERS,
    MAX_FAULTS,
    MAX_LABELS,
    MAX_NAMESPACES,
    MAX_NODE_ROWS,
    MAX_ORDERS,
    MAX_PEERS,
    MAX_RESOURCES,
    MAX_TAINTS,
    AgentName,
    AtMost,
    Between,
    BootId,
    Celsius,
    Count,
    Counter,
    Grams,
    Instant,
    Joules,
    LabelValue,
    LoadRatio,
    Milliseconds,
    NamespaceName,
    Nonce,
    ObjectName,
    OrderId,
    PodCount,
    Printable,
    Pue,
    QualifiedName,
    Quantities,
    QuantityValues,
    Ratio,
    RemainingKeys,
    Seconds,
    SiteName,
    Watts,
    Word,
)
from agents.protocol.codec import Codec
from agents.protocol.heartbeat.chain import ReportedHeartbeats

TaintEffect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]

FigureOrigin = Literal["measured", "estimated", "modelled", "yearly", "assumed", "unknown"]
"""Where a figure comes from; the same words in settings, `Site.status` and decisions."""


@dataclass(frozen=True, kw_only=True)
class MessageHeader:
    """Sender and age of a message; the first fields of every message to the hub.

    Attributes:
        agent: name of the agent within its site; a site may have several, one of which executes.
        boot_id: random for each start of the agent; sequences compare only within one boot.
        boot_number: starts that the agent's disk has counted; a replayed message of an old boot has
            a lower number.
        sequence: grows by at least one with every message of this boot, whatever its topic.
        observed_seconds_ago: time from observing to sending; plus the time since arrival it is the
            age of the content.
        nonces: the newest nonce of each scheduler that has asked this boot, by its identity; empty
            if none has, and absent from agents that know no nonces.
    """

    agent: AgentName = "main"
    boot_id: BootId
    boot_number: Counter
    sequence: Counter
    observed_seconds_ago: Seconds
    nonces: Annotated[dict[Word, Nonce], AtMost(MAX_ASKERS)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedTaint:
    """A Kubernetes taint of a node."""

    key: QualifiedName
    value: LabelValue | None = None
    effect: TaintEffect


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeRow:
    """Nodes with equal free capacity.

    Attributes:
        count: number of these nodes.
        resources: what is free on each of them: resource name (cpu, memory, pods, nvidia.com/gpu,
            …) to quantity; in JSON the names are keys beside `count`. Free is allocatable minus the
            requests of bound pods that have not ended, never below 0.
    """

    count: Annotated[int, Between(1, 1_000_000)]
    resources: Annotated[
        dict[QualifiedName, str | int], RemainingKeys(), AtMost(MAX_RESOURCES), QuantityValues()
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedNodeClass:
    """Nodes that differ in nothing that placement looks at, except in their free capacity.

    Attributes:
        labels: labels of the nodes, those that the agent's settings select.
        taints: taints of the nodes.
        architecture: `amd64`, `arm64`, …; empty if unknown.
        cpu_vendor: vendor of the CPU; empty if unknown.
        gpu_model: model of the GPU; empty if there is none or it is unknown.
        free: the nodes, grouped by equal free capacity.
        labels_left_out: names of labels that the nodes have and `labels` does not; None: none.
        has_more_labels: whether there are more of these, so that no label is surely absent.
    """

    labels: Annotated[dict[QualifiedName, LabelValue], AtMost(MAX_LABELS)] = field(
        default_factory=dict
    )
    taints: Annotated[tuple[ReportedTaint, ...], AtMost(MAX_TAINTS)] = ()
    architecture: LabelValue = ""
    cpu_vendor: LabelValue = ""
    gpu_model: Annotated[str, AtMost(128), Printable()] = ""
    free: Annotated[tuple[FreeRow, ...], AtMost(MAX_NODE_ROWS)] = ()
    labels_left_out: Annotated[tuple[QualifiedName, ...], AtMost(MAX_LABELS)] | None = None
    has_more_labels: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBoundPods:
    """Pods of one order that take capacity of nodes, observed together with the free capacity.

    Attributes:
        id: id of the order.
        generation: newest generation that was applied before the pods were listed.
        bound: number of its pods bound to nodes and not ended, terminating ones included.
        unschedulable: number of its pods for which the cluster's scheduler found no node; None if
            there are none, or the agent does not count them.
    """

    id: OrderId
    generation: Count
    bound: PodCount
    unschedulable: PodCount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedNamespace:
    """Limits of one namespace of the cluster, from its ResourceQuotas and LimitRanges.

    Attributes:
        name: name of the namespace; a namespace without limits is not listed.
        quota_left: hard minus used, by the quota's own names (`requests.cpu`, `pods`, …); the least
            of several quotas, never below 0. Quotas with scopes do not count.
        container_min: least that each container must request.
        container_max: most that each container may request, or have as its limit.
        container_default: limits of containers that have none.
        container_default_request: requests of containers that have none.
        pod_min: least that a pod must request in total.
        pod_max: most that a pod may request in total.
        not_counted: stable slugs of limits that exist and are not reported, such as `scoped-quota`.
    """

    name: NamespaceName
    quota_left: Quantities | None = None
    container_min: Quantities | None = None
    container_max: Quantities | None = None
    container_default: Quantities | None = None
    container_default_request: Quantities | None = None
    pod_min: Quantities | None = None
    pod_max: Quantities | None = None
    not_counted: Annotated[tuple[Word, ...], AtMost(8)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRtt:
    """Round-trip time to a peer; `to` is the name of a site."""

    to: Annotated[str, AtMost(128)]
    milliseconds: Milliseconds
    origin: FigureOrigin = "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedIntensity:
    """Location-based carbon intensity of the site's electricity."""

    gco2_per_kwh: Grams
    origin: FigureOrigin
    observed_at: Instant | None = None
    observed_seconds_ago: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedPower:
    """Power that the site's equipment draws now."""

    watts: Watts
    origin: FigureOrigin
    observed_seconds_ago: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedEnergy:
    """Energy totals, which only grow, so that a lost report loses nothing; and related figures.

    Attributes:
        counter_id: identity of the counters; totals compare only within one. It is kept on disk, so
            a restart continues counting; it changes when the disk is lost, put back or copied.
        it_joules: energy that the equipment has drawn.
        pv_joules: energy from the site's own photovoltaics.
        export_joules: energy fed into the grid.
        battery_charge_joules: energy put into the battery.
        battery_discharge_joules: energy taken from the battery.
        unmeasured_seconds: time since the counters began for which the power is not known.
        origin: origin of the power that was summed up.
        pue: facility power over equipment power.
        pue_origin: origin of `pue`.
        pv_watts: power of the photovoltaics now.
        battery_ratio: state of charge, 0 to 1.
    """

    counter_id: Word
    it_joules: Joules | None = None
    pv_joules: Joules | None = None
    export_joules: Joules | None = None
    battery_charge_joules: Joules | None = None
    battery_discharge_joules: Joules | None = None
    unmeasured_seconds: Seconds | None = None
    origin: FigureOrigin = "unknown"
    pue: Pue | None = None
    pue_origin: FigureOrigin | None = None
    pv_watts: Watts | None = None
    battery_ratio: Ratio | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedHost:
    """The machine that the agent runs on.

    The pressure of a resource is the share of the last minute in which some task waited for it
    (Linux' pressure stall information); the disk is that of the agent's data.
    """

    hostname: ObjectName | None = None
    architecture: Word | None = None
    processors: Count | None = None
    load_ratio: LoadRatio | None = None
    memory_bytes: Count | None = None
    memory_available_bytes: Count | None = None
    agent_rss_bytes: Count | None = None
    agent_version: Word | None = None
    cpu_pressure_ratio: Ratio | None = None
    memory_pressure_ratio: Ratio | None = None
    io_pressure_ratio: Ratio | None = None
    temperature_celsius: Celsius | None = None
    disk_bytes: Count | None = None
    disk_available_bytes: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedMissing:
    """A sensor whose facts are missing, and for how long, in whole minutes."""

    sensor: Word
    seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedExecutor:
    """The cluster that orders are applied to. Absent: the site takes no work (`no-executor`).

    Attributes:
        is_active: whether this agent holds the site's lease and applies orders.
        server_version: version of the cluster's API server.
        is_reachable: whether the API server answered when it was last observed.
        sealing_key: the public key for which Secrets of this site are sealed, `x25519:BASE64`;
            absent from agents that apply no sealed content.
        problem: why the API server did not answer, for people; absent if it did.
    """

    is_active: bool
    server_version: Word | None = None
    is_reachable: bool = True
    sealing_key: Word | None = None
    problem: Annotated[str, AtMost(256)] | None = None


@dataclass(frozen=True, kw_only=True)
class ReportSections:
    """The sections of a report. Absent means unknown; in a delta, unchanged.

    Attributes:
        node_classes: nodes that take pods, with their free capacity.
        orders: bound pods by order.
        api_kinds: kinds that the cluster serves, such as `apps/v1/Deployment`.
        cluster_kinds: those of these kinds whose objects belong to no namespace.
        rtt: round-trip times to peers.
        intensity: carbon intensity of the electricity.
        power: power that the equipment draws.
        energy: energy totals.
        host: the machine that the agent runs on.
        executor: the cluster that orders are applied to.
        namespaces: limits of the cluster's namespaces.
        missing: the sensors whose facts are missing; None: none is, or the agent does not say.
        faults: stable slugs of what a sensor could not do, such as `kubernetes-unreachable`.
    """

    node_classes: Annotated[tuple[ReportedNodeClass, ...], AtMost(MAX_NODE_ROWS)] | None = None
    orders: Annotated[tuple[OrderBoundPods, ...], AtMost(MAX_ORDERS)] | None = None
    api_kinds: Annotated[tuple[QualifiedName, ...], AtMost(MAX_API_KINDS)] | None = None
    cluster_kinds: Annotated[tuple[QualifiedName, ...], AtMost(MAX_API_KINDS)] | None = None
    rtt: Annotated[tuple[ReportedRtt, ...], AtMost(MAX_PEERS)] | None = None
    intensity: ReportedIntensity | None = None
    power: ReportedPower | None = None
    energy: ReportedEnergy | None = None
    host: ReportedHost | None = None
    executor: ReportedExecutor | None = None
    namespaces: Annotated[tuple[ReportedNamespace, ...], AtMost(MAX_NAMESPACES)] | None = None
    missing: Annotated[tuple[ReportedMissing, ...], AtMost(MAX_FAULTS)] | None = None
    faults: Annotated[tuple[Word, ...], AtMost(MAX_FAULTS)] | None = None


@dataclass(frozen=True, kw_only=True)
class Report(MessageHeader, ReportSections):
    """A full report: absent sections are unknown.

    Attributes:
        kind: distinguishes full reports and deltas, which share a topic.
        site: name of the site; the same as in the topic.
        interval_seconds: time between two reports when nothing changes; a reader that knows it
            needs not measure it. Absent from agents that do not state it.
        heartbeats: what the heartbeats that follow show; absent: none follow.
    """

    kind: Literal["full"] = "full"
    site: SiteName
    interval_seconds: Seconds | None = None
    heartbeats: ReportedHeartbeats | None = None


@dataclass(frozen=True, kw_only=True)
class ReportDelta(MessageHeader, ReportSections):
    """Everything that changed since a full report of the same boot (`delta.py`).

    Attributes:
        kind: distinguishes full reports and deltas, which share a topic.
        site: name of the site; the same as in the topic.
        interval_seconds: as in a full report.
        heartbeats: as in a full report.
        base: sequence of the full report that the delta builds on.
        cleared: names of sections that have become unknown since, such as `nodeClasses`.
        node_classes_gone: positions in the base's `nodeClasses` of classes that are gone.
        orders_gone: ids of orders that are gone.
    """

    kind: Literal["delta"] = "delta"
    site: SiteName
    interval_seconds: Seconds | None = None
    heartbeats: ReportedHeartbeats | None = None
    base: Count
    cleared: Annotated[tuple[Word, ...], AtMost(32)] = ()
    node_classes_gone: Annotated[tuple[Count, ...], AtMost(MAX_NODE_ROWS)] = ()
    orders_gone: Annotated[tuple[OrderId, ...], AtMost(MAX_ORDERS)] = ()


REPORT: Final = Codec(Report)
REPORT_DELTA: Final = Codec(ReportDelta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """The last will: the session of this boot ended without a disconnect.

    The hub ignores it when the agent has started again since.
    """

    kind: Literal["offline"] = "offline"
    site: SiteName
    agent: AgentName = "main"
    boot_id: BootId
    boot_number: Counter


OFFLINE: Final = Codec(Offline)
