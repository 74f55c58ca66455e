"""One term of a leader: what it plans and decides; `loops.py` has the loops that do it.

Nothing of it outlives the term: a leader that has lost the lease drops it whole, so that no plan
and no assumption of that time reaches the next one. What is known of the hub and of the sites
(`Knowledge`) is kept, and both leaders and schedulers that stand by keep it up to date.
"""

from functools import partial

import msgspec

from scheduler.batch_process.solver import BatchProcess
from scheduler.control.clock_events import ClockEvents
from scheduler.control.controller import Controller
from scheduler.control.drills.drill_loop import DrillLoop
from scheduler.control.drills.recovery_meter import RecoveryMeter
from scheduler.control.energy.collector import EnergyCollector
from scheduler.control.energy.users import TenantWatts
from scheduler.control.events.recorder import EventRecorder
from scheduler.control.events.site_notices import SiteNotices
from scheduler.control.events.storm_notices import StormNotices
from scheduler.control.failover.drain import DrainLoop
from scheduler.control.failover.forget import ForgetRecord
from scheduler.control.failover.freeze_record import FreezeRecord
from scheduler.control.failover.freeze_sync import SUBJECT, FreezeSync
from scheduler.control.failover.loop import FailoverLoop
from scheduler.control.failover.storm_gate import StormGate
from scheduler.control.failover.unready_loop import UnreadyLoop
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.orders.identity import IdentityResolver
from scheduler.control.orders.referred import ReferredObjects
from scheduler.control.orders.sync import OrderSync
from scheduler.control.preemption.active import Preemptions
from scheduler.control.preemption.decisions import (
    PreemptionDecisions,
    borrowed_from,
    tenants_to_end,
)
from scheduler.control.preemption.victims import VictimFinder
from scheduler.control.queue.capacity_watch import CapacityWatcher
from scheduler.control.queue.planned_starts import PlannedStarts
from scheduler.control.queue.requeue import Requeuer, RequeueReasons
from scheduler.control.queue.reservations import ReservationPlanner, Reservations
from scheduler.control.queue.work_queue import SchedulingQueue
from scheduler.control.rebalance.loop import RebalanceLoop
from scheduler.control.rebalance.tasks import RebalanceTasks
from scheduler.control.reconcile.accepted_specs import AcceptedSpecs
from scheduler.control.reconcile.assumptions import Assumptions
from scheduler.control.reconcile.batch_prices import BatchLimits, BatchPricer
from scheduler.control.reconcile.decide import Decider
from scheduler.control.reconcile.failover import FailoverDecisions
from scheduler.control.reconcile.health_pauses import HealthPauses
from scheduler.control.reconcile.reconciler import Reconciler
from scheduler.control.reconcile.restore import OrderRestorer
from scheduler.control.reconcile.unmarked import UnmarkedDecisions
from scheduler.control.reconcile.workload_writer import WorkloadWriter
from scheduler.control.rollout.decisions import RolloutDecisions
from scheduler.control.sites.unadmitted_sites import UnadmittedSites
from scheduler.control.sites.wall_clock import WallClockFollower
from scheduler.control.startup import Startup
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.evictions import Evictions
from scheduler.control.state.fair_shares import FairShares
from scheduler.control.state.ledger_heads import LedgerHeads
from scheduler.control.state.manifest_checks import ManifestChecks
from scheduler.control.state.ownership import ObjectOwnership
from scheduler.control.state.quotas import Quotas
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.control.state.unready import UnreadyReplacements
from scheduler.control.stats.workloads import WorkloadStats
from scheduler.control.wake_ups import WakeUps
from scheduler.control.worker import Worker
from scheduler.knowledge import Knowledge
from scheduler.ledger.segments import is_signed_by
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.model.storm import StormLimits, StormState
from scheduler.placement.queue.minimum_requests import MinimumRequests

_OVERRUN_RATIO = 0.2
"""Work may run a fifth longer than it says, and its deadline is met still."""


class Term:
    """The state of one term; idle until `Startup.begin`."""

    def __init__(self, known: Knowledge) -> None:
        self.known = known
        self._build_state()
        self._build_orders()
        self._build_queue()
        self._build_preemption()
        self._build_loops()

    def _build_state(self) -> None:
        """What is counted and noted: prices, quotas, statistics, events."""
        known, settings = self.known, self.known.settings
        self.inputs = DecisionInputs(
            fleet=known.fleet,
            clock=known.clock,
            base_terms=Terms(
                report_stale_seconds=int(settings.freshness.stale_after_seconds),
                overrun_ratio=_OVERRUN_RATIO,
                may_evict=False,  # failover plans what is evicted, and says so in each demand
            ),
            dated_now=known.sites.dated_now,
        )
        self.wall_clock = WallClockFollower(
            sites=known.sites,
            clock=known.clock,
            faults=known.faults,
            absorb=known.recorder.absorb_facts,
        )
        self.evictions = Evictions()
        self.unready = UnreadyReplacements()
        self.rebalances = RebalanceTasks()
        self.stats = WorkloadStats(clock=known.clock, telemetry=known.metrics)
        self.quotas = Quotas(
            cost_of=self.inputs.spend_of, daemon_pods_of=self.inputs.daemon_pods_of
        )
        self.unadmitted_sites = UnadmittedSites(known.clock, known.faults)
        self.events = EventRecorder(hub=known.hub, clock=known.clock, faults=known.faults)
        self._build_gate()
        self.ledger_heads = LedgerHeads(
            head=known.ledger.head,
            sent_head=known.publisher.sent_head,
            is_recorded=known.ledger.has,
            is_ours=partial(is_signed_by, keys=known.hub_keys),
            ask=lambda site: known.publisher.request_heads(site, self._epoch()),
            clock=known.clock,
            faults=known.faults,
        )

    def _build_gate(self) -> None:
        """What holds evictions back."""
        known = self.known
        self.gate = StormGate(
            sites=known.sites,
            clock=known.clock,
            limits=StormLimits(**msgspec.structs.asdict(known.settings.failover.storm)),
            connected_since_seconds=known.connected_since_seconds,
        )
        notices = StormNotices(
            events=self.events, telemetry=known.metrics, subject=SUBJECT, instant=self.gate.instant
        )
        self.freeze_record = FreezeRecord(
            recorder=known.recorder,
            gate=self.gate,
            clock=known.clock,
            faults=known.faults,
            epoch=self._epoch,
        )

        def on_change(before: StormState, after: StormState) -> None:
            notices.on_change(before, after)
            self.freeze_record.on_change(before, after)

        self.gate.on_change = on_change
        self.forget_record = ForgetRecord(
            recorder=known.recorder,
            objects=known.objects,
            left=known.sites.left,
            clock=known.clock,
            faults=known.faults,
            epoch=self._epoch,
        )
        self.freeze_sync = FreezeSync(
            hub=known.hub, gate=self.gate, clock=known.clock, faults=known.faults
        )

    def _build_orders(self) -> None:
        """What each site is to run."""
        known, settings = self.known, self.known.settings
        self.dispatcher = Dispatcher(
            publisher=known.publisher,
            clock=known.clock,
            telemetry=known.metrics,
            repeat_seconds=settings.dispatch.repeat_seconds,
            on_higher_epoch=known.on_higher_epoch,
            on_refusal=self._on_order_refused,
            faults=known.faults,
            is_history_lost=known.recorder.is_history_lost,
            hold_seconds=settings.freshness.hear_sites_seconds,
            keeps_unknown_orders=lambda: known.leadership.keeps_unknown_orders,
            may_publish=known.leadership.may_write,
        )
        self.accepted = AcceptedSpecs(hub=known.hub, recorder=known.recorder)
        self.order_sync = OrderSync(
            objects=known.objects,
            sites=known.sites,
            dispatcher=self.dispatcher,
            quotas=self.quotas,
            node_labels=known.node_labels,
            last_accepted=self.accepted.last_accepted,
            former_accepted=self.accepted.former_accepted,
            identities=IdentityResolver(
                hub_id=settings.hub_id,
                recorded=known.recorder.identity_of,
                sites=known.sites.states,
                clock=known.clock,
                hear_seconds=settings.freshness.hear_sites_seconds,
            ),
        )
        self.dispatcher.content_of = self.order_sync.content_of
        self.referred = ReferredObjects(
            hub_id=settings.hub_id,
            hub=known.hub,
            objects=known.objects,
            sites=known.sites,
            dispatcher=self.dispatcher,
            clock=known.clock,
            faults=known.faults,
            on_change=lambda keys: self.requeuer.requeue(keys),  # noqa: PLW0108 - it is made later
            follow=known.follow_metadata,
            sealing_key_of=known.sites.sealing_key_of,
        )
        self.dispatcher.wait_of = self.referred.wait_of
        self.dispatcher.on_orders = self.referred.on_orders

    def _build_queue(self) -> None:
        """Which workload is next, and what wakes those that wait."""
        known, settings = self.known, self.known.settings
        self.fair_shares = FairShares(
            objects=known.objects, quotas=self.quotas, fleet=known.fleet, clock=known.clock
        )
        self.queue = SchedulingQueue(
            clock=known.clock,
            first_backoff_seconds=settings.queue.first_backoff_seconds,
            last_backoff_seconds=settings.queue.last_backoff_seconds,
            recheck_seconds=settings.queue.unschedulable_recheck_seconds,
            shares=self.fair_shares.share,
            capacity_watcher=CapacityWatcher(MinimumRequests(known.fleet)),
        )
        self.requeuer = Requeuer(
            objects=known.objects,
            queue=self.queue,
            fair_shares=self.fair_shares,
            reasons=RequeueReasons(),
        )
        self.reservations = Reservations(
            sites=known.sites,
            clock=known.clock,
            after_seconds=settings.queue.reserve_after_seconds,
            choose_sites=ReservationPlanner(
                objects=known.objects,
                quotas=self.quotas,
                usage=self.stats.usage,
                inputs=self.inputs,
            ),
        )

    def _build_preemption(self) -> None:
        """What ends so that work of a higher priority finds room."""
        known = self.known
        self.preemptions = Preemptions(
            sites=known.sites,
            quotas=self.quotas,
            clock=known.clock,
            demand_of=self._accepted_demand_of,
        )
        self.planned = PlannedStarts(sites=known.sites, demand_of=self._accepted_demand_of)
        self.preemption = PreemptionDecisions(
            objects=known.objects,
            inputs=self.inputs,
            finder=VictimFinder(
                objects=known.objects,
                inputs=self.inputs,
                order_sync=self.order_sync,
                active=self.preemptions,
            ),
            active=self.preemptions,
            borrowed_of=partial(borrowed_from, known.objects, self.quotas),
            may_end_work_of=partial(tenants_to_end, known.objects, self.quotas),
            redecide=partial(self.requeuer.redecide, is_urgent=True),
        )

    def _accepted_demand_of(self, workload: Workload) -> Demand | None:
        found = resolve_demand(workload, self.known.objects, self.quotas)
        return found if isinstance(found, Demand) else None

    def _build_loops(self) -> None:
        """The loops of `scheduler.control`, from events to reconciliations."""
        known, settings = self.known, self.known.settings
        self.reconciler = self._build_reconciler()
        self.wake_ups = WakeUps(
            queue=self.queue,
            requeuer=self.requeuer,
            reservations=self.reservations,
            quotas=self.quotas,
            sites=known.sites,
            clock=known.clock,
            faults=known.faults,
            preemptions=self.preemptions,
        )
        notices = SiteNotices(events=self.events)
        self.clock_events = ClockEvents(
            notices=notices,
            objects=known.objects,
            sites=known.sites,
            reservations=self.reservations,
            planned=self.planned,
            requeuer=self.requeuer,
            wake_ups=self.wake_ups,
            clock=known.clock,
            faults=known.faults,
        )
        self.worker = Worker(
            queue=self.queue,
            reconciler=self.reconciler,
            objects=known.objects,
            reservations=self.reservations,
            wake_ups=self.wake_ups,
            telemetry=known.metrics,
            clock=known.clock,
            faults=known.faults,
            may_decide=self.wall_clock.wait_until_dated,
            concurrency=settings.hub.concurrency,
        )
        self.batch_pricer = BatchPricer(
            queue=self.queue,
            objects=known.objects,
            quotas=self.quotas,
            inputs=self.inputs,
            recorder=known.recorder,
            epoch=self._epoch,
            clock=known.clock,
            telemetry=known.metrics,
            solver=BatchProcess(
                budget_seconds=settings.batch.budget_seconds,
                memory_mebibytes=settings.batch.memory_mebibytes,
            ),
            limits=BatchLimits(
                at_workloads=settings.batch.at_workloads,
                interval_seconds=settings.batch.interval_seconds,
                prices_expire_seconds=settings.batch.prices_expire_seconds,
                most_workloads=settings.batch.most_workloads,
                most_pairs=settings.batch.most_pairs,
                budget_seconds=settings.batch.budget_seconds,
            ),
            faults=known.faults,
        )
        self.failover = FailoverLoop(
            objects=known.objects,
            sites=known.sites,
            order_sync=self.order_sync,
            evictions=self.evictions,
            requeuer=self.requeuer,
            gate=self.gate,
            telemetry=known.metrics,
            clock=known.clock,
            faults=known.faults,
            after_seconds=settings.failover.after_seconds,
            is_enabled=settings.failover.enabled,
        )
        self.drain = DrainLoop(
            objects=known.objects,
            sites=known.sites,
            order_sync=self.order_sync,
            evictions=self.evictions,
            requeuer=self.requeuer,
            wake_ups=self.wake_ups,
            clock=known.clock,
            faults=known.faults,
        )
        self.unready_loop = UnreadyLoop(
            objects=known.objects,
            sites=known.sites,
            order_sync=self.order_sync,
            unready=self.unready,
            requeuer=self.requeuer,
            events=self.events,
            gate=self.gate,
            clock=known.clock,
            faults=known.faults,
            after_seconds=settings.failover.unready_after_seconds,
            is_enabled=settings.failover.enabled,
        )
        self.rebalance_loop = RebalanceLoop(
            objects=known.objects,
            inputs=self.inputs,
            tasks=self.rebalances,
            requeuer=self.requeuer,
            events=self.events,
            demand_of=self._accepted_demand_of,
            is_frozen=lambda: self.gate.state.freeze is not None,
            clock=known.clock,
            faults=known.faults,
        )
        self.controller = Controller(
            notices=notices,
            objects=known.objects,
            sites=known.sites,
            dispatcher=self.dispatcher,
            publisher=known.publisher,
            requeuer=self.requeuer,
            reservations=self.reservations,
            planned=self.planned,
            fair_shares=self.fair_shares,
            unadmitted_sites=self.unadmitted_sites,
            ledger_heads=self.ledger_heads,
            wake_ups=self.wake_ups,
            clock_events=self.clock_events,
            referred=self.referred,
            preemptions=self.preemptions,
        )
        self.drills = self._build_drills()
        self.energy = self._build_energy()
        if self.energy is not None:
            self.controller.count_energy = self.energy.on_report
        self.startup = Startup(
            objects=known.objects,
            sites=known.sites,
            dispatcher=self.dispatcher,
            controller=self.controller,
            requeuer=self.requeuer,
            clock_events=self.clock_events,
            reconciler=self.reconciler,
            restorer=OrderRestorer(
                objects=known.objects,
                order_sync=self.order_sync,
                accepted=self.reconciler.accepted,
                requeue_reasons=self.requeuer.reasons,
                prepared=known.prepared,
                resolve_demand=self.reconciler.resolve_demand,
                faults=known.faults,
            ),
            clock=known.clock,
            wait_for_sites_seconds=settings.freshness.hear_sites_seconds,
        )

    def _build_drills(self) -> DrillLoop:
        """What treats a site as lost for a while; it cuts the site off in both directions."""
        known = self.known
        drills = DrillLoop(
            hub=known.hub,
            sites=known.sites,
            meter=RecoveryMeter(
                objects=known.objects,
                order_sync=self.order_sync,
                evictions=self.evictions,
                gate=self.gate,
                after_seconds=known.settings.failover.after_seconds,
            ),
            gate=self.gate,
            clock_events=self.clock_events,
            recorder=known.recorder,
            events=self.events,
            on_end=self.controller.on_drill_ended,
            epoch=self._epoch,
            clock=known.clock,
            faults=known.faults,
        )
        self.controller.is_lost = self.dispatcher.is_lost = drills.is_lost
        return drills

    def _build_energy(self) -> EnergyCollector | None:
        """What counts what sites use; None: nothing is counted."""
        known = self.known
        if known.energy_record is None:
            return None
        users = TenantWatts(objects=known.objects, usage=self.stats.usage)
        return EnergyCollector(
            objects=known.objects,
            record=known.energy_record,
            clock=known.clock,
            faults=known.faults,
            epoch=self._epoch,
            watts_by_user=users.at,
            zone_factor=known.zone_factor,
        )

    def _build_reconciler(self) -> Reconciler:
        known, ownership, accepted = self.known, ObjectOwnership(), self.accepted
        return Reconciler(
            accepted=accepted,
            objects=known.objects,
            decider=Decider(
                objects=known.objects,
                inputs=self.inputs,
                order_sync=self.order_sync,
                recorder=known.recorder,
                accepted=accepted,
                requeue_reasons=self.requeuer.reasons,
                events=self.events,
                stats=self.stats,
                failover=FailoverDecisions(
                    objects=known.objects,
                    order_sync=self.order_sync,
                    telemetry=known.metrics,
                    evictions=self.evictions,
                    unready=self.unready,
                ),
                preemption=self.preemption,
                rollouts=RolloutDecisions(
                    inputs=self.inputs,
                    order_sync=self.order_sync,
                    last_accepted=accepted.last_accepted,
                    former_accepted=accepted.former_accepted,
                ),
                rebalances=self.rebalances,
                epoch=self._epoch,
                references_of=self.referred.recorded_references,
                kept_plans=known.kept_plans,
            ),
            writer=WorkloadWriter(
                hub=known.hub, objects=known.objects, clock=known.clock, slices=known.slices
            ),
            order_sync=self.order_sync,
            ownership=ownership,
            assumptions=Assumptions(
                objects=known.objects,
                sites=known.sites,
                quotas=self.quotas,
                ownership=ownership,
                reservations=self.reservations,
                planned=self.planned,
            ),
            requeue_reasons=self.requeuer.reasons,
            reservations=self.reservations,
            events=self.events,
            stats=self.stats,
            clock=known.clock,
            faults=known.faults,
            epoch=self._epoch,
            stuck_after_seconds=known.settings.dispatch.stuck_in_flight_seconds,
            on_names_freed=lambda: self.wake_ups.add_events("gone"),
            health_pauses=HealthPauses(clock=known.clock),
            unmarked=UnmarkedDecisions(recorder=known.recorder, order_sync=self.order_sync),
            manifest_checks=ManifestChecks(known.schemas),
        )

    def _on_order_refused(self, key: WorkKey) -> None:
        """Requeues workloads, so that their status says that an order cannot be published."""
        self.requeuer.requeue(sorted(self.referred.workloads_behind(key)))

    def redecide_held(self) -> None:
        """Decides again what waits: work that can wait is held for a budget, or no longer."""
        self.requeuer.redecide(self.known.objects.workloads)
        self.wake_ups.add_events("quota", "tenant")

    def _epoch(self) -> int:
        # Also at the instant at which the lease is lost, and the loops are not ended yet.
        return self.known.leadership.epoch or self.dispatcher.epoch
