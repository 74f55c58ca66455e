"""Orders differ from site to site by overrides, and by the imageRegistries of their site."""

from copy import deepcopy
from typing import Any

import msgspec
import pytest

from scheduler.control.orders import build
from scheduler.control.orders.build import orders_of
from scheduler.control.orders.made_orders import MadeOrders
from scheduler.control.ports.agents import OrderForSite
from scheduler.control.ports.hub import SITES as SITE_RESOURCE
from scheduler.control.status.migration import SiteShare
from scheduler.model.decode import decode_as
from scheduler.model.kinds.kinds import Site, Workload
from scheduler.model.kinds.workload import NodePin
from scheduler.model.overrides.apply import Adaptation, adaptation_of
from tests.support.control_loops import ControlLoops
from tests.support.one_site import tenant
from tests.support.sites import nodes, site
from tests.support.sites import workload as made_workload
from tests.unit.control.orders.test_claims import answer, settled

Raw = dict[str, Any]

KEY = ("ns", "db")
OWNER = tenant()
SHARE = SiteShare(replicas=2, generation=3)
PIN = NodePin(platforms=("amd64",), labels=("kubernetes.io/arch",))
DEPLOYMENT: Raw = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "initContainers": [{"name": "i", "image": "quay.io/init:1"}],
                "containers": [
                    {
                        "name": "c",
                        "image": "web:1",
                        "args": ["--a"],
                        "resources": {"requests": {"cpu": "1"}},
                    }
                ],
            },
        },
    },
}
SETTINGS: Raw = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"k": "v"},
}
ARGS = "/spec/template/spec/containers/0/args"
OVERRIDES: list[Raw] = [
    {
        "siteSelector": {"matchLabels": {"zone": "isolated"}},
        "patch": [{"op": "add", "path": f"{ARGS}/-", "value": "--isolated"}],
        "imageRegistries": [{"from": "docker.io", "to": "near.local"}],
    },
    {
        "siteSelector": {"matchLabels": {"kapok.dev/site": "m2"}},
        "patch": [{"op": "add", "path": f"{ARGS}/-", "value": "--m2"}],
    },
]


def workload(*overrides: Raw, manifests: list[Raw] | None = None, **spec: Any) -> Workload:  # noqa: ANN401 - JSON
    return decode_as(raw_workload(*overrides, manifests=manifests, **spec), Workload)


def raw_workload(*overrides: Raw, manifests: list[Raw] | None = None, **spec: Any) -> Raw:  # noqa: ANN401 - JSON
    raw = made_workload(2, name="db", **spec)
    raw["spec"].pop("demand", None)
    raw["spec"] |= {"replicas": 2, "manifests": deepcopy(manifests or [DEPLOYMENT, SETTINGS])}
    if overrides:
        raw["spec"]["overrides"] = deepcopy(list(overrides))
    return raw


def at(name: str, *registries: Raw, **labels: str) -> Site:
    spec = {"imageRegistries": list(registries)} if registries else {}
    return decode_as(site(name, labels=labels, spec=spec), Site)


def orders(
    one: Workload,
    *sites: Site,
    share: SiteShare = SHARE,
    current: dict[str, OrderForSite] | None = None,
) -> dict[str, OrderForSite]:
    found = {each.metadata.name: adaptation_of(one.spec.overrides, each) for each in sites}
    adaptations = {name: each for name, each in found.items() if each is not None}
    shares = dict.fromkeys(found, share)
    return orders_of(one, "id", shares, tenant(), current or {}, adaptations=adaptations)


def container(order: OrderForSite) -> Raw:
    manifest: Raw = order.manifests[0]
    found: Raw = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


def test_overrides_apply_in_order_and_the_registries_of_the_site_last() -> None:
    mirror = {"from": "near.local", "to": "mirror.local:5000/near"}
    quay = {"from": "quay.io", "to": "mirror.local:5000/quay"}
    made = orders(
        workload(*OVERRIDES),
        at("m1"),
        at("m2", mirror, quay, zone="isolated"),
        at("m3", zone="isolated"),
        at("m4", quay),
    )
    assert [container(made[each])["args"] for each in ("m1", "m2", "m3", "m4")] == [
        ["--a"],
        ["--a", "--isolated", "--m2"],
        ["--a", "--isolated"],
        ["--a"],
    ]
    assert [container(made[each])["image"] for each in ("m1", "m2", "m3", "m4")] == [
        "web:1",
        "mirror.local:5000/near/library/web:1",
        "near.local/library/web:1",
        "web:1",
    ]
    first: Any = made["m4"].manifests[0]
    assert first["spec"]["template"]["spec"]["initContainers"][0]["image"] == (
        "mirror.local:5000/quay/init:1"
    )
    for each in made.values():
        assert each.manifests[0]["spec"]["replicas"] == 2, "the decision's"  # type: ignore[index]
        assert each.manifests[1] == SETTINGS


def test_without_overrides_orders_are_as_before_and_overrides_keep_the_pin() -> None:
    plain, one = workload(), workload(OVERRIDES[1])
    share = SiteShare(replicas=2, generation=3, pin=PIN)
    assert orders(plain, at("m1"), share=share) == orders(one, at("m1"), share=share)
    pinned: Any = orders(one, at("m2"), share=share)["m2"].manifests[0]
    pod = pinned["spec"]["template"]["spec"]
    assert "kubernetes.io/arch" in str(pod["affinity"])
    assert pod["containers"][0]["args"] == ["--a", "--m2"]


def test_sites_with_equal_overrides_share_their_manifests() -> None:
    made = orders(workload(*OVERRIDES), *(at(f"s{n}", zone="isolated") for n in range(3)))
    first, second, _ = (made[each].manifests for each in sorted(made))
    assert first[1] is not None
    inner = [one[0]["spec"]["template"] for one in (first, second)]  # type: ignore[index]
    assert inner[0] is inner[1]


NEEDS_TEST: Raw = {
    "siteSelector": {"matchLabels": {"zone": "isolated"}},
    "patch": [{"op": "test", "path": f"{ARGS}/1", "value": "--m2"}],
}


def test_what_cannot_be_applied_at_a_site_orders_nothing_new_there() -> None:
    one = workload(OVERRIDES[1], NEEDS_TEST)
    made = orders(one, at("m1"), at("m2", zone="isolated"), at("m3", zone="isolated"))
    assert [bool(made[each].not_made_because) for each in sorted(made)] == [False, False, True]
    assert made["m3"].manifests == ()
    assert "spec.overrides[1].patch[0]" in made["m3"].not_made_because


def test_many_forms_of_the_manifests_are_refused_by_the_bound_of_what_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "MAX_FORMS_BYTES", 100)
    overrides: list[Raw] = [
        {
            "siteSelector": {"matchLabels": {f"l{n}": "yes"}},
            "patch": [{"op": "add", "path": f"{ARGS}/-", "value": f"--{n}"}],
        }
        for n in range(3)
    ]
    sites = [at(f"s{n}", **{f"l{n}": "yes"}) for n in range(3)]
    made = orders(workload(*overrides), *sites, at("s3"))
    refused = {name: one.not_made_because for name, one in made.items() if one.not_made_because}
    assert refused.keys() == {"s1", "s2"}, "one form fits, and a site without overrides has none"
    assert "more different forms" in refused["s1"]


def test_a_parked_site_runs_no_pods_whatever_its_overrides_say() -> None:
    parked = SiteShare(replicas=0, generation=3, is_parked=True)
    made = orders(workload(OVERRIDES[1], NEEDS_TEST), at("m3", zone="isolated"), share=parked)
    assert made["m3"].not_made_because == ""
    assert made["m3"].manifests[0]["spec"]["replicas"] == 0  # type: ignore[index]


def test_a_site_that_is_left_keeps_the_content_that_it_has() -> None:
    one = workload(*OVERRIDES)
    former = orders(one, at("m2", zone="isolated"))
    leaving = SiteShare(replicas=0, leaving=2, generation=3)
    made = orders(one, at("m2"), share=leaving, current=former)
    assert container(made["m2"]) == container(former["m2"])


@pytest.mark.parametrize(
    "operations",
    [
        # Each alone is permitted; together they would change what was decided.
        [
            {"op": "add", "path": "/spec/template/metadata/annotations", "value": {"a": "b"}},
            {"op": "add", "path": "/spec/template/spec/volumes", "value": []},
        ]
    ],
)
def test_what_is_permitted_leaves_requests_as_they_are(operations: list[Raw]) -> None:
    made = orders(workload({"patch": operations}), at("m1"))
    assert container(made["m1"])["resources"] == {"requests": {"cpu": "1"}}


def test_a_sites_registries_reach_templates_at_paths_of_custom_kinds() -> None:
    farm: Raw = {
        "apiVersion": "x.example/v1",
        "kind": "Farm",
        "metadata": {"name": "f"},
        "spec": {
            "workers": [{"template": {"spec": {"containers": [{"name": "w", "image": "w"}]}}}]
        },
    }
    raw = raw_workload(manifests=[farm])
    raw["spec"]["demand"] = {"replicas": 1, "podTemplatePaths": ["spec.workers[*].template"]}
    raw["spec"].pop("replicas")
    made = orders(decode_as(raw, Workload), at("m1", {"from": "docker.io", "to": "near.local"}))
    assert "near.local/library/w" in str(made["m1"].manifests)


def test_orders_are_made_again_when_what_applies_at_a_site_changes() -> None:
    made, one = MadeOrders(), workload(*OVERRIDES)
    answers = []
    for adaptation in (None, Adaptation((0,), ()), Adaptation((0, 1), ()), None):
        adaptations = {"m1": adaptation} if adaptation else {}
        found = made.orders_of(KEY, one, "id", {"m1": SHARE}, OWNER, adaptations)
        again = made.orders_of(KEY, one, "id", {"m1": SHARE}, OWNER, adaptations)
        assert again["m1"] is found["m1"]
        answers.append(container(found["m1"])["args"])
    assert answers == [["--a"], ["--a", "--isolated"], ["--a", "--isolated", "--m2"], ["--a"]]


def test_an_unknown_site_has_nothing_applied() -> None:
    assert adaptation_of(workload(*OVERRIDES).spec.overrides, None) is None
    assert adaptation_of((), at("m1", zone="isolated")) is None
    assert msgspec.json.encode(workload().spec).find(b"overrides") < 0


SITES = [
    site(
        name,
        nodes(4),
        observedAt="2026-11-24T08:00:00Z",
        labels={"zone": "isolated"} if name == "m2" else {},
        spec={"imageRegistries": [{"from": "docker.io", "to": "near.local"}]}
        if name == "m2"
        else {},
    )
    for name in ("m1", "m2")
]
SPREAD: Raw = {"spread": [{"by": "site", "minGroups": 2, "maxPerGroup": 1}]}


def condition(status: Raw, name: str) -> Raw:
    found: list[Raw] = [one for one in status["conditions"] if one["type"] == name]
    return found[0] if found else {}


def ordered(loops: ControlLoops, name: str) -> OrderForSite:
    [found] = loops.dispatcher.plans[name].orders.values()
    return found


async def test_an_edited_site_changes_its_orders_and_their_digests_alone() -> None:
    loops = ControlLoops()
    async with loops.started(*SITES, raw_workload(*OVERRIDES, placement=SPREAD)):
        status = await settled(loops)
        assert container(ordered(loops, "m1"))["image"] == "web:1"
        assert container(ordered(loops, "m2"))["image"] == "near.local/library/web:1"
        assert container(ordered(loops, "m2"))["args"] == ["--a", "--isolated", "--m2"]
        before = status["placement"]["orders"]
        patch = {"spec": {"imageRegistries": [{"from": "near.local", "to": "far.local"}]}}
        await loops.hub.merge_patch(SITE_RESOURCE, "m2", patch)
        status = await settled(loops)
        assert container(ordered(loops, "m2"))["image"] == "far.local/library/web:1"
        assert status["placement"]["orders"]["m1"] == before["m1"]
        assert "OverridesApplied" not in str(status["conditions"])


async def test_a_site_where_an_override_fails_keeps_its_content_and_the_status_names_it() -> None:
    loops = ControlLoops()
    first = {"patch": [{"op": "add", "path": f"{ARGS}/-", "value": "--x"}]}
    first["siteSelector"] = {"matchLabels": {"ready": "yes"}}  # type: ignore[assignment]
    second = {"patch": [{"op": "test", "path": f"{ARGS}/1", "value": "--x"}]}
    raw = raw_workload(first, second, placement=SPREAD)
    async with loops.started(*SITES, raw):
        await settled(loops)
        for name in ("m1", "m2"):
            answer(loops, name)
        status = await settled(loops)
        assert "m1, m2: spec.overrides[1]" in condition(status, "OverridesApplied")["message"]
        assert loops.publisher.indexes["m1"] == {}, "nothing is ordered there"
        for name in ("m1", "m2"):
            await loops.hub.merge_patch(
                SITE_RESOURCE, name, {"metadata": {"labels": {"ready": "yes"}}}
            )
        await settled(loops)
        for name in ("m1", "m2"):
            answer(loops, name)
        status = await settled(loops)
        assert condition(status, "OverridesApplied") == {}
        good = loops.publisher.indexes["m1"]
        await loops.hub.merge_patch(SITE_RESOURCE, "m1", {"metadata": {"labels": {"ready": None}}})
        status = await settled(loops)
        loops.dispatcher.flush()
        found = condition(status, "OverridesApplied")
        assert (found["status"], found["reason"]) == ("False", "NotApplicable")
        assert "m1: spec.overrides[1].patch[0]" in found["message"]
        assert "m2" not in found["message"]
        assert loops.publisher.indexes["m1"] == good, "it keeps the content that it has"
        await loops.hub.merge_patch(SITE_RESOURCE, "m1", {"metadata": {"labels": {"ready": "yes"}}})
        assert condition(await settled(loops), "OverridesApplied") == {}


def test_two_overrides_of_one_object_are_checked_together() -> None:
    first = {"patch": [{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}]}
    reserved = "/metadata/annotations/kapok.dev~1order"
    second = {
        "siteSelector": {"matchLabels": {"zone": "isolated"}},
        "patch": [{"op": "add", "path": reserved, "value": "x"}],
    }
    made = orders(workload(first, second), at("m1"), at("m2", zone="isolated"))
    assert made["m1"].not_made_because == ""
    assert "spec.overrides[0] and spec.overrides[1]" in made["m2"].not_made_because
    assert "reserved" in made["m2"].not_made_because
