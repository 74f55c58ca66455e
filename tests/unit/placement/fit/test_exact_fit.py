"""Random Deployments on random sites: as many replicas as a search that puts pod after pod down.

The search reads the raw objects, as the Kubernetes scheduler would, and shares no code with the
engine. One Deployment's pods are equal, so putting each on the first node that takes it is best.
"""

from random import Random

import pytest

from scheduler.model.demand.demand import Demand
from scheduler.model.manifests.manifests import Pods
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.choose import choose
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.fleet import Fleet
from tests.support.sites import NOW, Raw, demand, fleet_of, site, workload

MOST = 40
RESOURCES = ("cpu", "memory", "ephemeral-storage", "hugepages-2Mi", "nvidia.com/gpu", "a.b/c")


def some_node(random: Random, number: int) -> Raw:
    labels = {"kubernetes.io/hostname": f"n{number}", "zone": random.choice("abc")}
    if random.random() < 0.5:
        labels["rank"] = str(random.randrange(4))
    taints = [
        {"key": random.choice("xy"), "value": random.choice(["", "v"]), "effect": effect}
        for effect in ("NoSchedule", "PreferNoSchedule", "NoExecute")
        if random.random() < 0.15
    ]
    free: Raw = {"count": 1, "cpu": f"{random.randrange(1000, 9000)}m"}
    free["memory"] = random.randrange(1000, 9000)
    free |= {name: random.randrange(1, 12) for name in RESOURCES[2:] if random.random() < 0.9}
    if random.random() < 0.8:
        free["pods"] = random.randrange(12)
    return {
        "architecture": random.choice(["amd64", "amd64", "amd64", "arm64"]),
        "labels": labels,
        "taints": taints,
        "free": [free],
    }


def some_container(random: Random, *, init: bool = False) -> Raw:
    requests: Raw = {"cpu": f"{random.randrange(1, 900)}m", "memory": random.randrange(1, 900)}
    requests |= {name: random.randrange(3) for name in RESOURCES[2:] if random.random() < 0.2}
    made: Raw = {"resources": {"requests": requests}}
    if random.random() < 0.2:
        limits = {"cpu": f"{random.randrange(900, 1500)}m", "a.b/c": requests.get("a.b/c", 1)}
        made["resources"]["limits"] = limits
    if init and random.random() < 0.5:
        made["restartPolicy"] = "Always"
    if not init and random.random() < 0.05:
        made["ports"] = [{"containerPort": 80, "hostPort": 80}]
    return made


def some_term(random: Random) -> Raw:
    operator = random.choice(["In", "In", "NotIn", "Gt", "Lt", "Exists", "DoesNotExist"])
    key = "zone" if operator == "In" and random.random() < 0.5 else "rank"
    count = {"Gt": 1, "Lt": 1, "Exists": 0, "DoesNotExist": 0}.get(operator, 2)
    values = [
        random.choice("abc") if key == "zone" else str(random.randrange(4)) for _ in range(count)
    ]
    term: Raw = {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}
    if random.random() < 0.3:
        names = [f"n{random.randrange(4)}" for _ in range(2)]
        field = {
            "key": "metadata.name",
            "operator": random.choice(["In", "NotIn"]),
            "values": names,
        }
        term["matchFields"] = [field]
    return term


def some_pod(random: Random) -> Raw:
    spec: Raw = {"containers": [some_container(random) for _ in range(random.randrange(1, 3))]}
    spec["initContainers"] = [
        some_container(random, init=True) for _ in range(random.choice((0, 0, 1, 2)))
    ]
    for number, each in enumerate([*spec["containers"], *spec["initContainers"]]):
        each["name"] = f"c{number}"
    if random.random() < 0.2:
        spec["overhead"] = {"cpu": "100m", "memory": 50}
    if random.random() < 0.2:
        spec["nodeSelector"] = {"zone": random.choice("abc")}
    spec["tolerations"] = [
        random.choice(
            [
                {"key": "x", "operator": "Exists"},
                {"key": "x", "value": "v", "effect": "NoSchedule"},
                {"key": "y", "value": "v"},
                {"operator": "Exists", "effect": "NoExecute"},
            ]
        )
        for _ in range(random.randrange(3))
    ]
    affinity: Raw = {}
    if random.random() < 0.3:
        terms = [some_term(random) for _ in range(random.randrange(1, 3))]
        affinity["nodeAffinity"] = {REQUIRED: {"nodeSelectorTerms": terms}}
    if random.random() < 0.15:
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
        affinity["podAntiAffinity"] = {REQUIRED: [term]}
    return {**spec, "affinity": affinity}


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def amount(name: str, written: object) -> int:
    """Millicores for cpu."""
    text = str(written)
    if name == "cpu":
        return int(text[:-1]) if text.endswith("m") else int(text) * 1000
    return int(text)


def asked_by(pod: Raw) -> dict[str, int]:
    """KEP-753: at every moment of the start, what runs then; the most of these."""
    moments: list[dict[str, int]] = []
    sidecars: dict[str, int] = {}
    for each in pod["initContainers"]:
        there = plus(sidecars, of_container(each))
        moments.append(there)
        if each.get("restartPolicy") == "Always":
            sidecars = there
    running = sidecars
    for each in pod["containers"]:
        running = plus(running, of_container(each))
    moments.append(running)
    most = {name: max(one.get(name, 0) for one in moments) for name in RESOURCES}
    over = {name: amount(name, each) for name, each in pod.get("overhead", {}).items()}
    return {**plus(most, over), "pods": 1}


def of_container(container: Raw) -> dict[str, int]:
    resources = container["resources"]
    named = {**resources.get("limits", {}), **resources["requests"]}
    return {name: amount(name, each) for name, each in named.items()}


def plus(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}


def may_run_on(node: Raw, pod: Raw) -> bool:
    labels = node["labels"]
    if node["architecture"] != "amd64":
        return False
    if any(labels.get(key) != value for key, value in pod.get("nodeSelector", {}).items()):
        return False
    required = pod["affinity"].get("nodeAffinity", {}).get(REQUIRED, {})
    terms = required.get("nodeSelectorTerms")
    if terms and not any(chosen(term, labels) for term in terms):
        return False
    return all(
        taint["effect"] == "PreferNoSchedule"
        or any(tolerated(each, taint) for each in pod["tolerations"])
        for taint in node["taints"]
    )


def chosen(term: Raw, labels: Raw) -> bool:
    names = {"metadata.name": labels["kubernetes.io/hostname"]}
    return all(meets(each, labels) for each in term["matchExpressions"]) and all(
        meets(each, names) for each in term.get("matchFields", [])
    )


def meets(condition: Raw, labels: Raw) -> bool:
    value, values = labels.get(condition["key"]), condition["values"]
    return {
        "In": lambda: value in values,
        "NotIn": lambda: value not in values,
        "Exists": lambda: value is not None,
        "DoesNotExist": lambda: value is None,
        "Gt": lambda: value is not None and int(value) > int(values[0]),
        "Lt": lambda: value is not None and int(value) < int(values[0]),
    }[condition["operator"]]()


def tolerated(toleration: Raw, taint: Raw) -> bool:
    if toleration.get("effect", taint["effect"]) != taint["effect"]:
        return False
    if toleration.get("key", taint["key"]) != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint["value"]


def most_of(nodes: list[Raw], pod: Raw) -> int:
    asked = asked_by(pod)
    alone = "podAntiAffinity" in pod["affinity"] or any("ports" in c for c in pod["containers"])
    total = 0
    for node in nodes:
        row = {"pods": 110, **node["free"][0]}
        left = {name: amount(name, row.get(name, 0)) for name in asked}
        here = 0
        while may_run_on(node, pod) and all(left[name] >= asked[name] for name in asked):
            left = {name: left[name] - asked[name] for name in asked}
            here += 1
            if alone:
                break
        total += here
    return min(total, MOST)


@pytest.mark.parametrize("seed", range(250))
def test_a_deployment_gets_exactly_the_replicas_that_a_search_finds(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - cases that repeat
    nodes = [some_node(random, number) for number in range(random.randrange(1, 7))]
    pod = some_pod(random)
    fleet = fleet_of(site("m1", *nodes))
    right = most_of(nodes, pod)
    for replicas in {right, right + 1} - {0, MOST + 1}:
        asked = workload()
        del asked["spec"]["demand"]
        template = {"metadata": {"labels": {"app": "a"}}, "spec": pod}
        asked["spec"]["manifests"] = [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web"},
                "spec": {"replicas": replicas, "template": template},
            }
        ]
        phase = choose(demand(asked), fleet, now=NOW).phase
        assert (phase == "Placed") == (replicas <= right), (replicas, right)


@pytest.mark.parametrize("may_compile", [True, False])
def test_resources_that_no_site_has_named_are_refused_without_an_error(
    *, may_compile: bool
) -> None:
    many = {f"example.org/device-{number}": 1 for number in range(40)}
    sites = fleet_of(site("one")).all_facts()
    wanted = Demand(key="a/b", unit=(Pods(shape=PodShape(requests=many), count=1),))
    assert SiteCapacity(Fleet(sites, may_compile=may_compile), wanted).replicas_at_slot(0) == 0
