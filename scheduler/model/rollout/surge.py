"""How many pods more than replicas run while a changed pod template goes out. Pure.

`maxSurge` of a Deployment, a quarter by default, rounded up (apps/v1 DeploymentStrategy). Of an
Argo Rollout the same field of `strategy.canary` counts. All other kinds end a pod before they start
the next one, or make new objects.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from scheduler.model.manifests.containers import mapping_or_empty
from scheduler.model.manifests.manifests import scalable_index

_DEFAULT_SURGE = "25%"
_MOST, _MAX_DIGITS = 1_000_000, 4
_TOLERANCE = 1e-9


def surge_of(manifests: Sequence[Mapping[str, Any]], replicas: int) -> int:
    """Pods that run beside so many replicas while their template changes.

    Args:
        manifests: of the workload; without exactly one that `replicas` scales the answer is 0.
        replicas: at one site.
    """
    index = scalable_index(manifests)
    if index is None or replicas <= 0:
        return 0
    kind = manifests[index].get("kind")
    spec = mapping_or_empty(manifests[index].get("spec"))
    strategy = mapping_or_empty(spec.get("strategy"))
    if kind == "Deployment":
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return 0
        return _pods(mapping_or_empty(strategy.get("rollingUpdate")).get("maxSurge"), replicas)
    if kind == "Rollout":
        return _pods(mapping_or_empty(strategy.get("canary")).get("maxSurge"), replicas)
    return 0


def _pods(value: object, replicas: int) -> int:
    """A number of pods, or a percentage of the replicas; what is neither counts as the default."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return min(value, _MOST)
    text = value if isinstance(value, str) else _DEFAULT_SURGE
    digits = text.removesuffix("%")
    if not (
        text.endswith("%") and digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    ):
        digits = _DEFAULT_SURGE.removesuffix("%")
    return min(_MOST, ceil(int(digits) * replicas / 100 - _TOLERANCE))
