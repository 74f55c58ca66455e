import pytest

from scheduler.model.decode import NotReadable
from scheduler.model.pods import PodShape, pod_requests, shape_of_template
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
