"""The port to the sites' agents: what they report, and what is published to them.

What arrives here is checked: signed by the site's key, decoded, and newer than what came before.
`scheduler.mqtt` makes these values from the wire format; tests construct them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from scheduler.control.ports.energy import ReportedTotals
from scheduler.control.ports.ledger import SignedHead
from scheduler.model.kinds.site import SiteStatus

IndexVersion = tuple[int, int]
"""(epoch, sequence) of an index."""


KEEP_DIGEST: Final = "sha256:" + "0" * 64
"""In an index: the site keeps what it has of an order, as in `agents/protocol/index.py`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """What a site has, as its agent observed it.

    Attributes:
        site: the site's name.
        observed_seconds: the time of the observation on the scheduler's monotonic clock.
        sent_seconds: when the site's newest message was made at the latest, on the same clock;
            None: when it arrived.
        interval_seconds: time between two reports as the site's only agent states it; None: it
            does not, or there are several.
        is_new_boot: the first report since its agent started.
        sealing_key: the public key for which Secrets of the site are sealed; "": unknown.
        figures: the figures in the shape of `Site.status`; an absent figure is unknown.
        has_executor: an agent there can apply orders.
        bound: order id → (generation applied, pods bound to nodes, terminating ones included).
        unschedulable: order id → pods for which the cluster's scheduler finds no node.
        is_cluster_reachable: the API server of the site's cluster answers the agent; if not, the
            figures of the cluster are unknown.
        cluster_problem: why it does not, in the agent's words for people; "": unknown.
        missing: sensor → seconds since when its facts are missing, in whole minutes.
        energy: its energy totals; None: it reports none.
    """

    site: str
    observed_seconds: float
    figures: SiteStatus
    has_executor: bool
    bound: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    unschedulable: Mapping[str, int] = field(default_factory=dict)
    is_cluster_reachable: bool = True
    sent_seconds: float | None = None
    interval_seconds: float | None = None
    is_new_boot: bool = False
    sealing_key: str = ""
    cluster_problem: str = ""
    missing: Mapping[str, float] = field(default_factory=dict)
    energy: ReportedTotals | None = None


class NotReadyCount(NamedTuple):
    """Pods of an order that are not ready.

    Attributes:
        reason: the class of the reason, as in the wire format.
        pods: number of pods.
        seconds: for how long each of them is not ready at least.
    """

    reason: str
    pods: int
    seconds: int


class OrderEndpoint(NamedTuple):
    """Where an order is reachable from outside its cluster.

    Attributes:
        address: an IP address or a host name.
        port: the port.
        ready: pods of the order are ready, or it has none.
        host: the host name that an Ingress serves there; "" for a Service.
    """

    address: str
    port: int
    ready: bool
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """The state of one order at a site; counts are None when the agent does not know them.

    Attributes:
        id: the id of the order.
        generation: the generation that this state is about.
        applied_generation: the newest generation that was applied completely.
        phase: as in the wire format, e.g. Applied, Ready, Finished, Failed, Withdrawing.
        replicas: the replicas that the content requests, if the site says so.
        ready: pods that are ready.
        bound: pods that are bound to nodes.
        finished: Succeeded or Failed once every job has ended; None before.
        message: for people.
        recreated: how often objects were made again lately, because something deletes them.
        not_run: number of finished jobs whose change does not run.
        not_ready: the pods that are not ready, as far as the agent says so. It is no part of a
            comparison: as time passes it changes with every report.
        endpoints: where it is reachable from outside the site's cluster.
        drifted: objects that were changed at the site and are left so, with their fields, for
            people.
    """

    id: str
    generation: int
    phase: str
    applied_generation: int | None = None
    replicas: int | None = None
    ready: int | None = None
    bound: int | None = None
    finished: str | None = None
    message: str = ""
    recreated: int = 0
    not_run: int = 0
    not_ready: tuple[NotReadyCount, ...] = field(default=(), compare=False)
    endpoints: tuple[OrderEndpoint, ...] = ()
    drifted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatusReport:
    """What a site reports about its orders.

    Attributes:
        site: the site's name.
        site_uid: uid of the Site in the index that the site works by; None before the first one.
        version: (epoch, sequence) of that index; None before the first one.
        digest: digest of that index; "" before the first one.
        orders: the state of each order, by order id.
        missing: ids of listed orders whose content the site lacks.
        kept: names of the claims that the site keeps although no order asks for them, by order id.
        is_executing: the agent that sent this applies orders.
        ledger_heads: heads of the ledger that the site holds, if it was asked for them; unchecked.
        index_proof: that index as the site received it, if the site was asked for it; unchecked.
        sent_seconds: when the message was made at the latest, on the scheduler's monotonic clock;
            None: when it arrived.
        agent: name of the agent that sent this.
        takes_deltas: that agent takes deltas of the index.
        wants_full_index: it has a delta, but not the index that the delta builds on.
        acts_on: what of orders that agent acts on and agents of earlier versions do not, in the
            words of the wire format.
    """

    site: str
    site_uid: str | None
    version: IndexVersion | None
    digest: str
    orders: Mapping[str, OrderState]
    missing: tuple[str, ...] = ()
    is_executing: bool = True
    kept: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    index_proof: str = ""
    ledger_heads: tuple[SignedHead, ...] = ()
    sent_seconds: float | None = None
    agent: str = ""
    takes_deltas: bool = False
    wants_full_index: bool = False
    acts_on: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenIndex:
    """An index that our own key has signed for a site.

    Attributes:
        version: its (epoch, sequence).
        digest: its digest.
    """

    version: IndexVersion
    digest: str


class ProofRefused(ValueError):
    """What a site sent proves no index version.

    Attributes:
        reason: one of the reasons of the wire format, for metrics.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class AgentEventHandler(Protocol):
    """Handles what arrives from sites; `scheduler.control.controller` implements it."""

    def on_report(self, report: SiteReport) -> None:
        """Handles a report that is newer than the last one."""
        ...

    def on_order_status(self, report: OrderStatusReport) -> None:
        """Handles an order status that is newer than the last one."""
        ...

    def on_site_offline(self, site: str) -> None:
        """Handles the will message of a site: its session ended without a DISCONNECT."""
        ...

    def on_unadmitted_site(self, site: str, public_key: str) -> None:
        """Handles a report under the name of a site that does not admit this key."""
        ...

    def on_broker_connected(self) -> None:
        """Handles the start of a session with the broker, which may have lost its state."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderForSite:
    """One order as the loops give it to the MQTT adapter.

    Attributes:
        id: hub id / namespace / name / incarnation.
        generation: generation of the share at this site.
        namespace: namespace of the workload.
        name: name of the workload.
        manifests: the manifests to apply at this site.
        namespaces: further namespaces that the tenant may use.
        cluster_kinds: cluster-scoped kinds that the tenant may use.
        pod_security: the Pod Security level for namespaces that the agent makes; None: no tenant.
        kept_digest: the content is not known or not to be changed, and the site keeps the one with
            this digest, as `Workload.status.placement.orders` has it; then there are no manifests.
        needs: ids of the orders of objects that its pod templates refer to.
        optional_needs: those of them without which its pods start.
        not_sent: what its pod templates refer to and what is not sent, as sentences.
        update_strategy: what the site does when a field is to change that cannot be changed;
            "": it names the field.
        on_drift: what the site does when an object is changed there; "": it is set back.
        asks: what of the order agents of earlier versions do not act on, in the words of the wire
            format.
        secrets: Secrets to apply, which are sealed for the site before they leave the hub.
        is_over: the workload has completed. The index lists the order, so that nothing of it is
            withdrawn, and its content is not published: a site that has lost its disk would run the
            jobs again.
        not_made_because: why there is no content for the site: an override cannot be applied. Then
            there are no manifests, nothing is published, and the site keeps the content before.
    """

    id: str
    generation: int
    namespace: str
    name: str
    manifests: tuple[dict[str, object], ...]
    namespaces: tuple[str, ...] = ()
    cluster_kinds: tuple[str, ...] = ()
    pod_security: str | None = None
    kept_digest: str = ""
    needs: tuple[str, ...] = ()
    optional_needs: frozenset[str] = frozenset()
    not_sent: tuple[str, ...] = ()
    update_strategy: str = ""
    on_drift: str = ""
    asks: tuple[str, ...] = ()
    secrets: tuple[dict[str, object], ...] = field(default=(), repr=False)
    is_over: bool = False
    not_made_because: str = ""


class OrderNotPublishable(ValueError):
    """Agents would not accept this order; the message says which limit it exceeds."""


class OrderPublisherPort(Protocol):
    """Publishes to sites; `scheduler.mqtt.order_publisher` implements it."""

    def publish_order(self, site: str, order: OrderForSite) -> str:
        """Publishes the content of one order as a retained message.

        Returns:
            The digest that binds the content to an index.

        Raises:
            OrderNotPublishable: agents would not accept it; nothing was published.
        """
        ...

    def is_slow(self, site: str, order: OrderForSite) -> bool:
        """Whether the content of an order is so large that it is to be made in a thread first."""
        ...

    def prepare_order(self, site: str, order: OrderForSite) -> None:
        """Makes the content of an order for `publish_order`, which follows; a thread calls it."""
        ...

    def digest_of(self, site: str, order: OrderForSite) -> str:
        """The digest that the index of a site is to list for an order, with the number of parts.

        Raises:
            OrderNotPublishable: agents would not accept it.
        """
        ...

    def count_that_fit(self, order_ids: Sequence[str]) -> int:
        """How many of these orders one index can list, from the first on."""
        ...

    def publish_index(
        self,
        site: str,
        site_uid: str,
        version: IndexVersion,
        orders: Mapping[str, OrderForSite],
        *,
        purge: Collection[str] = (),
        takes_deltas: bool = False,
        renews_base: bool = False,
    ) -> str:
        """Publishes the complete index of a site as a retained message.

        Of an order in `purge`, which `orders` lacks, the site deletes the claims too. To a site
        that takes deltas, a large index goes out as a delta of one that it has, unless that base is
        to be renewed because the site may lack it.

        Returns:
            The digest that the site is to echo.
        """
        ...

    def base_version(self, site: str) -> IndexVersion | None:
        """The version of the index that deltas to a site build on; None: there are none."""
        ...

    def forget_site(self, site: str) -> None:
        """Drops what was sent to a site whose object is gone."""
        ...

    def withdraw_content(self, site: str, order_id: str) -> None:
        """Clears the retained content of an order that the index no longer lists."""
        ...

    def clear_content(self, site: str, order_id: str) -> None:
        """Clears the retained content of an order that the index goes on to list."""
        ...

    def request_reports(
        self, site: str, epoch: int, *, want_status: bool, want_report: bool
    ) -> None:
        """Asks the agents of a site to report now instead of at the next interval."""
        ...

    def request_heads(self, site: str, epoch: int) -> None:
        """Asks the agents of a site for the heads of the ledger that they hold."""
        ...

    def request_proof(self, site: str, epoch: int) -> None:
        """Asks the agents of a site for the index that they work by, as they received it."""
        ...

    def read_proof(self, site: str, site_uid: str, proof: str) -> ProvenIndex:
        """Reads such an index.

        Raises:
            ProofRefused: none of our keys has signed it, or not for this site.
        """
        ...
