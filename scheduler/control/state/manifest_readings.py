"""Remembers what was read of manifests: reading them takes most of the time of a reconciliation."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from scheduler.model.demand.accept import read_pods
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import Workload, WorkloadSpec
from scheduler.model.manifests.manifests import ParsedManifests

_MAX_REMEMBERED = 4096
"""Enough for what is between its creation and its first running replica."""


class _Reading(NamedTuple):
    spec: WorkloadSpec
    namespace: str
    tenant: Tenant | None
    parsed: ParsedManifests


@dataclass(slots=True)
class ManifestReadings:
    """What the manifests of workloads hold, for as long as spec and tenant are the same objects."""

    _readings: OrderedDict[int, _Reading] = field(default_factory=OrderedDict)

    def read(self, workload: Workload, tenant: Tenant | None) -> ParsedManifests:
        """As `read_pods`; of a spec that is not accepted nothing is remembered.

        Raises:
            BadManifest, NotAQuantity, NotReadable: the message says what to write.
        """
        spec, namespace = workload.spec, workload.metadata.namespace
        known = self._readings.get(id(spec))  # the reading holds the spec, so no other has its id
        if known and known.spec is spec and known.tenant is tenant and known.namespace == namespace:
            self._readings.move_to_end(id(spec))
            return known.parsed
        parsed = read_pods(workload, tenant)
        self._readings[id(spec)] = _Reading(spec, namespace, tenant, parsed)
        self._readings.move_to_end(id(spec))
        while len(self._readings) > _MAX_REMEMBERED:
            self._readings.popitem(last=False)
        return parsed
