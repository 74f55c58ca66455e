"""Pins orders to the nodes that the decision counted: platform and CPU vendor. Pure.

A decision counts the room on nodes of some architectures and CPU vendors; Kubernetes knows neither
images nor grants, and would run the pods on any node. So each pod template requires them, beside
what it requires itself. A pod is never kept from a node that the decision counted: what the labels
of such nodes do not say is not required (`docs/decisions/0071-orders-pin-nodes.md`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import msgspec

from scheduler.control.status.migration import SiteShare
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.fields import Toleration
from scheduler.model.kinds.site import OS_LABEL, NodeClass
from scheduler.model.kinds.workload import NodePin, WorkloadSpec
from scheduler.model.manifests.cleaning import clean_manifests
from scheduler.model.manifests.containers import SCALARS, mapping_or_empty, mappings_in
from scheduler.model.manifests.manifests import scalable_index
from scheduler.model.manifests.pod_kinds import pod_kind_of
from scheduler.model.manifests.templates import GroupKind, group_kind, values_at

ARCHITECTURE_LABEL = "kubernetes.io/arch"
VENDOR_LABEL = "kapok.dev/cpu-vendor"
DETECTED_VENDOR_LABEL = "feature.node.kubernetes.io/cpu-model.vendor_id"
"""Agents report the first of both vendor labels that a node has."""

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_VENDOR_FORMS: tuple[tuple[str, ...], ...] = (
    (),
    (VENDOR_LABEL, DETECTED_VENDOR_LABEL),
    (VENDOR_LABEL,),
)
"""The labels by which a vendor can be required; each form admits no node that one before refuses.
"""
_FIXED_KINDS: frozenset[GroupKind] = frozenset({("", "Pod"), ("batch", "Job")})
"""Kinds whose pod template Kubernetes never lets change."""

_Requirement = dict[str, Any]


def pin_of(demand: Demand, facts: SiteFacts) -> NodePin:
    """What pods of a demand require of the nodes of a site.

    Args:
        demand: its platforms and its lists of CPU vendors count.
        facts: the site; its grants may permit some vendors only.
    """
    vendors = _permitted_vendors(demand, facts)
    counted = [
        each
        for each in facts.status.node_classes
        if each.platform in demand.architectures and (not vendors or each.cpu_vendor in vendors)
    ]
    return NodePin(
        platforms=demand.architectures,
        cpu_vendors=vendors,
        labels=(*_platform_form(counted), *(_vendor_form(counted) if vendors else ())),
    )


def kept_pin(old: NodePin | None, fresh: NodePin, *, has_fixed_templates: bool) -> NodePin | None:
    """The pin of an order that runs and whose pod templates did not change.

    It changes, and its pods restart, only if other platforms or vendors are permitted now, or if
    it would keep pods from nodes that the decision counted. An order without a pin stays so.
    """
    if old is None or has_fixed_templates:
        return old
    if (old.platforms, old.cpu_vendors) != (fresh.platforms, fresh.cpu_vendors):
        return fresh
    platform = [
        each
        for each in (ARCHITECTURE_LABEL, OS_LABEL)
        if each in old.labels and each in fresh.labels
    ]
    form = min(_VENDOR_FORMS.index(_vendor_labels(each)) for each in (old, fresh))
    return msgspec.structs.replace(old, labels=(*platform, *_VENDOR_FORMS[form]))


def are_templates_changed(former: WorkloadSpec, present: WorkloadSpec) -> bool:
    """Whether no pod template is as before, so that all pods are made again anyway."""
    before, after = _templates_by_object(former), _templates_by_object(present)
    return not any(before[key] == after[key] for key in before.keys() & after.keys())


def has_fixed_templates(spec: WorkloadSpec) -> bool:
    """Whether it has an object whose pod template Kubernetes never lets change."""
    return any(group_kind(each) in _FIXED_KINDS for each in spec.manifests)


def next_pin(
    site: str,
    before: Mapping[str, SiteShare],
    fresh: NodePin | None,
    *,
    are_templates_new: bool,
    has_fixed: bool,
) -> NodePin | None:
    """The pin of a site's order after a decision.

    Args:
        site: the site, where some replicas stay.
        before: the shares until now, by site.
        fresh: the pin of an order that is made now; None: nothing is known of the site.
        are_templates_new: all pods are made again anyway.
        has_fixed: see `has_fixed_templates`.
    """
    old = before.get(site)
    if fresh is None:
        return old.pin if old else None
    if old is None or old.is_parked or are_templates_new:
        return fresh
    return kept_pin(old.pin, fresh, has_fixed_templates=has_fixed)


def with_pin(
    manifests: Sequence[Mapping[str, Any]], pin: NodePin | None, spec: WorkloadSpec
) -> Sequence[Mapping[str, Any]]:
    """The manifests with the pin in each pod template, and with the tolerations of `spec.demand`.

    Those describe the pods of the manifest that `replicas` scales, so the decision tolerated them.

    Args:
        manifests: the manifests.
        pin: what nodes need; None: all stay as they are.
        spec: its `demand` says where pods of unknown kinds have their templates.
    """
    if pin is None:
        return manifests
    alternatives = _alternatives(pin)
    paths = spec.demand.pod_template_paths if spec.demand else ()
    tolerations = spec.demand.tolerations if spec.demand else ()
    scaled = scalable_index(manifests) if tolerations else None
    pinned: list[Mapping[str, Any]] = []
    for index, manifest in enumerate(manifests):
        tree = _copy_of(manifest)
        found = [
            each["spec"]
            for _, each in _templates_of(tree, paths)
            if isinstance(each.get("spec"), dict)
        ]
        for pod in found:
            _require(pod, alternatives)
            if index == scaled:
                _tolerate(pod, tolerations)
        pinned.append(tree if found else manifest)
    return pinned


def _permitted_vendors(demand: Demand, facts: SiteFacts) -> tuple[str, ...]:
    """The vendors that every list and some grant permit; empty: any, or what no node can have."""
    lists = [set(each) for each in demand.cpu_vendors]
    granted = [each.spec.cpu_vendors for each in facts.grants]
    if granted and all(granted):
        lists.append({vendor for vendors in granted for vendor in vendors})
    return tuple(sorted(set.intersection(*lists))) if lists else ()


def _platform_form(counted: Sequence[NodeClass]) -> tuple[str, ...]:
    """The labels by which a platform can be required on the counted nodes.

    Every kubelet sets that of the architecture. Where the reported labels are those of Kubernetes
    and that one is neither among them nor left out, the node is of another program.
    """
    if not _have_architecture_label(counted):
        return ()
    says_system = counted and all(OS_LABEL in each.labels for each in counted)
    return (ARCHITECTURE_LABEL, OS_LABEL) if says_system else (ARCHITECTURE_LABEL,)


def _have_architecture_label(counted: Iterable[NodeClass]) -> bool:
    for each in counted:
        found = each.labels.get(ARCHITECTURE_LABEL)
        if found is not None:
            if found != each.architecture:
                return False
            continue
        is_left_out = each.has_more_labels or ARCHITECTURE_LABEL in each.labels_left_out
        is_reported = bool(each.labels_left_out) or any(map(_is_of_kubernetes, each.labels))
        if is_reported and not is_left_out:
            return False
    return True


def _is_of_kubernetes(label: str) -> bool:
    prefix = label.partition("/")[0]
    return "/" in label and (prefix == "kubernetes.io" or prefix.endswith(".kubernetes.io"))


def _vendor_form(counted: Sequence[NodeClass]) -> tuple[str, ...]:
    """The strictest form that surely holds on every counted node."""
    if not counted:
        return _VENDOR_FORMS[0]
    if all(_has_vendor_in(each, VENDOR_LABEL) for each in counted):
        return _VENDOR_FORMS[2]
    if all(
        _has_vendor_in(each, VENDOR_LABEL)
        or (not _may_have(each, VENDOR_LABEL) and _has_detected_vendor(each))
        for each in counted
    ):
        return _VENDOR_FORMS[1]
    return _VENDOR_FORMS[0]


def _has_vendor_in(each: NodeClass, label: str) -> bool:
    """Whether a label of nodes surely has their vendor; of one that is left out it is not known."""
    return bool(each.cpu_vendor) and each.labels.get(label) == each.cpu_vendor


def _has_detected_vendor(each: NodeClass) -> bool:
    """Whether the vendor of nodes that lack the other label is surely from the detected one."""
    label = DETECTED_VENDOR_LABEL
    return _has_vendor_in(each, label) or (bool(each.cpu_vendor) and label in each.labels_left_out)


def _may_have(each: NodeClass, label: str) -> bool:
    return label in each.labels or label in each.labels_left_out or each.has_more_labels


def _vendor_labels(pin: NodePin) -> tuple[str, ...]:
    return tuple(each for each in _VENDOR_FORMS[1] if each in pin.labels)


def _alternatives(pin: NodePin) -> list[list[_Requirement]]:
    """The requirements of a pin, one of which must hold in full; [[]]: nothing is required."""
    platforms: list[list[_Requirement]] = [[]]
    if ARCHITECTURE_LABEL in pin.labels:
        platforms = list(_platform_alternatives(pin))
    vendors: list[list[_Requirement]] = [[]]
    if VENDOR_LABEL in pin.labels:
        vendors = [[_one_of(VENDOR_LABEL, pin.cpu_vendors)]]
    if DETECTED_VENDOR_LABEL in pin.labels:
        absent = {"key": VENDOR_LABEL, "operator": "DoesNotExist"}
        vendors.append([absent, _one_of(DETECTED_VENDOR_LABEL, pin.cpu_vendors)])
    return [[*one, *other] for one, other in product(platforms, vendors)]


def _platform_alternatives(pin: NodePin) -> Iterator[list[_Requirement]]:
    by_system: dict[str, set[str]] = {}
    for each in pin.platforms:
        system, _, architecture = each.rpartition("/")
        name = (system or "linux") if OS_LABEL in pin.labels else ""
        by_system.setdefault(name, set()).add(architecture)
    for system, architectures in sorted(by_system.items()):
        on_system = [_one_of(OS_LABEL, [system])] if system else []
        yield [*on_system, _one_of(ARCHITECTURE_LABEL, sorted(architectures))]


def _one_of(label: str, values: Iterable[str]) -> _Requirement:
    return {"key": label, "operator": "In", "values": list(values)}


def _require(pod: dict[str, Any], alternatives: list[list[_Requirement]]) -> None:
    """Adds requirements to a pod spec.

    Terms are ORed, and all conditions of a term must hold, so each term is taken once with each
    alternative. A term without conditions matches no node, and stays like that.
    """
    if alternatives == [[]]:
        return
    affinity = dict(mapping_or_empty(pod.get("affinity")))
    on_nodes = dict(mapping_or_empty(affinity.get("nodeAffinity")))
    written = on_nodes.get(_REQUIRED)
    required = dict(mapping_or_empty(written))
    if written is None:
        terms = [{"matchExpressions": [*each]} for each in alternatives]
    else:
        terms = [
            one
            for term in mappings_in(required.get("nodeSelectorTerms"))
            for one in _narrowed(term, alternatives)
        ]
    required["nodeSelectorTerms"] = terms
    on_nodes[_REQUIRED] = required
    affinity["nodeAffinity"] = on_nodes
    pod["affinity"] = affinity


def _narrowed(
    term: Mapping[str, Any], alternatives: list[list[_Requirement]]
) -> Iterator[dict[str, Any]]:
    if not (term.get("matchExpressions") or term.get("matchFields")):
        yield dict(term)
        return
    own = list(term.get("matchExpressions") or ())
    for each in alternatives:
        yield {**term, "matchExpressions": [*own, *(one for one in each if one not in own)]}


def _tolerate(pod: dict[str, Any], tolerations: Iterable[Toleration]) -> None:
    written = pod.get("tolerations")
    own = list(written) if isinstance(written, list | tuple) else []
    new = [msgspec.to_builtins(each) for each in tolerations]
    pod["tolerations"] = own + [each for each in new if each not in own]


def _copy_of(value: Any) -> Any:  # noqa: ANN401 - JSON
    """A copy of a JSON value; `copy.deepcopy` takes several times as long."""
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, Mapping):
        return {key: _copy_of(each) for key, each in value.items()}
    return [_copy_of(each) for each in value]


def _templates_of(
    manifest: Mapping[str, Any], paths: Iterable[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pod templates of a manifest by path; of an unknown kind those at `podTemplatePaths`."""
    kind = pod_kind_of(manifest)
    where = paths if kind is None else [each.path for each in kind.read(manifest)]
    for path in dict.fromkeys(where):
        for at, template, _ in values_at(manifest, path):
            if isinstance(template, dict):
                yield at, template


def _templates_by_object(spec: WorkloadSpec) -> dict[tuple[str, ...], Mapping[str, Any]]:
    paths = spec.demand.pod_template_paths if spec.demand else ()
    cleaned, _ = clean_manifests(spec.manifests)
    return {
        (*group_kind(each), str(mapping_or_empty(each.get("metadata")).get("name")), at): template
        for each in cleaned
        for at, template in _templates_of(each, paths)
    }
