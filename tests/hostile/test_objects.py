"""Tenants' objects with absurd contents, by kubectl, against a running hub.

Each is refused, or gets a status that says why it is not placed; none keeps a site from its other
work, and none is attempted again and again.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.counters import counters
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Json = dict[str, Any]
INCARNATION = "kapok.dev/incarnation"


def deployment(name: str, **metadata: Any) -> Json:  # noqa: ANN401 - any JSON
    container = {"name": "web", "image": "a:1", "resources": {"requests": {"cpu": "1"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **metadata},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container]},
            },
        },
    }


def with_pod(name: str, **pod: Any) -> Json:  # noqa: ANN401 - any JSON
    """A deployment whose pod spec has these fields."""
    made = deployment(name)
    made["spec"]["template"]["spec"] |= pod
    return made


def requesting(name: str, **requests: object) -> Json:
    container = {"name": "web", "image": "a:1", "resources": {"requests": requests}}
    return with_pod(name, containers=[container])


def nested(depth: int) -> Any:  # noqa: ANN401 - any JSON
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def config_map(name: str, **fields: Any) -> Json:  # noqa: ANN401 - any JSON
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **fields}


MANIFESTS: dict[str, Any] = {
    "namespace-list": deployment("a", namespace=[]),
    "namespace-object": deployment("a", namespace={"a": 1}),
    "namespace-number": deployment("a", namespace=7),
    "namespace-long": deployment("a", namespace="n" * 300),
    "name-list": {**deployment("a"), "metadata": {"name": []}},
    "name-long": deployment("n" * 254),
    "name-slash": deployment("../../nodes"),
    "metadata-list": {**deployment("a"), "metadata": []},
    "version-path": {**deployment("a"), "apiVersion": "v1/../../apis"},
    "kind-blank": {**config_map("a"), "kind": "Secret "},
    "kind-number": {**deployment("a"), "kind": 7},
    "spec-list": {**deployment("a"), "spec": []},
    "labels-list": deployment("a", labels=[]),
    "template-text": {**deployment("a"), "spec": {"template": "x"}},
    "replicas-text": {**deployment("a"), "spec": {**deployment("a")["spec"], "replicas": "x"}},
    "replicas-huge": {**deployment("a"), "spec": {**deployment("a")["spec"], "replicas": 10**30}},
    "containers-object": with_pod("a", containers={"a": 1}),
    "containers-null": with_pod("a", containers=[None]),
    "selector-list": with_pod("a", nodeSelector={"a": ["b"]}),
    "tolerations-text": with_pod("a", tolerations=["x"]),
    "affinity-list": with_pod("a", affinity={"nodeAffinity": [1]}),
    "affinity-terms": with_pod(
        "a",
        affinity={
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [7]}
            }
        },
    ),
    "spread-odd": with_pod("a", topologySpreadConstraints=[{"maxSkew": "x", "topologyKey": []}]),
    "overhead-text": with_pod("a", overhead="x"),
    "memory-8ei": requesting("a", memory="8Ei"),
    "memory-1e400": requesting("a", memory="1e400"),
    "cpu-1e99": requesting("a", cpu="1e99"),
    "cpu-number": requesting("a", cpu=1e308),
    "cpu-list": requesting("a", cpu=[]),
    "cpu-negative": requesting("a", cpu="-1"),
    "deep-70": config_map("a", data=nested(70)),
    "deep-300": config_map("a", data=nested(300)),
    "integer-70-bits": config_map("a", data={"a": 2**70}),
    "key-long": config_map("a", data={"k" * 2000: "v"}),
}
SPECS: dict[str, Json] = {
    "first-year": {"schedule": {"earliest": "0001-01-01T00:00:00+14:00"}},
    "last-year": {"schedule": {"deadline": "9999-12-31T23:59:59-14:00"}},
    "first-deadline": {"schedule": {"deadline": "0001-01-01T00:00:00Z"}},
    "demand-huge": {
        "manifests": [],
        "demand": {"replicas": 1, "requests": {"memory": "9999999Ei"}},
    },
    "demand-odd": {"manifests": [], "demand": {"replicas": 1, "requests": {"cpu": "1e99"}}},
}
ANNOTATIONS: dict[str, str] = {
    "incarnation-long": "x" * 200_000,
    "incarnation-slash": "a/b/c/d",
    "incarnation-empty": "",
    "incarnation-odd": "\u202e+#\n",
}


def workload(name: str, *manifests: Any, **fields: Any) -> Json:  # noqa: ANN401 - any JSON
    spec: Json = {
        "dataClass": "general-2",
        "protectionLevel": 2,
        "networkZones": ["public-network"],
        "replicas": 1,
        "manifests": list(manifests),
    }
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec | fields,
    }


def absurd() -> list[Json]:
    """All of them, each under a name of its own."""
    found = [workload(name, one) for name, one in MANIFESTS.items()]
    found += [workload(n, deployment(n), **spec) for n, spec in SPECS.items()]
    for name, value in ANNOTATIONS.items():
        one = workload(name, deployment(name))
        one["metadata"]["annotations"] = {INCARNATION: value}
        found.append(one)
    large = workload("annotations-250kb", deployment("large"))
    large["metadata"]["annotations"] = {"a": "x" * 250_000}
    longest = workload("n" * 253, deployment("longest"))
    return [*found, large, longest]


def phase(up: Up, name: str) -> str:
    return str(up.get("workloads.kapok.dev", name).get("status", {}).get("phase", ""))


def phases(up: Up) -> dict[str, str]:
    text = up.kubectl("get", "workloads.kapok.dev", "-o", "json")
    return {
        one["metadata"]["name"]: one.get("status", {}).get("phase", "")
        for one in json.loads(text)["items"]
    }


def test_every_absurd_object_gets_a_status_or_is_refused_and_no_site_freezes(
    tmp_path: Path,
) -> None:
    with running_up(tmp_path) as up:
        site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"], nodes=100)
        pid = up.pid
        up.apply(site.manifest)
        with running_sites(site):
            items = {"apiVersion": "v1", "kind": "List", "items": absurd()}
            refused = up.kubectl("create", "-f", "-", text=json.dumps(items), check=False)
            assert "panic" not in refused
            up.apply(json.dumps(workload("honest", deployment("honest"))))
            eventually(lambda: phase(up, "honest") == "Running", within_seconds=60)
            eventually(lambda: all(phases(up).values()), within_seconds=60)
            known = phases(up)
            sound = known.keys() & {*ANNOTATIONS, "annotations-250kb", "n" * 253}
            assert len(sound) >= len(ANNOTATIONS)
            eventually(lambda: {phases(up)[name] for name in sound} == {"Running"})
            assert counters(up, "kapok_faults_total") == {}
            attempts = _attempts_that_failed(up)
            up.kill()
            up.start()
            site.broker = up.ready["broker"]
            up.apply(json.dumps(workload("later", deployment("later"))))
            eventually(lambda: phase(up, "later") == "Running", within_seconds=60)
            assert phases(up).keys() >= known.keys()
            assert counters(up, "kapok_faults_total") == {}
            assert _attempts_that_failed(up) <= attempts + 3
        assert up.pid != pid


def _attempts_that_failed(up: Up) -> float:
    return counters(up, "kapok_schedule_attempts_total").get('result="error"', 0.0)
