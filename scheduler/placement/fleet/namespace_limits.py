"""What the namespaces of sites let pods ask: ResourceQuota and LimitRange, where they are reported.

A namespace that a site does not list has no known limit there, so a decision about it looks at
nothing of this. Quotas cap how many replicas a site takes; a pod that a LimitRange (or a quota that
wants every container to say what it asks) would refuse is refused by `constraints/site_limits.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from scheduler.model.canonical import canonical_json
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, SiteFacts
from scheduler.model.kinds.site import NamespaceLimits
from scheduler.model.manifests.containers import Amounts, Container, pod_amounts
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.model.quantities import PODS, NotAQuantity, format_amount, free_amount

_OF_PODS = ("pods", "count/pods")
_PLAIN = ("cpu", "memory", "ephemeral-storage")
_MUST_BE_SAID = ("cpu", "memory")
"""Compute resources that every container must name when a quota counts them (core/v1)."""
_REQUESTS, _LIMITS = "requests.", "limits."
_MOST_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class SiteLimits:
    """The limits of one namespace at one site; millicores for cpu, whole units for all else.

    Attributes:
        namespace: its name.
        left: what quotas leave, by the quota's own names.
        not_modelled: quotas' names and other limits that a decision does not look at.
    """

    namespace: str
    left: Amounts
    container_min: Amounts
    container_max: Amounts
    container_default: Amounts
    container_default_request: Amounts
    pod_min: Amounts
    pod_max: Amounts
    not_modelled: tuple[str, ...]
    _breaches: dict[bytes, str] = field(default_factory=dict)

    def completed(self, pods: Pods) -> Pods:
        """The pods as the API server of the site completes them by its LimitRanges."""
        defaults = (self.container_default, self.container_default_request)
        if not pods.containers or not any(defaults):
            return pods
        # A limit that is filled in is no request: LimitRange objects carry their own for that.
        full = tuple(each.with_defaults(*defaults) for each in pods.containers)
        before = pod_amounts(pods.containers, "requests")
        after = pod_amounts(full, "requests")
        more = {name: amount - before.get(name, 0) for name, amount in after.items()}
        requests = {
            name: max(0, pods.shape.requests.get(name, 0) + more.get(name, 0))
            for name in sorted({*pods.shape.requests, *more})
        }
        shape = _with_requests(pods.shape, {name: one for name, one in requests.items() if one})
        limits = pod_amounts(full, "limits")
        return msgspec.structs.replace(pods, shape=shape, containers=full, limits=limits)

    def room(self, demand: Demand, in_flight: Iterable[InFlight], *, is_new: bool) -> int | None:
        """How many more replicas the quotas leave room for; None when none of them counts.

        Args:
            demand: what is asked.
            in_flight: at the site; what is of this namespace has not been counted by a quota yet.
            is_new: whether pods come beside the replicas.
        """
        unit = [self.completed(each) for each in demand.unit]
        once = [self.completed(each) for each in demand.beside] if is_new else []
        flying = [each for each in in_flight if each.workload.startswith(f"{self.namespace}/")]
        rooms = []
        for name, left in self.left.items():
            each = sum(_counted(name, one.shape.requests, one.limits) * one.count for one in unit)
            taken = sum(_counted(name, one.shape.requests, one.limits) * one.count for one in once)
            taken += sum(_counted(name, one.requests, one.limits) * one.replicas for one in flying)
            if each:
                rooms.append(max(0, left - taken) // each)
        return min(rooms, default=None)

    def breach(self, demand: Demand) -> str:
        """Why the API server of the site would refuse a pod of it; empty when it would not."""
        if not any((self.left, self.container_min, self.container_max, self.pod_min, self.pod_max)):
            return ""
        key = canonical_json((demand.unit, demand.beside))
        found = self._breaches.get(key)
        if found is None:
            if len(self._breaches) >= _MOST_REMEMBERED:
                self._breaches.clear()
            pods = (self.completed(each) for each in (*demand.unit, *demand.beside))
            told = (sentence for each in pods for sentence in self._breaches_of(each))
            found = self._breaches[key] = next(told, "")
        return found

    def _breaches_of(self, pods: Pods) -> Iterator[str]:
        for each in pods.containers:
            title = f"container {each.name or '(unnamed)'}"
            yield from self._unsaid(each, title)
            yield from _outside(
                title, each.requests, each.limits, self.container_min, self.container_max
            )
        yield from _outside(
            "the pod",
            pods.shape.requests,
            pods.limits,
            self.pod_min,
            self.pod_max,
            is_known=bool(pods.containers),
        )

    def _unsaid(self, container: Container, title: str) -> Iterator[str]:
        for name in self.left:
            what, resource = _meaning(name)
            if resource in _MUST_BE_SAID:
                said = container.limits if what == _LIMITS else container.requests
                if resource not in said:
                    yield f"{title} must name {what}{resource}, as a quota counts it"


class LimitIndex:
    """The limits of all sites, by namespace; most fleets have none."""

    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[int, SiteLimits]] = {}
        self._listed: dict[int, tuple[NamespaceLimits, ...]] = {}

    def read(self, facts: SiteFacts) -> tuple[SiteLimits, ...]:
        """Reads the limits of a site.

        Raises:
            NotAQuantity: the message names the site and the namespace.
        """
        try:
            return tuple(_read(each) for each in facts.status.namespaces)
        except NotAQuantity as error:
            raise NotAQuantity(f"Site {facts.name}: status.namespaces: {error}") from None

    def write(
        self, slot: int, listed: tuple[NamespaceLimits, ...], limits: Sequence[SiteLimits]
    ) -> None:
        """Replaces the limits of a site; equal ones stay as they are."""
        before = self._listed.get(slot, ())
        if before == listed:
            return
        for each in before:
            self._by_namespace[each.name].pop(slot, None)
            if not self._by_namespace[each.name]:
                del self._by_namespace[each.name]
        for one in limits:
            self._by_namespace.setdefault(one.namespace, {})[slot] = one
        if listed:
            self._listed[slot] = listed
        else:
            self._listed.pop(slot, None)

    def of(self, namespace: str) -> Mapping[int, SiteLimits] | None:
        """The limits of a namespace by slot; None when no site has any."""
        return self._by_namespace.get(namespace)


def limits_of(facts: SiteFacts, namespace: str) -> SiteLimits | None:
    """The limits of a namespace at one site, if it reports any."""
    listed = [each for each in facts.status.namespaces if each.name == namespace]
    return _read(listed[-1]) if listed else None


def _read(each: NamespaceLimits) -> SiteLimits:
    left = {name: _amount(name, amount) for name, amount in sorted(each.quota_left.items())}
    counts = {name: amount for name, amount in left.items() if _meaning(name)[1]}
    return SiteLimits(
        namespace=each.name,
        left=counts,
        container_min=_amounts(each.container_min),
        container_max=_amounts(each.container_max),
        container_default=_amounts(each.container_default),
        container_default_request=_amounts(each.container_default_request),
        pod_min=_amounts(each.pod_min),
        pod_max=_amounts(each.pod_max),
        not_modelled=(*sorted(left.keys() - counts.keys()), *each.not_counted),
    )


def _amounts(amounts: Mapping[str, float | str]) -> Amounts:
    return {name: _amount(name, amount) for name, amount in sorted(amounts.items())}


def _amount(name: str, amount: float | str) -> int:
    return free_amount(_meaning(name)[1] or name, amount)


def _meaning(name: str) -> tuple[str, str]:
    """What a quota's name counts of a pod: requests or limits, and the resource; "" for neither."""
    if name in _OF_PODS:
        return _REQUESTS, PODS
    if name in _PLAIN or name.startswith("hugepages-"):
        return _REQUESTS, name
    for what in (_REQUESTS, _LIMITS):
        resource = name.removeprefix(what)
        if resource not in {name, "storage"}:
            return what, resource
    return "", ""


def _counted(name: str, requests: Mapping[str, int], limits: Mapping[str, int]) -> int:
    what, resource = _meaning(name)
    return (limits if what == _LIMITS else requests).get(resource, 0)


def _with_requests(shape: PodShape, requests: Amounts) -> PodShape:
    return (
        shape if requests == shape.requests else msgspec.structs.replace(shape, requests=requests)
    )


def _outside(
    title: str,
    requests: Mapping[str, int],
    limits: Mapping[str, int],
    least: Amounts,
    most: Amounts,
    *,
    is_known: bool = True,
) -> Iterator[str]:
    """What the LimitRanger admission says no to (core/v1 LimitRange)."""
    for name, amount in least.items():
        asked, bound = requests.get(name), f"of {name}; the least is {format_amount(name, amount)}"
        if asked is None and is_known:
            yield f"{title} asks for nothing {bound}"
        elif asked is not None and asked < amount:
            yield f"{title} asks for {format_amount(name, asked)} {bound}"
    for name, amount in most.items():
        limit, bound = limits.get(name), f"of {name}; the most is {format_amount(name, amount)}"
        larger = max(limit or 0, requests.get(name, 0))
        if larger > amount:
            yield f"{title} may take {format_amount(name, larger)} {bound}"
        elif limit is None and is_known:
            yield f"{title} has no limit {bound}"
