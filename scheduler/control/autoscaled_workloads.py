"""Gives a number of replicas to each workload that an autoscaler of the hub is to scale.

An autoscaler first reads the scale subresource, which a real API server does not serve for a custom
resource without `spec.replicas`. So the number that the manifest has becomes that of the workload,
once an autoscaler names the workload; from then on the autoscaler changes it.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.control.ports.hub import WORKLOADS, ApiResource, Conflict, Hub, HubError, NotFound
from scheduler.control.state.objects import HubObjects
from scheduler.model.decode import NotReadable
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.checks import BadManifest
from scheduler.model.manifests.manifests import read_manifests
from scheduler.model.quantities import NotAQuantity
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

AUTOSCALERS = ApiResource(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", namespaced=True
)
_INTERVAL_SECONDS = 15.0
"""As often as Kubernetes' own autoscaler looks."""


@dataclass(slots=True, kw_only=True)
class AutoscaledWorkloads:
    """Looks for autoscalers of workloads.

    Attributes:
        hub: where autoscalers and workloads are.
        objects: the workloads as the scheduler knows them.
        clock: for the time between two looks.
        faults: handles what fails in one look.
    """

    hub: Hub
    objects: HubObjects
    clock: Clock
    faults: Faults
    _problem: str = field(default="", init=False)

    async def run(self) -> None:
        """Looks again and again."""
        while True:
            with self.faults.barrier("object", "autoscalers"):
                await self.look()
            await self.clock.sleep(_INTERVAL_SECONDS)

    async def look(self) -> None:
        """Gives its number to each workload that an autoscaler names and that has none."""
        try:
            found = await self.hub.list(AUTOSCALERS)
        except HubError as error:
            if str(error) != self._problem:
                _log.info("autoscalers of workloads are not known: %s", error)
            self._problem = str(error)
            return
        self._problem = ""
        for key in sorted({*_targets_of(found.items)}):
            workload = self.objects.workloads.get(key)
            replicas = _first_replicas(workload) if workload is not None else None
            if workload is not None and replicas is not None:
                await self._set(key, workload, replicas)

    async def _set(self, key: WorkKey, workload: Workload, replicas: int) -> None:
        """Writes the number, unless the workload has changed since; then the next look does it."""
        version = workload.metadata.resource_version
        patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
        try:
            await self.hub.merge_patch(WORKLOADS, key[1], patch, namespace=key[0])
        except (Conflict, NotFound):
            return
        except HubError as error:
            _log.warning("workload %s/%s: spec.replicas cannot be set: %s", *key, error)
            return
        _log.info("workload %s/%s: an autoscaler scales it, from %d", *key, replicas)


def _targets_of(autoscalers: list[dict[str, Any]]) -> Iterator[WorkKey]:
    """The workloads that autoscalers name."""
    for each in autoscalers:
        spec = each.get("spec")
        reference = spec.get("scaleTargetRef") if isinstance(spec, Mapping) else None
        if not isinstance(reference, Mapping) or reference.get("kind") != WORKLOADS.kind:
            continue
        if str(reference.get("apiVersion", "")).partition("/")[0] == WORKLOADS.group:
            yield str(each["metadata"].get("namespace", "")), str(reference.get("name", ""))


def _first_replicas(workload: Workload) -> int | None:
    """The number of its manifest; None if it has one of its own, or no manifest to scale."""
    spec = workload.spec
    if spec.replicas is not None or workload.metadata.deletion_timestamp is not None:
        return None
    try:
        parsed = read_manifests(spec.manifests)
    except (BadManifest, NotAQuantity, NotReadable):
        return None
    return parsed.replicas if parsed.scalable is not None else None
