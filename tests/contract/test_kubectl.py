"""Commands of the real kubectl, as users type them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
import yaml

from tests.contract.conftest import KUBECTL, Ran, Server

Kubectl = Callable[..., Ran]


def _yaml(item: object) -> str:
    return yaml.safe_dump(item)


def _deployment(name: str, replicas: int = 2, image: str = "nginx:1") -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "web", "image": image, "ports": [{"containerPort": 80}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def test_apply_creates_then_leaves_alone_then_configures(server: Server, kubectl: Kubectl) -> None:
    item = server.widget()
    name = item["metadata"]["name"]  # type: ignore[index]
    first = kubectl("apply", "-f", "-", stdin=_yaml(item))
    assert first.out == f"widget.{server.group}/{name} created\n"
    assert kubectl("apply", "-f", "-", stdin=_yaml(item)).out.endswith("unchanged\n")
    changed = {**item, "spec": {"size": "large"}}
    assert kubectl("apply", "-f", "-", stdin=_yaml(changed)).out.endswith("configured\n")


def test_apply_of_core_kinds_merges_strategically(server: Server, kubectl: Kubectl) -> None:
    name = server.name("web")
    kubectl("apply", "-f", "-", stdin=_yaml(_deployment(name)))
    assert kubectl("apply", "-f", "-", stdin=_yaml(_deployment(name))).out.endswith("unchanged\n")
    item = _deployment(name, image="nginx:2")
    assert kubectl("apply", "-f", "-", stdin=_yaml(item)).out.endswith("configured\n")
    image = kubectl(
        "get", "deploy", name, "-o", "jsonpath={.spec.template.spec.containers[0].image}"
    )
    assert image.out == "nginx:2"


def test_a_list_is_applied_object_by_object(server: Server, kubectl: Kubectl) -> None:
    names = [server.name("one"), server.name("two")]
    items = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in names
    ]
    made = kubectl(
        "apply", "-f", "-", stdin=_yaml({"apiVersion": "v1", "kind": "List", "items": items})
    )
    assert made.out == "".join(f"configmap/{name} created\n" for name in names)


def test_server_side_apply_reports_conflicts(server: Server, kubectl: Kubectl) -> None:
    item = server.widget()
    name = item["metadata"]["name"]  # type: ignore[index]
    words = ("apply", "--server-side", "-f", "-")
    assert kubectl(*words, stdin=_yaml(item)).out.endswith("serverside-applied\n")
    other = {**item, "spec": {"size": "large"}}
    refused = kubectl(*words, "--field-manager=other", stdin=_yaml(other), check=False)
    assert refused.code != 0
    assert 'conflict with "kubectl": .spec.size' in refused.err
    forced = kubectl(*words, "--field-manager=other", "--force-conflicts", stdin=_yaml(other))
    assert "serverside-applied" in forced.out
    owners = kubectl("get", "widget." + server.group, name, "-o", "yaml", "--show-managed-fields")
    assert "manager: other" in owners.out


def test_a_deployment_can_be_applied_server_side_again(server: Server, kubectl: Kubectl) -> None:
    name = server.name("web")
    words = ("apply", "--server-side", "-f", "-")
    kubectl(*words, stdin=_yaml(_deployment(name)))
    kubectl(*words, stdin=_yaml(_deployment(name, image="nginx:2")))
    switched = kubectl("apply", "-f", "-", stdin=_yaml(_deployment(name, image="nginx:3")))
    assert "configured" in switched.out


def test_apply_moves_from_client_to_server_side(server: Server, kubectl: Kubectl) -> None:
    item = server.widget()
    kubectl("apply", "-f", "-", stdin=_yaml(item))
    changed = {**item, "spec": {"size": "medium"}}
    kubectl("apply", "--server-side", "-f", "-", stdin=_yaml(changed))


def test_apply_dry_run_on_the_server_writes_nothing(server: Server, kubectl: Kubectl) -> None:
    item = server.widget()
    name = item["metadata"]["name"]  # type: ignore[index]
    out = kubectl("apply", "--dry-run=server", "-f", "-", stdin=_yaml(item)).out
    assert out.endswith("created (server dry run)\n")
    missing = kubectl("get", f"widget.{server.group}", name, check=False)
    assert "NotFound" in missing.err


def test_apply_names_unknown_fields(server: Server, kubectl: Kubectl) -> None:
    item = server.widget(bogus=1)
    refused = kubectl("apply", "-f", "-", stdin=_yaml(item), check=False)
    assert refused.code != 0
    assert 'unknown field "spec.bogus"' in refused.err
    warned = kubectl("apply", "--validate=warn", "-f", "-", stdin=_yaml(item))
    assert 'Warning: unknown field "spec.bogus"' in warned.err


def test_diff_shows_the_change(server: Server, kubectl: Kubectl) -> None:
    item = server.widget()
    kubectl("apply", "-f", "-", stdin=_yaml(item))
    same = kubectl("diff", "-f", "-", stdin=_yaml(item), check=False)
    assert (same.code, same.out) == (0, ""), same.err
    changed = {**item, "spec": {"size": "large"}}
    differs = kubectl("diff", "-f", "-", stdin=_yaml(changed), check=False)
    assert differs.code == 1
    assert "+  size: large" in differs.out


def test_create_builds_core_objects_from_arguments(server: Server, kubectl: Kubectl) -> None:
    name = server.name("k")
    kubectl("create", "configmap", name, "--from-literal=a=b")
    kubectl("create", "secret", "generic", name, "--from-literal=p=q")
    kubectl("create", "serviceaccount", name)
    kubectl("create", "deployment", name, "--image=nginx", "--replicas=3", "--port=80")
    kubectl("create", "service", "clusterip", name, "--tcp=80:8080")
    kubectl("create", "job", name, "--image=busybox", "--", "sleep", "1")
    kubectl("create", "cronjob", name, "--image=busybox", "--schedule=*/5 * * * *")
    found = json.loads(kubectl("get", "deploy", name, "-o", "json").out)
    assert found["spec"]["replicas"] == 3
    assert found["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] == 80
    job = json.loads(kubectl("get", "job", name, "-o", "json").out)
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["sleep", "1"]
    again = kubectl("create", "configmap", name, check=False)
    assert f'configmaps "{name}" already exists' in again.err


def test_get_has_every_output_format(server: Server, kubectl: Kubectl) -> None:
    name = server.name("cm")
    kubectl("create", "configmap", name, "--from-literal=a=b")
    assert kubectl("get", "cm", name).out.split()[:3] == ["NAME", "DATA", "AGE"]
    assert kubectl("get", "cm", name, "-o", "wide").out.count(name) == 1
    assert kubectl("get", "cm", name, "-o", "name").out == f"configmap/{name}\n"
    assert yaml.safe_load(kubectl("get", "cm", name, "-o", "yaml").out)["data"] == {"a": "b"}
    assert json.loads(kubectl("get", "cm", name, "-o", "json").out)["data"] == {"a": "b"}
    assert kubectl("get", "cm", name, "-o", "jsonpath={.data.a}").out == "b"
    columns = kubectl("get", "cm", name, "-o", "custom-columns=N:.metadata.name,A:.data.a").out
    assert columns.split() == ["N", "A", name, "b"]
    assert kubectl("get", "cm", name, "-o", "go-template={{.data.a}}").out == "b"


def test_get_sorts_pages_and_selects(server: Server, kubectl: Kubectl) -> None:
    mark = server.name("m")
    for letter in "cab":
        name = f"{letter}-{mark}"
        kubectl("create", "configmap", name)
        kubectl("label", "configmap", name, f"mark={mark}", f"letter={letter}")
    words = ("get", "cm", "-l", f"mark={mark}", "-o", "name")
    assert len(kubectl(*words, "--chunk-size=1").out.split()) == 3
    by_label = kubectl(*words, "--sort-by=.metadata.labels.letter").out.split()
    assert [line.split("/")[1][0] for line in by_label] == ["a", "b", "c"]
    one = kubectl("get", "cm", "--field-selector", f"metadata.name=a-{mark}", "-o", "name")
    assert one.out == f"configmap/a-{mark}\n"
    kubectl("delete", "cm", "-l", f"mark={mark}")
    assert kubectl(*words).out == ""


def test_widgets_show_their_columns(server: Server, kubectl: Kubectl) -> None:
    item = server.widget(weight=2.5)
    name = item["metadata"]["name"]  # type: ignore[index]
    kubectl("create", "-f", "-", stdin=_yaml(item))
    kind = f"widgets.{server.group}"
    narrow = kubectl("get", kind, name).out.splitlines()
    assert narrow[0].split() == ["NAME", "SIZE", "READY", "AGE"]
    assert narrow[1].split()[:2] == [name, "small"]
    assert "WEIGHT" in kubectl("get", kind, name, "-o", "wide").out


def test_get_watch_prints_changes(server: Server, kubectl: Kubectl) -> None:
    name = server.name("w")
    kubectl("create", "configmap", name)
    command = [str(KUBECTL), "-n", server.namespace, "get", "cm", name, "-w", "-o", "name"]
    environment = {"KUBECONFIG": str(server.kubeconfig), "HOME": "/nonexistent"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == f"configmap/{name}"
            kubectl("label", "configmap", name, "a=b")
            assert process.stdout.readline().strip() == f"configmap/{name}"
        finally:
            process.terminate()


def test_label_annotate_patch_replace_and_edit_change_an_object(
    server: Server, kubectl: Kubectl
) -> None:
    item = server.widget()
    name = item["metadata"]["name"]  # type: ignore[index]
    kind = f"widgets.{server.group}"
    kubectl("create", "-f", "-", stdin=_yaml(item))
    kubectl("label", kind, name, "tier=gold")
    clash = kubectl("label", kind, name, "tier=iron", check=False)
    assert "already has a value" in clash.err
    kubectl("label", kind, name, "tier=iron", "--overwrite")
    kubectl("annotate", kind, name, "note=x")
    kubectl("patch", kind, name, "--type=merge", "-p", '{"spec": {"size": "medium"}}')
    kubectl(
        "patch", kind, name, "--type=json", "-p",
        '[{"op": "replace", "path": "/spec/size", "value": "large"}]',
    )  # fmt: skip
    refused = kubectl("patch", kind, name, "--type=strategic", "-p", "{}", check=False)
    assert "application/strategic-merge-patch+json is not supported" in refused.err
    kubectl(
        "patch", kind, name, "--type=merge", "--subresource=status", "-p",
        '{"status": {"phase": "Busy"}}',
    )  # fmt: skip
    kubectl("edit", kind, name, env={"KUBE_EDITOR": "sed -i s/large/medium/"})
    found = json.loads(kubectl("get", kind, name, "-o", "json").out)
    assert found["metadata"]["labels"] == {"tier": "iron"}
    assert (found["spec"]["size"], found["status"]["phase"]) == ("medium", "Busy")
    found["spec"]["size"] = "small"
    kubectl("replace", "-f", "-", stdin=json.dumps(found))
    stale = kubectl("replace", "-f", "-", stdin=json.dumps(found), check=False)
    assert "the object has been modified" in stale.err


def test_scale_changes_replicas_only_if_its_precondition_holds(
    server: Server, kubectl: Kubectl
) -> None:
    item = server.widget(size="large")
    name = item["metadata"]["name"]  # type: ignore[index]
    kind = f"widgets.{server.group}"
    kubectl("create", "-f", "-", stdin=_yaml(item))
    assert kubectl("scale", kind, name, "--replicas=7").out.endswith("scaled\n")
    assert kubectl("get", kind, name, "-o", "jsonpath={.spec.replicas}").out == "7"
    refused = kubectl("scale", kind, name, "--current-replicas=1", "--replicas=3", check=False)
    assert "Expected replicas to be 1, was 7" in refused.err
    web = server.name("web")
    kubectl("create", "deployment", web, "--image=nginx")
    kubectl("scale", "deployment", web, "--replicas=4")
    assert kubectl("get", "deploy", web, "-o", "jsonpath={.spec.replicas}").out == "4"


def test_wait_returns_on_condition_jsonpath_and_deletion(server: Server, kubectl: Kubectl) -> None:
    item = server.widget()
    name = item["metadata"]["name"]  # type: ignore[index]
    kind = f"widget.{server.group}/{name}"
    kubectl("create", "-f", "-", stdin=_yaml(item))
    late = kubectl("wait", kind, "--for=condition=Ready", "--timeout=1s", check=False)
    assert "timed out waiting for the condition" in late.err
    path = server.widgets(name)
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    server.client.patch(f"{path}/status", status).ok()
    kubectl("wait", kind, "--for=condition=Ready", "--timeout=60s")
    kubectl("wait", kind, "--for=jsonpath={.spec.size}=small", "--timeout=60s")
    kubectl("delete", kind, "--wait=false")
    kubectl("wait", kind, "--for=delete", "--timeout=60s")


def test_delete_waits_and_ignores(server: Server, kubectl: Kubectl) -> None:
    item = server.widget()
    name = item["metadata"]["name"]  # type: ignore[index]
    kubectl("create", "-f", "-", stdin=_yaml(item))
    kind = f"widget.{server.group}"
    assert f'"{name}" deleted' in kubectl("delete", kind, name).out
    assert "NotFound" in kubectl("delete", kind, name, check=False).err
    kubectl("delete", kind, name, "--ignore-not-found")
    kubectl("create", "job", name, "--image=busybox")
    kubectl("delete", "jobs", "--all")
    assert kubectl("get", "jobs", "-o", "name").out == ""


def test_explain_shows_the_documented_fields(server: Server, kubectl: Kubectl) -> None:
    kind = f"widgets.{server.group}"
    spec = kubectl("explain", f"{kind}.spec").out
    assert "What the widget shall be." in spec
    assert "replicas\t<integer>" in spec
    assert "-required-" in spec
    deep = kubectl("explain", f"{kind}.spec", "--recursive").out
    assert "color" in deep
    pod = kubectl("explain", "pod.spec.containers.image").out
    assert "Container image name" in pod
    assert "<PodTemplateSpec>" in kubectl("explain", "deployments.spec.template").out
    nothing = kubectl("explain", f"{kind}.spec.nothing.here", check=False)
    assert nothing.code != 0


def test_api_resources_and_versions_are_listed(server: Server, kubectl: Kubectl) -> None:
    listed = kubectl("api-resources", "--api-group", server.group, "--no-headers").out.split()
    assert listed == ["widgets", f"{server.group}/v1", "true", "Widget"]
    names = kubectl("api-resources", "-o", "name", "--namespaced=true").out.split()
    assert {"pods", "deployments.apps", "leases.coordination.k8s.io"} <= set(names)
    versions = kubectl("api-versions").out.split()
    assert {"v1", "apps/v1", f"{server.group}/v1"} <= set(versions)
    wide = kubectl("api-resources", "--categories=all", "-o", "name").out.split()
    assert "pods" in wide


def test_describe_shows_objects_and_events(server: Server, kubectl: Kubectl) -> None:
    item = server.widget()
    name = item["metadata"]["name"]  # type: ignore[index]
    made = server.client.create(server.widgets(), item).ok()
    event = {
        "metadata": {"name": f"{name}.1"},
        "involvedObject": {
            "apiVersion": made["apiVersion"],
            "kind": "Widget",
            "name": name,
            "namespace": server.namespace,
            "uid": made["metadata"]["uid"],
        },
        "reason": "Placed",
        "message": "placed on m1",
        "type": "Normal",
        "source": {"component": "tests"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    server.client.create(server.core("events"), event).ok()
    described = kubectl("describe", f"widget.{server.group}", name).out
    assert "Size:  " in described.replace("\t", " ")
    assert "placed on m1" in described
    assert "Placed" in kubectl("get", "events").out
    assert name in kubectl("events", "--for", f"widget.{server.group}/{name}").out
    web = server.name("web")
    kubectl("create", "deployment", web, "--image=nginx")
    assert "RollingUpdateStrategy" in kubectl("describe", "deployment", web).out
    kubectl("run", web, "--image=nginx")
    assert "Image:" in kubectl("describe", "pod", web).out
    assert "Status:       Active" in kubectl("describe", "ns", server.namespace).out


def test_rollout_status_follows_the_deployment(server: Server, kubectl: Kubectl) -> None:
    name = server.name("web")
    kubectl("apply", "-f", "-", stdin=_yaml(_deployment(name)))
    waiting = kubectl("rollout", "status", f"deploy/{name}", "--watch=false").out
    assert "Waiting for deployment" in waiting
    status = {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
    }
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(kubectl, "rollout", "status", f"deploy/{name}", "--timeout=60s")
        while not done.done():  # again and again: a controller of the server writes it too
            path = f"{server.apps('deployments', name)}/status"
            server.client.patch(path, {"status": status}).ok()
            wait([done], timeout=0.2)
    assert "successfully rolled out" in done.result().out
    kubectl("rollout", "restart", f"deploy/{name}")
    kubectl("set", "image", f"deploy/{name}", "web=nginx:9")
    assert "nginx:9" in kubectl("get", "deploy", name, "-o", "wide").out


def test_auth_can_i_answers(server: Server, kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "pods").out == "yes\n"
    assert kubectl("auth", "can-i", "delete", f"widgets.{server.group}").out == "yes\n"
    assert "*" in kubectl("auth", "can-i", "--list").out
    assert "Username" in kubectl("auth", "whoami").out


def test_namespaces_are_created_and_deleted(server: Server, kubectl: Kubectl) -> None:
    name = server.name(server.run)
    kubectl("create", "namespace", name)
    kubectl("-n", name, "create", "configmap", "inside")
    assert "Active" in kubectl("get", "ns", name).out
    kubectl("delete", "namespace", name, "--wait=false")
    if server.embedded:
        kubectl("wait", f"namespace/{name}", "--for=delete", "--timeout=60s")
    refused = kubectl("delete", "namespace", "default", "--wait=false", check=False)
    assert "this namespace may not be deleted" in refused.err


def test_get_lists_all_kinds_and_all_namespaces(server: Server, kubectl: Kubectl) -> None:
    name = server.name("web")
    kubectl("create", "deployment", name, "--image=nginx")
    assert f"deployment.apps/{name}" in kubectl("get", "all").out
    assert server.namespace in kubectl("get", "deployments", "-A").out


def test_raw_paths_version_and_health_are_served(kubectl: Kubectl) -> None:
    assert json.loads(kubectl("get", "--raw", "/version").out)["major"] == "1"
    assert kubectl("get", "--raw", "/readyz").out == "ok"
    assert "Server Version" in kubectl("version").out


def test_a_node_can_be_tainted_and_cordoned(server: Server, kubectl: Kubectl) -> None:
    name = server.name(server.run)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    kubectl("create", "-f", "-", stdin=_yaml(node))
    try:
        kubectl("taint", "nodes", name, "k=v:NoSchedule")
        kubectl("cordon", name)
        assert "SchedulingDisabled" in kubectl("get", "nodes", name).out
        assert "k=v:NoSchedule" in kubectl("describe", "node", name).out
        kubectl("uncordon", name)
    finally:
        kubectl("delete", "node", name)


@pytest.mark.parametrize("word", ["logs", "exec"])
def test_requests_that_the_hub_cannot_serve_are_refused_with_a_message(
    server: Server, kubectl: Kubectl, word: str
) -> None:
    if not server.embedded:
        return
    name = server.name("pod")
    kubectl("run", name, "--image=nginx")
    words = ("exec", name, "--", "ls") if word == "exec" else ("logs", name)
    done = kubectl(*words, check=False)
    assert done.code != 0
    assert "the embedded hub runs no containers" in done.err


def test_kubectl_is_quick_enough_for_scripts(kubectl: Kubectl) -> None:
    before = os.times()
    kubectl("get", "ns")
    after = os.times()
    # In CPU time: on a busy machine anything is slow.
    used = after.children_user + after.children_system
    assert used - before.children_user - before.children_system < 3
