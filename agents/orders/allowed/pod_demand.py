"""Counts what the pods of an order ask for at most. Pure.

What cannot be counted is named, because unknown is not zero: pods of an unknown number, containers
without requests, and pod templates in kinds that the agent does not know.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from agents.member.trees import map_at, objects_at, text_at
from agents.protocol.orders import OrderContent, format_group_kind
from agents.protocol.quantities import QuantityError, parse_quantity

PODS: Final = "pods"
STORAGE: Final = "storage"
_ALWAYS_ASKED: Final = ("cpu", "memory", "ephemeral-storage")
_REPLICATED: Final = {
    "apps/Deployment", "apps/StatefulSet", "apps/ReplicaSet", "ReplicationController",
}  # fmt: skip
_AUTOSCALER: Final = "autoscaling/HorizontalPodAutoscaler"
_CLAIM: Final = "PersistentVolumeClaim"


@dataclass(slots=True)
class OrderDemand:
    """What an order asks for.

    Attributes:
        amounts: by resource, and the number of pods as `pods`.
        unknown: what cannot be counted, each as a sentence; a ceiling refuses it.
    """

    amounts: dict[str, Fraction] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def demand_of(
    content: OrderContent, manifests: Sequence[Mapping[str, Any]], resources: Sequence[str]
) -> OrderDemand:
    """What the pods of an order ask for, at the most replicas that it may have.

    Args:
        content: the order, for its number of replicas.
        manifests: its objects.
        resources: the resources to count, `pods` among them or not.
    """
    found, scaled = OrderDemand(), _autoscaled(manifests)
    counted = {(str(each["kind"]), text_at(map_at(each, "metadata"), "name")) for each in manifests}
    for manifest in manifests:
        group_kind = format_group_kind(str(manifest["apiVersion"]), str(manifest["kind"]))
        name = f"{manifest['kind']} {text_at(map_at(manifest, 'metadata'), 'name')}"
        if _scales_unseen(group_kind, manifest, counted):
            found.unknown.append(f"{name} scales what this agent cannot count")
        if group_kind == _CLAIM:
            _add_claims(found, name, [manifest], 1, resources)
        spec = _pod_spec_of(group_kind, manifest)
        if spec is None:
            if any(_pod_specs_in(manifest)):
                found.unknown.append(f"{name} has pods in a form that this agent cannot count")
            continue
        count = _pod_count(group_kind, manifest, content, scaled)
        if count is None:
            found.unknown.append(f"{name} has a number of pods that is not known")
            continue
        _add(found, name, spec, count, resources)
        _add_claims(found, name, _claims_of(manifest, spec), count, resources)
    return found


def _scales_unseen(
    group_kind: str, manifest: Mapping[str, Any], counted: AbstractSet[tuple[str, str]]
) -> bool:
    """Whether an object changes the number or the size of pods that are not counted with it."""
    spec = map_at(manifest, "spec")
    if "scaleTargetRef" in spec:
        target = map_at(spec, "scaleTargetRef")
        is_here = (text_at(target, "kind"), text_at(target, "name")) in counted
        return group_kind != _AUTOSCALER or not is_here
    if group_kind.endswith("/VerticalPodAutoscaler"):
        return text_at(map_at(spec, "updatePolicy"), "updateMode") != "Off"
    return False


def _claims_of(manifest: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The claims that are made for each pod."""
    yield from objects_at(map_at(manifest, "spec"), "volumeClaimTemplates")
    for volume in objects_at(spec, "volumes"):
        if claim := map_at(volume, "ephemeral", "volumeClaimTemplate"):
            yield claim


def _add_claims(
    found: OrderDemand,
    name: str,
    claims: Iterable[Mapping[str, Any]],
    count: int,
    resources: Sequence[str],
) -> None:
    if STORAGE not in resources:
        return
    for claim in claims:
        try:
            amount = _amount(_asked(map_at(claim, "spec"), STORAGE))
        except QuantityError as error:
            found.unknown.append(f"{name}: a claim's storage: {error.args[0]}")
        else:
            found.amounts[STORAGE] = found.amounts.get(STORAGE, Fraction(0)) + amount * count


def _add(
    found: OrderDemand,
    name: str,
    spec: Mapping[str, Any],
    count: int,
    resources: Sequence[str],
) -> None:
    for resource in (one for one in resources if one != STORAGE):
        try:
            amount = Fraction(1) if resource == PODS else _pod_amount(spec, resource)
        except (QuantityError, LookupError) as error:
            found.unknown.append(f"{name}: {error.args[0]}")
            continue
        found.amounts[resource] = found.amounts.get(resource, Fraction(0)) + amount * count


def _pod_amount(spec: Mapping[str, Any], resource: str) -> Fraction:
    """What the scheduler reserves for one pod: sidecars count, other init containers overlap.

    Raises:
        QuantityError: an amount is none.
        LookupError: a container asks for no amount of a resource that every container takes.
    """
    overhead, whole = _amount(map_at(spec, "overhead").get(resource, 0)), _asked(spec, resource)
    must_ask = whole is None and resource in _ALWAYS_ASKED
    steady = overhead
    for one in objects_at(spec, "containers"):
        steady += _container_amount(one, resource, must_ask=must_ask)
    largest, sidecars = steady, Fraction(0)
    for one in objects_at(spec, "initContainers"):
        amount = _container_amount(one, resource, must_ask=must_ask)
        if one.get("restartPolicy") == "Always":
            sidecars += amount
        else:
            largest = max(largest, overhead + sidecars + amount)
    # Requests of the whole pod, where it has them, stand for those of its containers.
    return max(largest, steady + sidecars, overhead + _amount(0 if whole is None else whole))


def _container_amount(container: Mapping[str, Any], resource: str, *, must_ask: bool) -> Fraction:
    asked = _asked(container, resource)
    if asked is None and must_ask:
        raise LookupError(
            f"container {text_at(container, 'name')!r} has neither a request nor a limit of"
            f" {resource}, and this site has a ceiling of it"
        )
    return _amount(0 if asked is None else asked)


def _asked(tree: Mapping[str, Any], resource: str) -> object:
    """The request, or the limit that stands for it; None: neither."""
    resources = map_at(tree, "resources")
    for name in ("requests", "limits"):
        if (value := map_at(resources, name).get(resource)) is not None:
            return value
    return None


def _amount(value: object) -> Fraction:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise QuantityError(f"{str(value)[:40]!r} is not a quantity")
    amount = parse_quantity(value)
    if amount < 0:
        raise QuantityError(f"{value!r} is less than 0")
    return amount


def _pod_count(
    group_kind: str,
    manifest: Mapping[str, Any],
    content: OrderContent,
    scaled: Mapping[tuple[str, str], int | None],
) -> int | None:
    """The most pods that an object may have; None: not known."""
    spec, name = map_at(manifest, "spec"), text_at(map_at(manifest, "metadata"), "name")
    if group_kind == "Pod":
        return 1
    if group_kind in ("batch/Job", "batch/CronJob"):
        if group_kind == "batch/CronJob":
            if spec.get("concurrencyPolicy") not in ("Forbid", "Replace"):
                return None  # a run may begin before the last one has ended
            spec = map_at(spec, "jobTemplate", "spec")
        return _whole(spec.get("parallelism", 1))
    if group_kind in _REPLICATED:
        kind = str(manifest["kind"])
        counts = [_whole(spec.get("replicas", 1))]
        if content.replicas is not None:
            counts.append(content.replicas)
        if (kind, name) in scaled:
            counts.append(scaled[kind, name])
        return None if None in counts else max(one for one in counts if one is not None)
    return None


def _autoscaled(manifests: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], int | None]:
    """The most replicas by kind and name of what the order's autoscalers scale."""
    found: dict[tuple[str, str], int | None] = {}
    for one in manifests:
        if format_group_kind(str(one["apiVersion"]), str(one["kind"])) == _AUTOSCALER:
            target = map_at(one, "spec", "scaleTargetRef")
            key = text_at(target, "kind"), text_at(target, "name")
            most = _whole(map_at(one, "spec").get("maxReplicas"))
            if key in found:  # two that scale one object: the larger counts
                before = found[key]
                most = None if most is None or before is None else max(most, before)
            found[key] = most
    return found


def _whole(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _pod_spec_of(group_kind: str, manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The pod's spec in a kind whose pods can be counted, or at least seen; None in others."""
    if group_kind == "Pod":
        return map_at(manifest, "spec")
    if group_kind == "batch/CronJob":
        return map_at(manifest, "spec", "jobTemplate", "spec", "template", "spec")
    if group_kind in _REPLICATED or group_kind in ("batch/Job", "apps/DaemonSet"):
        return map_at(manifest, "spec", "template", "spec")
    return None


def _pod_specs_in(tree: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, dict):
        if isinstance(tree.get("containers"), list):
            yield tree
        for value in tree.values():
            yield from _pod_specs_in(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _pod_specs_in(value)
