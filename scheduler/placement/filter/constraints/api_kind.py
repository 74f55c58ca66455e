"""The site's cluster must serve every kind that the manifests use."""

import numpy as np
from msgspec.structs import replace

from scheduler.model.decision import SuggestedChange
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_site
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

_CONFORMANT_KINDS = frozenset(
    {
        "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration",
        "apiextensions.k8s.io/v1/CustomResourceDefinition",
        "apps/v1/DaemonSet",
        "apps/v1/Deployment",
        "apps/v1/ReplicaSet",
        "apps/v1/StatefulSet",
        "autoscaling/v1/HorizontalPodAutoscaler",
        "autoscaling/v2/HorizontalPodAutoscaler",
        "batch/v1/CronJob",
        "batch/v1/Job",
        "coordination.k8s.io/v1/Lease",
        "discovery.k8s.io/v1/EndpointSlice",
        "events.k8s.io/v1/Event",
        "networking.k8s.io/v1/Ingress",
        "networking.k8s.io/v1/IngressClass",
        "networking.k8s.io/v1/NetworkPolicy",
        "node.k8s.io/v1/RuntimeClass",
        "policy/v1/PodDisruptionBudget",
        "rbac.authorization.k8s.io/v1/ClusterRole",
        "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
        "rbac.authorization.k8s.io/v1/Role",
        "rbac.authorization.k8s.io/v1/RoleBinding",
        "scheduling.k8s.io/v1/PriorityClass",
        "storage.k8s.io/v1/CSIDriver",
        "storage.k8s.io/v1/StorageClass",
    }
)
"""The kinds that every conformant cluster serves, for sites that do not list their kinds."""

_NOT_SERVED = Message("api-kind.not-served", "the cluster of {site} does not serve {kinds:list}")
_TOO_WIDE = Message(
    "api-kind.cluster-scoped",
    "the scope of {kinds:list} at {site} is the whole cluster; the Tenant's clusterKinds must "
    "list {first}",
)
_SERVED = Message(
    "api-kind.served", "the cluster of {site} serves every kind that the manifests use"
)


class ApiKind:
    """The site's list must contain each kind; a site without a list serves `_CONFORMANT_KINDS`.

    A custom kind that the tenant may have in its namespaces only must not be cluster-scoped there.
    """

    reason: Reason = "api-kind"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload"})

    cache_key = DemandFields("api_kinds", "unknown_scope")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites serve every kind."""
        del context
        if not demand.api_kinds:
            return fleet.has_site
        return fleet.report_column(
            (self.reason, demand.api_kinds, demand.unknown_scope),
            lambda facts: not _missing_kinds(facts, demand) and not _too_wide(facts, demand),
            np.bool_,
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names the kinds that are missing."""
        del context
        missing = _missing_kinds(facts, demand)
        if missing:
            return _NOT_SERVED(site=facts.name, kinds=tuple(missing))
        too_wide = _too_wide(facts, demand)
        if too_wide:
            return _TOO_WIDE(site=facts.name, kinds=tuple(too_wide), first=too_wide[0])
        return _SERVED(site=facts.name)

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests to install the definitions of the missing kinds in the cluster."""
        if not _missing_kinds(refused.facts, refused.demand):
            return _permit(refused)
        had = refused.facts.status.api_kinds or ()
        missing = [each for each in refused.demand.api_kinds if each not in had]
        status = replace(refused.facts.status, api_kinds=(*had, *missing))
        facts = replace(refused.facts, status=status)
        return change_site("apiKinds", "", ", ".join(missing), facts)


def _permit(refused: RefusedSite) -> Fix:
    """Suggests that an administrator permits the tenant the kinds for whole clusters."""
    demand = refused.demand
    kinds = _too_wide(refused.facts, demand)
    left = tuple(each for each in demand.unknown_scope if each not in kinds)
    change = SuggestedChange(
        kind="tenant.clusterKinds", target=f"Tenant {demand.tenant}", to=", ".join(kinds)
    )
    return Fix(change=change, demand=replace(demand, unknown_scope=left))


def _too_wide(facts: SiteFacts, demand: Demand) -> list[str]:
    """Kinds that are cluster-scoped at the site, where the tenant may have them in namespaces."""
    if not demand.unknown_scope:
        return []
    cluster_kinds = facts.status.cluster_kinds or ()
    return [kind for kind in demand.unknown_scope if kind in cluster_kinds]


def _missing_kinds(facts: SiteFacts, demand: Demand) -> list[str]:
    listed = facts.status.api_kinds
    served = _CONFORMANT_KINDS if listed is None else frozenset(listed)
    return [kind for kind in demand.api_kinds if kind not in served]


RULE = ApiKind()
