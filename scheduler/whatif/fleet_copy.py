"""`FleetCopy`: all that a what-if reads, as one value that can be sent to another process."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.kinds import (
    ClusterPlacementPolicy,
    DataClassScheme,
    PlacementPolicy,
    SiteGrant,
    Tenant,
    Workload,
)

WHATIF_TERMS = Terms(may_evict=False)
"""The terms of a copy of files. What leaves a site is planned here, as failover plans it."""


class CopyObjects(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of a copy besides sites and workloads.

    Attributes:
        now: the time of all decisions.
        terms: limits and prices.
        scheme: the scheme of data classes in force; None: the built-in one.
        tenants: all tenants; None: without tenancy, as in files that hold no Tenant.
        policies: of all namespaces.
        cluster_policies: of the cluster.
        grants: of all sites, also of those that do not exist.
        max_silent_ratio: evictions freeze when more than this share of the fleet falls silent.
        is_failover_enabled: whether anything is replaced without an operator's word.
        freeze: why nothing is evicted now; empty: evictions are allowed.
        silent_after_seconds: a site counts as silent after this time.
        failover_after_seconds: how long it must be silent where a workload does not say.
        evictions_per_second: so many replacements are started each second.
    """

    now: datetime
    terms: Terms = WHATIF_TERMS
    scheme: DataClassScheme | None = None
    tenants: tuple[Tenant, ...] | None = None
    policies: tuple[PlacementPolicy, ...] = ()
    cluster_policies: tuple[ClusterPlacementPolicy, ...] = ()
    grants: tuple[SiteGrant, ...] = ()
    max_silent_ratio: float = 0.5
    is_failover_enabled: bool = True
    freeze: str = ""
    silent_after_seconds: float = 45.0
    failover_after_seconds: float = 300.0
    evictions_per_second: float = 200.0


class FleetCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of a fleet at one instant.

    Attributes:
        objects: the time, the terms and all objects but sites and workloads.
        facts: the facts of all sites, with what is in flight and reserved there.
        workloads: all workloads, with the placements that are decided.
    """

    objects: CopyObjects
    facts: tuple[SiteFacts, ...] = ()
    workloads: tuple[Workload, ...] = ()

    def with_objects(self, **changed: object) -> "FleetCopy":
        """The copy with other objects, time or terms."""
        return msgspec.structs.replace(
            self, objects=msgspec.structs.replace(self.objects, **changed)
        )

    def with_facts(self, changed: Iterable[SiteFacts]) -> "FleetCopy":
        """The copy with other facts of some sites; those of a new name are added."""
        by_name = {one.name: one for one in self.facts} | {one.name: one for one in changed}
        return msgspec.structs.replace(self, facts=tuple(by_name.values()))


def newest_report_of(facts: Iterable[SiteFacts]) -> datetime | None:
    """When the site that was observed last was observed; None: none has a date.

    A copy of files is as old as its newest report: by a later time all of them would be stale.
    """
    seen = [one.observed_at for one in facts if one.observed_at is not None]
    return max(seen, default=None)
