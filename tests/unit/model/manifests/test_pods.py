import pytest

from scheduler.model.decode import NotReadable
from scheduler.model.manifests.manifests import read_manifests
from scheduler.model.manifests.pods import (
    NodeRequirement,
    PodShape,
    host_ports_conflict,
    pod_requests,
    shape_of_template,
)
from scheduler.model.quantities import NotAQuantity
from tests.support.sites import Raw


def container(cpu: str = "1", **rest: object) -> Raw:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **rest}


@pytest.mark.parametrize(
    ("spec", "millicores"),
    [
        ({"containers": [container(), container("500m")]}, 1500),
        ({"containers": [container()], "initContainers": [container("3")]}, 3000),
        (
            {
                "containers": [container()],
                "initContainers": [container("1", restartPolicy="Always"), container("3")],
            },
            4000,
        ),
        (
            {
                "containers": [container()],
                "initContainers": [container("3"), container("1", restartPolicy="Always")],
            },
            3000,
        ),
        ({"containers": [container()], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [container()], "resources": {"requests": {"cpu": "5"}}}, 5000),
        ({"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}, 2000),
        ({"containers": [{"name": "c"}]}, None),
    ],
)
def test_a_pod_asks_the_larger_of_starting_and_running(spec: Raw, millicores: int | None) -> None:
    assert pod_requests(spec).get("cpu") == millicores


def shape(**spec: object) -> PodShape:
    labels = {"app": "a"}
    return shape_of_template(
        {"metadata": {"labels": labels}, "spec": {"containers": [container()], **spec}}
    )


def anti_affinity(key: str, labels: dict[str, str]) -> Raw:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def test_hostname_anti_affinity_towards_itself_means_one_per_node() -> None:
    assert shape(affinity=anti_affinity("kubernetes.io/hostname", {"app": "a"})).one_per_node


def test_anti_affinity_towards_others_is_named_as_not_modelled() -> None:
    found = shape(affinity=anti_affinity("kubernetes.io/hostname", {"app": "other"}))
    assert not found.one_per_node
    assert found.not_modelled == ("podAntiAffinity towards other pods",)


@pytest.mark.parametrize(
    ("more", "is_towards_itself"),
    [
        ({"namespaces": ["other"]}, False),
        ({"namespaces": ["other", "city"]}, True),
        ({"namespaces": []}, True),
        ({"namespaceSelector": {}}, True),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "city"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "a"}}}, True),
        ({"mismatchLabelKeys": ["app"]}, False),
        ({"mismatchLabelKeys": ["absent"]}, True),
        ({"matchLabelKeys": ["pod-template-hash"]}, True),
    ],
)
def test_anti_affinity_towards_other_pods_is_not_taken_for_one_towards_itself(
    *, more: Raw, is_towards_itself: bool
) -> None:
    affinity = anti_affinity("kubernetes.io/hostname", {"app": "a"})
    affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0] |= more
    template = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [container()], "affinity": affinity},
    }
    found = shape_of_template(template, namespace="city")
    assert found.one_per_node is is_towards_itself
    assert bool(found.not_modelled) is not is_towards_itself


def test_a_host_port_means_one_per_node() -> None:
    assert shape(containers=[container(ports=[{"hostPort": 80}])]).one_per_node


def test_only_spread_constraints_that_must_hold_count() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "labelSelector": {"matchLabels": {"app": "a"}},
    }
    soft = {**constraint, "whenUnsatisfiable": "ScheduleAnyway"}
    assert len(shape(topologySpreadConstraints=[constraint, soft]).skews) == 1


@pytest.mark.parametrize("field", ["maxSkew", "minDomains"])
@pytest.mark.parametrize("value", ["x", "", [None], {}, True, 0, 1.5, 10**30])
def test_a_spread_number_of_an_odd_type_is_refused_by_name(field: str, value: object) -> None:
    constraint = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a"}}}
    with pytest.raises(NotReadable, match=field):
        shape(topologySpreadConstraints=[{**constraint, field: value}])


def test_two_spread_constraints_over_one_key_are_refused_as_the_api_server_does() -> None:
    constraint = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a"}}}
    with pytest.raises(NotReadable, match="'zone' is listed twice"):
        shape(topologySpreadConstraints=[constraint, {**constraint, "maxSkew": 2}])


@pytest.mark.parametrize("value", [[], {}, None, True])
def test_a_request_of_an_odd_type_is_refused_by_name(value: object) -> None:
    spec = {"containers": [{"name": "c", "resources": {"requests": {"cpu": value}}}]}
    with pytest.raises(NotAQuantity, match="cpu"):
        shape_of_template({"spec": spec})


def test_shared_cards_are_taken_out_of_the_requests() -> None:
    spec = {"containers": [{"name": "c", "resources": {"limits": {"kapok.dev/gpu-milli": 300}}}]}
    found = shape_of_template({"spec": spec})
    assert (found.gpu_cards, found.gpu_milli) == (1, 300)
    assert found.requests == {"pods": 1}


def test_more_than_a_card_as_a_share_is_refused() -> None:
    spec = {"containers": [{"name": "c", "resources": {"limits": {"kapok.dev/gpu-milli": 1300}}}]}
    with pytest.raises(NotAQuantity, match="more than one card"):
        shape_of_template({"spec": spec})


def test_a_request_of_zero_is_a_request_and_not_the_limit() -> None:
    resources = {"requests": {"cpu": "0"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    asked = pod_requests({"containers": [{"name": "c", "resources": resources}]})
    assert asked == {"memory": 2**30}


def test_limits_of_a_pod_count_only_where_no_container_asks() -> None:
    pod = {"containers": [container("2")], "resources": {"limits": {"cpu": "5", "memory": "1Gi"}}}
    assert pod_requests(pod) == {"cpu": 2000, "memory": 2**30}


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        ({"containers": [container(ports=[{"containerPort": 80}])]}, ()),
        ({"containers": [container(ports=[{"hostPort": 80}])]}, ("TCP/0.0.0.0/80",)),
        (
            {"containers": [container(ports=[{"containerPort": 80}])], "hostNetwork": True},
            ("TCP/0.0.0.0/80",),
        ),
        (
            {
                "containers": [
                    container(ports=[{"hostPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1"}])
                ]
            },
            ("UDP/10.0.0.1/53",),
        ),
        (
            {
                "containers": [container()],
                "initContainers": [container(ports=[{"hostPort": 80}])],
            },
            (),
        ),
        (
            {
                "containers": [container()],
                "initContainers": [container(ports=[{"hostPort": 80}], restartPolicy="Always")],
            },
            ("TCP/0.0.0.0/80",),
        ),
    ],
)
def test_host_ports_are_read_with_protocol_and_address(spec: Raw, ports: tuple[str, ...]) -> None:
    found = shape(**spec)
    assert found.host_ports == ports
    assert found.one_per_node == bool(ports)


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("TCP/0.0.0.0/80", "TCP/0.0.0.0/80", True),
        ("TCP/0.0.0.0/80", "TCP/10.0.0.1/80", True),
        ("TCP/10.0.0.2/80", "TCP/10.0.0.1/80", False),
        ("TCP/0.0.0.0/80", "UDP/0.0.0.0/80", False),
        ("TCP/0.0.0.0/80", "TCP/0.0.0.0/81", False),
    ],
)
def test_host_ports_collide_by_protocol_number_and_address(
    one: str, other: str, *, collide: bool
) -> None:
    assert host_ports_conflict([one], [other]) == collide
    assert host_ports_conflict([other], [one]) == collide


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({}, ()),
        ({"volumes": [{"persistentVolumeClaim": {}}]}, ("where volumes can be bound",)),
        ({"volumes": [{"emptyDir": {}}]}, ()),
        ({"priorityClassName": "high"}, ("preemption of other pods (priorityClassName)",)),
        (
            {"runtimeClassName": "kata"},
            ("overhead and nodes of a runtime class (runtimeClassName)",),
        ),
        ({"nodeName": "n1"}, ("the named node (nodeName)",)),
        ({"schedulerName": "default-scheduler"}, ()),
        (
            {"schedulerName": "volcano"},
            ("another scheduler than Kubernetes' own (schedulerName)",),
        ),
    ],
)
def test_further_criteria_of_the_kubernetes_scheduler_are_named(
    spec: Raw, named: tuple[str, ...]
) -> None:
    assert shape(**spec).not_modelled == named


def test_claims_of_a_stateful_set_are_named() -> None:
    stateful = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {
            "template": {"spec": {"containers": [container()]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        },
    }
    unit = read_manifests([stateful]).unit
    assert unit[0].shape.not_modelled == ("where volumes can be bound",)


def test_a_null_selector_counts_no_pod_and_an_empty_one_all() -> None:
    rule: Raw = {"maxSkew": 1, "topologyKey": "zone"}
    null = shape(topologySpreadConstraints=[rule])
    assert null.skews == ()
    assert null.node_affinity == ((NodeRequirement(key="zone", operator="Exists"),),)
    assert len(shape(topologySpreadConstraints=[{**rule, "labelSelector": {}}]).skews) == 1
    term = {"topologyKey": "kubernetes.io/hostname"}
    assert not shape(
        affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    ).one_per_node
