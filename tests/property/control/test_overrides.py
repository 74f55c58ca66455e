"""Whatever an override says: what is ordered asks for what was decided, or is not ordered."""

from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scheduler.control.orders.build import orders_of
from scheduler.control.status.migration import SiteShare
from scheduler.model.decode import decode_as
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.kinds import Site
from scheduler.model.manifests.checks import identities_of
from scheduler.model.manifests.manifests import read_manifests
from scheduler.model.manifests.pod_security import violations
from scheduler.model.overrides.apply import adaptation_of
from tests.support.counts import examples
from tests.support.one_site import tenant
from tests.support.sites import site
from tests.unit.model.overrides.test_accepted import CONTAINER, DEPLOYMENT, workload

Raw = dict[str, Any]

OWNER = tenant(podSecurity="baseline")
SHARE = SiteShare(replicas=2, generation=3)
M1 = decode_as(
    site("m1", spec={"imageRegistries": [{"from": "docker.io", "to": "mirror.local"}]}), Site
)
POD = "/spec/template/spec"
PATHS = st.sampled_from(
    (
        "",
        "/kind",
        "/metadata/name",
        "/metadata/namespace",
        "/metadata/annotations",
        "/metadata/annotations/a",
        "/metadata/annotations/kapok.dev~1order",
        "/metadata/labels",
        "/spec/replicas",
        "/spec/selector",
        "/spec/template",
        "/spec/template/metadata/annotations",
        "/spec/template/metadata/labels/app",
        POD,
        f"{POD}/hostNetwork",
        f"{POD}/nodeSelector",
        f"{POD}/securityContext",
        f"{POD}/serviceAccountName",
        f"{POD}/tolerations",
        f"{POD}/volumes",
        f"{POD}/volumes/-",
        f"{POD}/containers",
        f"{POD}/containers/-",
        f"{POD}/initContainers",
        CONTAINER,
        *(
            f"{CONTAINER}/{field}"
            for field in (
                "args",
                "args/-",
                "command",
                "env",
                "env/-",
                "image",
                "name",
                "ports",
                "ports/0/hostPort",
                "resources",
                "resources/requests/cpu",
                "resources/limits",
                "securityContext",
                "securityContext/privileged",
                "volumeMounts",
            )
        ),
    )
)
VALUES = st.sampled_from(
    (
        "x",
        7,
        True,
        [],
        {},
        ["x"],
        [{"name": "v", "hostPath": {"path": "/"}}],
        [{"name": "v", "emptyDir": {}}],
        {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
        [{"containerPort": 80, "hostPort": 80}],
        {"privileged": True},
        {"runAsUser": 1000},
        {"cpu": "9"},
        {"name": "more", "image": "m", "resources": {"requests": {"cpu": "9"}}},
        {"kind": "Secret", "data": {"p": "eA=="}},
        {"a": "b"},
    )
)


@st.composite
def operations(draw: st.DrawFn) -> Raw:
    op = draw(st.sampled_from(("add", "add", "replace", "remove", "move", "copy", "test")))
    one: Raw = {"op": op, "path": draw(PATHS)}
    if op in ("move", "copy"):
        one["from"] = draw(PATHS)
    elif op != "remove":
        one["value"] = draw(VALUES)
    return one


OVERRIDES = st.lists(
    st.lists(operations(), min_size=1, max_size=3).map(lambda each: {"patch": each}),
    min_size=1,
    max_size=3,
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OVERRIDES)
@example([{"patch": [{"op": "add", "path": f"{CONTAINER}/command", "value": ["x"]}]}])
@example(
    [
        {"patch": [{"op": "add", "path": f"{CONTAINER}/securityContext", "value": {}}]},
        {
            "patch": [
                {"op": "add", "path": f"{CONTAINER}/securityContext/privileged", "value": True}
            ]
        },
    ]
)
def test_what_is_ordered_asks_for_what_was_decided(overrides: list[Raw]) -> None:
    plain = workload(manifests=[DEPLOYMENT])
    one = workload(*deepcopy(overrides), manifests=[DEPLOYMENT])
    demand = demand_of(one, tenants=[OWNER])
    if not isinstance(demand, Demand):
        assert "spec.overrides" in demand.message
        return
    assert demand == demand_of(plain, tenants=[OWNER])
    adaptation = adaptation_of(one.spec.overrides, M1)
    assert adaptation is not None
    [made], [before] = (
        orders_of(
            each, "id", {"m1": SHARE}, OWNER, {}, adaptations={"m1": adaptation} if has_any else {}
        ).values()
        for each, has_any in ((one, True), (plain, False))
    )
    if made.not_made_because:
        assert len(overrides) > 1
        assert made.manifests == ()
        return
    assert list(identities_of(made.manifests, "ns")) == list(identities_of(before.manifests, "ns"))
    assert read_manifests(made.manifests, namespace="ns") == read_manifests(
        before.manifests, namespace="ns"
    )
    assert [found for each in made.manifests for found in violations(each, "baseline")] == []
    pods: Any = made.manifests[0]
    image = pods["spec"]["template"]["spec"]["containers"][0].get("image")
    assert image is None or image.startswith("mirror.local/library/")
