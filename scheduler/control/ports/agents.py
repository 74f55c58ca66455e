"""What the loops hear from sites, already checked: signed by the site's key, decoded, newest.

The MQTT adapter makes these from the wire; tests make them by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from scheduler.model.kinds.site import SiteStatus

IndexVersion = tuple[int, int]
"""(epoch, sequence) of an index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """What a site has, as its agent saw it.

    Attributes:
        site: the site's name.
        observed_seconds: the hub's monotonic clock when the agent looked; never another clock.
        figures: the figures in the shape of `Site.status`; absent is unknown.
        has_executor: an agent there can apply orders.
        bound: order id → (generation applied, pods bound to nodes, terminating ones included).
    """

    site: str
    observed_seconds: float
    figures: SiteStatus
    has_executor: bool
    bound: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """How one order stands at a site; counts are None when the agent does not know.

    Attributes:
        id: the order's id.
        generation: that this is about.
        applied_generation: newest generation that was applied whole.
        phase: the wire's word, e.g. Applied, Ready, Finished, Failed, Withdrawing.
        replicas: the share that the content asked for, as far as the site says.
        ready: pods that are ready.
        bound: pods on nodes.
        finished: Succeeded or Failed once every job has ended.
        message: for a person.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatusReport:
    """What a site says of its orders.

    Attributes:
        site: the site's name.
        site_uid: of the index that it works by; None before the first.
        version: (epoch, sequence) of that index; None before the first.
        digest: of that index; "" before the first.
        orders: by order id.
        missing: order ids whose content it lacks.
        is_executing: the agent that sent this applies orders.
    """

    site: str
    site_uid: str | None
    version: IndexVersion | None
    digest: str
    orders: Mapping[str, OrderState]
    missing: tuple[str, ...] = ()
    is_executing: bool = True


class AgentEventHandler(Protocol):
    """Who is told."""

    def on_report(self, report: SiteReport) -> None:
        """A newer report than the last one."""
        ...

    def on_order_status(self, report: OrderStatusReport) -> None:
        """A newer status than the last one."""
        ...

    def on_site_offline(self, site: str) -> None:
        """The broker says that the site's session ended without a good-bye."""
        ...

    def on_unadmitted_site(self, site: str, public_key: str) -> None:
        """Somebody who holds this key reports as a site that does not admit the key."""
        ...

    def on_broker_connected(self) -> None:
        """A session with the broker begins; it may have forgotten everything."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderForSite:
    """One order as the loops hand it to the wire.

    Attributes:
        id: hub id / namespace / name / incarnation.
        generation: of the placement that it follows.
        namespace: the workload's.
        name: the workload's.
        manifests: as they are to be applied at this site.
        namespaces: further namespaces that the tenant may touch.
        cluster_kinds: cluster-scoped kinds that the tenant may touch.
    """

    id: str
    generation: int
    namespace: str
    name: str
    manifests: tuple[dict[str, object], ...]
    namespaces: tuple[str, ...] = ()
    cluster_kinds: tuple[str, ...] = ()


class OrderPublisherPort(Protocol):
    """The way to sites."""

    def publish_order(self, site: str, order: OrderForSite) -> str:
        """Publishes one order's content, retained.

        Returns:
            What binds the content to an index (`SitePlan` keeps it).
        """
        ...

    def publish_index(
        self, site: str, site_uid: str, version: IndexVersion, orders: Mapping[str, OrderForSite]
    ) -> str:
        """Publishes the complete index of a site, retained.

        Returns:
            The digest that the site is to echo.
        """
        ...

    def withdraw_content(self, site: str, order_id: str) -> None:
        """Clears the retained content of an order that the index no longer lists."""
        ...

    def request_reports(
        self, site: str, epoch: int, *, want_status: bool, want_report: bool
    ) -> None:
        """Asks a site's agents for what would come anyway."""
        ...
