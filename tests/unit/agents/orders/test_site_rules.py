"""What a site's owner does not allow is refused, however the hub writes it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.config.rules import find_problems
from agents.config.settings import AgentSettings, AllowSettings
from agents.orders.allowed.site_rules import SiteRules, find_site_refusals, parse_ceilings
from agents.protocol.orders import OrderContent
from tests.support.counts import examples
from tests.support.wire_hub import Manifest, autoscaler, config_map, deployment, job

EVERYTHING = SiteRules()
GOOD_IMAGE = "registry.gov.example/health/web:1@sha256:" + "0" * 64
REGISTRY = SiteRules(registries=("registry.gov.example/health",))


def content(*manifests: Manifest, **more: Any) -> OrderContent:  # noqa: ANN401 - fields
    words: dict[str, Any] = {"namespace": "health", "name": "w", "id": "h/health/w/1"}
    words |= {"generation": 1, "site": "site-a", "manifests": manifests}
    return OrderContent(**(words | more))


def refusals(rules: SiteRules, *manifests: Manifest, **more: Any) -> tuple[str, ...]:  # noqa: ANN401 - fields
    order = content(*manifests, **more)
    return find_site_refusals(order, order.manifests, rules)


def pod(**spec: Any) -> Manifest:  # noqa: ANN401 - fields
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def container(image: str = GOOD_IMAGE, **requests: str) -> Manifest:
    return {"name": "c", "image": image, "resources": {"requests": requests}}


def test_without_rules_everything_is_allowed() -> None:
    assert refusals(EVERYTHING, deployment(), job(), config_map()) == ()


@pytest.mark.parametrize(
    ("patterns", "is_allowed"),
    [
        (("apps/Deployment",), True),
        (("apps/*",), True),
        (("Deployment",), False),
        (("apps/Deploy",), False),
        (("*/Deployment",), True),
    ],
)
def test_kinds_are_matched_with_their_group(patterns: tuple[str, ...], *, is_allowed: bool) -> None:
    assert (refusals(SiteRules(kinds=patterns), deployment()) == ()) is is_allowed


def test_a_kind_of_another_group_is_another_kind() -> None:
    theirs = {**deployment(), "apiVersion": "apps.evil.example/v1"}
    [said] = refusals(SiteRules(kinds=("apps/Deployment",)), theirs)
    assert "apps.evil.example/Deployment" in said
    assert "allow.kinds" in said


def test_namespaces_are_held_wherever_they_are_written() -> None:
    rules = SiteRules(namespaces=("health", "health-*"))
    elsewhere = config_map()
    elsewhere["metadata"] = {"name": "a", "namespace": "kube-system"}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
    assert refusals(rules, config_map()) == ()
    assert "'kube-system'" in refusals(rules, elsewhere, namespaces=("kube-system",))[0]
    assert "'other'" in refusals(rules, made, cluster_kinds=("Namespace",))[0]
    assert "'power'" in refusals(rules, config_map(), namespace="power")[0]


@pytest.mark.parametrize(
    "image",
    [
        "nginx",
        "health/web",
        "docker.io/registry.gov.example/health/web",
        "registry.gov.example/healthy/web",
        "registry.gov.example",
        "registry.gov.example.evil.example/health/web",
        "registry.gov.example:5000/health/web",
        "Registry.gov.example/health/web",
        "evil.example/x@registry.gov.example/health/web",
        "",
        " ",
        "/",
        "@",
    ],
)
def test_an_image_of_another_registry_is_refused(image: str) -> None:
    assert refusals(REGISTRY, pod(containers=[container(image)]))


def test_an_image_is_found_wherever_it_is_written() -> None:
    bad = "evil.example/x"
    good = [container()]
    for spec in (
        {"containers": [container(bad)]},
        {"containers": good, "initContainers": [container(bad)]},
        {"containers": good, "ephemeralContainers": [container(bad)]},
        {"containers": good, "volumes": [{"name": "v", "image": {"reference": bad}}]},
    ):
        assert refusals(REGISTRY, pod(**spec)), spec
    custom = {
        "apiVersion": "x.example/v1",
        "kind": "Runner",
        "metadata": {"name": "r"},
        "spec": {"deep": [{"image": bad}]},
    }
    assert refusals(REGISTRY, custom)
    assert refusals(REGISTRY, pod(containers=good), config_map(image=bad)) == ()


@pytest.mark.parametrize("name", ["registry.gov.example/health", "registry.gov.example/*"])
def test_an_image_of_the_registry_is_allowed(name: str) -> None:
    assert refusals(SiteRules(registries=(name,)), pod(containers=[container()])) == ()


def test_docker_hub_has_its_full_name() -> None:
    rules = SiteRules(registries=("docker.io/library",))
    assert refusals(rules, pod(containers=[container("nginx:1")])) == ()
    assert refusals(rules, pod(containers=[container("someone/nginx")]))


# ---------------------------------------------------------------- ceilings


def ceilings(*texts: str) -> SiteRules:
    return SiteRules(ceilings=parse_ceilings(texts))


def test_an_order_is_held_to_the_most_that_its_pods_may_ask_for() -> None:
    two_pods = deployment(replicas=2)  # of 500m each
    assert refusals(ceilings("cpu=1"), two_pods) == ()
    [said] = refusals(ceilings("cpu=999m"), two_pods)
    assert "asks for 1 of cpu" in said
    assert "0.999" in said


def test_replicas_of_the_hub_and_of_an_autoscaler_count() -> None:
    assert refusals(ceilings("pods=8"), deployment(), autoscaler())  # up to 9
    assert refusals(ceilings("pods=9"), deployment(), autoscaler()) == ()
    assert refusals(ceilings("pods=3"), deployment(), replicas=4, scales="Deployment/web")


def test_containers_and_pods_count_as_the_scheduler_counts_them() -> None:
    spec = {
        "containers": [container(cpu="1"), container(cpu="1")],
        "initContainers": [
            {**container(cpu="1"), "restartPolicy": "Always"},
            container(cpu="4"),
        ],
        "overhead": {"cpu": "500m"},
    }
    assert refusals(ceilings("cpu=5500m"), pod(**spec)) == ()
    assert refusals(ceilings("cpu=5499m"), pod(**spec))
    whole = {"containers": [{"name": "c"}], "resources": {"requests": {"cpu": "3"}}}
    assert refusals(ceilings("cpu=3"), pod(**whole)) == ()
    assert refusals(ceilings("cpu=2"), pod(**whole))


def test_a_limit_stands_for_a_request_and_no_gpu_is_none() -> None:
    gpu = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    assert refusals(ceilings("nvidia.com/gpu=0"), pod(containers=[gpu]))
    assert refusals(ceilings("nvidia.com/gpu=0"), deployment()) == ()


DAEMONS = {**deployment(), "kind": "DaemonSet"}
OPEN_CRON = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "c"},
    "spec": {"jobTemplate": {"spec": job()["spec"]}},
}
UNKNOWN = {
    "apiVersion": "x.example/v1",
    "kind": "Trainer",
    "metadata": {"name": "t"},
    "spec": {"workers": {"template": {"spec": {"containers": [{"name": "c"}]}}}},
}


@pytest.mark.parametrize("manifest", [DAEMONS, OPEN_CRON, UNKNOWN], ids=lambda one: one["kind"])
def test_what_cannot_be_counted_is_refused_under_a_ceiling(manifest: Manifest) -> None:
    assert refusals(EVERYTHING, manifest) == ()
    assert refusals(ceilings("pods=1000000"), manifest)


@pytest.mark.parametrize("amount", ["-5", "many", None, True, [], {}, "1e999", float("inf")])
def test_an_amount_that_is_none_is_refused(amount: object) -> None:
    asked = {"name": "c", "resources": {"requests": {"cpu": amount}}}
    assert refusals(ceilings("cpu=1"), pod(containers=[asked]))


@pytest.mark.parametrize("replicas", [-1, "2", 2.5, None, True, 10**30])
def test_a_number_of_pods_that_is_none_or_endless_is_refused(replicas: object) -> None:
    one = deployment()
    one["spec"]["replicas"] = replicas
    assert refusals(ceilings("pods=5"), one)


@settings(max_examples=examples(60))
def scaling(kind: str, group: str, target: str, **spec: Any) -> Manifest:  # noqa: ANN401 - fields
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    more = {"scaleTargetRef": reference} | spec
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "s"}, "spec": more}


@pytest.mark.parametrize(
    "one",
    [
        autoscaler("of-another-order"),
        scaling("ScaledObject", "keda.sh/v1alpha1", "web", maxReplicaCount=9999),
        scaling("HorizontalPodAutoscaler", "autoscaling.evil.example/v1", "web"),
        {
            "apiVersion": "autoscaling.k8s.io/v1",
            "kind": "VerticalPodAutoscaler",
            "metadata": {"name": "v"},
            "spec": {"targetRef": {"kind": "Deployment", "name": "web"}},
        },
    ],
)
def test_what_scales_something_that_is_not_counted_is_refused(one: Manifest) -> None:
    assert refusals(EVERYTHING, deployment(), one) == ()
    assert any("scales what" in said for said in refusals(ceilings("pods=50"), deployment(), one))


@pytest.mark.parametrize("is_larger_first", [True, False])
def test_of_two_autoscalers_the_larger_counts(*, is_larger_first: bool) -> None:
    small, large = autoscaler(), autoscaler()
    large["spec"] = large["spec"] | {"maxReplicas": 500}
    both = [large, small] if is_larger_first else [small, large]
    assert refusals(ceilings("pods=9"), deployment(), *both)


def test_claims_count_as_storage() -> None:
    claim = {"spec": {"resources": {"requests": {"storage": "10Gi"}}}}
    alone = claim | {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "d"}
    }  # fmt: skip
    ephemeral = pod(
        containers=[container()],
        volumes=[{"name": "v", "ephemeral": {"volumeClaimTemplate": claim}}],
    )
    stateful = deployment() | {"kind": "StatefulSet"}
    stateful["spec"] = stateful["spec"] | {"replicas": 3, "volumeClaimTemplates": [claim]}
    for manifest, asked in ((alone, 10), (ephemeral, 10), (stateful, 30)):
        assert refusals(ceilings(f"storage={asked}Gi"), manifest) == ()
        assert refusals(ceilings(f"storage={asked - 1}Gi"), manifest)
    assert refusals(ceilings("storage=99Gi"), alone | {"spec": {}})


def test_a_container_that_asks_for_no_disk_may_fill_it() -> None:
    assert refusals(ceilings("ephemeral-storage=1Gi"), pod(containers=[container()]))


@pytest.mark.parametrize("name", ["mem", "Memory", "requests.memory", "limits.x.y/z", "gpu"])
def test_a_ceiling_that_would_never_hold_is_refused_at_the_start(name: str) -> None:
    chosen = AgentSettings(site="a", allow=AllowSettings(ceilings=(f"{name}=1",)))
    assert "allow.ceilings[0]" in [one.path for one in find_problems(chosen)]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["spec", "template", "containers", "image", "replicas", "a"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=20,
    ),
    st.sampled_from(["Deployment", "DaemonSet", "Job", "Pod", "CronJob", "X"]),
)
def test_whatever_a_manifest_holds_is_judged_without_a_fault(spec: object, kind: str) -> None:
    rules = SiteRules(registries=("a",), ceilings=parse_ceilings(["cpu=1", "pods=1"]))
    for group in ("v1", "apps/v1", "batch/v1"):
        odd = {"apiVersion": group, "kind": kind, "metadata": {"name": "n"}, "spec": spec}
        assert isinstance(refusals(rules, odd), tuple)


@pytest.mark.parametrize(
    ("group", "path"),
    [
        ({"kinds": ()}, "allow.kinds"),
        ({"namespaces": (" a",)}, "allow.namespaces"),
        ({"registries": ("",)}, "allow.registries"),
        ({"ceilings": ("cpu",)}, "allow.ceilings[0]"),
        ({"ceilings": ("cpu=x",)}, "allow.ceilings[0]"),
        ({"ceilings": ("=1",)}, "allow.ceilings[0]"),
        ({"ceilings": ("cpu=1", "cpu=2")}, "allow.ceilings[1]"),
        ({"ceilings": ("cpu=-1",)}, "allow.ceilings[0]"),
    ],
)
def test_a_rule_that_would_not_hold_is_refused_at_the_start(
    group: dict[str, tuple[str, ...]], path: str
) -> None:
    chosen = AgentSettings(site="a", allow=AllowSettings(**group))
    assert path in [one.path for one in find_problems(chosen)]
    if group.get("ceilings"):
        with pytest.raises(ValueError, match=r"cpu|expected"):
            parse_ceilings(group["ceilings"])
