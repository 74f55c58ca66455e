"""What one pod asks of a node, read from a pod template as the Kubernetes scheduler reads it.

Requests follow KEP-753 (sidecars), KEP-2837 (pod-level resources) and KEP-688 (overhead): the
larger of what runs together and of what starts, plus the overhead. What is read here is what `fit`
models; what is not modelled is named in `not_modelled` and ends up in the decision.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from scheduler.model.canonical import canonical
from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.fields import LabelSelector, Part, Toleration
from scheduler.model.quantities import (
    GPU,
    GPU_CARDS,
    GPU_MILLI,
    MILLI_PER_UNIT,
    PODS,
    NotAQuantity,
    requests_of,
)

HOSTNAME = "kubernetes.io/hostname"
_MOST = 2**31 - 1
"""The largest int32, the type of these fields in core/v1."""


class NodeRequirement(Part, frozen=True, kw_only=True):
    """One condition of a node affinity; the operators of core/v1, Gt and Lt included."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Skew(Part, frozen=True, kw_only=True):
    """A topologySpreadConstraint that must hold."""

    topology_key: str
    max_skew: int
    min_domains: int = 1


class PodShape(Part, frozen=True, kw_only=True, dict=True):
    """What one pod asks of a node. Equal shapes fit equally."""

    requests: dict[str, int] = msgspec.field(default_factory=dict)
    """Millicores for cpu, whole units for all else; `pods` is always 1."""
    gpu_cards: int = 0
    gpu_milli: int = 0
    """The share of each of `gpu_cards` cards, in thousandths; 0: no shared card."""
    gpu_models: tuple[str, ...] = ()
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    node_affinity: tuple[tuple[NodeRequirement, ...], ...] = ()
    """Terms of which one must hold; within a term all must. Empty: any node."""
    tolerations: tuple[Toleration, ...] = ()
    one_per_node: bool = False
    """Hostname anti-affinity towards itself, or a host port."""
    one_per: tuple[str, ...] = ()
    """Node labels of whose every value at most one pod may stand."""
    skews: tuple[Skew, ...] = ()
    not_modelled: tuple[str, ...] = ()

    @cached_property
    def key(self) -> bytes:
        """Equal for shapes that fit equally."""
        return canonical(self)

    @cached_property
    def place_key(self) -> bytes:
        """Equal for shapes that choose between kinds of node alike; empty: any will do."""
        if not (self.node_selector or self.node_affinity or self.tolerations or self.gpu_models):
            return b""
        return canonical(
            (self.node_selector, self.node_affinity, self.tolerations, self.gpu_models)
        )


def shape_of_template(template: Mapping[str, Any]) -> PodShape:
    """Reads a pod template (or a Pod).

    Args:
        template: with `metadata` and `spec`, as in a Deployment's `spec.template`.

    Raises:
        NotAQuantity: a request cannot be read.
        NotReadable: a toleration or an affinity cannot be read.
    """
    spec = _mapping(template.get("spec"))
    labels = _labels(_mapping(template.get("metadata")).get("labels"))
    affinity = _mapping(spec.get("affinity"))
    keys, strange = _own_anti_affinity(_mapping(affinity.get("podAntiAffinity")), labels)
    skews, loose = _skews(spec.get("topologySpreadConstraints"), labels)
    not_modelled = [*strange, *loose]
    if _mapping(affinity.get("podAffinity")).get(_REQUIRED):
        not_modelled.append("podAffinity")
    if any("persistentVolumeClaim" in volume for volume in _mappings(spec.get("volumes"))):
        not_modelled.append("where volumes are bound")
    return shape_of_requests(
        pod_requests(spec),
        node_selector=_labels(spec.get("nodeSelector")),
        node_affinity=_node_affinity(_mapping(affinity.get("nodeAffinity"))),
        tolerations=tuple(
            decode_as(_toleration(each), Toleration) for each in _mappings(spec.get("tolerations"))
        ),
        one_per_node=HOSTNAME in keys or _has_host_ports(spec),
        one_per=tuple(sorted(keys - {HOSTNAME})),
        skews=skews,
        not_modelled=tuple(not_modelled),
    )


def shape_of_requests(
    requests: Mapping[str, int],
    **rest: Any,  # noqa: ANN401 - fields of PodShape
) -> PodShape:
    """Makes a shape of plain requests; takes shared GPU cards out of them.

    `kapok.dev/gpu-milli: 300` is three tenths of one card, with `kapok.dev/gpu-cards: 2` of each of
    two.

    Raises:
        NotAQuantity: more than one card is asked as a share.
    """
    plain = {
        name: amount for name, amount in requests.items() if name not in (GPU_MILLI, GPU_CARDS)
    }
    milli = requests.get(GPU_MILLI, 0)
    if milli > MILLI_PER_UNIT:
        raise NotAQuantity(
            f"{GPU_MILLI}: {milli} is more than one card; write {GPU_CARDS}: N for whole cards"
        )
    cards = requests.get(GPU_CARDS, 1 if milli else 0)
    milli = milli or (MILLI_PER_UNIT if cards else 0)
    return PodShape(requests={**plain, PODS: 1}, gpu_cards=cards, gpu_milli=milli, **rest)


def pod_requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """What a pod asks in all: the larger of running and starting, plus overhead."""
    running: dict[str, int] = {}
    starting: dict[str, int] = {}
    for container in _mappings(spec.get("initContainers")):
        asked = _container_requests(container)
        if container.get("restartPolicy") == "Always":  # a sidecar runs on beside all that follows
            running = _added(running, asked)
            starting = _larger(starting, running)
        else:
            starting = _larger(starting, _added(running, asked))
    for container in _mappings(spec.get("containers")):
        running = _added(running, _container_requests(container))
    whole = _larger(running, starting) | _container_requests(spec)
    return _added(whole, requests_of(_mapping(spec.get("overhead"))))


def _container_requests(container: Mapping[str, Any]) -> dict[str, int]:
    resources = _mapping(container.get("resources"))
    return requests_of(_mapping(resources.get("limits"))) | requests_of(
        _mapping(resources.get("requests"))
    )


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in sorted({*one, *other})}


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _own_anti_affinity(
    affinity: Mapping[str, Any], labels: Mapping[str, str]
) -> tuple[set[str], list[str]]:
    keys: set[str] = set()
    strange: list[str] = []
    for term in _mappings(affinity.get(_REQUIRED)):
        if _selector(term.get("labelSelector")).matches(labels):
            keys.add(str(term.get("topologyKey", "")))
        else:
            strange.append("podAntiAffinity towards other pods")
    return keys, strange


def _skews(constraints: object, labels: Mapping[str, str]) -> tuple[tuple[Skew, ...], list[str]]:
    skews: list[Skew] = []
    strange: list[str] = []
    for each in _mappings(constraints):
        if each.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        if not _selector(each.get("labelSelector")).matches(labels):
            strange.append("topologySpreadConstraints over other pods")
            continue
        skews.append(
            Skew(
                topology_key=str(each.get("topologyKey", "")),
                max_skew=_from_one(each, "maxSkew"),
                min_domains=_from_one(each, "minDomains"),
            )
        )
    return tuple(skews), strange


def _from_one(constraint: Mapping[str, Any], field: str) -> int:
    value = constraint.get(field)
    if value is None:
        return 1
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
        raise NotReadable(
            "topologySpreadConstraints", field, f"{value!r}; write a number from 1 to {_MOST}"
        )
    return value


def _node_affinity(affinity: Mapping[str, Any]) -> tuple[tuple[NodeRequirement, ...], ...]:
    terms = _mappings(_mapping(affinity.get(_REQUIRED)).get("nodeSelectorTerms"))
    read = []
    for term in terms:
        conditions = [
            *_mappings(term.get("matchExpressions")),
            *(
                {**each, "key": f"metadata.{each.get('key')}"}
                for each in _mappings(term.get("matchFields"))
            ),
        ]
        read.append(tuple(decode_as(each, NodeRequirement) for each in conditions))
    # An empty term matches nothing in core/v1, so it adds no choice.
    chosen = tuple(term for term in read if term)
    return chosen or ((NOTHING_MATCHES,),) if terms else ()


NOTHING_MATCHES = NodeRequirement(key="metadata.name", operator="In", values=())


def _has_host_ports(spec: Mapping[str, Any]) -> bool:
    containers = [*_mappings(spec.get("containers")), *_mappings(spec.get("initContainers"))]
    ports = [port for each in containers for port in _mappings(each.get("ports"))]
    return any(port.get("hostPort") for port in ports) or bool(spec.get("hostNetwork") and ports)


def _selector(raw: object) -> LabelSelector:
    return decode_as(_mapping(raw), LabelSelector)


def _toleration(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if value is not None}


def _labels(raw: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in _mapping(raw).items()}


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _mappings(raw: object) -> Sequence[Mapping[str, Any]]:
    items: Iterable[object] = raw if isinstance(raw, list | tuple) else ()
    return [each for each in items if isinstance(each, Mapping)]


def whole_gpus(shape: PodShape) -> int:
    """Whole cards that a pod asks through the device plugin."""
    return shape.requests.get(GPU, 0)
