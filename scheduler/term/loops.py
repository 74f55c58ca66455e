"""The loops of one term: those that run as long as it, and those that decide."""

from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

from scheduler.control.autoscaled_workloads import AutoscaledWorkloads
from scheduler.control.energy.month_budgets import MonthBudgets
from scheduler.control.site_status_writer import SiteStatusWriter
from scheduler.control.standards.decisions import DecisionMirror
from scheduler.control.standards.loop import StandardsLoop
from scheduler.control.standards.names import as_label_value
from scheduler.control.standards.profiles import ProfileMirror
from scheduler.control.standards.requests import StandardRequests
from scheduler.control.tenant_status_writer import TenantStatusWriter
from scheduler.term.term import Term

_PRESSED_AT_WORKLOADS = 100
"""While so many workloads wait to be decided, what is written for other tools waits."""
_REFRESH_SECONDS, _REFRESH_CHECK_SECONDS = 3600.0, 60.0

Loop = Callable[[], Coroutine[Any, Any, None]]


class TermLoops:
    """The loops of a term.

    Args:
        term: the term; its loops end before it does.
    """

    def __init__(self, term: Term) -> None:
        self._term = term

    def all_along(self) -> Iterator[tuple[str, Loop]]:
        """The loops that run as long as the term, beside those that decide."""
        known = self._term.known
        writer = SiteStatusWriter(
            hub=known.hub,
            sites=known.sites,
            clock=known.clock,
            interval_seconds=known.settings.freshness.site_status_seconds,
            faults=known.faults,
            foreign_index=self._term.dispatcher.foreign_index_condition,
            unknown_orders_at=self._term.dispatcher.unknown_orders_at,
            without_nonce=known.asker.agents_without_nonce,
            evictions_held=self._term.gate.condition_of,
            schedulable=self._term.drain.condition_of,
            drilled=self._term.drills.condition_of,
            forgotten=self._term.forget_record.condition_of,
            survives_loss=known.survives_loss,
            jitter=known.jitter,
        )
        autoscaled = AutoscaledWorkloads(
            hub=known.hub, objects=known.objects, clock=known.clock, faults=known.faults
        )
        yield "autoscalers", autoscaled.run
        yield "dispatch", self._term.dispatcher.run
        yield "referred objects", self._term.referred.run
        yield "wake", self._term.wake_ups.run
        yield "time", self._term.clock_events.run
        yield "wall clock", self._term.wall_clock.run
        yield "storms", self._term.gate.run
        yield "freeze", self._term.freeze_sync.run
        yield "drills", self._term.drills.run
        yield "freeze record", self._term.freeze_record.run
        yield "forget record", self._term.forget_record.run
        tenants = TenantStatusWriter(
            hub=known.hub,
            objects=known.objects,
            quotas=self._term.quotas,
            fair_shares=self._term.fair_shares,
            clock=known.clock,
            faults=known.faults,
        )
        yield "site status", writer.run
        yield "tenant status", tenants.run
        yield "events", self._term.events.run
        yield "pending sites", partial(self._term.unadmitted_sites.run, known.hub)
        yield "ledger heads", partial(self._term.ledger_heads.run, known.hub)
        yield "hourly indexes", self._refresh_indexes
        if self._term.energy is not None and known.energy_record is not None:
            yield "energy", self._term.energy.run
            budgets = MonthBudgets(
                objects=known.objects,
                collector=self._term.energy,
                record=known.energy_record,
                quotas=self._term.quotas,
                events=self._term.events,
                on_change=self._term.redecide_held,
                clock=known.clock,
                faults=known.faults,
            )
            yield "month budgets", budgets.run
        yield "ledger", self._watch_ledger

    def deciding(self) -> Iterator[tuple[str, Loop]]:
        """The loops that decide; they begin when the sites were waited for."""
        yield "work", self._term.worker.run
        yield "batches", self._term.batch_pricer.run
        yield "failover", self._term.failover.run
        yield "drain", self._term.drain.run
        yield "replicas not ready", self._term.unready_loop.run
        yield "rebalancing", self._term.rebalance_loop.run
        yield "re-checks", self._term.startup.recheck_decided
        standards = self._standards_loop()
        if standards is not None:
            yield "standard objects", standards.run

    def _standards_loop(self) -> StandardsLoop | None:
        """What writes ClusterProfiles and PlacementDecisions; None: that is switched off."""
        known, wanted = self._term.known, self._term.known.settings.standards
        if known.is_served is None or not wanted.cluster_profiles:
            return None
        name = as_label_value(known.settings.hub_id)
        requests = StandardRequests(
            hub=known.hub,
            clock=known.clock,
            telemetry=known.metrics,
            is_pressed=lambda: self._term.queue.depths()["active"] > _PRESSED_AT_WORKLOADS,
        )
        decisions = DecisionMirror(
            objects=known.objects,
            requests=requests,
            clock=known.clock,
            faults=known.faults,
            scheduler_name=name,
        )
        return StandardsLoop(
            profiles=ProfileMirror(
                objects=known.objects,
                requests=requests,
                clock=known.clock,
                faults=known.faults,
                manager=name,
            ),
            decisions=decisions if wanted.placement_decisions else None,
            requests=requests,
            is_served=known.is_served,
            clock=known.clock,
            faults=known.faults,
            jitter=known.jitter,
        )

    async def _refresh_indexes(self) -> None:
        """Publishes an index again whose site holds no head of the last hour of the ledger."""
        while True:
            await self._term.known.clock.sleep(_REFRESH_CHECK_SECONDS)
            self._term.dispatcher.refresh(_REFRESH_SECONDS, self._lacks_newest_head)

    def _lacks_newest_head(self, site: str) -> bool:
        return self._term.known.publisher.sent_head(site) != self._term.known.ledger.head()

    async def _watch_ledger(self) -> None:
        await self._term.known.recorder.watch(
            self._term.known.clock,
            on_failure=partial(self._term.known.metrics.count_fault, "ledger"),
            on_recovery=self._term.worker.retry_not_recorded,
        )
