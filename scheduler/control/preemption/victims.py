"""Gathers what could end for a workload that waits for room, as a decision has it."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from scheduler.control.orders.sync import OrderSync
from scheduler.control.preemption.active import Preemptions, key_of
from scheduler.control.state.decision_inputs import DecisionInputs
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.resolve_demand import resolve_demand
from scheduler.control.status.migration import SiteShare, is_finished, shares_in
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.preemption import PossibleVictim, VictimShare
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import PreemptingVictim, Workload
from scheduler.placement.choose import prepare_cycle
from scheduler.placement.preemption.victim import possible_victim

_MAX_LOOKED_AT = 10_000
"""So many workloads at the sites that would take the one that waits are looked at."""
_MAX_VICTIMS = 64
"""Of these so many are read, those of the lowest priority and of them the youngest."""


@dataclass(slots=True, kw_only=True)
class VictimFinder:
    """Reads possible victims of what the hub holds and the sites report.

    Attributes:
        objects: the hub's objects.
        inputs: the fleet, the time and the terms.
        order_sync: what sites report of orders.
        active: preemptions under way; what ends for others is not there any more.
    """

    objects: HubObjects
    inputs: DecisionInputs
    order_sync: OrderSync
    active: Preemptions

    def candidates(
        self, demand: Demand, tenants: frozenset[str] | None = None, *, lacks_quota: bool = False
    ) -> tuple[PossibleVictim, ...]:
        """What could end for a workload: of lower priority, or of tenants that borrow.

        Args:
            demand: the workload, with what its tenant may take back.
            tenants: those whose work may end; None: all.
            lacks_quota: its tenant's other work may free quota for it, wherever that runs.
        """
        found: dict[WorkKey, tuple[int, float, WorkKey]] = {}
        keys = chain.from_iterable(map(self.objects.workloads_at, self._open_sites(demand)))
        own = self._keys_of_tenant(demand) if lacks_quota else ()
        for key in chain(own, islice(keys, _MAX_LOOKED_AT)):
            one = self.objects.workloads.get(key)
            if one is None or key in found:
                continue
            if self._is_of(key, tenants) and self._may_end(demand, key, one):
                created = one.metadata.creation_timestamp
                age = -created.timestamp() if created else 0.0
                found[key] = (one.spec.priority, age, key)
        least = heapq.nsmallest(_MAX_VICTIMS, found.values())
        read = (self.victim(key) for _, _, key in sorted(least, key=lambda each: each[2]))
        return tuple(one for one in read if one is not None)

    def _keys_of_tenant(self, demand: Demand) -> list[WorkKey]:
        tenant = self.objects.tenants.get(demand.tenant)
        namespaces = frozenset(tenant.spec.namespaces if tenant else ())
        return [key for key in self.objects.workloads if key[0] in namespaces]

    def _open_sites(self, demand: Demand) -> list[str]:
        fleet = self.inputs.fleet
        state = prepare_cycle(demand, fleet, self.inputs.context())
        slots = [
            slot
            for slot in state.filter_result.admitted_slots.tolist()
            if slot not in state.retained.excluded
        ]
        return sorted(fleet.name_at(slot) for slot in slots)

    def _is_of(self, key: WorkKey, tenants: frozenset[str] | None) -> bool:
        if tenants is None:
            return True
        tenant = self.objects.tenant_of(key[0])
        return tenant is not None and tenant.metadata.name in tenants

    def _may_end(self, demand: Demand, key: WorkKey, one: Workload) -> bool:
        if "/".join(key) == demand.key or one.metadata.deletion_timestamp:
            return False
        if one.status.phase == "Completed":
            return False
        if demand.preemption == "LowerPriority" and one.spec.priority < demand.priority:
            return True
        if not demand.reclaim:
            return False
        tenant = self.objects.tenant_of(key[0])
        return tenant is not None and tenant.metadata.name in demand.reclaim

    def victim(
        self, key: WorkKey, only: Iterable[PreemptingVictim] | None = None
    ) -> PossibleVictim | None:
        """A workload as a possible victim; None: nothing of it can end.

        Args:
            key: the workload.
            only: what of it is to end, of which some may have ended, and count until it is gone.
        """
        workload = self.objects.workloads.get(key)
        demand = None if workload is None else self._demand_of(workload)
        if workload is None or demand is None or not demand.unit:
            return None
        shares = shares_in(workload.status.placement.groups)
        if only is None:
            listed = self._shares(key, workload, demand, shares)
        else:
            listed = self._shares_to_end(workload, demand, shares, only)
        if not listed:
            return None
        total = sum(one.replicas for one in shares.values())
        return possible_victim(
            workload, demand, listed, total, away=lambda: self._not_ready(workload, shares)
        )

    def _demand_of(self, workload: Workload) -> Demand | None:
        found = resolve_demand(workload, self.objects, self.order_sync.quotas)
        if isinstance(found, Demand):
            return found
        former = self.order_sync.last_accepted(workload)
        return None if former is None else former.demand

    def _shares(
        self, key: WorkKey, workload: Workload, demand: Demand, shares: Mapping[str, SiteShare]
    ) -> tuple[VictimShare, ...]:
        """What of a workload is there to end; none while it moves or has finished somewhere."""
        if any(one.leaving or one.waiting for one in shares.values()):
            return ()
        ending = {
            one.site: one.keep
            for preemption in self.active.preemptors_of(key)
            for one in preemption.victims
            if key_of(one.workload) == key
        }
        if demand.gang and ending:
            return ()
        order_id = self.order_sync.order_id(workload)
        found = []
        for site, share in sorted(shares.items()):
            reported = self.order_sync.site_view(site, order_id).state
            if reported is not None and is_finished(reported):
                continue
            replicas = min(share.replicas, ending.get(site, share.replicas))
            if replicas > 0:
                in_flight = min(replicas, self.in_flight_at(site, demand))
                found.append(VictimShare(site=site, replicas=replicas, in_flight=in_flight))
        return tuple(found)

    def _shares_to_end(
        self,
        workload: Workload,
        demand: Demand,
        shares: Mapping[str, SiteShare],
        only: Iterable[PreemptingVictim],
    ) -> tuple[VictimShare, ...]:
        found = []
        for one in only:
            share = shares.get(one.site)
            there = 0 if share is None else share.replicas
            # What was sent and is on no node yet may still start: it is not gone either.
            flying = self.in_flight_at(one.site, demand)
            left = max(there, self.bound_at(one.site, workload, demand) + flying)
            count = min(one.replicas, left - one.keep)
            if count > 0:
                found.append(
                    VictimShare(
                        site=one.site,
                        replicas=count,
                        in_flight=min(count, flying),
                        ending=there <= one.keep,
                    )
                )
        return tuple(found)

    def in_flight_at(self, site: str, demand: Demand) -> int:
        """Replicas of a workload at a site that no report shows on a node."""
        fleet = self.inputs.fleet
        if site not in fleet.slot_of:
            return 0
        pods = sum(
            one.replicas for one in fleet.facts_of(site).in_flight if one.workload == demand.key
        )
        return -(-pods // _pods_of_replica(demand))

    def bound_at(self, site: str, workload: Workload, demand: Demand) -> int:
        """Replicas of a workload that the last report of a site shows on nodes, ending ones too."""
        state = self.order_sync.sites.states.get(site)
        report = state.report if state else None
        if report is None:
            return 0
        _, pods = report.bound.get(self.order_sync.order_id(workload), (0, 0))
        others = sum(one.count for one in demand.beside)
        return -(-max(0, pods - others) // _pods_of_replica(demand)) if pods > others else 0

    def _not_ready(self, workload: Workload, shares: Mapping[str, SiteShare]) -> int:
        """How many replicas are not known to be ready."""
        order_id, away = self.order_sync.order_id(workload), 0
        for site, share in shares.items():
            state = self.order_sync.site_view(site, order_id).state
            ready = 0 if state is None else state.ready or 0
            away += max(0, share.replicas - ready)
        return away


def _pods_of_replica(demand: Demand) -> int:
    return max(1, sum(one.count for one in demand.unit))
