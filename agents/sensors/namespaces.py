"""What the namespaces of the member cluster let pods ask: ResourceQuota and LimitRange objects.

Two small lists a look. Where they may not be read, or are not served, nothing is reported, and the
hub then knows of no limit; a member that said so once is asked again only now and then.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from agents.member.api import ApiError, MemberApi, Tree
from agents.protocol.report import MOST_NAMESPACES, Namespace
from agents.sensors.quantities import QuantityError, milli_down, milli_up, written
from agents.sensors.sensor import Look

FORBIDDEN: Final = "namespace-limits-forbidden"
_QUOTAS: Final = "/api/v1/resourcequotas"
_RANGES: Final = "/api/v1/limitranges"
_NOT_READABLE: Final = (403, 404)
_LOOKS_BETWEEN: Final = 60
_MOST_NAMES: Final = 64

Milli = dict[str, int]
"""Resource name to whole milli-units."""

_CONTAINER: Final = {
    "min": "container_min",
    "max": "container_max",
    "default": "container_default",
    "defaultRequest": "container_default_request",
}
_POD: Final = {"min": "pod_min", "max": "pod_max"}
_FIELDS: Final = {"Container": _CONTAINER, "Pod": _POD}


@dataclass(slots=True)
class NamespaceSensor:
    """Looks at the limits of all namespaces.

    Attributes:
        api: the member's.
    """

    api: MemberApi
    name: str = "namespaces"
    _looks_to_wait: int = field(default=0, init=False)
    _faults: tuple[str, ...] | None = field(default=None, init=False)

    async def look(self) -> Look:
        """Looks once; a member that does not answer is another sensor's fault to name."""
        if self._looks_to_wait:
            self._looks_to_wait -= 1
            return Look(faults=self._faults)
        try:
            found = await asyncio.to_thread(self._look)
        except ApiError as error:
            if error.code in _NOT_READABLE:
                self._looks_to_wait = _LOOKS_BETWEEN
                self._faults = (FORBIDDEN,) if error.code == _NOT_READABLE[0] else None
            return Look(faults=self._faults)
        self._faults = None
        return Look(namespaces=found)

    def _look(self) -> tuple[Namespace, ...]:
        quotas = self.api.fold(_QUOTAS, None, _plain)
        return namespaces_of(quotas, self.api.fold(_RANGES, None, _plain))


def _plain(tree: Tree) -> Tree:
    """What is kept of an object while the lists are read."""
    metadata = _mapping(tree.get("metadata"))
    kept = {"spec": _mapping(tree.get("spec")), "status": _mapping(tree.get("status"))}
    return {"namespace": str(metadata.get("namespace", "")), **kept}


def namespaces_of(quotas: Iterable[Tree], ranges: Iterable[Tree]) -> tuple[Namespace, ...]:
    """The limits of every namespace that has any, by name."""
    found: dict[str, _Limits] = {}
    for each in quotas:
        found.setdefault(each["namespace"], _Limits()).take_quota(each)
    for each in ranges:
        found.setdefault(each["namespace"], _Limits()).take_range(each)
    return tuple(found[name].told(name) for name in sorted(found)[:MOST_NAMESPACES])


@dataclass(slots=True)
class _Limits:
    amounts: dict[str, Milli] = field(default_factory=dict)
    not_counted: set[str] = field(default_factory=set)

    def take_quota(self, quota: Tree) -> None:
        spec, status = quota["spec"], quota["status"]
        if spec.get("scopes") or spec.get("scopeSelector"):
            self.not_counted.add("scoped-quota")
            return
        hard, used = _mapping(spec.get("hard")), _mapping(status.get("used"))
        for name, amount in hard.items():
            self._keep("quota_left", name, _left, (amount, used.get(name, 0)), min)

    def take_range(self, limits: Tree) -> None:
        items = limits["spec"].get("limits")
        for item in items if isinstance(items, list) else ():
            if not isinstance(item, dict):
                continue
            if item.get("maxLimitRequestRatio"):
                self.not_counted.add("limit-request-ratio")
            for source, target in _FIELDS.get(str(item.get("type")), {}).items():
                for name, amount in _mapping(item.get(source)).items():
                    tighter = max if source == "min" else min
                    self._keep(target, name, milli_up, (amount,), tighter)

    def _keep(
        self,
        target: str,
        name: str,
        read: Callable[..., int],
        amounts: tuple[Any, ...],
        tighter: Callable[[int, int], int],
    ) -> None:
        try:
            amount = read(*amounts)
        except QuantityError:
            self.not_counted.add("unreadable-limit")
            return
        kept = self.amounts.setdefault(target, {})
        if name in kept or len(kept) < _MOST_NAMES:
            kept[name] = tighter(amount, kept.get(name, amount))
        else:
            self.not_counted.add("more-limits")

    def told(self, name: str) -> Namespace:
        fields: dict[str, Any] = {
            target: {resource: _written(resource, amount) for resource, amount in kept.items()}
            for target, kept in self.amounts.items()
        }
        return Namespace(name=name, not_counted=tuple(sorted(self.not_counted)), **fields)


def _left(hard: str | float, used: str | float) -> int:
    return max(0, milli_down(hard) - milli_up(used))


def _written(name: str, amount: int) -> str | int:
    """As the resource that a quota's name stands for is written."""
    return written(name.removeprefix("requests.").removeprefix("limits."), amount)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
