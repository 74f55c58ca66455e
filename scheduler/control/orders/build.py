"""Builds orders from a placement, and what they use at a site until a report shows them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec

from scheduler.control.orders.identity import parse_order_id
from scheduler.control.orders.pinning import with_pin
from scheduler.control.orders.referred_ids import (
    PRIORITY_CLASS,
    parse_referred_id,
    referred_object,
    referred_order_id,
)
from scheduler.control.ports.agents import OrderForSite
from scheduler.control.sites.site_state import SiteState
from scheduler.control.status.migration import SiteShare
from scheduler.control.status.ordinals import ordered_ordinals
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, OrderGeneration
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import NodePin, PlacementGroup, PlacementStatus, Workload
from scheduler.model.manifests.checks import READY_WHEN, names_of_kind
from scheduler.model.manifests.cleaning import clean_manifests
from scheduler.model.manifests.containers import mapping_or_empty
from scheduler.model.manifests.identities import (
    named_for_site,
    total_completions,
    with_completions,
    with_ordinals,
)
from scheduler.model.manifests.manifests import with_claims_retained, with_replicas, without_pods
from scheduler.model.manifests.references import Reference, is_referred_name, references_of
from scheduler.model.overrides.apply import Adaptation, NotApplicable, adapt
from scheduler.model.quantities import PODS

NOTHING_ADAPTED: Final[Mapping[str, Adaptation]] = MappingProxyType({})


def orders_of(
    workload: Workload,
    order_id: str,
    shares: Mapping[str, SiteShare],
    tenant: Tenant | None,
    current_orders: Mapping[str, OrderForSite],
    *,
    has_content: bool = True,
    adaptations: Mapping[str, Adaptation] = NOTHING_ADAPTED,
) -> dict[str, OrderForSite]:
    """The order of each site that holds a share, by site.

    Without content, a site keeps the order that it has, in this memory or by the digest in the
    status; where neither is known, the site has no order here, and its index must be held.

    Args:
        workload: with its present spec.
        order_id: the id of its orders.
        shares: by site.
        tenant: the tenant of its namespace; None: it has none.
        current_orders: the orders until now, by site. A site where all replicas are leaving keeps
            its content: the present spec may not be allowed there.
        has_content: the spec is what was accepted, and nothing was left out of it.
        adaptations: the overrides and registries that apply, by site where any do.
    """
    orders: dict[str, OrderForSite] = {}
    cleaned, _ = clean_manifests(workload.spec.manifests) if has_content else ((), ())
    at_sites = _SiteManifests(workload, cleaned, tenant)
    for site, share in shares.items():
        is_kept = share.is_withdrawing or not has_content
        former = current_orders.get(site) if is_kept else None
        if former is not None and former.kept_digest:
            orders[site] = former
            continue
        if former is None and not has_content:
            if kept := kept_order_of(workload, order_id, site, share):
                orders[site] = kept
            continue
        problem = ""
        if former is not None:
            manifests: Sequence[Mapping[str, Any]] = former.manifests
        else:
            manifests, problem = at_sites.of(share, adaptations.get(site))
        at_site = _manifests_at(site, workload, manifests, share, is_kept=former is not None)
        needs, left_out = _references_at(workload, order_id, at_site, tenant)
        orders[site] = OrderForSite(
            id=order_id,
            generation=share.generation,
            namespace=workload.metadata.namespace,
            name=workload.metadata.name,
            manifests=() if problem else at_site,
            not_made_because=problem,
            namespaces=tenant.spec.extra_namespaces if tenant else (),
            cluster_kinds=_cluster_kinds(manifests, tenant),
            pod_security=tenant.spec.pod_security if tenant else None,
            needs=tuple(needs),
            optional_needs=frozenset(each for each, one in needs.items() if one.is_optional),
            not_sent=left_out,
            update_strategy=_strategy_of(workload),
            on_drift=_drift_of(workload),
            asks=_asks_of(workload, at_site),
        )
    return orders


ASKS = {
    "ready-when": f"annotation {READY_WHEN} of its manifests",
    "update-strategy": "spec.updateStrategy",
    "on-drift": "spec.onDrift",
}
"""What agents of earlier versions do not act on, by the words of the wire format."""


def _strategy_of(workload: Workload) -> str:
    strategy = workload.spec.update_strategy
    return "" if strategy == "Apply" else strategy


def _drift_of(workload: Workload) -> str:
    return "" if workload.spec.on_drift == "Repair" else workload.spec.on_drift


def _asks_of(workload: Workload, manifests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    notes = (
        mapping_or_empty(mapping_or_empty(one.get("metadata")).get("annotations"))
        for one in manifests
    )
    ready_when = ("ready-when",) if any(READY_WHEN in one for one in notes) else ()
    strategy = ("update-strategy",) if _strategy_of(workload) else ()
    return (*ready_when, *strategy, *(("on-drift",) if _drift_of(workload) else ()))


MAX_FORMS_BYTES = 262_144
"""The most of what overrides change, over all their combinations at sites: each different form is
checked, which takes about 0.4 ms for each KiB."""
_TOO_MANY_FORMS = (
    "spec.overrides: their selectors lead to more different forms of the manifests than are "
    "checked; write fewer overrides that select the same sites in part"
)


@dataclass(slots=True)
class _SiteManifests:
    """The manifests of a workload by what is decided of a site and what applies there.

    Sites of which that is equal share them.
    """

    workload: Workload
    cleaned: Sequence[Mapping[str, Any]]
    tenant: Tenant | None
    _pinned: dict[NodePin | None, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    _adapted: dict[tuple[NodePin | None, Adaptation], tuple[Sequence[Mapping[str, Any]], str]] = (
        field(default_factory=dict)
    )
    _checked_bytes: int = 0

    def of(
        self, share: SiteShare, adaptation: Adaptation | None
    ) -> tuple[Sequence[Mapping[str, Any]], str]:
        """The manifests, and why they cannot be as they should; "" when they are.

        A site with 0 replicas runs no pods, so what cannot be applied there changes nothing.
        """
        if share.pin not in self._pinned:
            self._pinned[share.pin] = with_pin(self.cleaned, share.pin, self.workload.spec)
        pinned = self._pinned[share.pin]
        if adaptation is None:
            return pinned, ""
        key = share.pin, adaptation
        if key not in self._adapted:
            self._adapted[key] = self._adapt(pinned, adaptation)
        manifests, problem = self._adapted[key]
        return manifests, "" if share.is_parked else problem

    def _adapt(
        self, pinned: Sequence[Mapping[str, Any]], adaptation: Adaptation
    ) -> tuple[Sequence[Mapping[str, Any]], str]:
        if self._checked_bytes > MAX_FORMS_BYTES:
            return pinned, _TOO_MANY_FORMS
        namespace = self.workload.metadata.namespace
        try:
            adapted = adapt(
                pinned, adaptation, self.workload.spec, namespace=namespace, tenant=self.tenant
            )
        except NotApplicable as error:
            return pinned, str(error)
        same = {id(each) for each in pinned}
        changed = [each for each in adapted.manifests if id(each) not in same]
        self._checked_bytes += len(msgspec.json.encode(changed))
        return adapted.manifests, ""


def not_sent(workload: Workload, tenant: Tenant | None) -> tuple[str, ...]:
    """What of a workload's references is not sent, by its annotation and its tenant's rights."""
    return (*_from_site(workload), *(() if _may_send_classes(tenant) else ("PriorityClass/*",)))


def _from_site(workload: Workload) -> tuple[str, ...]:
    words = workload.metadata.annotations.get(FROM_SITE, "").replace(",", " ").split()
    return tuple(sorted(words))


def _may_send_classes(tenant: Tenant | None) -> bool:
    return tenant is not None and PRIORITY_CLASS in tenant.spec.cluster_kinds


def _references_at(
    workload: Workload,
    order_id: str,
    manifests: Sequence[dict[str, Any]],
    tenant: Tenant | None,
) -> tuple[dict[str, Reference], tuple[str, ...]]:
    """The orders of the objects that pod templates refer to, by id, and what is not sent."""
    identity, namespace = parse_order_id(order_id), workload.metadata.namespace
    needs: dict[str, Reference] = {}
    left_out: list[str] = []
    if identity is None:
        return needs, ()
    words = frozenset(_from_site(workload))
    for one in references_of(manifests, namespace):
        if not words.isdisjoint({"*", f"{one.kind}/*", f"{one.kind}/{one.name}"}):
            continue
        if lacking := _lacking_right(one, tenant):
            left_out.append(f"{one}: {lacking}")
            continue
        referred = referred_object(one.kind, one.namespace or namespace, one.name)
        needed = referred_order_id(identity.hub_id, referred)
        is_name = is_referred_name(one.name) and parse_referred_id(needed) is not None
        if one.is_optional and not is_name:
            continue  # no object has such a name, and pods start without it
        needs[needed] = one
    return needs, tuple(left_out[:_MAX_NOT_SENT])


def _lacking_right(one: Reference, tenant: Tenant | None) -> str:
    """Which right the tenant lacks to send an object; "" when it lacks none.

    What a namespace of another tenant holds at the hub is that tenant's, also where pods may be put
    into a namespace of that name at sites.
    """
    if one.kind == "PriorityClass":
        return (
            "" if _may_send_classes(tenant) else f"Tenant.spec.clusterKinds lacks {PRIORITY_CLASS}"
        )
    if not one.namespace or (tenant is not None and one.namespace in tenant.spec.namespaces):
        return ""
    return f"Tenant.spec.namespaces lacks {one.namespace}"


_MAX_NOT_SENT = 16

FROM_SITE = "kapok.dev/from-site"
"""Annotation of a Workload that names what its sites have by themselves and what is not sent:
`Secret/NAME`, `Secret/*` or `*`, with commas or spaces between."""


def kept_order_of(
    workload: Workload, order_id: str, site: str, share: SiteShare
) -> OrderForSite | None:
    """The order that a site has by the digest in the status; None: the status has none."""
    digest = workload.status.placement.orders.get(site)
    if not digest:
        return None
    return OrderForSite(
        id=order_id,
        generation=share.generation,
        namespace=workload.metadata.namespace,
        name=workload.metadata.name,
        manifests=(),
        kept_digest=digest,
        is_over=workload.status.phase == "Completed",
    )


def _manifests_at(
    site: str,
    workload: Workload,
    manifests: Sequence[Mapping[str, Any]],
    share: SiteShare,
    *,
    is_kept: bool,
) -> tuple[dict[str, Any], ...]:
    """The manifests of one site; those of a former order are named and divided already."""
    if not is_kept and workload.status.placement.identity == "PerSite":
        manifests = named_for_site(manifests, site)
    manifests = with_claims_retained(manifests, is_parked=share.is_parked)
    if share.is_parked:
        return without_pods(manifests)
    total = total_completions(manifests)
    sets_default = workload.spec.replicas is not None
    scaled = with_replicas(manifests, share.ordered, sets_default=sets_default)
    ordinals = ordered_ordinals(share)
    if ordinals is not None and not is_kept:
        return with_ordinals(scaled, ordinals.first)
    if is_kept or share.completions is None or total is None:
        return scaled
    return with_completions(scaled, share.completions, total)


def _cluster_kinds(
    manifests: Iterable[Mapping[str, Any]], tenant: Tenant | None
) -> tuple[str, ...]:
    """The tenant's cluster-scoped kinds, and in the form of agents (`GROUP/KIND`) those used."""
    permitted = tenant.spec.cluster_kinds if tenant else ()
    used = {
        name
        for each in manifests
        for name in names_of_kind(each)
        if name.count("/") <= 1 and set(permitted) & names_of_kind(each)
    }
    return (*permitted, *sorted(used - set(permitted)))[:_MAX_CLUSTER_KINDS]


_MAX_CLUSTER_KINDS = 64
"""The most that an order may name, as agents bound it."""


def ordered_of(demand: Demand, share: SiteShare) -> OrderGeneration:
    """What a share uses at its site until a report shows its pods as bound.

    A report counts pods of an order without saying which, so a replica of several pods counts as
    that many of its largest one: the worst case.
    """
    shapes = [one.shape for one in demand.unit]
    pods = sum(one.count for one in demand.unit)
    requests = _max_amounts([shape.requests for shape in shapes])
    return OrderGeneration(
        generation=share.generation,
        # Ordinals that wait for another site are not ordered yet, and their room is kept.
        replicas=(share.ordered + share.waiting) * pods,
        pod=InFlight(
            workload=demand.key,
            replicas=1,
            requests=requests or {PODS: 0},
            limits=_max_amounts([one.limits for one in demand.unit]),
            gpu_cards=max((shape.gpu_cards for shape in shapes), default=0),
            gpu_milli=max((shape.gpu_milli for shape in shapes), default=0),
        ),
    )


def _max_amounts(amounts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The largest amount of each resource, sorted by name."""
    if len(amounts) == 1:
        return {name: max(0, amount) for name, amount in sorted(amounts[0].items())}
    most: dict[str, int] = {}
    for each in amounts:
        for name, amount in each.items():
            most[name] = max(amount, most.get(name, 0))
    return dict(sorted(most.items()))


def with_adopted_placement(
    workload: Workload, order_id: str, states: Mapping[str, SiteState]
) -> Workload:
    """The workload; if its status has no placement, with the one that sites report."""
    groups = () if workload.status.placement.groups else adopted_groups(order_id, states)
    if not groups:
        return workload
    newest = max(one.generation for one in groups)
    placement = PlacementStatus(generation=newest, groups=groups)
    status = msgspec.structs.replace(workload.status, placement=placement)
    return msgspec.structs.replace(workload, status=status)


_MAX_ADOPTED_GENERATION = 2**52


def adopted_groups(order_id: str, states: Mapping[str, SiteState]) -> tuple[PlacementGroup, ...]:
    """The placement that sites report for an order id; needed after a hub was restored."""
    found: list[PlacementGroup] = []
    for site, state in states.items():
        one = state.order_status.orders.get(order_id) if state.order_status else None
        if one is None or one.phase == "Withdrawing":
            continue
        if one.generation > _MAX_ADOPTED_GENERATION:
            continue  # the next one of every site would be beyond what an order may have
        replicas = one.replicas if one.replicas is not None else one.bound or 0
        if one.finished:  # it asks for no pods, and must not be placed elsewhere
            replicas = max(1, replicas)
        found.append(
            PlacementGroup(
                sites=(site,), replicas=replicas, generation=one.generation, phase="Running"
            )
        )
    return tuple(sorted(found, key=lambda one: one.sites))
