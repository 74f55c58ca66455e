"""What a workload's status says is ordered, and what that uses at its sites and of its quota.

The step after the status is written: plans for the dispatcher, capacity in flight, tenant quotas.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from scheduler.control.orders.build import (
    ASKS,
    kept_order_of,
    ordered_of,
    orders_of,
    with_adopted_placement,
)
from scheduler.control.orders.claims import claims_to_delete
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.orders.identity import IdentityResolver, format_order_id, pod_selector
from scheduler.control.orders.kept_orders import KeptOrders
from scheduler.control.orders.made_orders import MadeOrders
from scheduler.control.orders.referred_ids import parse_referred_id
from scheduler.control.orders.surge_room import SurgeRoom
from scheduler.control.orders.waits import (
    OVERRIDES,
    REFERENCES,
    WAITING,
    OrderWait,
    SentReferences,
    overrides_condition,
    references_condition,
)
from scheduler.control.ports.agents import OrderForSite, OrderState
from scheduler.control.ports.ledger import AcceptedSpec
from scheduler.control.sites.sites import Sites
from scheduler.control.state.node_label_keys import NodeLabelKeys
from scheduler.control.state.objects import HubObjects
from scheduler.control.state.quotas import Quotas, QuotaUse
from scheduler.control.status import workload as statuses
from scheduler.control.status.accepted import is_present_spec_accepted
from scheduler.control.status.conditions import (
    MAX_SITES_LISTED,
    find_condition,
    set_condition,
)
from scheduler.control.status.failover import given_up_sites
from scheduler.control.status.migration import SiteShare, SiteView, is_finished
from scheduler.control.status.remains import SiteLeft
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.formatters import format_list
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload, WorkloadStatus
from scheduler.model.manifests.autoscalers import autoscaler_of
from scheduler.model.overrides.apply import Adaptation, adaptation_of


@dataclass(slots=True, kw_only=True)
class OrderSync:
    """Keeps plans, capacity in flight and quotas in step with statuses.

    Attributes:
        objects: the hub's objects.
        sites: what is known of sites.
        dispatcher: publishes orders.
        quotas: what placed workloads use of their tenants' quotas.
        identities: finds the incarnation of workloads.
        node_labels: names of node labels that workloads ask for.
        last_accepted: gives the spec and the demand of a workload that were accepted last.
        former_accepted: those before them, while a rollout has not replaced them everywhere.
    """

    objects: HubObjects
    sites: Sites
    dispatcher: Dispatcher
    quotas: Quotas
    identities: IdentityResolver
    node_labels: NodeLabelKeys
    last_accepted: Callable[[Workload], AcceptedSpec | None]
    former_accepted: Callable[[Workload], AcceptedSpec | None] = lambda _workload: None
    _sites_ordered: dict[WorkKey, set[str]] = field(default_factory=dict)
    _made: MadeOrders = field(default_factory=MadeOrders)
    _made_former: MadeOrders = field(default_factory=MadeOrders)
    _surge: SurgeRoom = field(init=False)

    def __post_init__(self) -> None:
        self._surge = SurgeRoom(self.sites)

    def order_id(self, workload: Workload) -> str:
        """The id of a workload's orders, the same at every site; of an identified workload."""
        key = (workload.metadata.namespace, workload.metadata.name)
        return format_order_id(self.identities.hub_id, key, workload.status.incarnation)

    def pod_selector(self, workload: Workload) -> str:
        """The label selector of a workload's pods; empty while its orders have no id yet."""
        return pod_selector(self.order_id(workload)) if workload.status.incarnation else ""

    def identify(self, key: WorkKey, workload: Workload) -> Workload | NotAccepted:
        """The workload with its incarnation, or why that cannot be known.

        In that case the sites that report orders of that name get no index: it would withdraw them.
        """
        found = self.identities.identify(workload)
        if isinstance(found, NotAccepted):
            self.dispatcher.hold_for(key, self.identities.reported_incarnations(key))
        return found

    def site_view(self, site: str, order_id: str) -> SiteView:
        """What is known of an order at a site."""
        state = self.sites.states.get(site)
        report = state.order_status if state else None
        if wait := self.dispatcher.wait_at(site, order_id):
            return self._waiting_view(site, order_id, wait)
        refusal = self.dispatcher.refusal_at(site, order_id)
        order = self.dispatcher.order_at(site, order_id)
        if refusal and order is not None:
            told = OrderState(
                id=order_id, generation=order.generation, phase="Refused", message=refusal
            )
            return SiteView(state=told, is_silent=state is None or not state.is_ready)
        return SiteView(
            state=report.orders.get(order_id) if report else None,
            is_current=report is not None and self.dispatcher.is_listed(site, order_id, report),
            is_silent=state is None or not state.is_ready,
            is_unreachable=state is not None and not state.is_cluster_reachable,
        )

    def _waiting_view(self, site: str, order_id: str, wait: OrderWait) -> SiteView:
        """A site of which the order waits: what it reports is of the content before."""
        state, order = self.sites.states.get(site), self.dispatcher.order_at(site, order_id)
        known = self._reported(site, order_id)
        if known is None and order is not None:
            known = OrderState(id=order_id, generation=order.generation, phase=WAITING)
        return SiteView(
            state=replace(known, phase=WAITING, message=wait.message) if known else None,
            is_silent=state is None or not state.is_ready,
            is_unreachable=state is not None and not state.is_cluster_reachable,
        )

    def sent_references(self, workload: Workload, status: WorkloadStatus) -> SentReferences:
        """What the orders of a workload refer to and wait for, at the sites of a status."""
        order_id = self.order_id(workload)
        sites = statuses.shares_of(status)
        return self._sent_references(
            workload, {site: self.dispatcher.order_at(site, order_id) for site in sites}
        )

    def _sent_references(
        self, workload: Workload, ordered: Mapping[str, OrderForSite | None]
    ) -> SentReferences:
        order_id, orders = self.order_id(workload), ordered.values()
        waits = {site: self.dispatcher.wait_at(site, order_id) for site in ordered}
        needs = {each for one in {one.needs for one in orders if one} for each in one}
        left_out = {each for one in {one.not_sent for one in orders if one} for each in one}
        namespace = workload.metadata.namespace
        sent = (one.name_in(namespace) for one in map(parse_referred_id, needs) if one)
        return SentReferences(
            waits={site: one for site, one in waits.items() if one is not None},
            sent=tuple(sorted(sent)),
            not_sent=tuple(sorted(left_out)),
            is_unknown=any(one is None or bool(one.kept_digest) for one in orders),
        )

    def not_acted_on(self, workload: Workload, status: WorkloadStatus) -> list[str]:
        """What agents of earlier versions do not act on of a workload's orders, as sentences."""
        order_id = self.order_id(workload)
        sites_by_word: dict[str, list[str]] = {}
        for site in statuses.shares_of(status):
            order, state = self.dispatcher.order_at(site, order_id), self.sites.states.get(site)
            report = state.order_status if state else None
            if order is None or report is None:
                continue
            for word in set(order.asks) - report.acts_on:
                sites_by_word.setdefault(word, []).append(site)
        return [
            f"{ASKS[word]}: the agents of {format_list(sorted(sites), MAX_SITES_LISTED)} are of a"
            " version that does not act on it"
            for word, sites in sorted(sites_by_word.items())
        ]

    def site_views(self, workload: Workload, status: WorkloadStatus) -> dict[str, SiteView]:
        """What is known of a workload's orders, by each site that holds a share in a status."""
        order_id = self.order_id(workload)
        return {site: self.site_view(site, order_id) for site in statuses.shares_of(status)}

    def pods_given_up(self, workload: Workload, status: WorkloadStatus) -> dict[str, int]:
        """Pods for which no room is kept, because their site could not schedule them for long."""
        order_id = self.order_id(workload)
        found = {
            site: self.sites.pods_given_up(site, order_id) for site in statuses.shares_of(status)
        }
        return {site: pods for site, pods in found.items() if pods}

    def has_newer_orders(self, workload: Workload) -> bool:
        """Whether a site reports an order of a workload that is newer than its status."""
        order_id = self.order_id(workload)
        ordered = max((one.generation for one in workload.status.placement.groups), default=0)
        states = self.sites.reporters.states_of(order_id, self.sites.states)
        reports = (state.order_status for state in states.values())
        orders = (report.orders.get(order_id) for report in reports if report is not None)
        return any(order is not None and order.generation > ordered for order in orders)

    def with_adopted_placement(self, workload: Workload) -> Workload:
        """The workload; if the hub knows no placement of it, with the one that sites report."""
        if workload.status.placement.groups:
            return workload
        order_id = self.order_id(workload)
        states = self.sites.reporters.states_of(order_id, self.sites.states)
        return with_adopted_placement(workload, order_id, states)

    def plan_orders(
        self,
        key: WorkKey,
        workload: Workload,
        shares: Mapping[str, SiteShare],
        *,
        has_content: bool = True,
    ) -> None:
        """Sets what each site is to run of a workload; accounts for nothing.

        Args:
            key: namespace and name.
            workload: with the spec that its orders are made of.
            shares: by site.
            has_content: the spec is what was accepted, and nothing was left out of it. Otherwise
                every site keeps the order that it has.
        """
        orders = self._orders_of(key, workload, shares, has_content=has_content)
        self.dispatcher.set_orders(key, orders)
        unknown = shares.keys() - orders.keys()
        if has_content:  # of the former content of a rollout it may not be known
            is_whole = workload.status.placement.identity == "Whole"  # may start later
            unknown = set() if is_whole else _sites_of_former(shares) & unknown
        if unknown:
            self.dispatcher.hold_for(key, unknown)

    def restore_orders(
        self,
        key: WorkKey,
        workload: Workload,
        shares: Mapping[str, SiteShare],
        *,
        has_content: bool = True,
    ) -> None:
        """Plans after a start what the sites have, so that the change of leader changes nothing.

        A site whose digest in the status is that of another content keeps that until the workload
        is decided again: all its replicas are leaving, or its tenant was edited meanwhile.
        """
        order_id = self.order_id(workload)
        self.plan_orders(key, workload, shares, has_content=has_content)
        for site, digest in workload.status.placement.orders.items():
            order = self.dispatcher.order_at(site, order_id)
            if order is None or self.dispatcher.digest_of(site, order) == digest:
                continue
            if kept := kept_order_of(workload, order_id, site, shares[site]):
                self.dispatcher.replace_order(site, kept)

    def plan_kept(self, key: WorkKey, kept: KeptOrders) -> None:
        """Plans after a start what the sites have, by the digests in the status alone.

        Nothing is read of the manifests; `content_of` does so when a site asks for a content.
        """
        self.dispatcher.set_orders(key, kept.orders)
        self.node_labels.record_keys(key, kept.label_keys)

    def restore_kept(self, key: WorkKey, kept: KeptOrders) -> bool:
        """Does as `plan_kept`, and accounts for it; not for a tenant with a budget.

        Returns:
            Whether that is done; False: what it uses depends on the fleet, or on an autoscaler.
        """
        found = {site: self._reported(site, kept.order_id) for site in kept.shares}
        if kept.has_daemons or any(self._is_raised(kept, site, one) for site, one in found.items()):
            return False
        self.plan_kept(key, kept)
        for site, state in found.items():
            share = kept.shares[site]
            is_over = kept.orders[site].is_over or (
                state is not None and is_finished(state) and state.generation >= share.generation
            )
            ordered = None if is_over else kept.ordered[site]
            self.sites.set_order(site, kept.order_id, ordered)
        self.quotas.restore(key, QuotaUse(kept.amounts, None))
        return True

    def _reported(self, site: str, order_id: str) -> OrderState | None:
        state = self.sites.states.get(site)
        report = state.order_status if state else None
        return report.orders.get(order_id) if report else None

    def _is_raised(self, kept: KeptOrders, site: str, state: OrderState | None) -> bool:
        """Whether a site reports more replicas than were ordered, as `_raised_at` counts them."""
        share = kept.shares[site]
        if state is None or state.replicas is None or state.generation < share.generation:
            return False
        if share.is_parked or not kept.unit_pods:
            return False
        return (state.replicas - kept.pods_beside) // kept.unit_pods > share.replicas

    def content_of(self, site: str, kept: OrderForSite) -> OrderForSite | None:
        """The content of an order that is planned by its digest alone; None: it is not known.

        It is made again of what was accepted, and counts only if it has that digest.
        """
        key = (kept.namespace, kept.name)
        known = self.objects.workloads.get(key)
        if known is None:
            return None
        workload = self.identities.identify(known)
        if isinstance(workload, NotAccepted) or self.order_id(workload) != kept.id:
            return None
        share = statuses.shares_of(workload.status).get(site)
        former = self.former_accepted(workload)
        if share is not None and share.is_former and former is not None:
            basis = _with_spec(workload, former) if former.is_complete else None
        else:
            basis = workload if is_present_spec_accepted(workload) else self._former(workload)
        if share is None or share.generation != kept.generation or basis is None:
            return None
        tenant = self.objects.tenant_of(key[0])
        adaptations = self._adaptations(basis, (site,))
        made = orders_of(basis, kept.id, {site: share}, tenant, {}, adaptations=adaptations)[site]
        return made if self.dispatcher.digest_of(site, made) == kept.kept_digest else None

    def _former(self, workload: Workload) -> Workload | None:
        """The workload with the spec that was accepted last; None: it is not known in full."""
        former = self.last_accepted(workload)
        if former is None or not former.is_complete:
            return None
        return _with_spec(workload, former)

    def with_orders(
        self, key: WorkKey, workload: Workload, now: datetime, *, has_content: bool = True
    ) -> WorkloadStatus:
        """The status of a workload with what it says of the orders that it leads to.

        These are their digests, what they refer to, and which have no content. Only with what was
        accepted: a status of an older version is not written for its digests.
        """
        status, shares = workload.status, statuses.shares_of(workload.status)
        former = {s: one for s, one in status.placement.orders.items() if s in shares}
        digests: dict[str, str] = {}
        if status.accepted is not None:
            orders = self._orders_of(key, workload, shares, has_content=has_content)
            found = {site: self.dispatcher.digest_of(site, one) for site, one in orders.items()}
            digests = former | {site: one for site, one in found.items() if one}
            ordered = {site: orders.get(site) for site in shares}
            condition = references_condition(
                self._sent_references(workload, ordered),
                now,
                find_condition(status.conditions, REFERENCES),
            )
            if condition is not None:
                observed = status.observed_generation or None
                condition = msgspec.structs.replace(condition, observed_generation=observed)
            status = set_condition(status, condition, REFERENCES, now)
            problems = {
                site: one.not_made_because for site, one in orders.items() if one.not_made_because
            }
            status = set_condition(status, overrides_condition(problems, now), OVERRIDES, now)
        placement = msgspec.structs.replace(status.placement, orders=dict(sorted(digests.items())))
        return msgspec.structs.replace(status, placement=placement)

    def sites_without_content(self, workload: Workload) -> tuple[str, ...]:
        """Sites of which the content of the order is not known any more, and where it stays."""
        key = (workload.metadata.namespace, workload.metadata.name)
        order_id, found = self.order_id(workload), []
        for site, share in statuses.shares_of(workload.status).items():
            order = self.dispatcher.order_at(site, order_id)
            is_kept = order is not None and bool(order.kept_digest) and not share.is_withdrawing
            is_unknown = is_kept and order is not None and self.content_of(site, order) is None
            if is_unknown or self.dispatcher.is_held_for(key, site):
                found.append(site)
        return tuple(sorted(found))

    def _orders_of(
        self,
        key: WorkKey,
        workload: Workload,
        shares: Mapping[str, SiteShare],
        *,
        has_content: bool,
    ) -> dict[str, OrderForSite]:
        order_id = self.order_id(workload)
        if workload.status.phase == "Completed":
            kept = {s: kept_order_of(workload, order_id, s, one) for s, one in shares.items()}
            if known := {site: one for site, one in kept.items() if one is not None}:
                others = {site: one for site, one in shares.items() if site not in known}
                made = self._made_orders_of(key, workload, others, has_content=has_content)
                return made | known
        return self._made_orders_of(key, workload, shares, has_content=has_content)

    def _made_orders_of(
        self,
        key: WorkKey,
        workload: Workload,
        shares: Mapping[str, SiteShare],
        *,
        has_content: bool,
    ) -> dict[str, OrderForSite]:
        """The orders, of sites that a rollout has not reached yet of the content before it."""
        having = _sites_of_former(shares)
        if not having:
            return self._orders_of_spec(key, workload, shares, self._made, has_content=has_content)
        former = self.former_accepted(workload)
        is_known = former is not None and former.is_complete
        basis = workload if former is None else _with_spec(workload, former)
        of_former = {site: one for site, one in shares.items() if site in having}
        others = {site: one for site, one in shares.items() if site not in having}
        made = self._orders_of_spec(key, basis, of_former, self._made_former, has_content=is_known)
        return made | self._orders_of_spec(
            key, workload, others, self._made, has_content=has_content
        )

    def _orders_of_spec(
        self,
        key: WorkKey,
        workload: Workload,
        shares: Mapping[str, SiteShare],
        remembered: MadeOrders,
        *,
        has_content: bool,
    ) -> dict[str, OrderForSite]:
        tenant = self.objects.tenant_of(key[0])
        order_id = self.order_id(workload)
        if workload.status.placement.identity == "Whole":
            shares = self._startable(key, workload, order_id, shares)
        adaptations = self._adaptations(workload, shares)
        current = {
            site: one for site in shares if (one := self.dispatcher.order_at(site, order_id))
        }
        if has_content:
            made = remembered.orders_of(
                key,
                workload,
                order_id,
                shares,
                tenant,
                adaptations,
                current_orders=current,
            )
        else:
            made = orders_of(
                workload,
                order_id,
                shares,
                tenant,
                current,
                has_content=False,
                adaptations=adaptations,
            )
        return self._with_present_needs(made) if adaptations else made

    def _adaptations(self, workload: Workload, sites: Iterable[str]) -> dict[str, Adaptation]:
        """The overrides and registries that apply, by site where any do."""
        overrides, known = workload.spec.overrides, self.objects.sites
        found = {site: adaptation_of(overrides, known.get(site)) for site in sites}
        return {site: one for site, one in found.items() if one is not None}

    def _with_present_needs(self, made: dict[str, OrderForSite]) -> dict[str, OrderForSite]:
        """Orders, of which those without content need what the content before them needs.

        Such a site runs on by that one, so the objects that it refers to must stay there.
        """
        result = made.copy()
        for site, one in made.items():
            former = self.dispatcher.order_at(site, one.id) if one.not_made_because else None
            if former is not None:
                needs = tuple(dict.fromkeys((*one.needs, *former.needs)))
                optional = one.optional_needs | former.optional_needs
                result[site] = replace(one, needs=needs, optional_needs=optional)
        return result

    def _startable(
        self, key: WorkKey, workload: Workload, order_id: str, shares: Mapping[str, SiteShare]
    ) -> Mapping[str, SiteShare]:
        """The shares without those that would start while a site that was left may still run.

        Of a site that has not reported to this leader, the status says whether it has an order: its
        digest is written before the order is published.
        """
        remaining = {one.site for one in workload.status.remains if one.message}
        former = (remaining | self._sites_ordered.get(key, set())) - shares.keys()
        former -= {one for one in given_up_sites(workload.status) if self._is_silent(one)}
        if not any(self._still_runs(site, order_id) for site in former):
            return shares
        startable: dict[str, SiteShare] = {}
        for site, share in shares.items():
            state = self.sites.states.get(site)
            report = state.order_status if state else None
            is_known = self.dispatcher.order_at(site, order_id) is not None
            is_ordered = _was_ordered(workload, site) if report is None else False
            if is_known or is_ordered or (report and order_id in report.orders):
                startable[site] = share
        return startable

    def _is_silent(self, site: str) -> bool:
        state = self.sites.states.get(site)
        return state is not None and state.health.is_absent

    def hold_indexes(self, key: WorkKey, workload: Workload) -> None:
        """Holds the indexes of all sites that a workload is placed at, until its orders are set."""
        groups = workload.status.placement.groups
        self.dispatcher.hold_for(key, {site for group in groups for site in group.sites})

    def release_indexes(self, key: WorkKey) -> None:
        """Ends a hold of `identify`, for a workload that is known now and orders nothing."""
        self.dispatcher.release(key)

    def sync_orders(
        self, key: WorkKey, demand: Demand, workload: Workload, *, has_content: bool = True
    ) -> None:
        """Orders exactly what the status of a workload says; arguments as in `plan_orders`."""
        shares = statuses.shares_of(workload.status)
        self.plan_orders(key, workload, shares, has_content=has_content)
        self.account_usage(key, demand, workload, shares)
        self._purge_left_sites(key, workload, set(shares))
        self._release_left_sites(key, self.order_id(workload), set(shares))

    def account_usage(
        self, key: WorkKey, demand: Demand, workload: Workload, shares: Mapping[str, SiteShare]
    ) -> None:
        """Accounts for shares: as in flight at their sites, and in the tenant's quota.

        A move is not the tenant's doing, so replicas that are leaving count at their site and not
        in the quota. Replicas that the workload's own autoscaler has added at a site do.
        """
        order_id = self.order_id(workload)
        former = self.former_accepted(workload) if _sites_of_former(shares) else None
        for site, share in shares.items():
            if workload.status.phase == "Completed" or self._is_finished(site, order_id, share):
                self.sites.set_order(site, order_id, None)
            elif not self.sites.has_ordered(site, order_id, share.generation):
                at_site = former.demand if former is not None and share.is_former else demand
                self.sites.set_order(site, order_id, ordered_of(at_site, share))
        self._surge.hold(key, order_id, workload, demand, shares)
        usage = {site: one.replicas for site, one in shares.items() if not one.is_parked}
        raised = {site: self._raised_at(site, order_id, demand, shares[site]) for site in usage}
        if any(raised[site] > usage[site] for site in usage):  # else manifests are not read
            autoscaler = autoscaler_of(workload.spec.manifests)
            most = (autoscaler.max_replicas if autoscaler else None) or 0
            usage = {site: max(one, min(raised[site], most)) for site, one in usage.items()}
        self.quotas.set_usage(key, demand, usage)

    def _raised_at(self, site: str, order_id: str, demand: Demand, share: SiteShare) -> int:
        """The replicas that the objects of an order ask for, as the site reports it; 0: unknown.

        The report counts the pods of all objects, also of those that are once at each site.
        """
        state, unit = self.site_view(site, order_id).state, sum(one.count for one in demand.unit)
        if state is None or state.replicas is None or state.generation < share.generation:
            return 0
        daemons = self.quotas.daemon_pods_of(demand, [site]) if demand.per_node else ()
        others = sum(one.count for one in demand.beside) + sum(daemons)
        return (state.replicas - others) // unit if unit else 0

    def withdraw(self, key: WorkKey, workload: Workload) -> dict[str, SiteLeft]:
        """Withdraws all orders of a workload that is being deleted, its claims too.

        Returns:
            What is known of the sites that have not confirmed yet that nothing of it is left.
        """
        self.dispatcher.set_orders(key, {})
        self._surge.release(key)
        order_id = self.order_id(workload)
        sites = {
            *statuses.shares_of(workload.status),
            *(one.site for one in workload.status.remains),
            *self._sites_ordered.get(key, ()),
        }
        claims = claims_to_delete(workload, order_id, self.objects.workloads)
        sites |= self._claim_sites(key, workload, sites, claims)
        self.dispatcher.set_purges(key, dict.fromkeys(sites, claims | {order_id}))
        left = {site: self._left_at(site, order_id, claims) for site in sorted(sites)}
        return {site: one for site, one in left.items() if not one.is_gone or one.claims}

    def left_sites(
        self, key: WorkKey, workload: Workload, status: WorkloadStatus
    ) -> dict[str, SiteLeft]:
        """What is known of sites that a workload has left, or leaves by a status to be written."""
        order_id, current = self.order_id(workload), statuses.shares_of(status)
        former = statuses.shares_of(workload.status)
        is_anything_left = workload.status.remains or former.keys() - current.keys()
        claims: frozenset[str] = frozenset()
        if is_anything_left:
            claims = claims_to_delete(workload, order_id, self.objects.workloads)
        if not is_anything_left and not self.sites.left.claim_sites(order_id):
            self.sites.left.record(key, {})
            return {}
        remaining = {one.site for one in workload.status.remains}
        kept = self._claim_sites(key, workload, {*current, *former, *remaining}, claims)
        confirmed = {one.site for one in workload.status.remains if not one.message}
        sites = {*remaining, *former, *kept} - current.keys()
        left = {
            site: self._left_at(site, order_id, claims, was_confirmed=site in confirmed)
            for site in sorted(sites)
        }
        for site in kept & current.keys():  # an edit took the claim out of an order that stays
            left[site] = SiteLeft(is_gone=True, claims=self._claims_at(site, order_id, claims))
        remains = {site: one for site, one in left.items() if not one.is_gone or one.claims}
        self.sites.left.record(key, {site: one.is_gone for site, one in remains.items()})
        return left

    def _claims_at(self, site: str, order_id: str, more: frozenset[str]) -> tuple[str, ...]:
        """The claims that a site keeps of an order, and of those that went along and are to go."""
        ids = (order_id, *sorted(more))
        return tuple(name for one in ids for name in self.sites.claims_at(site, one))

    def _claim_sites(
        self, key: WorkKey, workload: Workload, known: set[str], claims: frozenset[str]
    ) -> set[str]:
        """The sites that keep claims of a workload, of those where it is known to have been.

        A site may say so of any workload, and would hold up its deletion for ever. Only if the hub
        has lost where a workload was, as after a restore without statuses, every site is believed.
        """
        ids = claims | {self.order_id(workload)}
        sites = {site for one in ids for site in self.sites.left.claim_sites(one)}
        if not workload.status.placement.generation:
            return sites
        return sites & {*known, *self._sites_ordered.get(key, ())}

    def _left_at(
        self, site: str, order_id: str, claims: frozenset[str], *, was_confirmed: bool = False
    ) -> SiteLeft:
        state = self.sites.states.get(site)
        if state is None:
            return SiteLeft(is_gone=True)
        report = state.order_status
        told = report.orders.get(order_id) if report else None
        # An order that is planned is withdrawn only after the status that drops it is written.
        is_planned = self.dispatcher.order_at(site, order_id) is not None
        if was_confirmed and not is_planned:
            is_gone = report is None or told is None
        else:
            is_gone = not is_planned and not self._still_runs(site, order_id)
        return SiteLeft(
            is_gone=is_gone,
            is_silent=not state.is_ready,
            message=told.message if told and told.phase == "Withdrawing" else "",
            claims=self._claims_at(site, order_id, claims),
        )

    def forget(self, key: WorkKey) -> None:
        """Releases all that is held for a workload that is gone."""
        self._made.forget(key)
        self._made_former.forget(key)
        self._surge.release(key)
        self._sites_ordered.pop(key, None)
        self.quotas.release(key)
        self.node_labels.forget(key)
        self.dispatcher.forget_workload(key)
        self.sites.left.record(key, {})

    def _is_finished(self, site: str, order_id: str, share: SiteShare) -> bool:
        """Whether all jobs of a share have ended: they use no capacity and will not request any."""
        state = self.site_view(site, order_id).state
        return state is not None and is_finished(state) and state.generation >= share.generation

    def _purge_left_sites(self, key: WorkKey, workload: Workload, current: set[str]) -> None:
        """Lets claims at former sites be deleted, if the workload says so by `onWithdraw`."""
        order_id = self.order_id(workload)
        sites: set[str] = set()
        if workload.spec.on_withdraw == "Delete":
            sites = {one.site for one in workload.status.remains} - current
        ids = frozenset({order_id})
        if sites:
            ids |= claims_to_delete(workload, order_id, self.objects.workloads)
        self.dispatcher.set_purges(key, dict.fromkeys(sites, ids))

    def _release_left_sites(self, key: WorkKey, order_id: str, current_sites: set[str]) -> None:
        """Gives back capacity at former sites of a workload once they confirm the withdrawal."""
        left = self._sites_ordered.get(key, set()) - current_sites
        gone = {site for site in left if not self._still_runs(site, order_id)}
        self._sites_ordered[key] = (left - gone) | current_sites

    def _still_runs(self, site: str, order_id: str) -> bool:
        """Whether a withdrawn workload may still run at a site; if not, frees its capacity."""
        state = self.sites.states.get(site)
        if state is None:
            return False
        is_gone = self.dispatcher.is_withdrawn(site, order_id, state.order_status)
        if is_gone:
            self.sites.set_order(site, order_id, None)
        return not is_gone


def _was_ordered(workload: Workload, site: str) -> bool:
    """Whether a site may have an order by the status; one of an older version does not say."""
    return workload.status.accepted is None or site in workload.status.placement.orders


def _sites_of_former(shares: Mapping[str, SiteShare]) -> set[str]:
    """Where replicas that stay have the content before the one that is being rolled out."""
    return {site for site, one in shares.items() if one.is_former and not one.is_withdrawing}


def _with_spec(workload: Workload, accepted: AcceptedSpec) -> Workload:
    return msgspec.structs.replace(workload, spec=accepted.spec)
