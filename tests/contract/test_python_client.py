"""The official Python client, as a program would use it."""

import datetime as dt
import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.conftest import Server

# Half of the client is untyped and the other half says that everything may be None.
kube: Any = importlib.import_module("kubernetes.client")
config: Any = importlib.import_module("kubernetes.config")
dynamic: Any = importlib.import_module("kubernetes.dynamic")
watch: Any = importlib.import_module("kubernetes.watch")


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[object]:
    with config.new_client_from_config(str(server.kubeconfig)) as found:
        yield found


def test_typed_calls_read_and_write_core_objects(server: Server, api: object) -> None:
    core = kube.CoreV1Api(api)
    name = server.name("py")
    body = kube.V1ConfigMap(metadata=kube.V1ObjectMeta(name=name), data={"a": "b"})
    made = core.create_namespaced_config_map(server.namespace, body)
    assert made.metadata.uid
    core.patch_namespaced_config_map(name, server.namespace, {"data": {"a": "c"}})
    assert core.read_namespaced_config_map(name, server.namespace).data == {"a": "c"}
    listed = core.list_namespaced_config_map(
        server.namespace, field_selector=f"metadata.name={name}"
    )
    assert [item.metadata.name for item in listed.items] == [name]
    with pytest.raises(kube.ApiException) as refused:
        core.create_namespaced_config_map(server.namespace, body)
    assert refused.value.status == 409
    core.delete_namespaced_config_map(name, server.namespace)


def test_a_deployment_can_be_scaled(server: Server, api: object) -> None:
    apps = kube.AppsV1Api(api)
    name = server.name("py")
    labels = {"app": name}
    container = kube.V1Container(name="c", image="nginx:1")
    body = kube.V1Deployment(
        metadata=kube.V1ObjectMeta(name=name),
        spec=kube.V1DeploymentSpec(
            replicas=1,
            selector=kube.V1LabelSelector(match_labels=labels),
            template=kube.V1PodTemplateSpec(
                metadata=kube.V1ObjectMeta(labels=labels),
                spec=kube.V1PodSpec(containers=[container]),
            ),
        ),
    )
    apps.create_namespaced_deployment(server.namespace, body)
    apps.patch_namespaced_deployment_scale(name, server.namespace, {"spec": {"replicas": 4}})
    assert apps.read_namespaced_deployment(name, server.namespace).spec.replicas == 4
    apps.delete_namespaced_deployment(name, server.namespace)


def test_a_lease_is_taken_and_renewed(server: Server, api: object) -> None:
    leases = kube.CoordinationV1Api(api)
    name = server.name("py")
    now = dt.datetime(2026, 1, 1, 12, 0, 0, 123456, dt.UTC)
    spec = kube.V1LeaseSpec(holder_identity="a", lease_duration_seconds=15, renew_time=now)
    body = kube.V1Lease(metadata=kube.V1ObjectMeta(name=name), spec=spec)
    held = leases.create_namespaced_lease(server.namespace, body)
    held.spec.holder_identity = "b"
    taken = leases.replace_namespaced_lease(name, server.namespace, held)
    assert taken.spec.renew_time == now
    with pytest.raises(kube.ApiException) as refused:
        leases.replace_namespaced_lease(name, server.namespace, held)
    assert refused.value.status == 409


def test_untyped_calls_read_and_write_custom_objects(server: Server, api: object) -> None:
    custom = kube.CustomObjectsApi(api)
    where = (server.group, "v1", server.namespace, "widgets")
    item: dict[str, Any] = server.widget()
    name = item["metadata"]["name"]
    custom.create_namespaced_custom_object(*where, item)
    custom.patch_namespaced_custom_object_status(*where, name, {"status": {"phase": "Busy"}})
    found = custom.get_namespaced_custom_object(*where, name)
    assert found["status"] == {"phase": "Busy"}
    assert any(
        i["metadata"]["name"] == name for i in custom.list_namespaced_custom_object(*where)["items"]
    )
    custom.delete_namespaced_custom_object(*where, name)


def test_a_watch_follows_a_list(server: Server, api: object) -> None:
    core = kube.CoreV1Api(api)
    listed = core.list_namespaced_config_map(server.namespace)
    name = server.name("py")
    body = kube.V1ConfigMap(metadata=kube.V1ObjectMeta(name=name))
    core.create_namespaced_config_map(server.namespace, body)
    stream = watch.Watch().stream(
        core.list_namespaced_config_map,
        server.namespace,
        resource_version=listed.metadata.resource_version,
        timeout_seconds=60,
    )
    names = []
    for event in stream:
        names.append(event["object"].metadata.name)
        if name in names:
            break
    assert name in names


def test_the_dynamic_client_discovers_and_applies(server: Server, api: object) -> None:
    found = dynamic.DynamicClient(api)
    widgets = found.resources.get(api_version=f"{server.group}/v1", kind="Widget")
    item: dict[str, Any] = server.widget()
    name = item["metadata"]["name"]
    made = widgets.server_side_apply(
        body=item, name=name, namespace=server.namespace, field_manager="py"
    )
    assert made.spec.size == "small"
    assert widgets.get(name=name, namespace=server.namespace).spec.replicas == 1
    widgets.delete(name=name, namespace=server.namespace)
