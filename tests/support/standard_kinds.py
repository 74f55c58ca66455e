"""Minimal definitions of the kinds of SIG Multicluster, for tests of what is written for others.

The names, the required fields and the limits are those of cluster-inventory-api v1alpha1. A schema
is structural and drops unknown fields, so a field that the standard does not have is not stored.
"""

from typing import Any

_STRING: dict[str, Any] = {"type": "string"}
_NAME = {"type": "object", "required": ["name"], "properties": {"name": _STRING}}
_TIME = {"type": "string", "format": "date-time"}


def _definition(
    plural: str, kind: str, properties: dict[str, Any], required: str, **version: object
) -> dict[str, Any]:
    schema = {"type": "object", "required": [required], "properties": properties}
    one = {"name": "v1alpha1", "served": True, "storage": True, **version}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.multicluster.x-k8s.io",
            "annotations": {"api-approved.kubernetes.io": "a definition for tests"},
        },
        "spec": {
            "group": "multicluster.x-k8s.io",
            "scope": "Namespaced",
            "names": {
                "plural": plural,
                "singular": kind.lower(),
                "kind": kind,
                "listKind": f"{kind}List",
            },
            "versions": [{**one, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def _list_by(key: str, item: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": [key],
        "items": {"type": "object", "required": required, "properties": item},
    }


def cluster_profile_crd() -> dict[str, Any]:
    """The definition of `clusterprofiles`; the manager cannot change, as in the standard."""
    manager = {
        **_NAME,
        "x-kubernetes-validations": [
            {"rule": "self == oldSelf", "message": "ClusterManager is immutable"}
        ],
    }
    condition = {
        "type": {"type": "string", "maxLength": 316},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
        "message": {"type": "string", "maxLength": 32768},
        "lastTransitionTime": _TIME,
        "observedGeneration": {"type": "integer"},
    }
    needed = ["type", "status", "reason", "message", "lastTransitionTime"]
    shown = {
        "name": {"type": "string", "minLength": 1, "maxLength": 253},
        "value": {"type": "string", "minLength": 1, "maxLength": 1024},
        "lastObservedTime": _TIME,
    }
    extension = {
        "name": _STRING,
        "extension": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    cluster = {
        "server": _STRING,
        "certificate-authority-data": {"type": "string", "format": "byte"},
        "extensions": {
            "type": "array",
            "items": {"type": "object", "required": list(extension), "properties": extension},
        },
    }
    provider = {"name": _STRING, "cluster": {"type": "object", "properties": cluster}}
    properties = {
        "spec": {
            "type": "object",
            "required": ["clusterManager"],
            "properties": {"displayName": _STRING, "clusterManager": manager},
        },
        "status": {
            "type": "object",
            "properties": {
                "conditions": _list_by("type", condition, needed),
                "properties": _list_by("name", shown, ["name", "value"]),
                "accessProviders": _list_by("name", provider, ["name"]),
                "version": {"type": "object", "properties": {"kubernetes": _STRING}},
            },
        },
    }
    return _definition(
        "clusterprofiles", "ClusterProfile", properties, "spec", subresources={"status": {}}
    )


def placement_decision_crd() -> dict[str, Any]:
    """The definition of `placementdecisions`: data only, at most 100 references."""
    reference = {**_NAME, "properties": {"name": _STRING, "namespace": _STRING}}
    decision = {
        "type": "object",
        "required": ["clusterProfileRef"],
        "properties": {"clusterProfileRef": reference, "reason": _STRING},
    }
    properties = {
        "decisions": {"type": "array", "minItems": 0, "maxItems": 100, "items": decision},
        "schedulerName": _STRING,
    }
    return _definition("placementdecisions", "PlacementDecision", properties, "decisions")
