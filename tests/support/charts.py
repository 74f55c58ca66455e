"""Objects of twenty well-known charts, as workloads: for tests, and as demand of benchmarks.

`tests/fixtures/charts` has one file for each chart. They are written from the charts' public
documentation: short, with the kinds, probes, claims, rights and hooks that the charts bring.
"""

from pathlib import Path
from typing import Any

import yaml

from scheduler.model.kinds.kinds import API_VERSION

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "charts"
CLUSTER_KINDS = (
    "admissionregistration.k8s.io/MutatingWebhookConfiguration",
    "admissionregistration.k8s.io/ValidatingWebhookConfiguration",
    "apiextensions.k8s.io/CustomResourceDefinition",
    "cert-manager.io/ClusterIssuer",
    "networking.k8s.io/IngressClass",
    "rbac.authorization.k8s.io/ClusterRole",
    "rbac.authorization.k8s.io/ClusterRoleBinding",
)
"""The cluster-scoped kinds of all charts; a tenant that runs platforms may have them."""

Object = dict[str, Any]


def chart_names() -> list[str]:
    """All charts, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def objects_of(chart: str, namespace: str) -> list[Object]:
    """The objects of a chart, as rendered for a namespace."""
    text = (FOLDER / f"{chart}.yaml").read_text(encoding="utf-8").replace("NAMESPACE", namespace)
    return list(yaml.safe_load_all(text))


def without_secret_data(objects: list[Object]) -> list[Object]:
    """The objects without the Secrets that carry data, which go along from the hub instead."""
    return [
        one
        for one in objects
        if one["kind"] != "Secret" or not (one.get("data") or one.get("stringData"))
    ]


def chart_workload(chart: str, namespace: str, *, as_rendered: bool = False) -> Object:
    """A chart as a Workload.

    Args:
        chart: one of `chart_names()`.
        namespace: the namespace of the workload.
        as_rendered: keep Secrets that carry data, for which a workload is refused.
    """
    objects = objects_of(chart, namespace)
    return {
        "apiVersion": API_VERSION,
        "kind": "Workload",
        "metadata": {"name": chart, "namespace": namespace},
        "spec": {
            "dataClass": "general-2",
            "protectionLevel": 2,
            "networkZones": ["public-network"],
            "manifests": objects if as_rendered else without_secret_data(objects),
        },
    }


def chart_tenant(namespace: str, *, platform: bool) -> Object:
    """A tenant of one namespace; one that runs platforms may use cluster-scoped kinds."""
    rights = {"clusterKinds": list(CLUSTER_KINDS), "podSecurity": "privileged"}
    return {
        "apiVersion": API_VERSION,
        "kind": "Tenant",
        "metadata": {"name": namespace},
        "spec": {"namespaces": [namespace], **(rights if platform else {})},
    }
