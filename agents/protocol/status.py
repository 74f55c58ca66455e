"""The status that a site sends: one entry per order, and the index that its agent applies."""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, get_args

from agents.protocol.bounds import (
    MAX_ENVELOPE_BYTES,
    MAX_KEPT_CLAIMS,
    MAX_LEDGER_HEADS,
    MAX_ORDERS,
    AtMost,
    Between,
    Count,
    NamespaceName,
    ObjectName,
    OrderId,
    PodCount,
    SiteName,
    Uid,
    Word,
)
from agents.protocol.codec import Codec
from agents.protocol.index import HeldHead, IndexEcho
from agents.protocol.report import MessageHeader

OrderPhase = Literal[
    "Fetching",  # listed in the index; the agent does not have the content yet
    "Applying",  # being applied, or failed with an error that may pass; see `message`
    "Applied",  # the member's API has accepted every object; not all objects are ready
    "Ready",  # every object that has a readiness is ready
    "Finished",  # all its jobs have ended, see `finished`; they never run again
    "Failed",  # the member's API refuses an object
    "Conflict",  # an object of that name belongs to another owner; it was not changed
    "Refused",  # the agent's own rules forbid it (another namespace, inline Secret data, …)
    "Withdrawing",  # no longer listed; objects are being deleted, pods may still be bound
]
"""How far an order has come. A reader of version 1 treats an unknown phase as Applying."""

ORDER_PHASES: Final[tuple[OrderPhase, ...]] = get_args(OrderPhase)

JobOutcome = Literal["Succeeded", "Failed"]

NotReadyReason = Literal[
    "crash-loop",  # a container ends again and again
    "image-pull",  # an image cannot be pulled
    "pending-unschedulable",  # the cluster's scheduler finds no node
    "probe",  # the containers run, and a readiness probe fails
    "node-lost",  # the node is not ready or gone
    "other",  # anything else, starting included
]
"""Why a pod is not ready. A reader of version 1 treats an unknown reason as other."""

NOT_READY_REASONS: Final[tuple[NotReadyReason, ...]] = get_args(NotReadyReason)
MAX_NOT_READY: Final = 16
MAX_ENDPOINTS: Final = 16

MAX_DRIFTED: Final = 16
MAX_DRIFTED_FIELDS: Final = 8

MAX_TRUSTED_KEYS: Final = 8

ACTS_ON: Final = ("ready-when", "update-strategy", "on-drift")
"""What agents of this version act on: annotation `kapok.dev/ready-when` of objects,
`OrderContent.update_strategy` and `OrderContent.on_drift`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReadyPods:
    """Pods of an order that are not ready.

    Attributes:
        reason: a `NotReadyReason`.
        pods: number of pods.
        seconds: for how long each of them is not ready at least, in full minutes.
    """

    reason: Word
    pods: PodCount
    seconds: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedEndpoint:
    """Where an order is reachable from outside its cluster.

    Attributes:
        address: the address that the site's load balancer or Ingress controller has given.
        port: the port.
        ready: pods of the order are ready, or it has none.
        host: the host name that an Ingress serves there; absent for a Service.
    """

    address: ObjectName
    port: Annotated[int, Between(1, 65_535)]
    ready: bool
    host: ObjectName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftedObject:
    """An object that another writer changed, and that stays so (`on_drift: Report`).

    Attributes:
        kind: its kind.
        name: its name.
        namespace: its namespace; absent for a cluster-scoped object.
        fields: paths of the fields that differ, without values; not always all of them.
    """

    kind: Annotated[str, AtMost(253)]
    name: ObjectName
    namespace: ObjectName | None = None
    fields: Annotated[tuple[Annotated[str, AtMost(256)], ...], AtMost(MAX_DRIFTED_FIELDS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatus:
    """The status of one order.

    Attributes:
        id: id of the order.
        generation: the generation that this entry is about: the newest that was tried.
        phase: an `OrderPhase`.
        objects: number of objects in the content.
        applied: number of them that the member's API has accepted in this generation.
        desired: number of pods that the objects ask for.
        ready: number of ready pods.
        bound: number of pods bound to nodes and not ended, terminating ones included.
        succeeded: number of pods or job completions that succeeded.
        finished: outcome of the jobs, once every job has ended.
        applied_generation: newest generation that was applied completely; absent before the first.
        message: what is wrong and what to do, for people.
        recreated: how often objects of it were made again in the last minutes, because something at
            the site deletes them; absent if that does not go on.
        not_run: number of its jobs that have run to their end and were changed since. A job runs
            once, so the change does not run.
        not_ready: the pods that are not ready, those of the longest time first; absent if all are,
            or if that is not known.
        endpoints: where its Services of type LoadBalancer and its Ingresses are reachable; absent
            if nowhere yet.
        drifted: the objects that were changed at the site and are left so; absent if none is.
    """

    id: OrderId
    generation: Count
    phase: Annotated[str, AtMost(32)]
    objects: Count | None = None
    applied: Count | None = None
    desired: PodCount | None = None
    ready: PodCount | None = None
    bound: PodCount | None = None
    succeeded: PodCount | None = None
    finished: JobOutcome | None = None
    applied_generation: Count | None = None
    message: Annotated[str, AtMost(1024)] | None = None
    recreated: Count | None = None
    not_run: Count | None = None
    not_ready: Annotated[tuple[NotReadyPods, ...], AtMost(MAX_NOT_READY)] | None = None
    endpoints: Annotated[tuple[ReportedEndpoint, ...], AtMost(MAX_ENDPOINTS)] | None = None
    drifted: Annotated[tuple[DriftedObject, ...], AtMost(MAX_DRIFTED)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptClaim:
    """A claim that the agent keeps at the site, although its order no longer asks for it.

    Attributes:
        id: id of the order that it belongs to.
        namespace: its namespace.
        name: its name.
    """

    id: OrderId
    namespace: NamespaceName
    name: ObjectName


@dataclass(frozen=True, kw_only=True)
class SiteStatusMessage(MessageHeader):
    """The status of all orders at a site; the newest wins.

    Attributes:
        kind: constant.
        site: name of the site; the same as in the topic.
        site_uid: `site_uid` of the index that the agent applies.
        index: echo of that index; absent if the agent has never accepted one.
        orders: one entry per order that is listed or still being withdrawn; of an order without an
            entry nothing is left at the site but what `kept` lists.
        kept: claims that stay until the hub says that the data goes (`DesiredIndex.purge`).
        missing: ids of the orders whose content the agent does not have; the hub publishes them
            again.
        is_executing: whether this agent applies orders; others only report.
        index_proof: the envelope of that index as it was received; only after the hub asked for it.
        ledger_heads: the heads of the hub's ledger that the agent holds; only after the hub asked.
        bad_messages: number of messages since boot that could not be used, by reason.
        takes_deltas: this agent takes deltas of the index; without this word the hub sends none.
        wants_full_index: the agent has a delta, but not the index that it builds on.
        answers_questions: this agent answers questions about orders (`diagnosis/question.py`).
        trusted_hub_keys: ids of the hub's keys that this agent trusts.
        acts_on: what of orders the agent acts on that agents before it did not, as `ACTS_ON`.
    """

    kind: Literal["status"] = "status"
    site: SiteName
    site_uid: Uid | None = None
    index: IndexEcho | None = None
    orders: Annotated[tuple[OrderStatus, ...], AtMost(MAX_ORDERS)] = ()
    kept: Annotated[tuple[KeptClaim, ...], AtMost(MAX_KEPT_CLAIMS)] | None = None
    missing: Annotated[tuple[OrderId, ...], AtMost(MAX_ORDERS)] = ()
    is_executing: bool = False
    index_proof: Annotated[str, AtMost(MAX_ENVELOPE_BYTES)] | None = None
    ledger_heads: Annotated[tuple[HeldHead, ...], AtMost(MAX_LEDGER_HEADS)] | None = None
    bad_messages: Annotated[dict[Word, Count], AtMost(64)] = field(default_factory=dict)
    takes_deltas: bool | None = None
    wants_full_index: bool | None = None
    answers_questions: bool | None = None
    acts_on: Annotated[tuple[Word, ...], AtMost(32)] | None = None
    trusted_hub_keys: Annotated[tuple[Word, ...], AtMost(MAX_TRUSTED_KEYS)] | None = None


SITE_STATUS: Final = Codec(SiteStatusMessage)
