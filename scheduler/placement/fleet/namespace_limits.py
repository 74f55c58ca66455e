"""The limits of namespaces at sites: ResourceQuota and LimitRange, where a site reports them.

A namespace that a site does not list has no known limit there. Quotas cap how many replicas a site
takes. A pod that a LimitRange would refuse, or a quota that every container must name requests for,
is refused by `constraints/site_limits.py`.
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

_POD_COUNT_QUOTAS = ("pods", "count/pods")
_UNPREFIXED_QUOTAS = ("cpu", "memory", "ephemeral-storage")
_REQUIRED_BY_QUOTA = ("cpu", "memory")
"""Resources that every container must name if a quota counts them (core/v1 ResourceQuota)."""
_REQUESTS_PREFIX, _LIMITS_PREFIX = "requests.", "limits."
_MAX_CACHED_DENIALS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNamespaceLimits:
    """The limits of one namespace at one site; millicores for cpu, whole units for all else.

    Attributes:
        namespace: its name.
        quota_left: what quotas leave, by the names that quotas use (`requests.cpu`, `pods`).
        container_min: the least that a container may ask, by resource.
        container_max: the most that a container may ask, and its highest limit.
        container_default: the limits of a container that names none.
        container_default_request: the requests of a container that names none.
        pod_min: the least that a pod may ask in all.
        pod_max: the most that a pod may ask in all, and its highest limit.
        not_modelled: names of quotas and other limits that decisions do not consider.
    """

    namespace: str
    quota_left: Amounts
    container_min: Amounts
    container_max: Amounts
    container_default: Amounts
    container_default_request: Amounts
    pod_min: Amounts
    pod_max: Amounts
    not_modelled: tuple[str, ...]
    _denials_by_pods: dict[bytes, str] = field(default_factory=dict)

    def with_defaults(self, pods: Pods) -> Pods:
        """The pods as the API server of the site completes them by its LimitRanges."""
        defaults = (self.container_default, self.container_default_request)
        if not pods.containers or not any(defaults):
            return pods
        # A limit that is filled in does not become the request too: a LimitRange has a default
        # request of its own, which the API server sets when it stores the object.
        completed_containers = tuple(each.with_defaults(*defaults) for each in pods.containers)
        requests_before = pod_amounts(pods.containers, "requests")
        requests_after = pod_amounts(completed_containers, "requests")
        added_requests = {
            name: amount - requests_before.get(name, 0) for name, amount in requests_after.items()
        }
        requests = {
            name: max(0, pods.shape.requests.get(name, 0) + added_requests.get(name, 0))
            for name in sorted({*pods.shape.requests, *added_requests})
        }
        shape = _with_requests(pods.shape, {name: one for name, one in requests.items() if one})
        limits = pod_amounts(completed_containers, "limits")
        return msgspec.structs.replace(
            pods, shape=shape, containers=completed_containers, limits=limits
        )

    def replicas_left(
        self, demand: Demand, in_flight: Iterable[InFlight], *, is_new: bool
    ) -> int | None:
        """How many more replicas the quotas permit; None when none of them counts the pods.

        Args:
            demand: the workload.
            in_flight: the pods in flight at the site. The reported quotas do not count them yet,
                so those of this namespace are subtracted here.
            is_new: whether the pods that come once per site are still missing there.
        """
        unit = [self.with_defaults(each) for each in demand.unit]
        pods_beside = [self.with_defaults(each) for each in demand.beside] if is_new else []
        in_flight_here = [
            each for each in in_flight if each.workload.startswith(f"{self.namespace}/")
        ]
        replicas_by_quota = []
        for name, left in self.quota_left.items():
            requested_by_replica = sum(
                _quota_usage(name, one.shape.requests, one.limits) * one.count for one in unit
            )
            taken = sum(
                _quota_usage(name, one.shape.requests, one.limits) * one.count
                for one in pods_beside
            )
            taken += sum(
                _quota_usage(name, one.requests, one.limits) * one.replicas
                for one in in_flight_here
            )
            if requested_by_replica:
                replicas_by_quota.append(max(0, left - taken) // requested_by_replica)
        return min(replicas_by_quota, default=None)

    def denial(self, demand: Demand) -> str:
        """Why the site's API server would refuse a pod of the workload; "" when it would not."""
        if not any(
            (self.quota_left, self.container_min, self.container_max, self.pod_min, self.pod_max)
        ):
            return ""
        key = canonical_json((demand.unit, demand.beside))
        found = self._denials_by_pods.get(key)
        if found is None:
            if len(self._denials_by_pods) >= _MAX_CACHED_DENIALS:
                self._denials_by_pods.clear()
            pods = (self.with_defaults(each) for each in (*demand.unit, *demand.beside))
            denials = (sentence for each in pods for sentence in self._denials_of(each))
            found = self._denials_by_pods[key] = next(denials, "")
        return found

    def _denials_of(self, pods: Pods) -> Iterator[str]:
        for each in pods.containers:
            title = f"container {each.name or '(unnamed)'}"
            yield from self._missing_amounts(each, title)
            yield from _limit_range_denials(
                title, each.requests, each.limits, self.container_min, self.container_max
            )
        yield from _limit_range_denials(
            "the pod",
            pods.shape.requests,
            pods.limits,
            self.pod_min,
            self.pod_max,
            is_known=bool(pods.containers),
        )

    def _missing_amounts(self, container: Container, title: str) -> Iterator[str]:
        for name in self.quota_left:
            what, resource = _parse_quota_name(name)
            if resource in _REQUIRED_BY_QUOTA:
                named_amounts = container.limits if what == _LIMITS_PREFIX else container.requests
                if resource not in named_amounts:
                    yield f"{title} must name {what}{resource}, as a quota counts it"


class NamespaceLimitIndex:
    """The limits of all sites by namespace. Most fleets have none."""

    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[int, SiteNamespaceLimits]] = {}
        self._listed_by_slot: dict[int, tuple[NamespaceLimits, ...]] = {}

    def parse(self, facts: SiteFacts) -> tuple[SiteNamespaceLimits, ...]:
        """Reads the limits of a site.

        Raises:
            NotAQuantity: the message names the site and the namespace.
        """
        try:
            return tuple(_parse_namespace_limits(each) for each in facts.status.namespaces)
        except NotAQuantity as error:
            raise NotAQuantity(f"Site {facts.name}: status.namespaces: {error}") from None

    def write(
        self, slot: int, listed: tuple[NamespaceLimits, ...], limits: Sequence[SiteNamespaceLimits]
    ) -> None:
        """Replaces the limits of a site, unless it lists the same as before.

        Args:
            slot: the site's slot.
            listed: what the site reports.
            limits: what `parse` returned for it.
        """
        before = self._listed_by_slot.get(slot, ())
        if before == listed:
            return
        for name in {each.name for each in before}:  # a site may list one more than once
            self._by_namespace[name].pop(slot, None)
            if not self._by_namespace[name]:
                del self._by_namespace[name]
        for one in limits:
            self._by_namespace.setdefault(one.namespace, {})[slot] = one
        if listed:
            self._listed_by_slot[slot] = listed
        else:
            self._listed_by_slot.pop(slot, None)

    def by_slot(self, namespace: str) -> Mapping[int, SiteNamespaceLimits] | None:
        """The limits of a namespace by slot; None when no site reports any."""
        return self._by_namespace.get(namespace)


def namespace_limits_at(facts: SiteFacts, namespace: str) -> SiteNamespaceLimits | None:
    """The limits of a namespace at one site, if it reports any."""
    listed = [each for each in facts.status.namespaces if each.name == namespace]
    return _parse_namespace_limits(listed[-1]) if listed else None


def _parse_namespace_limits(each: NamespaceLimits) -> SiteNamespaceLimits:
    left = {name: _parse_amount(name, amount) for name, amount in sorted(each.quota_left.items())}
    counts = {name: amount for name, amount in left.items() if _parse_quota_name(name)[1]}
    return SiteNamespaceLimits(
        namespace=each.name,
        quota_left=counts,
        container_min=_parse_amounts(each.container_min),
        container_max=_parse_amounts(each.container_max),
        container_default=_parse_amounts(each.container_default),
        container_default_request=_parse_amounts(each.container_default_request),
        pod_min=_parse_amounts(each.pod_min),
        pod_max=_parse_amounts(each.pod_max),
        not_modelled=(*sorted(left.keys() - counts.keys()), *each.not_counted),
    )


def _parse_amounts(amounts: Mapping[str, float | str]) -> Amounts:
    return {name: _parse_amount(name, amount) for name, amount in sorted(amounts.items())}


def _parse_amount(name: str, amount: float | str) -> int:
    return free_amount(_parse_quota_name(name)[1] or name, amount)


def _parse_quota_name(name: str) -> tuple[str, str]:
    """What a quota counts of a pod: `requests.` or `limits.`, and the resource.

    Both are "" for a quota that counts something else, such as `requests.storage` or
    `count/services`.
    """
    if name in _POD_COUNT_QUOTAS:
        return _REQUESTS_PREFIX, PODS
    if name in _UNPREFIXED_QUOTAS or name.startswith("hugepages-"):
        return _REQUESTS_PREFIX, name
    for what in (_REQUESTS_PREFIX, _LIMITS_PREFIX):
        resource = name.removeprefix(what)
        if resource not in {name, "storage"}:
            return what, resource
    return "", ""


def _quota_usage(name: str, requests: Mapping[str, int], limits: Mapping[str, int]) -> int:
    what, resource = _parse_quota_name(name)
    return (limits if what == _LIMITS_PREFIX else requests).get(resource, 0)


def _with_requests(shape: PodShape, requests: Amounts) -> PodShape:
    return (
        shape if requests == shape.requests else msgspec.structs.replace(shape, requests=requests)
    )


def _limit_range_denials(
    title: str,
    requests: Mapping[str, int],
    limits: Mapping[str, int],
    minimums: Amounts,
    maximums: Amounts,
    *,
    is_known: bool = True,
) -> Iterator[str]:
    """Why the LimitRanger admission plugin would refuse amounts (core/v1 LimitRange).

    Args:
        title: names the container or pod.
        requests: what it asks.
        limits: its limits.
        minimums: the least that is permitted.
        maximums: the most that is permitted.
        is_known: whether the amounts are complete, so that a missing one is a breach.
    """
    for name, amount in minimums.items():
        asked, bound = requests.get(name), f"of {name}; the least is {format_amount(name, amount)}"
        if asked is None and is_known:
            yield f"{title} asks for nothing {bound}"
        elif asked is not None and asked < amount:
            yield f"{title} asks for {format_amount(name, asked)} {bound}"
    for name, amount in maximums.items():
        limit, bound = limits.get(name), f"of {name}; the most is {format_amount(name, amount)}"
        larger = max(limit or 0, requests.get(name, 0))
        if larger > amount:
            yield f"{title} may take {format_amount(name, larger)} {bound}"
        elif limit is None and is_known:
            yield f"{title} has no limit {bound}"
