"""One site with capacity for five replicas, and workloads that request replicas of it."""

from typing import Any

import msgspec

from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.kinds import DataClassScheme, Tenant
from tests.support.sites import Raw, demand, facts_of, grant, nodes, site, workload


def tenant(**spec: object) -> Tenant:
    """The tenant of the namespace `ns`."""
    raw = {"metadata": {"name": "bureau"}, "spec": {"namespaces": ["ns"], **spec}}
    return decode_as(raw, Tenant)


def at(spec: Raw | None = None, granted: Raw | None = None, **status: object) -> SiteFacts:
    """The site `m1` with its grant; what is given replaces fields of spec, grant and status."""
    raw = site("m1", nodes(5), spec=spec)
    raw["status"] |= status
    return facts_of(raw, grant("m1", **(granted or {})))


def asking_within(*limits: Raw, replicas: int = 1) -> Demand:
    """`asking` where the authority has these energy limits."""
    spec = {"energyLimits": list(limits)}
    scheme = msgspec.convert({"metadata": {"name": "default"}, "spec": spec}, DataClassScheme)
    return demand(workload(replicas), scheme=scheme)


def asking(replicas: int = 1, *, of: Tenant | None = None, **spec: Any) -> Demand:  # noqa: ANN401
    """A workload of so many replicas; what is given replaces fields of its spec."""
    raw = workload(replicas, **spec)
    if spec.get("manifests") and "demand" in spec:
        del raw["spec"]["demand"]
    return demand(raw, tenants=[of] if of else None)
