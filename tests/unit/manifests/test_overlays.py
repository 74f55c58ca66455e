"""The overlays of manifests/: complete, valid, and as restricted as a Pod can be."""

import re
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from agents.config.load import load_push_settings
from agents.config.load import load_settings as load_agent_settings
from scheduler import __version__
from scheduler.apiserver.kinds.custom.checks import definition_problems
from scheduler.settings import load_settings
from tests.support.kustomize import MANIFESTS, OVERLAYS, Json, kustomize, of_kind, overlay

SETTINGS = {
    "single": "scheduler.yaml",
    "ha": "scheduler.yaml",
    "agent-pull": "agent.yaml",
    "agent-push": "push.yaml",
}
"""The settings file of each overlay."""
COMPLETE = [name for name in OVERLAYS if name != "agent-push"]
"""The overlays that a cluster needs no other one beside."""
HUBS = [name for name in OVERLAYS if SETTINGS[name] == "scheduler.yaml"]
SECRETS = {
    "single": {"kapok-broker"},
    "ha": {"kapok-broker", "kapok-hub-key", "kapok-ledger"},
    "agent-pull": {"kapok-agent-broker"},
    "agent-push": {"kapok-push-broker"},
}
"""What an operator makes before, which the head of each overlay names."""
APPLIED_ONCE = {"NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"}


def deployment_of(name: str) -> Json:
    [one] = of_kind(overlay(name), "Deployment")
    return one


def pod_of(name: str) -> Json:
    pod: Json = deployment_of(name)["spec"]["template"]["spec"]
    return pod


def container_of(name: str) -> Json:
    container: Json
    [container] = pod_of(name)["containers"]
    return container


def test_every_overlay_is_known_here() -> None:
    assert set(OVERLAYS) == set(SETTINGS)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_is_valid(name: str) -> None:
    for one in overlay(name):
        if one["kind"] == "CustomResourceDefinition":
            assert not definition_problems(one, None), one["metadata"]["name"]
        else:
            kubernetes_validate.validate(one, "1.36", strict=True)


@pytest.mark.parametrize("name", COMPLETE)
def test_an_overlay_has_everything_of_its_program_once(name: str) -> None:
    found = [(one["kind"], one["metadata"]["name"]) for one in overlay(name)]
    assert len(found) == len(set(found))
    for kind in APPLIED_ONCE:  # the push process has an account beside the scheduler's
        assert [one for one, at in found if at != "kapok-push"].count(kind) == 1, kind
    assert found[0] == ("Namespace", "kapok-system")


@pytest.mark.parametrize("name", OVERLAYS)
def test_everything_is_in_the_namespace_of_kapok_and_labelled(name: str) -> None:
    for one in overlay(name):
        if one["kind"] != "RoleBinding" or name != "agent-push":
            assert one["metadata"].get("namespace", "kapok-system") == "kapok-system"
        if one["kind"] in APPLIED_ONCE - {"ServiceAccount"} | {"Deployment", "ConfigMap"}:
            assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "kapok"


@pytest.mark.parametrize("name", HUBS)
def test_a_hub_has_all_kinds_roles_and_policies(name: str) -> None:
    files = [
        path
        for folder in ("crds", "rbac", "admission")
        for path in (MANIFESTS / folder).glob("*.yaml")
    ]
    written = [
        one for path in files for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    # As they are: kustomize would change names in them that it takes for those of ConfigMaps.
    applied = overlay(name)
    assert [one for one in written if one not in applied] == []


def test_the_agent_brings_its_roles_alone() -> None:
    roles = [one["metadata"]["name"] for one in of_kind(overlay("agent-pull"), "ClusterRole")]
    assert roles == ["kapok-agent"]
    assert not of_kind(overlay("agent-pull"), "CustomResourceDefinition")
    written = yaml.safe_load_all((MANIFESTS / "rbac/agent/agent.yaml").read_text(encoding="utf-8"))
    assert [one for one in written if one not in overlay("agent-pull")] == []
    namespaces = [
        yaml.safe_load((MANIFESTS / folder / "00-namespace.yaml").read_text(encoding="utf-8"))
        for folder in ("rbac", "rbac/agent")
    ]
    assert namespaces[0] == namespaces[1]


def test_the_push_process_is_beside_a_hub_and_shares_no_object_with_it() -> None:
    """So one can be deleted without the other, and Helm finds one owner of each object."""

    def names(name: str) -> set[tuple[str, str, str]]:
        return {
            (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"])
            for one in overlay(name)
        }

    push, hub = names("agent-push"), names("single")
    assert not push & hub
    assert {kind for kind, _, _ in push} == APPLIED_ONCE - {"ServiceAccount"} | {
        "ConfigMap",
        "Deployment",
        "PersistentVolumeClaim",
        "RoleBinding",
    }
    account = pod_of("agent-push")["serviceAccountName"]
    assert ("ServiceAccount", "kapok-system", account) in hub
    [binding] = of_kind(overlay("agent-push"), "RoleBinding")
    assert ("ClusterRole", "", binding["roleRef"]["name"]) in hub
    assert binding["metadata"]["namespace"] == "kapok-members"
    assert [one["name"] for one in binding["subjects"]] == [account]
    # Neither is in reach of `kubectl delete -k`: there are the kubeconfigs of all members.
    head = (MANIFESTS / "overlays/agent-push/kustomization.yaml").read_text(encoding="utf-8")
    assert "kubectl create namespace kapok-members" in head


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_container_is_restricted_and_writes_to_its_volumes_alone(name: str) -> None:
    pod, container = pod_of(name)["securityContext"], container_of(name)["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {one["name"]: one for one in pod_of(name)["volumes"]}
    for mount in container_of(name)["volumeMounts"]:
        is_written = not {"secret", "configMap"} & volumes[mount["name"]].keys()
        assert mount.get("readOnly", False) is not is_written


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_container_has_probes_requests_and_a_memory_limit(name: str) -> None:
    container = container_of(name)
    ports = {one["name"] for one in container["ports"]}
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["path"] == "/healthz"
        assert container[probe]["httpGet"]["port"] in ports
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_selectors_find_the_pod_and_ports_exist(name: str) -> None:
    pod = deployment_of(name)["spec"]["template"]["metadata"]["labels"]
    ports = {one["name"]: one["containerPort"] for one in container_of(name)["ports"]}
    objects = overlay(name)
    [service], [policy], [budget] = (
        of_kind(objects, kind) for kind in ("Service", "NetworkPolicy", "PodDisruptionBudget")
    )
    for labels in (
        service["spec"]["selector"],
        policy["spec"]["podSelector"]["matchLabels"],
        budget["spec"]["selector"]["matchLabels"],
    ):
        assert labels.items() <= pod.items()
    for port in service["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    [rule] = policy["spec"]["ingress"]
    assert [one["port"] for one in rule["ports"]] == list(ports)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_volume_is_there_or_is_named_in_the_head(name: str) -> None:
    objects = overlay(name)
    made = {(one["kind"], one["metadata"]["name"]) for one in objects}
    named = set()
    for volume in pod_of(name)["volumes"]:
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in made
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            assert ("PersistentVolumeClaim", claim) in made
        if "secret" in volume:
            named.add(volume["secret"]["secretName"])
    assert named == SECRETS[name]
    head = (MANIFESTS / "overlays" / name / "kustomization.yaml").read_text(encoding="utf-8")
    assert all(one in head for one in named)


def load_settings_of(name: str, path: Path) -> Any:  # noqa: ANN401 - of two programs
    if name == "agent-push":
        return load_push_settings(path, {})
    return load_agent_settings(path, {}) if name == "agent-pull" else load_settings(path)


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_settings_are_accepted_and_name_mounted_files(name: str) -> None:
    path = MANIFESTS / "overlays" / name / SETTINGS[name]
    is_agent = name.startswith("agent")
    settings: Any = load_settings_of(name, path)
    mounts = [one["mountPath"] for one in container_of(name)["volumeMounts"]]
    for word in re.split(r"[\s=]+", path.read_text(encoding="utf-8")):
        if word.startswith(("/etc/", "/var/")):
            assert any(word.startswith(f"{mount}/") for mount in mounts), word
    ports = [one["containerPort"] for one in container_of(name)["ports"]]
    serves = settings.metrics if is_agent else settings.web
    assert [serves.port] == ports
    allowed = {
        port["port"]
        for policy in of_kind(overlay(name), "NetworkPolicy")
        for rule in policy["spec"]["egress"]
        for port in rule["ports"]
    }
    assert settings.broker.port in allowed
    assert (5432 in allowed) is (name == "ha")


@pytest.mark.parametrize("name", OVERLAYS)
def test_changed_settings_roll_the_pods(name: str, tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "m")
    folder = tmp_path / "m" / "overlays" / name
    with (folder / SETTINGS[name]).open("a", encoding="utf-8") as file:
        file.write("log_level: DEBUG\n")
    [changed] = of_kind(kustomize(folder), "Deployment")
    assert changed["spec"]["template"] != deployment_of(name)["spec"]["template"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_image_is_that_of_this_version(name: str) -> None:
    program = "kapok-agent" if name.startswith("agent") else "kapok"
    assert container_of(name)["image"] == f"{program}:{__version__}"
    assert container_of(name)["command"] == [program]


def test_one_replica_has_a_volume_and_two_have_a_database() -> None:
    single, double = deployment_of("single")["spec"], deployment_of("ha")["spec"]
    assert (single["replicas"], double["replicas"]) == (1, 2)
    assert single["strategy"] == {"type": "Recreate"}
    assert of_kind(overlay("single"), "PersistentVolumeClaim")
    assert not of_kind(overlay("ha"), "PersistentVolumeClaim")
    required = double["template"]["spec"]["affinity"]["podAntiAffinity"]
    assert "requiredDuringSchedulingIgnoredDuringExecution" in required


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_prometheus_operator_finds_the_service(name: str, tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "m")
    path = tmp_path / "m" / "overlays" / name / "kustomization.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("# components:\n# -", "components:\n-"), encoding="utf-8")
    objects = kustomize(path.parent)
    [monitor], [service] = of_kind(objects, "ServiceMonitor"), of_kind(objects, "Service")
    # Its kind is the operator's, so no schema is here: these are all fields that it uses.
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() == {"selector", "endpoints"}
    labels = monitor["spec"]["selector"]["matchLabels"]
    assert labels.items() <= service["metadata"]["labels"].items()
    ports = {one["name"] for one in service["spec"]["ports"]}
    scraped = [one for one in monitor["spec"]["endpoints"] if one["port"] in ports]
    assert scraped == [{"port": scraped[0]["port"], "path": "/metrics", "interval": "15s"}]


@pytest.mark.parametrize("name", HUBS)
def test_an_overlay_takes_the_dashboards(name: str, tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "m")
    path = tmp_path / "m" / "overlays" / name / "kustomization.yaml"
    text = path.read_text(encoding="utf-8")
    assert "# - ../../grafana\n" in text
    path.write_text(text + "components: [../../grafana]\n", encoding="utf-8")
    maps = of_kind(kustomize(path.parent), "ConfigMap")
    shown = [one for one in maps if one["metadata"]["labels"].get("grafana_dashboard") == "1"]
    assert {one["metadata"]["name"] for one in shown} == {
        "kapok-dashboard-fleet",
        "kapok-dashboard-decisions",
        "kapok-dashboard-energy",
    }
