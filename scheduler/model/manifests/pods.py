"""What one pod requires of a node, read from its template as the Kubernetes scheduler does.

Requests follow KEP-753 (sidecars), KEP-2837 (pod-level resources) and KEP-688 (overhead): the
larger of running and of starting the pod, plus the overhead. `placement.fit` models what is read
here; `not_modelled` names the rest, and decisions repeat it in their notes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from scheduler.model.canonical import canonical_json
from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.kinds.fields import LabelSelector, Part, Toleration
from scheduler.model.lazy import lazy
from scheduler.model.manifests.containers import mapping_or_empty, mappings_in
from scheduler.model.quantities import (
    GPU_CARDS,
    GPU_MILLI,
    MILLI_PER_UNIT,
    PODS,
    NotAQuantity,
    requests_of,
)

HOSTNAME_LABEL = "kubernetes.io/hostname"
NODE_NAME_FIELD = "metadata.name"
"""The only field that `matchFields` of a node affinity may name."""
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - a host port's address in core/v1, nothing listens here
_MAX_INT32 = 2**31 - 1
"""The largest int32, the type of these fields in core/v1."""


class NodeRequirement(Part, frozen=True, kw_only=True):
    """One condition of a node affinity, with the operators of core/v1."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class TopologySpreadConstraint(Part, frozen=True, kw_only=True):
    """A topologySpreadConstraint with `whenUnsatisfiable: DoNotSchedule`."""

    topology_key: str
    max_skew: int
    min_domains: int = 1
    honors_affinity: bool = True
    """`nodeAffinityPolicy: Honor`: only nodes that match selector and affinity count."""
    honors_taints: bool = False
    """`nodeTaintsPolicy: Honor`: only nodes whose taints are tolerated count."""


class PodShape(Part, frozen=True, kw_only=True, dict=True):
    """What one pod requires of a node. Equal shapes fit equally."""

    requests: dict[str, int] = msgspec.field(default_factory=dict)
    """Millicores for cpu, whole units for all else; `pods` is always 1."""
    gpu_cards: int = 0
    gpu_milli: int = 0
    """The share of each of the `gpu_cards` cards, in thousandths; 0: no shared card."""
    gpu_models: tuple[str, ...] = ()
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    node_affinity: tuple[tuple[NodeRequirement, ...], ...] = ()
    """Terms, one of which must hold; a term holds if all its conditions do. Empty: any node."""
    tolerations: tuple[Toleration, ...] = ()
    one_per_node: bool = False
    """Whether a node takes one pod only: hostname anti-affinity to itself, or a host port."""
    host_ports: tuple[str, ...] = ()
    """In the form `TCP/0.0.0.0/80`. Pods with conflicting ports never share a node."""
    one_per: tuple[str, ...] = ()
    """Labels of nodes: at most one pod may run on all nodes with the same value."""
    skews: tuple[TopologySpreadConstraint, ...] = ()
    not_modelled: tuple[str, ...] = ()
    """What the Kubernetes scheduler considers and `fit` does not."""

    @lazy
    def key(self) -> bytes:
        """A key that is equal for equal shapes."""
        return canonical_json(self)

    @lazy
    def node_selection_key(self) -> bytes:
        """A key that is equal for shapes that select nodes alike; empty: they select none."""
        if not (self.node_selector or self.node_affinity or self.tolerations or self.gpu_models):
            return b""
        return canonical_json(
            (self.node_selector, self.node_affinity, self.tolerations, self.gpu_models)
        )


def shape_of_template(template: Mapping[str, Any], *, namespace: str = "") -> PodShape:
    """Reads a pod template or a Pod.

    Args:
        template: with `metadata` and `spec`, as in a Deployment's `spec.template`.
        namespace: that the pods run in; anti-affinity may look at others only.

    Raises:
        NotAQuantity: a request cannot be read.
        NotReadable: a toleration or an affinity cannot be read.
    """
    spec = mapping_or_empty(template.get("spec"))
    labels = _labels(mapping_or_empty(template.get("metadata")).get("labels"))
    affinity = mapping_or_empty(spec.get("affinity"))
    keys, affinity_not_modelled = _self_anti_affinity_keys(
        mapping_or_empty(affinity.get("podAntiAffinity")), labels, namespace
    )
    constraints = _hard_constraints(spec)
    skews, spread_not_modelled = _topology_spread_constraints(constraints, labels)
    ports = _host_ports(spec)
    amounts = split_shared_cards(pod_requests(spec))
    return PodShape(
        requests=amounts.requests,
        gpu_cards=amounts.gpu_cards,
        gpu_milli=amounts.gpu_milli,
        node_selector=_labels(spec.get("nodeSelector")),
        node_affinity=_require_topology_labels(
            _node_affinity(mapping_or_empty(affinity.get("nodeAffinity"))), constraints
        ),
        tolerations=tuple(
            decode_as(_toleration(each), Toleration)
            for each in mappings_in(spec.get("tolerations"))
        ),
        one_per_node=HOSTNAME_LABEL in keys or bool(ports),
        host_ports=ports,
        one_per=tuple(sorted(keys - {HOSTNAME_LABEL})),
        skews=skews,
        not_modelled=(*affinity_not_modelled, *spread_not_modelled, *_not_modelled(spec, affinity)),
    )


class PodAmounts(NamedTuple):
    """Requests of one pod, with shared GPU cards apart; fields as in `PodShape`."""

    requests: dict[str, int]
    gpu_cards: int
    gpu_milli: int


def split_shared_cards(requests: Mapping[str, int]) -> PodAmounts:
    """Takes shared GPU cards out of a pod's requests, and adds the pod itself.

    `kapok.dev/gpu-milli: 300` is three tenths of one card; with `kapok.dev/gpu-cards: 2` it is
    three tenths of each of two cards.

    Raises:
        NotAQuantity: the share is more than one card.
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
    return PodAmounts(requests={**plain, PODS: 1}, gpu_cards=cards, gpu_milli=milli)


def pod_requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """The requests of a pod: the larger of running and of starting it, plus overhead."""
    running: dict[str, int] = {}
    starting: dict[str, int] = {}
    for container in mappings_in(spec.get("initContainers")):
        asked = _container_requests(container)
        if container.get("restartPolicy") == "Always":  # a sidecar keeps running
            running = _sum_amounts(running, asked)
            starting = _max_amounts(starting, running)
        else:
            starting = _max_amounts(starting, _sum_amounts(running, asked))
    for container in mappings_in(spec.get("containers")):
        running = _sum_amounts(running, _container_requests(container))
    whole = _with_pod_level_resources(spec, _max_amounts(running, starting))
    return _sum_amounts(whole, requests_of(mapping_or_empty(spec.get("overhead"))))


def _with_pod_level_resources(
    spec: Mapping[str, Any], containers: Mapping[str, int]
) -> dict[str, int]:
    """Pod-level requests win; pod-level limits count for what no container requests (KEP-2837)."""
    resources = mapping_or_empty(spec.get("resources"))
    limits = requests_of(mapping_or_empty(resources.get("limits")))
    return limits | dict(containers) | requests_of(mapping_or_empty(resources.get("requests")))


def _container_requests(container: Mapping[str, Any]) -> dict[str, int]:
    """Requests; limits count for resources without a request. A request of 0 is a request."""
    resources = mapping_or_empty(container.get("resources"))
    asked = mapping_or_empty(resources.get("requests"))
    limits = {
        name: amount
        for name, amount in mapping_or_empty(resources.get("limits")).items()
        if name not in asked
    }
    return requests_of(limits) | requests_of(asked)


def _sum_amounts(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}


def _max_amounts(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in sorted({*one, *other})}


_REQUIRED_AT_SCHEDULING = "requiredDuringSchedulingIgnoredDuringExecution"


def _self_anti_affinity_keys(
    affinity: Mapping[str, Any], labels: Mapping[str, str], namespace: str
) -> tuple[set[str], list[str]]:
    """Topology keys of anti-affinity to the pod itself, and what is not modelled."""
    keys: set[str] = set()
    not_modelled: list[str] = []
    for term in mappings_in(affinity.get(_REQUIRED_AT_SCHEDULING)):
        if term.get("labelSelector") is None:
            continue  # core/v1: a null selector matches no pod, an empty one all
        if (
            _selector(term.get("labelSelector")).matches(labels)
            and _looks_at_namespace(term, namespace)
            and not _mismatches_itself(term, labels)
        ):
            keys.add(str(term.get("topologyKey", "")))
        else:
            not_modelled.append("podAntiAffinity towards other pods")
    return keys, not_modelled


def _looks_at_namespace(term: Mapping[str, Any], namespace: str) -> bool:
    """Whether a term looks at pods of a namespace; without any field it looks at the pod's own.

    Of the labels of a namespace only its name is known. A selector of others may select it, and
    counts as if it did: the worst case.
    """
    named, selector = term.get("namespaces"), term.get("namespaceSelector")
    names = [str(each) for each in named] if isinstance(named, list | tuple) else []
    if not names and selector is None:
        return True
    if namespace in names or not namespace:
        return True
    if selector is None:
        return False
    read = _selector(selector)
    others = {*read.match_labels, *(each.key for each in read.match_expressions)} - {_NAME_LABEL}
    return bool(others) or read.matches({_NAME_LABEL: namespace})


_NAME_LABEL = "kubernetes.io/metadata.name"


def _mismatches_itself(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether `mismatchLabelKeys` names a label of the pod: then equal pods never match."""
    keys = term.get("mismatchLabelKeys")
    return any(str(each) in labels for each in (keys if isinstance(keys, list | tuple) else ()))


def _hard_constraints(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The topologySpreadConstraints that must hold; DoNotSchedule is the default (core/v1)."""
    return [
        each
        for each in mappings_in(spec.get("topologySpreadConstraints"))
        if each.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"
    ]


def _require_topology_labels(
    terms: tuple[tuple[NodeRequirement, ...], ...], constraints: Sequence[Mapping[str, Any]]
) -> tuple[tuple[NodeRequirement, ...], ...]:
    """Adds that nodes have the labels of hard spread constraints: others take no pod (core/v1)."""
    keys = sorted({str(each.get("topologyKey", "")) for each in constraints} - {HOSTNAME_LABEL})
    if not keys:
        return terms
    keys_exist = tuple(NodeRequirement(key=key, operator="Exists") for key in keys)
    return tuple((*term, *keys_exist) for term in terms or ((),))


def _topology_spread_constraints(
    constraints: Sequence[Mapping[str, Any]], labels: Mapping[str, str]
) -> tuple[tuple[TopologySpreadConstraint, ...], list[str]]:
    """Hard constraints that count the pod itself, and what is not modelled.

    Raises:
        NotReadable: a number is out of range, or two constraints have one topology key.
    """
    skews: list[TopologySpreadConstraint] = []
    not_modelled: list[str] = []
    for each in constraints:
        if each.get("labelSelector") is None:
            continue  # core/v1: a null selector counts no pod
        if not _selector(each.get("labelSelector")).matches(labels):
            not_modelled.append("topologySpreadConstraints over other pods")
            continue
        skews.append(
            TopologySpreadConstraint(
                topology_key=str(each.get("topologyKey", "")),
                max_skew=_read_positive(each, "maxSkew"),
                min_domains=_read_positive(each, "minDomains"),
                honors_affinity=each.get("nodeAffinityPolicy") != "Ignore",
                honors_taints=each.get("nodeTaintsPolicy") == "Honor",
            )
        )
    keys = [each.topology_key for each in skews]
    duplicate = next((key for key in keys if keys.count(key) > 1), None)
    if duplicate is not None:
        raise NotReadable(
            "topologySpreadConstraints",
            "topologyKey",
            f"{duplicate!r} is listed twice; keep one",
        )
    return tuple(skews), not_modelled


def _read_positive(constraint: Mapping[str, Any], field: str) -> int:
    """A positive int32; 1 when it is left out."""
    value = constraint.get(field)
    if value is None:
        return 1
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_INT32:
        raise NotReadable(
            "topologySpreadConstraints", field, f"{value!r}; write a number from 1 to {_MAX_INT32}"
        )
    return value


def _node_affinity(affinity: Mapping[str, Any]) -> tuple[tuple[NodeRequirement, ...], ...]:
    required = affinity.get(_REQUIRED_AT_SCHEDULING)
    terms = mappings_in(mapping_or_empty(required).get("nodeSelectorTerms"))
    read = []
    for term in terms:
        conditions = [
            *mappings_in(term.get("matchExpressions")),
            *mappings_in(term.get("matchFields")),
        ]
        read.append(tuple(decode_as(each, NodeRequirement) for each in conditions))
    # An empty term matches nothing in core/v1, so it adds no choice.
    chosen = tuple(term for term in read if term)
    return chosen or (() if required is None else ((NOTHING_MATCHES,),))


NOTHING_MATCHES = NodeRequirement(key=NODE_NAME_FIELD, operator="In", values=())
"""A condition that no node meets, for an affinity whose terms are all empty."""


def _host_ports(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The node's ports that the pod takes; with `hostNetwork` all of its ports (core/v1)."""
    sidecars = [
        each
        for each in mappings_in(spec.get("initContainers"))
        if each.get("restartPolicy") == "Always"
    ]
    found: set[str] = set()
    for container in (*mappings_in(spec.get("containers")), *sidecars):
        for port in mappings_in(container.get("ports")):
            number = port.get("hostPort") or (spec.get("hostNetwork") and port.get("containerPort"))
            if number:
                protocol, address = port.get("protocol") or "TCP", port.get("hostIP") or ANY_ADDRESS
                found.add(f"{protocol}/{address}/{number}")
    return tuple(sorted(found))


def host_ports_conflict(ports: Iterable[str], other_ports: Iterable[str]) -> bool:
    """Whether pods with these host ports cannot share a node.

    Equal ports of a protocol conflict on equal addresses; 0.0.0.0 equals every address.
    """
    theirs = [each.split("/") for each in other_ports]
    return any(
        protocol == kind and number == port and (address == at or ANY_ADDRESS in (address, at))
        for protocol, address, number in (each.split("/") for each in ports)
        for kind, at, port in theirs
    )


def _not_modelled(spec: Mapping[str, Any], affinity: Mapping[str, Any]) -> Iterable[str]:
    """Names what the Kubernetes scheduler considers and `fit` does not."""
    if mapping_or_empty(affinity.get("podAffinity")).get(_REQUIRED_AT_SCHEDULING):
        yield "podAffinity"
    volumes = mappings_in(spec.get("volumes"))
    if any("persistentVolumeClaim" in each or "ephemeral" in each for each in volumes):
        yield "where volumes can be bound"
    if _host_ports(spec):
        yield "host ports that other pods use"
    for field, what in _FIELDS_NOT_MODELLED.items():
        if spec.get(field):
            yield f"{what} ({field})"
    if spec.get("schedulerName") not in (None, "", "default-scheduler"):
        yield "another scheduler than Kubernetes' own (schedulerName)"


_FIELDS_NOT_MODELLED = {
    "runtimeClassName": "overhead and nodes of a runtime class",
    "resourceClaims": "devices that resource claims ask for",
    "schedulingGates": "scheduling gates of pods",
    "nodeName": "the named node",
    "priorityClassName": "preemption of other pods",
}


def _selector(raw: object) -> LabelSelector:
    return decode_as(mapping_or_empty(raw), LabelSelector)


def _toleration(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out null fields and an empty operator, which core/v1 reads as Equal."""
    return {
        key: value
        for key, value in raw.items()
        if value is not None and not (key == "operator" and value == "")
    }


def _labels(raw: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in mapping_or_empty(raw).items()}
