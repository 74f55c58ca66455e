"""What GitOps tools and scripts do: wait for Ready, apply again, and ask for differences."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kstatus import kstatus_of
from tests.support.pod_kinds import of_kind, template
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import ROOT, Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

POD = {"template": template(1000)}
WORKLOAD: dict[str, Any] = {
    "apiVersion": "kapok.dev/v1alpha1",
    "kind": "Workload",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "dataClass": "general-2",
        "protectionLevel": 2,
        "networkZones": ["public-network"],
        "replicas": 2,
        "manifests": [
            of_kind("apps/v1", "Deployment", selector={"matchLabels": {"app": "a"}}, **POD)
        ],
    },
}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def changed(name: str = "web", **spec: object) -> str:
    one = {**WORKLOAD, "metadata": {"name": name, "namespace": "default"}}
    return yaml.safe_dump({**one, "spec": {**WORKLOAD["spec"], **spec}})


def wait(up: Up, condition: str, name: str, seconds: int = 60) -> str:
    return up.kubectl("wait", f"--for=condition={condition}", name, f"--timeout={seconds}s")


def test_kubectl_waits_for_workloads_and_sites(up: Up) -> None:
    site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"])
    up.apply(site.manifest)
    assert kstatus_of(eventually(lambda: seen(up, "site", "m1"))) == "InProgress"
    with running_sites(site):
        assert wait(up, "Ready", "site/m1") == "site.kapok.dev/m1 condition met\n"
        waited: list[str] = []
        waiting = threading.Thread(target=lambda: waited.append(wait(up, "Ready", "kw/web")))
        up.apply(changed())
        waiting.start()
        waiting.join()
        assert waited == ["workload.kapok.dev/web condition met\n"]
        assert kstatus_of(up.get("kw", "web")) == "Current"

        # Of a spec that was not seen yet, nothing is said: kubectl compares generations.
        up.apply(changed(replicas=3))
        wait(up, "Ready", "kw/web")
        body = up.get("kw", "web")
        assert body["status"]["readiness"] == "3/3"
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"] == 2
        observed = {one.get("observedGeneration") for one in body["status"]["conditions"]}
        assert observed == {2}

        up.apply(changed("core", dataClass="core", manifests=[], demand={}))
        wait(up, "Stalled", "kw/core")
        assert kstatus_of(up.get("kw", "core")) == "Failed"
        up.apply(changed("large", manifests=[], demand={"requests": {"cpu": "7", "memory": "1Ti"}}))
        wait(up, "Reconciling", "kw/large")
        assert kstatus_of(up.get("kw", "large")) == "InProgress"
        refused = up.kubectl(
            "wait", "--for=condition=Ready", "kw/large", "--timeout=1s", check=False
        )
        assert "timed out waiting for the condition on workloads/large" in refused
    wait(up, "Ready=false", "kw/web")
    assert kstatus_of(eventually(lambda: seen(up, "site", "m1", "Silent"))) == "InProgress"


def seen(up: Up, kind: str, name: str, reason: str = "") -> dict[str, Any] | None:
    """An object whose condition Ready is there, and for this reason."""
    body = up.get(kind, name)
    for one in body.get("status", {}).get("conditions", ()):
        if one["type"] == "Ready" and reason in one["reason"]:
            return body
    return None


def test_every_file_with_our_kinds_applied_twice_shows_no_difference(up: Up) -> None:
    files = [
        path
        for root in ("manifests", "configs")
        for path in sorted((ROOT / root).rglob("*.yaml"))
        if "apiVersion: kapok.dev/" in path.read_text()
    ]
    assert len(files) > 30
    namespaces = {
        each["metadata"]["namespace"]
        for path in files
        for each in yaml.safe_load_all(path.read_text())
        if "namespace" in each["metadata"]
    }
    for name in namespaces:
        up.kubectl("create", "namespace", name, check=False)
    paths = [word for path in files for word in ("-f", str(path))]
    first = up.kubectl("apply", *paths)
    before = versions(up, paths)
    assert len(before) == len(first.splitlines()) > 40
    second = up.kubectl("apply", *paths)
    assert [line for line in second.splitlines() if not line.endswith(" unchanged")] == []
    assert up.kubectl("diff", *paths) == ""
    assert versions(up, paths) == before

    # A tool that applies on the server takes over what kubectl applied, and changes nothing.
    words = ("--server-side", "--field-manager=gitops", "--force-conflicts", *paths)
    up.kubectl("apply", *words)
    owned = versions(up, paths, of="gitops")
    assert owned.keys() == before.keys()
    up.kubectl("apply", *words)
    assert versions(up, paths, of="gitops") == owned
    assert {name: one[0] for name, one in owned.items()} == {
        name: one[0] for name, one in before.items()
    }
    assert up.kubectl("diff", *words) == ""


def versions(up: Up, paths: list[str], of: str = "kubectl") -> dict[str, tuple[int, object]]:
    """The generation of each object, and what the server notes of what a manager wrote."""
    found = json.loads(up.kubectl("get", *paths, "-o", "json", "--show-managed-fields"))
    return {
        f"{one['kind']} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}": (
            one["metadata"].get("generation", 1),
            [
                (each["time"], json.dumps(each["fieldsV1"], sort_keys=True))
                for each in one["metadata"]["managedFields"]
                if each["manager"].startswith(of) and "subresource" not in each
            ],
        )
        for one in found["items"]
    }
