"""Generates core_fields.json, the protobuf field numbers of the core kinds.

kubectl sends objects that it creates itself (`create deployment`, `auth can-i`) as protobuf. Field
numbers never change. Those of core and meta come from the package `k8s-proto` (generated code of
2019, not a dependency: unpack its archive anywhere); those of newer or other groups are listed
below. Run this again after adding a kind:

    python -m scheduler.apiserver.kinds.core.build_fields UNPACKED_K8S_PROTO
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from scheduler.apiserver.kinds.core.protobuf import iter_message_fields
from scheduler.apiserver.kinds.core.schemas import load_definitions

_DESCRIPTOR_FILES = (
    "k8s/io/apimachinery/pkg/apis/meta/v1/generated_pb2.py",
    "k8s/io/api/core/v1/generated_pb2.py",
)
_EXTRA_FIELDS = {
    "apps.v1.Deployment": "metadata spec status",
    "apps.v1.DeploymentSpec": (
        "replicas selector template strategy minReadySeconds revisionHistoryLimit paused -"
        " progressDeadlineSeconds"
    ),
    "apps.v1.DeploymentStrategy": "type rollingUpdate",
    "apps.v1.RollingUpdateDeployment": "maxUnavailable maxSurge",
    "batch.v1.Job": "metadata spec status",
    "batch.v1.JobSpec": (
        "parallelism completions activeDeadlineSeconds selector manualSelector template"
        " backoffLimit ttlSecondsAfterFinished completionMode suspend podFailurePolicy"
        " backoffLimitPerIndex maxFailedIndexes podReplacementPolicy managedBy successPolicy"
    ),
    "batch.v1.JobTemplateSpec": "metadata spec",
    "batch.v1.CronJob": "metadata spec status",
    "batch.v1.CronJobSpec": (
        "schedule startingDeadlineSeconds concurrencyPolicy suspend jobTemplate"
        " successfulJobsHistoryLimit failedJobsHistoryLimit timeZone"
    ),
    "coordination.v1.Lease": "metadata spec",
    "coordination.v1.LeaseSpec": (
        "holderIdentity leaseDurationSeconds acquireTime renewTime leaseTransitions strategy"
        " preferredHolder"
    ),
    "autoscaling.v1.Scale": "metadata spec status",
    "autoscaling.v1.ScaleSpec": "replicas",
    "autoscaling.v1.ScaleStatus": "replicas selector",
    "autoscaling.v1.HorizontalPodAutoscaler": "metadata spec status",
    "autoscaling.v1.HorizontalPodAutoscalerSpec": (
        "scaleTargetRef minReplicas maxReplicas targetCPUUtilizationPercentage"
    ),
    "autoscaling.v1.CrossVersionObjectReference": "kind name apiVersion",
    "autoscaling.v2.HorizontalPodAutoscaler": "metadata spec status",
    "autoscaling.v2.HorizontalPodAutoscalerSpec": (
        "scaleTargetRef minReplicas maxReplicas metrics behavior"
    ),
    "autoscaling.v2.CrossVersionObjectReference": "kind name apiVersion",
    "autoscaling.v2.MetricSpec": "type object pods resource external - containerResource",
    "autoscaling.v2.ResourceMetricSource": "name target",
    "autoscaling.v2.MetricTarget": "type value averageValue averageUtilization",
    "core.v1.ResourceQuota": "metadata spec status",
    "core.v1.ResourceQuotaSpec": "hard scopes scopeSelector",
    "core.v1.ScopeSelector": "matchExpressions",
    "core.v1.ScopedResourceSelectorRequirement": "scopeName operator values",
    "networking.v1.Ingress": "metadata spec status",
    "networking.v1.IngressSpec": "defaultBackend tls rules ingressClassName",
    "networking.v1.IngressTLS": "hosts secretName",
    "networking.v1.IngressRule": "host +io.k8s.api.networking.v1.IngressRuleValue",
    "networking.v1.IngressRuleValue": "http",
    "networking.v1.HTTPIngressRuleValue": "paths",
    "networking.v1.HTTPIngressPath": "path backend pathType",
    "networking.v1.IngressBackend": "- - resource service",
    "networking.v1.IngressServiceBackend": "name port",
    "networking.v1.ServiceBackendPort": "name number",
    "policy.v1.PodDisruptionBudget": "metadata spec status",
    "policy.v1.PodDisruptionBudgetSpec": (
        "minAvailable selector maxUnavailable unhealthyPodEvictionPolicy"
    ),
    "rbac.v1.PolicyRule": "verbs apiGroups resources resourceNames nonResourceURLs",
    "rbac.v1.Role": "metadata rules",
    "rbac.v1.ClusterRole": "metadata rules aggregationRule",
    "rbac.v1.AggregationRule": "clusterRoleSelectors",
    "rbac.v1.Subject": "kind apiGroup name namespace",
    "rbac.v1.RoleRef": "apiGroup kind name",
    "rbac.v1.RoleBinding": "metadata subjects roleRef",
    "rbac.v1.ClusterRoleBinding": "metadata subjects roleRef",
    "scheduling.v1.PriorityClass": "metadata value globalDefault description preemptionPolicy",
    "policy.v1.Eviction": "metadata deleteOptions",
    "authorization.v1.SelfSubjectAccessReview": "metadata spec status",
    "authorization.v1.SelfSubjectAccessReviewSpec": "resourceAttributes nonResourceAttributes",
    "authorization.v1.ResourceAttributes": (
        "namespace verb group version resource subresource name fieldSelector labelSelector"
    ),
    "authorization.v1.NonResourceAttributes": "path verb",
    "authorization.v1.SelfSubjectRulesReview": "metadata spec status",
    "authorization.v1.SelfSubjectRulesReviewSpec": "namespace",
    "authentication.v1.SelfSubjectReview": "metadata status",
}
_TYPE_MESSAGE = 11
FieldTable = dict[str, dict[str, str]]


def _iter_messages(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yields name and descriptor of each message in the file descriptor of a generated module."""
    text = re.search(r"serialized_pb=_b\((['\"].*['\"])\)\s*$", source.read_text(), re.MULTILINE)
    if text is None:
        raise SystemExit(f"{source}: no file descriptor found")
    data = ast.literal_eval(text[1]).encode("latin1")
    found = list(iter_message_fields(data))
    package = next(bytes(value) for number, value in found if number == 2).decode()  # noqa: PLR2004 - FileDescriptorProto.package
    for number, value in found:
        if number == 4 and isinstance(value, bytes):  # noqa: PLR2004 - FileDescriptorProto.message_type
            name = next(
                bytes(text) for number, text in iter_message_fields(value) if number == 1
            ).decode()
            yield f"{package.replace('k8s.io', 'io.k8s', 1)}.{name}", value


def _iter_field_descriptors(message: bytes) -> Iterator[tuple[str, int, str]]:
    """Yields name, number and type name of the fields of a message descriptor."""
    for number, value in iter_message_fields(message):
        if number == 2 and isinstance(value, bytes):  # noqa: PLR2004 - DescriptorProto.field
            found = dict(iter_message_fields(value))
            kind = found.get(6, b"") if found.get(5) == _TYPE_MESSAGE else b""
            yield bytes(found[1]).decode(), int(found[3]), bytes(kind).decode()


def _make_table(messages: dict[str, bytes]) -> FieldTable:
    """Field numbers by definition; a field that is not in the schema is an inlined struct."""
    table: FieldTable = {}
    for name, message in messages.items():
        known = load_definitions().get(name, {}).get("properties")
        inlined = {}
        for field, number, kind in _iter_field_descriptors(message):
            if known is None or field in known:
                inlined[str(number)] = field
            elif kind:
                inlined[str(number)] = "+" + kind.removeprefix(".").replace("k8s.io", "io.k8s", 1)
        table[name] = inlined
    return table


def _reachable_definitions(table: FieldTable) -> FieldTable:
    """The part of the table that the core kinds need: their definitions and inlined structs."""
    kept = {name: fields for name, fields in table.items() if name in load_definitions()}
    waiting = [field[1:] for fields in kept.values() for field in fields.values()]
    while waiting:
        name = waiting.pop()
        if name in table and name not in kept:
            kept[name] = table[name]
            waiting.extend(field[1:] for field in table[name].values())
    return kept


def main(folder: str) -> int:
    """Reads the unpacked package and writes core_fields.json beside this module."""
    messages = {
        name: data
        for file in _DESCRIPTOR_FILES
        for name, data in _iter_messages(Path(folder) / file)
    }
    table = _reachable_definitions(_make_table(messages))
    for short, names in _EXTRA_FIELDS.items():
        numbered = {str(i): name for i, name in enumerate(names.split(), 1) if name != "-"}
        table[f"io.k8s.api.{short}"] = numbered
    lines = [f"{json.dumps(name)}: {json.dumps(table[name])}" for name in sorted(table)]
    target = Path(__file__).with_name("core_fields.json")
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stderr.write(f"{target}: {len(lines)} messages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
