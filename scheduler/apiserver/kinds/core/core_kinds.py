"""The core kinds that the embedded API server serves, as resources."""

from collections.abc import Iterator

from scheduler.apiserver.base.errors import Subject
from scheduler.apiserver.kinds.core.columns import COLUMNS, PLAIN
from scheduler.apiserver.kinds.core.defaults import BEHAVIOURS
from scheduler.apiserver.kinds.core.event_versions import from_events_v1, to_events_v1
from scheduler.apiserver.kinds.core.schemas import core_node, definition_name
from scheduler.apiserver.kinds.resources import Behaviour, Resource, ScalePaths

# group, kind, plural, short names, namespaced, subresources, in `kubectl get all`
_TABLE = """
- Namespace namespaces ns - status -
- Node nodes no - status -
- Pod pods po n status,binding,eviction all
- Service services svc n status all
- ConfigMap configmaps cm n - -
- Secret secrets - n - -
- ServiceAccount serviceaccounts sa n - -
- PersistentVolumeClaim persistentvolumeclaims pvc n status -
- Event events ev n - -
apps Deployment deployments deploy n status,scale all
apps StatefulSet statefulsets sts n status,scale all
apps DaemonSet daemonsets ds n status all
apps ReplicaSet replicasets rs n status,scale all
batch Job jobs - n status all
batch CronJob cronjobs cj n status all
coordination.k8s.io Lease leases - n - -
events.k8s.io Event events ev n - -
apiextensions.k8s.io CustomResourceDefinition customresourcedefinitions crd,crds - status -
"""
_FIELDS = {
    "Pod": {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    },
    "Event": {
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    },
    "Namespace": {"status.phase"},
    "Node": {"spec.unschedulable"},
    "Secret": {"type"},
    "Job": {"status.successful"},
    "ReplicaSet": {"status.replicas"},
    "Service": {"spec.clusterIP", "spec.type"},
}
_REGARDING = frozenset(field.replace("involvedObject", "regarding") for field in _FIELDS["Event"])
_SCALE = ScalePaths(("spec", "replicas"), ("status", "replicas"), ("spec", "selector"))


def core_resources() -> Iterator[Resource]:
    """Every core resource, in the order of discovery."""
    for line in _TABLE.strip().splitlines():
        yield _resource(["" if cell == "-" else cell for cell in line.split()])


def _resource(cells: list[str]) -> Resource:
    group, kind, plural, short, scope, subresources, category = cells
    stored_kind = definition_name("" if kind == "Event" else group, kind)
    found = frozenset(filter(None, subresources.split(",")))
    resource = Resource(
        subject=Subject(group, plural, kind),
        version="v1",
        singular=kind.lower(),
        namespaced=bool(scope),
        node=core_node(stored_kind),
        short_names=tuple(filter(None, short.split(","))),
        categories=tuple(filter(None, (category,))),
        subresources=found,
        columns=COLUMNS.get(kind, PLAIN),
        fields=frozenset(_FIELDS.get(kind, ())),
        scale=_SCALE if "scale" in found else None,
        behaviour=BEHAVIOURS.get(kind, Behaviour()),
        definition=definition_name(group, kind),
    )
    if group == "events.k8s.io":
        resource.storage = "/events"
        resource.to_view, resource.from_view = to_events_v1, from_events_v1
        resource.fields |= _REGARDING
    return resource
