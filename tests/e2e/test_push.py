"""Push: one process beside the hub has the agents of two members that have none of their own."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.member_clusters import REAL_KUBECONFIGS, Cluster, api_servers, controllers
from tests.support.push_process import (
    NAMESPACE,
    PushProcess,
    create_namespace,
    prepared_push,
    push_objects,
    running_push,
    secret_object,
)
from tests.support.standard_kinds import cluster_profile_crd
from tests.support.up import Up, eventually, running_up

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(REAL_KUBECONFIGS),
        reason="a real member has controllers of its own and no kubelet; simulated controllers "
        "beside them would make each pod twice, and a dead member is ended by its process",
    ),
]

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {name: default}
spec: {namespaces: [default]}
---
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 2
  placement: {spread: [{by: site, minGroups: 2}]}
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
          - {name: web, image: "web:1", resources: {requests: {cpu: 100m, memory: 64Mi}}}
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def phase(up: Up) -> str:
    return str(up.get("workloads.kapok.dev", "web").get("status", {}).get("phase", ""))


def ready(up: Up, site: str, field: str = "reason") -> str:
    conditions = up.get("sites.kapok.dev", site).get("status", {}).get("conditions", [])
    return next((one[field] for one in conditions if one["type"] == "Ready"), "")


def spec_of(member: Cluster) -> dict[str, object]:
    [one] = member.get("deployments")
    return dict(one["spec"])


def with_token(kubeconfig: Path, token: str) -> str:
    tree = json.loads(kubeconfig.read_text())
    tree["users"][0]["user"] = {"token": token}
    return json.dumps(tree)


@pytest.mark.soak
def test_one_process_delivers_to_two_members_and_a_dead_one_delays_none(
    up: Up, tmp_path: Path
) -> None:
    create_namespace(up)
    process = prepared_push(up, tmp_path)
    with ExitStack() as stack:
        ends = [stack.enter_context(ExitStack()) for _ in range(2)]
        files = [
            end.enter_context(api_servers(tmp_path / f"servers-{name}", name))[0]
            for end, name in zip(ends, ("m1", "m2"), strict=True)
        ]
        stack.enter_context(
            controllers(tmp_path / "controllers.log", files, "--start-seconds", "0.2")
        )
        for name, file in zip(("m1", "m2"), files, strict=True):
            up.apply(
                push_objects(name, process.key_of(name)) + secret_object(name, file.read_text())
            )
        stack.enter_context(running_push(process))
        members = [Cluster(file, "default") for file in files]
        up.apply(WORKLOAD)
        eventually(lambda: phase(up) == "Running", within_seconds=60)
        assert [len(one.get("deployments")) for one in members] == [1, 1]
        check_a_rotated_kubeconfig(up, process, files[0])
        ends[1].close()
        eventually(lambda: ready(up, "m2") == "ClusterUnreachable", within_seconds=60)
        up.kubectl("patch", "kw", "web", "--type=merge", "-p", '{"spec": {"replicas": 4}}')
        check_the_other_goes_on(up, members[0])
        check_a_site_that_turns_to_pull(up, process)


@pytest.mark.soak
def test_kapok_up_hosts_the_agents_and_admits_their_keys_itself(tmp_path: Path) -> None:
    settings = "freshness: {hear_sites_seconds: 3.0, site_status_seconds: 1.0}\n"
    with running_up(tmp_path, settings=f"{settings}push: {{enabled: true}}\n") as up:
        create_namespace(up)
        with (
            api_servers(tmp_path / "members", "m1") as [file],
            controllers(tmp_path / "controllers.log", [file], "--start-seconds", "0.2"),
        ):
            up.apply(push_objects("m1", "") + secret_object("m1", file.read_text()))
            up.apply(WORKLOAD.replace("minGroups: 2", "minGroups: 1"))
            eventually(lambda: phase(up) == "Running", within_seconds=60)
            [key] = keys(up, "m1")
            folder = up.data_dir / "push"
            assert (folder / "sites" / "m1" / "agent.pub").read_text().strip() == key
            hub = Cluster(folder / "hub.kubeconfig", "kapok-system")
            assert hub.kubectl("get", "secrets", check=False) == ""
            can_write = hub.kubectl("auth", "can-i", "patch", "sites.kapok.dev", check=False)
            assert can_write.startswith("no")
            pull = {"spec": {"delivery": {"mode": "Pull", "kubeconfigSecretRef": None}}}
            up.kubectl("patch", "site", "m1", "--type=merge", "-p", json.dumps(pull))
            eventually(lambda: keys(up, "m1") == [])


def keys(up: Up, site: str) -> list[str]:
    return list(up.get("sites.kapok.dev", site)["spec"]["delivery"].get("agentKeys") or [])


def check_a_rotated_kubeconfig(up: Up, process: PushProcess, kubeconfig: Path) -> None:
    """Other credentials count at once; those that are refused are named, and end no agent."""
    up.apply(secret_object("m1", with_token(kubeconfig, "revoked")))
    eventually(lambda: ready(up, "m1") != "Reporting", within_seconds=60)
    exec_user = json.loads(kubeconfig.read_text())
    exec_user["users"][0]["user"] = {"exec": {"command": "touch", "args": ["/nonexistent/x"]}}
    up.apply(secret_object("m1", json.dumps(exec_user)))
    eventually(lambda: ready(up, "m1") == "ClusterUnreachable", within_seconds=60)
    assert "user.exec runs a program beside the hub" in process.log
    eventually(lambda: "user.exec runs a program beside the hub" in ready(up, "m1", "message"))
    up.apply(secret_object("m1", kubeconfig.read_text()))
    eventually(lambda: ready(up, "m1") == "Reporting", within_seconds=60)
    assert ready(up, "m2") == "Reporting"


def check_the_other_goes_on(up: Up, member: Cluster) -> None:
    """Work of a living member is changed while another member does not answer."""
    member.kubectl("delete", "deployment", "web")
    eventually(lambda: len(member.get("deployments")) == 1, within_seconds=60)
    assert spec_of(member)["replicas"]
    assert ready(up, "m1") == "Reporting"


def check_a_site_that_turns_to_pull(up: Up, process: PushProcess) -> None:
    """Its agent ends; the agent at the site takes over."""
    pull = {"spec": {"delivery": {"mode": "Pull", "kubeconfigSecretRef": None}}}
    up.kubectl("patch", "site", "m1", "--type=merge", "-p", json.dumps(pull))
    eventually(lambda: "site m1: not pushed any more" in process.log)
    eventually(lambda: ready(up, "m1") == "Silent", within_seconds=60)


PLUGIN = """#!/bin/sh
# Gives the token that the operator's file names; the cluster comes with the request.
case "$KUBERNETES_EXEC_INFO" in *'"clusterName": "m1"'*) ;; *) exit 5 ;; esac
printf '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
printf '"status": {"token": "%s"}}' "$(cat "$1")"
"""


@pytest.mark.soak
def test_a_member_is_reached_by_its_cluster_profile(up: Up, tmp_path: Path) -> None:
    plugin, token, file = (tmp_path / name for name in ("plugin", "token", "providers.json"))
    plugin.write_text(PLUGIN)
    plugin.chmod(0o700)
    config = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "args": [str(token)],
        "provideClusterInfo": True,
    }
    file.write_text(json.dumps({"providers": [{"name": "cloud", "execConfig": config}]}))
    create_namespace(up)
    push = {"access_providers_file": str(file)}
    process = prepared_push(up, tmp_path, push=push)
    with (
        api_servers(tmp_path / "members", "m1") as [member],
        controllers(tmp_path / "controllers.log", [member], "--start-seconds", "0.2"),
    ):
        tree = json.loads(member.read_text())
        cluster = tree["clusters"][0]["cluster"]
        token.write_text("revoked")
        up.apply(json.dumps(cluster_profile_crd()))
        up.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        up.apply(profile_object(cluster))
        status = {"status": json.loads(profile_object(cluster))["status"]}
        words = ("clusterprofile", "m1", "-n", NAMESPACE, "--subresource=status", "--type=merge")
        up.kubectl("patch", *words, "-p", json.dumps(status))
        secret = f"kubeconfigSecretRef: {{namespace: {NAMESPACE}, name: m1}}"
        up.apply(
            push_objects("m1", process.key_of("m1")).replace(
                secret, secret.replace("kubeconfigSecretRef", "clusterProfileRef")
            )
        )
        with running_push(process):
            eventually(lambda: ready(up, "m1") not in ("", "NeverReported"), within_seconds=60)
            assert ready(up, "m1") != "Reporting"
            token.write_text(tree["users"][0]["user"]["token"])
            eventually(lambda: ready(up, "m1") == "Reporting", within_seconds=60)
            up.apply(WORKLOAD.replace("minGroups: 2", "minGroups: 1"))
            eventually(lambda: phase(up) == "Running", within_seconds=60)
            [site] = json.loads(up.kubectl("get", "sites", "-o", "json"))["items"]
            messages = [str(one.get("message")) for one in site["status"]["conditions"]]
            assert not any("clusterProfileRef" in one for one in messages)


def profile_object(cluster: dict[str, object]) -> str:
    """The ClusterProfile of m1, as a manifest."""
    extension = {
        "name": "client.authentication.k8s.io/exec",
        "extension": {"clusterName": "m1"},
    }
    listed = [{"name": "cloud", "cluster": cluster | {"extensions": [extension]}}]
    tree = {
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ClusterProfile",
        "metadata": {"name": "m1", "namespace": NAMESPACE},
        "spec": {"clusterManager": {"name": "fleet"}},
        "status": {"accessProviders": listed},
    }
    return json.dumps(tree)
