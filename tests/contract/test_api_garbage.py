"""Objects with something wrong somewhere: never a fault of the server, always a Status."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.conftest import Server
from tests.support.api_client import MERGE, STRATEGIC, Client
from tests.support.widgets import widget_crd

JUNK: tuple[Any, ...] = (
    *(None, 0, -1, 1.5, True, "", "x" * 300, [], {}, [[]], [None], {"": None}, {"a": [1]}),
    *("2026-13-45", [{"name": "a"}, {"name": "a"}], {"$patch": "delete"}, {"$patch": "bogus"}),
)
LABELS = {"app": "x"}
POD = {
    "containers": [
        {
            "name": "c",
            "image": "i",
            "ports": [{"containerPort": 80}],
            "resources": {"requests": {"cpu": "1"}},
            "livenessProbe": {"httpGet": {"port": 80}},
        }
    ],
    "volumes": [{"name": "v", "configMap": {"name": "x"}}],
}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
BATCH_TEMPLATE = {"metadata": {}, "spec": {**POD, "restartPolicy": "Never"}}
CORE: dict[str, dict[str, Any]] = {
    "pods": {"spec": POD},
    "services": {"spec": {"ports": [{"port": 80}], "selector": LABELS}},
    "configmaps": {"data": {"a": "b"}, "binaryData": {}},
    "secrets": {"stringData": {"a": "b"}, "data": {"a": "Yg=="}},
    "events": {"involvedObject": {"name": "x"}, "source": {"component": "c"}, "count": 1},
}
APPS: dict[str, dict[str, Any]] = {
    "deployments": {
        "spec": {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}
    },
    "statefulsets": {"spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}},
}


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - any JSON
    yield path
    if isinstance(value, dict):
        steps: list[tuple[Any, Any]] = list(value.items())
    else:
        steps = list(enumerate(value)) if isinstance(value, list) else []
    for step, below in steps:
        yield from _places(below, (*path, step))


def _spoiled(item: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    spoiled = copy.deepcopy(item)
    *above, last = chance.choice(list(_places(item))[1:])
    target: Any = spoiled
    for step in above:
        target = target[step]
    target[last] = copy.deepcopy(chance.choice(JUNK))
    return spoiled


def _cases(server: Server) -> list[tuple[str, dict[str, Any]]]:
    found = [(server.core(plural), copy.deepcopy(item)) for plural, item in CORE.items()]
    found[-1][1]["involvedObject"]["namespace"] = server.namespace
    found += [(server.apps(plural), item) for plural, item in APPS.items()]
    jobs = server.apps("jobs", group="batch/v1")
    found.append((jobs, {"spec": {"template": BATCH_TEMPLATE}}))
    widget: dict[str, Any] = server.widget(parts=[{"name": "a"}], tags=["a"])
    return [*found, (server.widgets(), {k: v for k, v in widget.items() if k != "metadata"})]


@pytest.mark.parametrize("seed", range(4))
def test_spoiled_objects_are_refused_or_accepted_but_never_a_server_error(
    server: Server, client: Client, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
    for path, item in _cases(server):
        for _ in range(6):
            name = server.name("g")
            spoiled = _spoiled(item, chance)
            made = client.create(path, {**spoiled, "metadata": {"name": name}}, dryRun="All")
            assert made.code < 500, (path, spoiled, made.raw)
            assert made.code < 300 or made.json["kind"] == "Status"


@pytest.mark.parametrize("seed", range(2))
def test_spoiled_patches_are_refused_or_accepted_but_never_a_server_error(
    server: Server, client: Client, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
    for path, item in _cases(server):
        name = server.name("g")
        client.create(path, {**item, "metadata": {"name": name}}).ok()
        for _ in range(6):
            # kube-apiserver 1.36 itself panics on some strategic patches
            strategic = server.embedded and "widgets" not in path and chance.choice([True, False])
            kind = STRATEGIC if strategic else MERGE
            spoiled = _spoiled(item, chance)
            answer = client.patch(f"{path}/{name}", spoiled, kind, dryRun="All")
            assert answer.code < 500, (path, kind, spoiled, answer.raw)


@pytest.mark.parametrize("seed", range(4))
def test_spoiled_definitions_are_refused_or_accepted(
    server: Server, client: Client, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    crd = widget_crd(f"{server.name('g')}.{server.group}")
    for _ in range(20):
        spoiled = {**crd, "spec": _spoiled(crd["spec"], chance)}
        answer = client.create(path, spoiled, dryRun="All")
        assert answer.code < 500, (spoiled, answer.raw)
