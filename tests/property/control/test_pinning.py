"""Pinned templates match every node that a decision counts, and none of another architecture."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agents.sensors.nodes import LabelChoice, node_facts_of
from scheduler.control.orders.pinning import (
    ARCHITECTURE_LABEL,
    DETECTED_VENDOR_LABEL,
    VENDOR_LABEL,
    kept_pin,
    pin_of,
    with_pin,
)
from scheduler.model.decode import decode_as
from scheduler.model.kinds.site import NodeClass
from scheduler.model.kinds.workload import Workload, WorkloadSpec
from scheduler.placement.fleet.node_eligibility import (
    is_eligible,
    is_platform_permitted,
)
from scheduler.placement.fleet.nodes.profiles import profile_of
from tests.support.node_selector import REQUIRED, may_run
from tests.support.pod_kinds import COUNTED, of_kind, template
from tests.support.sites import demand as accepted_demand
from tests.support.sites import facts_of, grant, site, workload

VENDORS = ("kunpeng", "hygon", "phytium")
WORDS = st.sampled_from(("a", "b"))
EXCLUDED = ("kubernetes.io/hostname", "feature.node.kubernetes.io/*")


@st.composite
def node_labels(draw: st.DrawFn) -> dict[str, str]:
    """Labels as kubelets, node feature discovery and operators set them, or other programs."""
    labels = {"kubernetes.io/os": draw(st.sampled_from(("linux", "windows"))), "zone": draw(WORDS)}
    labels["kubernetes.io/hostname"] = "n1"
    if draw(st.booleans()):
        labels[ARCHITECTURE_LABEL] = draw(st.sampled_from(("amd64", "arm64", "loong64")))
    for key in (VENDOR_LABEL, DETECTED_VENDOR_LABEL):
        if draw(st.booleans()):
            labels[key] = draw(st.sampled_from(("", *VENDORS)))
    return labels


@st.composite
def affinities(draw: st.DrawFn) -> dict[str, Any] | None:
    condition = st.one_of(
        st.builds(lambda v: {"key": "zone", "operator": "In", "values": [v]}, WORDS),
        st.builds(lambda v: {"key": "zone", "operator": "NotIn", "values": [v]}, WORDS),
        st.just({"key": "absent", "operator": "DoesNotExist"}),
    )
    fields = st.just({"key": "metadata.name", "operator": "In", "values": ["n1"]})
    term = st.one_of(
        st.just({}),
        st.builds(lambda c: {"matchExpressions": c}, st.lists(condition, max_size=2)),
        st.builds(lambda f: {"matchFields": [f]}, fields),
    )
    terms = draw(st.lists(term, max_size=3))
    node = draw(st.sampled_from(("none", "null", "terms")))
    if node == "none":
        return draw(st.sampled_from((None, {"podAntiAffinity": {}})))
    required = None if node == "null" else {"nodeSelectorTerms": terms}
    return {"nodeAffinity": {REQUIRED: required, "preferredDuringScheduling": []}}


def reported(labels: dict[str, str], architecture: str) -> NodeClass:
    """A node's class as the agent reports it and the hub reads it."""
    node = {
        "metadata": {"name": "n1", "labels": labels},
        "status": {
            "nodeInfo": {"architecture": labels.get(ARCHITECTURE_LABEL, architecture)},
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "4"},
        },
    }
    facts = node_facts_of(node, LabelChoice(excluded=EXCLUDED))
    assert facts is not None
    one = facts.node_class
    return NodeClass(
        labels=one.labels,
        architecture=one.architecture,
        cpu_vendor=one.cpu_vendor,
        labels_left_out=one.labels_left_out or (),
        has_more_labels=bool(one.has_more_labels),
    )


def spec_of(manifest: dict[str, Any]) -> WorkloadSpec:
    return decode_as(workload(manifests=[manifest]), Workload).spec


@given(
    nodes=st.lists(st.tuples(node_labels(), st.sampled_from(("amd64", "arm64"))), max_size=5),
    platforms=st.sets(st.sampled_from(("linux/amd64", "linux/arm64", "windows/amd64")), min_size=1),
    lists=st.lists(st.sets(st.sampled_from(VENDORS), min_size=1), max_size=2),
    granted=st.lists(st.sets(st.sampled_from(VENDORS)), max_size=2),
    affinity=affinities(),
)
def test_every_counted_node_is_matched_and_no_node_of_another_architecture(
    nodes: list[tuple[dict[str, str], str]],
    platforms: set[str],
    lists: list[set[str]],
    granted: list[set[str]],
    affinity: dict[str, Any] | None,
) -> None:
    pod: dict[str, Any] = {} if affinity is None else {"affinity": affinity}
    manifest = of_kind("apps/v1", "Deployment", template=template(**pod))
    raw = workload(manifests=[manifest], imagePlatforms=sorted(platforms))
    del raw["spec"]["demand"]
    demand = accepted_demand(raw)
    demand = msgspec.structs.replace(demand, cpu_vendors=tuple(tuple(each) for each in lists))
    grants = [grant("m1", name=f"g{n}", cpuVendors=sorted(one)) for n, one in enumerate(granted)]
    facts = facts_of(site("m1"), *grants)
    classes = tuple(reported(labels, architecture) for labels, architecture in nodes)
    facts = msgspec.structs.replace(
        facts, status=msgspec.structs.replace(facts.status, node_classes=classes)
    )
    pin = pin_of(demand, facts)
    (pinned,) = with_pin([manifest], pin, decode_as(raw, Workload).spec)
    after = pinned["spec"]["template"]["spec"]
    before = template(**pod)["spec"]
    allowed = {vendor for one in granted for vendor in one} if all(granted) else set()
    for (labels, _), one in zip(nodes, classes, strict=True):
        profile = profile_of(one)
        is_counted = (
            is_platform_permitted(profile, demand.architectures, demand.cpu_vendors)
            and (not allowed or one.cpu_vendor in allowed)
            and is_eligible(demand.unit[0].shape, profile)
        )
        if is_counted:
            assert may_run(after, labels) == may_run(before, labels)
        if not may_run(before, labels):
            assert not may_run(after, labels)
        if ARCHITECTURE_LABEL in pin.labels and may_run(after, labels):
            assert labels.get(ARCHITECTURE_LABEL) in {each.split("/")[1] for each in platforms}
        if VENDOR_LABEL in pin.labels and may_run(after, labels):
            assert one.cpu_vendor in pin.cpu_vendors


@given(platforms=st.sets(st.sampled_from(("amd64", "arm64", "windows/amd64")), min_size=1))
def test_where_kubelets_label_their_nodes_the_architecture_is_always_required(
    platforms: set[str],
) -> None:
    labels = {"kubernetes.io/os": "linux", ARCHITECTURE_LABEL: "arm64"}
    raw = site("m1", {"architecture": "arm64", "labels": labels})
    demand = msgspec.structs.replace(
        accepted_demand(workload()), architectures=tuple(sorted(platforms))
    )
    pin = pin_of(demand, facts_of(raw, grant("m1")))
    manifest = of_kind("apps/v1", "Deployment", template=template())
    (pinned,) = with_pin([manifest], pin, spec_of(manifest))
    spec = pinned["spec"]["template"]["spec"]
    assert may_run(spec, labels) == ("arm64" in platforms)
    assert not may_run(spec, {**labels, ARCHITECTURE_LABEL: "loong64"})


@given(old=st.sampled_from(range(4)), fresh=st.sampled_from(range(4)))
def test_a_pin_that_is_kept_never_becomes_stricter_by_what_nodes_say(old: int, fresh: int) -> None:
    forms = ((), (ARCHITECTURE_LABEL,), (VENDOR_LABEL, DETECTED_VENDOR_LABEL), (VENDOR_LABEL,))
    demand = msgspec.structs.replace(accepted_demand(workload()), cpu_vendors=(("hygon",),))
    pin = pin_of(demand, facts_of(site("m1"), grant("m1")))
    before = msgspec.structs.replace(pin, labels=forms[old])
    now = msgspec.structs.replace(pin, labels=forms[fresh])
    manifest = of_kind("apps/v1", "Deployment", template=template())
    kept = kept_pin(before, now, has_fixed_templates=False)
    for labels in (
        {ARCHITECTURE_LABEL: "amd64", VENDOR_LABEL: "hygon"},
        {ARCHITECTURE_LABEL: "amd64", DETECTED_VENDOR_LABEL: "hygon"},
        {ARCHITECTURE_LABEL: "arm64", VENDOR_LABEL: "hygon"},
        {},
    ):
        found = [
            may_run(
                with_pin([manifest], one, spec_of(manifest))[0]["spec"]["template"]["spec"], labels
            )
            for one in (before, now, kept)
        ]
        assert found[2] >= (found[0] or found[1])


def test_the_templates_of_every_kind_that_is_read_are_pinned() -> None:
    demand = accepted_demand(workload())
    pin = pin_of(demand, facts_of(site("m1"), grant("m1")))
    for name, (manifest, _) in COUNTED.items():
        (pinned,) = with_pin([manifest], pin, spec_of(manifest))
        specs = list(pod_specs(pinned))
        assert specs, name
        for spec in specs:
            assert not may_run(spec, {ARCHITECTURE_LABEL: "arm64"}), name
            assert may_run(spec, {ARCHITECTURE_LABEL: "amd64"}), name
        assert list(pod_specs(manifest)) != specs, f"{name}: the manifest itself was changed"


def pod_specs(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        if isinstance(value.get("containers"), list):
            yield value
        for each in value.values():
            yield from pod_specs(each)
    elif isinstance(value, list):
        for each in value:
            yield from pod_specs(each)
