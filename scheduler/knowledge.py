"""What a scheduler knows and has open, whether it leads or stands by."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from scheduler.control.energy.collector import ZoneFactor, no_feed
from scheduler.control.orders.kept_orders import PreparedOrders
from scheduler.control.orders.referred import FollowMetadata
from scheduler.control.ports.agents import IndexVersion, OrderPublisherPort
from scheduler.control.ports.energy import EnergyRecord
from scheduler.control.ports.hub import Hub
from scheduler.control.ports.ledger import DecisionRecorder, SignedHead
from scheduler.control.ports.telemetry import Telemetry
from scheduler.control.sites.sites import Sites
from scheduler.control.standards.loop import IsServed
from scheduler.control.state.manifest_checks import Schemas
from scheduler.control.state.node_label_keys import NodeLabelKeys
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.placement_slices import PlacementSlices
from scheduler.model.demand.loss_plan import KeptPlans
from scheduler.model.kinds.fields import Condition
from scheduler.placement.fleet.fleet import Fleet
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.settings import Settings


class HeldLease(Protocol):
    """The lease as a term sees it; `scheduler.control.leader_election` implements it."""

    epoch: int
    keeps_unknown_orders: bool

    def may_write(self) -> bool:
        """Whether the lease lasts until the end of a request that is sent now."""
        ...


class LedgerChain(Protocol):
    """The ledger's chain; `scheduler.ledger.ledger` implements it."""

    def head(self) -> SignedHead | None:
        """The signed head of this moment; None while there is nothing."""
        ...

    def has(self, seq: int, digest: str) -> bool:
        """Whether record `seq` is there with this hash."""
        ...


class TermRecorder(DecisionRecorder, Protocol):
    """Records decisions, and notices a ledger that cannot be written."""

    def absorb_facts(self) -> None:
        """Takes in the facts that were set since the last record."""
        ...

    async def watch(
        self, clock: Clock, *, on_failure: Callable[[], None], on_recovery: Callable[[], None]
    ) -> None:
        """Checks a failed ledger until it can be written again; runs until cancelled."""
        ...


class TermPublisher(OrderPublisherPort, Protocol):
    """Publishes to sites, and knows which head of the ledger it has sent to each."""

    def sent_head(self, site: str, version: IndexVersion | None = None) -> SignedHead | None:
        """The head that an index carried; None: it carried none."""
        ...


class NonceAsker(Protocol):
    """Asks sites to prove that their reports are fresh."""

    def agents_without_nonce(self, site: str) -> Sequence[str]:
        """The agents of a site that never repeat a nonce."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What a scheduler knows and has open, whether it leads or stands by.

    Attributes:
        settings: all settings.
        clock: the time.
        metrics: the counters.
        faults: handles the faults of all loops.
        hub: the hub; writes need the lease.
        leadership: the lease.
        objects: the hub's objects.
        fleet: the arrays that decisions use.
        sites: what sites have reported.
        recorder: records in the ledger.
        ledger: its chain.
        hub_keys: the public keys with which this hub signs and has signed.
        schemas: the schemas of manifests; None: manifests are not checked by them.
        node_labels: names of node labels that workloads ask for.
        prepared: what a new leader would plan of unchanged workloads.
        asker: asks sites to prove that their reports are fresh.
        publisher: signs and publishes to sites.
        connected_since_seconds: gives since when there is a session with the broker; None: there
            is none.
        on_higher_epoch: called with the epoch of a later index than ours that our key has signed.
        jitter: draws the pauses after requests that failed.
        slices: the placements on many sites.
        follow_metadata: follows the changes of a kind of referred objects; None: none is followed.
        is_served: asks whether the hub serves a kind that others install; None: it serves none.
        energy_record: keeps what sites used; None: nothing is counted.
        zone_factor: what feeds say of the carbon intensity of a grid zone.
        survives_loss: whether the loss of a site can be survived, as its status says.
        kept_plans: the plans for losses that are proved survived.
    """

    settings: Settings
    clock: Clock
    metrics: Telemetry
    faults: Faults
    hub: Hub
    leadership: HeldLease
    objects: HubObjects
    fleet: Fleet
    sites: Sites
    recorder: TermRecorder
    ledger: LedgerChain
    hub_keys: frozenset[str]
    schemas: Schemas | None
    node_labels: NodeLabelKeys
    prepared: PreparedOrders
    asker: NonceAsker
    publisher: TermPublisher
    connected_since_seconds: Callable[[], float | None]
    on_higher_epoch: Callable[[int], None]
    jitter: random.Random
    slices: PlacementSlices
    follow_metadata: FollowMetadata | None = None
    is_served: IsServed | None = None
    energy_record: EnergyRecord | None = None
    zone_factor: ZoneFactor = no_feed
    survives_loss: Callable[[str], Condition | None] = lambda _site: None
    kept_plans: Callable[[], KeptPlans] = KeptPlans
