"""A CustomResourceDefinition that uses every feature with special treatment by servers."""

from typing import Any

CRONTAB_GROUP = "contract.kapok.dev"


def widget_crd(group: str, *, short: str = "") -> dict[str, Any]:
    """The definition of `widgets` in a group."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "widgets",
                "singular": "widget",
                "kind": "Widget",
                "listKind": "WidgetList",
                "categories": ["toys"],
                **({"shortNames": [short]} if short else {}),
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "string", "jsonPath": ".spec.size"},
                        {
                            "name": "Ready",
                            "type": "string",
                            "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                        },
                        {
                            "name": "Weight",
                            "type": "number",
                            "jsonPath": ".spec.weight",
                            "priority": 1,
                        },
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "selectableFields": [{"jsonPath": ".spec.size"}],
                    "schema": {"openAPIV3Schema": _SCHEMA},
                }
            ],
        },
    }


_PARTS = {
    "type": "array",
    "maxItems": 16,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "count": {"type": "integer", "default": 1, "minimum": 0},
            "color": {"type": "string", "maxLength": 20},
        },
        "x-kubernetes-validations": [
            {
                "rule": "self.count >= oldSelf.count",
                "message": "a part's count never falls; add another part instead",
            }
        ],
    },
}
_SPEC: dict[str, Any] = {
    "type": "object",
    "description": "What the widget shall be.",
    "required": ["size"],
    "properties": {
        "size": {
            "type": "string",
            "enum": ["small", "medium", "large"],
            "description": "How big it is.",
        },
        "replicas": {"type": "integer", "minimum": 0, "maximum": 100, "default": 1},
        "weight": {"type": "number", "minimum": 0},
        "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 8},
        "nothing": {"type": "string", "nullable": True},
        "port": {"x-kubernetes-int-or-string": True},
        "since": {"type": "string", "format": "date-time"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "tags": {
            "type": "array",
            "maxItems": 8,
            "items": {"type": "string", "maxLength": 20},
            "x-kubernetes-list-type": "set",
        },
        "names": {"type": "array", "maxItems": 8, "items": {"type": "string", "maxLength": 20}},
        "labels": {
            "type": "object",
            "maxProperties": 8,
            "additionalProperties": {"type": "string", "maxLength": 20},
        },
        "limits": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "properties": {"cpu": {"type": "string"}, "memory": {"type": "string"}},
        },
        "parts": _PARTS,
        "manifest": {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        },
    },
    "x-kubernetes-validations": [
        {
            "rule": "self.size != 'small' || self.replicas <= 3",
            "message": "a small widget has at most 3 replicas; write size: medium",
        },
        {
            "rule": "!has(self.weight) || self.weight < 1000.5",
            "messageExpression": "'too heavy for a ' + self.size + ' one'",
            "fieldPath": ".weight",
        },
    ],
}
_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "epoch": {"type": "integer"},
        "replicas": {"type": "integer"},
        "selector": {"type": "string"},
        "phase": {"type": "string"},
        "conditions": {
            "type": "array",
            "maxItems": 8,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status"],
                "properties": {
                    "type": {"type": "string"},
                    "status": {"type": "string"},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                },
            },
        },
    },
    "x-kubernetes-validations": [
        {
            "rule": "!has(oldSelf.epoch) || (has(self.epoch) && self.epoch >= oldSelf.epoch)",
            "message": "epoch never falls: another scheduler has taken over",
        }
    ],
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A widget is a thing for tests.",
    "properties": {"spec": _SPEC, "status": _STATUS},
}
