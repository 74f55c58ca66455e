"""Readiness of Services, Ingresses and claims, and of what a manifest states itself."""

from typing import Any

import pytest

from agents.orders.readiness import readiness_of

CLEAN_UP = ["service.kubernetes.io/load-balancer-cleanup"]
WRITTEN = [{"manager": "nginx", "operation": "Update", "subresource": "status"}]
ADDRESS = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}


def service(kind: str = "LoadBalancer", **more: Any) -> Any:  # noqa: ANN401 - a JSON tree
    metadata = {"name": "web", **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": kind}} | (
        more
    )


def test_a_balancer_without_a_controller_counts_as_ready_and_says_so() -> None:
    found = readiness_of(service(status={"loadBalancer": {}}))
    assert found.is_ready
    assert found.message is not None
    assert "no controller of the site has taken it up" in found.message


@pytest.mark.parametrize("metadata", [{"finalizers": CLEAN_UP}, {"managedFields": WRITTEN}])
def test_a_balancer_that_a_controller_has_taken_up_waits_for_its_address(metadata: Any) -> None:  # noqa: ANN401
    found = readiness_of(service(metadata=metadata))
    assert (found.is_ready, found.message) == (False, "Service web waits for its address")
    assert readiness_of(service(metadata=metadata, status=ADDRESS)).is_ready


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "ExternalName", None])
def test_other_services_are_ready_once_they_exist(kind: Any) -> None:  # noqa: ANN401
    found = readiness_of(service(kind, metadata={"managedFields": WRITTEN}))
    assert (found.is_ready, found.message) == (True, None)


def test_an_ingress_waits_for_its_address_once_a_controller_writes_its_status() -> None:
    tree: Any = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}}
    assert readiness_of(tree).is_ready
    written = tree | {"metadata": {"name": "i", "managedFields": WRITTEN}}
    assert not readiness_of(written).is_ready
    assert readiness_of(written | {"status": ADDRESS}).is_ready


@pytest.mark.parametrize(
    ("phase", "annotations", "is_ready"),
    [
        ("Bound", {}, True),
        ("Pending", {}, True),  # it may wait for its first pod
        ("Pending", {"volume.kubernetes.io/storage-provisioner": "csi.example"}, False),
        ("Bound", {"volume.kubernetes.io/storage-provisioner": "csi.example"}, True),
        ("Lost", {}, False),
    ],
)
def test_a_claim_is_not_ready_while_its_volume_is_made(
    phase: str,
    annotations: Any,  # noqa: ANN401
    *,
    is_ready: bool,
) -> None:
    metadata = {"name": "data", "annotations": annotations}
    tree = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "status": {"phase": phase},
    }
    assert readiness_of(tree).is_ready is is_ready


def custom(expression: str, **status: Any) -> Any:  # noqa: ANN401 - a JSON tree
    metadata = {"name": "db", "generation": 2, "annotations": {"kapok.dev/ready-when": expression}}
    return {"apiVersion": "x.dev/v1", "kind": "Db", "metadata": metadata, "status": status}


CONDITIONS = [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "False"}]


@pytest.mark.parametrize(
    ("expression", "status", "is_ready"),
    [
        ("{.status.phase}=Running", {"phase": "Running"}, True),
        ("{.status.phase}=Running", {"phase": "Starting"}, False),
        ("{.status.phase}='Running'", {"phase": "Running"}, True),
        ("{.status.phase}", {}, False),
        ("{.status.phase}", {"phase": "x"}, True),
        ("{.status.ready}=true", {"ready": True}, True),
        ("{.status.count}=3", {"count": 3}, True),
        ('{.status.conditions[?(@.type=="Ready")].status}=True', {"conditions": CONDITIONS}, True),
        ('{.status.conditions[?(@.type=="Old")].status}=True', {"conditions": CONDITIONS}, False),
        ("{.status['a.b'][1]}=y", {"a.b": ["x", "y"]}, True),
        ("{.status.phase}=Running", {"phase": "Running", "observedGeneration": 1}, False),
        ("{.status.phase}=Running", {"phase": ["Running"]}, False),
    ],
)
def test_a_manifest_states_when_it_is_ready(
    expression: str,
    status: Any,  # noqa: ANN401
    *,
    is_ready: bool,
) -> None:
    found = readiness_of(custom(expression, **status))
    assert found.is_ready is is_ready
    assert is_ready is (found.message is None)


@pytest.mark.parametrize("text", ["phase", "{phase}=x", "{.a[}=x", "{}", "{.a}}=x", "{.a" * 200])
def test_an_expression_that_cannot_be_read_is_named(text: str) -> None:
    found = readiness_of(custom(text))
    assert not found.is_ready
    assert found.message is not None
    assert "such as {.status.phase}=Running" in found.message
