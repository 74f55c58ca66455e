"""What must not, or cannot, move to another site without an operator's explicit word. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.model.kinds.policy import Identity
from scheduler.model.manifests.budgets import StrictestBudget, disruption_budget
from scheduler.model.manifests.manifests import keeps_state
from scheduler.model.manifests.pod_kinds import pod_kind_of

NUMBERED = "its pods have numbers, and no number may run at two sites at once"
KEEPS_DATA = "its data stays at the site (a claim, a StatefulSet, or a folder of a node)"
IS_JOB = "it is a job, which would begin again elsewhere; it ends by itself"


def immovable_because(
    manifests: Sequence[Mapping[str, Any]], identity: Identity | None, replicas: int
) -> str:
    """Why replicas cannot be moved ahead of maintenance; empty: they can.

    Args:
        manifests: of the workload.
        identity: how its pods with numbers are placed.
        replicas: how many it has in all.
    """
    budget = disruption_budget(manifests, replicas)
    if budget is not None and not budget.allowed:
        return format_forbidding(budget)
    return needs_force_because(manifests, identity)


def format_forbidding(budget: StrictestBudget) -> str:
    """What a budget says that lets no replica be away."""
    return f"PodDisruptionBudget {budget.name} ({budget.rule}) lets no replica be away"


def needs_force_because(manifests: Sequence[Mapping[str, Any]], identity: Identity | None) -> str:
    """Why replicas move by an operator's explicit word only; empty: they move by a drain.

    Args:
        manifests: of the workload.
        identity: how its pods with numbers are placed.
    """
    if identity in ("Whole", "Ranges"):
        return NUMBERED
    if keeps_state(manifests):
        return KEEPS_DATA
    kinds = [kind for kind in map(pod_kind_of, manifests) if kind is not None]
    if kinds and all(kind.role == "Job" for kind in kinds):
        return IS_JOB
    return ""
