"""The decision: pure, exact, fast, explained.

Everything that can influence a decision is in the demand, the facts of the fleet, `now`, the terms
and `ENGINE_VERSION`: a record of these decides again byte for byte (`decision_bytes`).
Knows `model` and `energy` only. Start with `choose.py`: the whole decision in five named steps.

    fleet/    what is known of all sites, as arrays          filter/   may it run there? hard rules
    fit/      how many replicas a site really takes          cost/     what a replica costs there
    divide/   who gets how many replicas                     batch/    many workloads at once
    queue/    which workload is decided next                 explain/  every verdict, every cost
    kernel/   the same arithmetic, compiled                  solver/   linear and integer programs

An example, which runs as a test. Four nodes with 4 free cores take four pods of 3 cores, and none
of 6, though their sum would:

    >>> from datetime import UTC, datetime
    >>> from scheduler.model.demand.demand import Demand, Pods
    >>> from scheduler.model.demand.facts import site_facts_of
    >>> from scheduler.model.kinds.rights import SiteGrant, SiteGrantSpec
    >>> from scheduler.model.kinds.metadata import Metadata
    >>> from scheduler.model.kinds.site import NodeClass, Site, SiteStatus
    >>> from scheduler.model.manifests.pods import PodShape
    >>> from scheduler.placement.choose import choose
    >>> from scheduler.placement.fleet.fleet import Fleet
    >>> now = datetime(2026, 11, 30, 8, tzinfo=UTC)
    >>> nodes = NodeClass(architecture="amd64", free=({"count": 4, "cpu": "4", "pods": 110},))
    >>> site = Site(
    ...     metadata=Metadata(name="gz-core"),
    ...     status=SiteStatus(observed_at=now, node_classes=(nodes,)),
    ... )
    >>> spec = SiteGrantSpec(sites=("gz-core",), data_class="general-2", protection_level=2)
    >>> fleet = Fleet()
    >>> fleet.upsert(site_facts_of(site, [SiteGrant(metadata=Metadata(name="g"), spec=spec)]))
    >>> def decide(millicores: int) -> str:
    ...     shape = PodShape(requests={"cpu": millicores, "pods": 1})
    ...     unit = (Pods(shape=shape, count=1),)
    ...     demand = Demand(key="demo/web", replicas=4, unit=unit, data_class="general-1")
    ...     return choose(demand, fleet, now=now).line
    >>> decide(3000)
    'placed on gz-core (4)'
    >>> decide(6000)
    '0/1 sites are feasible: 1 fragmented'
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.model.decision import Decision
    from scheduler.model.demand.demand import Demand
    from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
    from scheduler.model.kinds.rights import SiteGrantSpec
    from scheduler.placement.fleet.fleet import Fleet
    from scheduler.placement.public import (
        ArraysDoNotFit,
        NodeArrays,
        SiteArrays,
        decide,
        demand_from_spec,
        explain_decision,
        fleet_from_arrays,
        smallest_changes,
    )

__all__ = (
    "DEFAULT_TERMS",
    "ArraysDoNotFit",
    "Decision",
    "Demand",
    "Fleet",
    "NodeArrays",
    "SiteArrays",
    "SiteGrantSpec",
    "Terms",
    "decide",
    "demand_from_spec",
    "explain_decision",
    "fleet_from_arrays",
    "smallest_changes",
)
"""The documented library (docs/library.md). A name is imported when it is first asked for, so that
the modules of this package, which import each other and not this one, load nothing more."""

if not TYPE_CHECKING:  # for a type checker it would be an attribute of every name

    def __getattr__(name: str) -> object:
        """Imports a name of the library (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module("scheduler.placement.public"), name)
        globals()[name] = value
        return value
