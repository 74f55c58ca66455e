"""Limits of the member's namespaces: its ResourceQuota and LimitRange objects.

Each observation makes two small lists. Where the agent may not read them, or the member does not
serve them, nothing is reported, and the hub assumes no limits; the sensor then skips the next
`_SKIPPED_OBSERVATIONS` observations.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from agents.member.api import MemberApi, MemberApiError, Tree
from agents.member.trees import map_at, objects_at, text_at
from agents.protocol.bounds import MAX_NAMESPACES, MAX_RESOURCES, is_unicode
from agents.protocol.report import ReportedNamespace
from agents.sensors.pods import MilliAmounts
from agents.sensors.quantities import QuantityError, ceil_milli, floor_milli, format_quantity
from agents.sensors.sensor import Observation

FAULT_FORBIDDEN: Final = "namespace-limits-forbidden"
_QUOTAS_PATH: Final = "/api/v1/resourcequotas"
_LIMIT_RANGES_PATH: Final = "/api/v1/limitranges"
_NOT_READABLE: Final = (403, 404)
_SKIPPED_OBSERVATIONS: Final = 60
_MAX_NAMESPACE_CHARACTERS: Final = 63
_MAX_NAME_CHARACTERS: Final = 317

_CONTAINER_FIELDS: Final = {
    "min": "container_min",
    "max": "container_max",
    "default": "container_default",
    "defaultRequest": "container_default_request",
}
_POD_FIELDS: Final = {"min": "pod_min", "max": "pod_max"}
_FIELDS_BY_TYPE: Final = {"Container": _CONTAINER_FIELDS, "Pod": _POD_FIELDS}


@dataclass(slots=True)
class NamespaceSensor:
    """Observes the limits of all namespaces.

    Attributes:
        api: API of the member.
        name: slug of the sensor.
    """

    api: MemberApi
    name: str = "namespaces"
    _observations_to_skip: int = field(default=0, init=False)
    _faults: tuple[str, ...] | None = field(default=None, init=False)

    async def observe(self) -> Observation:
        """Observes the limits; that a member does not answer is reported by `KubernetesSensor`."""
        if self._observations_to_skip:
            self._observations_to_skip -= 1
            return Observation(faults=self._faults)
        try:
            found = await asyncio.to_thread(self._read_namespaces)
        except MemberApiError as error:
            if error.code in _NOT_READABLE:
                self._observations_to_skip = _SKIPPED_OBSERVATIONS
                self._faults = (FAULT_FORBIDDEN,) if error.code == _NOT_READABLE[0] else None
            return Observation(faults=self._faults)
        self._faults = None
        return Observation(namespaces=found)

    def _read_namespaces(self) -> tuple[ReportedNamespace, ...]:
        quotas = self.api.list_mapped(_QUOTAS_PATH, None, _spec_and_status_of)
        return namespaces_of(
            quotas, self.api.list_mapped(_LIMIT_RANGES_PATH, None, _spec_and_status_of)
        )


def _spec_and_status_of(tree: Tree) -> Tree:
    """Reduces an object to namespace, spec and status, while the lists are read."""
    namespace = text_at(map_at(tree, "metadata"), "namespace")[:_MAX_NAMESPACE_CHARACTERS]
    return {"namespace": namespace, "spec": map_at(tree, "spec"), "status": map_at(tree, "status")}


def namespaces_of(quotas: Iterable[Tree], ranges: Iterable[Tree]) -> tuple[ReportedNamespace, ...]:
    """The limits of all namespaces that have any, sorted by name."""
    found: dict[str, _LimitsBuilder] = {}
    for each in quotas:
        found.setdefault(each["namespace"], _LimitsBuilder()).add_quota(each)
    for each in ranges:
        found.setdefault(each["namespace"], _LimitsBuilder()).add_limit_range(each)
    return tuple(found[name].build(name) for name in sorted(found)[:MAX_NAMESPACES])


@dataclass(slots=True)
class _LimitsBuilder:
    """Collects the limits of one namespace; of several limits the tightest counts."""

    amounts: dict[str, MilliAmounts] = field(default_factory=dict)
    not_counted: set[str] = field(default_factory=set)

    def add_quota(self, quota: Tree) -> None:
        spec, status = quota["spec"], quota["status"]
        if spec.get("scopes") or spec.get("scopeSelector"):
            self.not_counted.add("scoped-quota")
            return
        hard, used = map_at(spec, "hard"), map_at(status, "used")
        for name, amount in hard.items():
            if used.get(name) is None:
                self._close_quota(name, amount)
            else:
                self._tighten("quota_left", name, _quota_left, (amount, used[name]), min)

    def _close_quota(self, name: str, hard: object) -> None:
        """Nothing is left of a quota of which the cluster has not counted the use.

        The API server refuses pods under it until then (`status unknown for quota`).
        """
        self.not_counted.add("quota-use-unknown")
        self._tighten("quota_left", name, _quota_left, (hard, hard), min)

    def add_limit_range(self, limits: Tree) -> None:
        for item in objects_at(limits["spec"], "limits"):
            if item.get("maxLimitRequestRatio"):
                self.not_counted.add("limit-request-ratio")
            for source, target in _FIELDS_BY_TYPE.get(text_at(item, "type"), {}).items():
                for name, amount in map_at(item, source).items():
                    tighter = max if source == "min" else min
                    self._tighten(target, name, ceil_milli, (amount,), tighter)

    def _tighten(
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
        if not 0 < len(name) <= _MAX_NAME_CHARACTERS or not is_unicode(name):
            self.not_counted.add("unreadable-limit")
        elif name in kept or len(kept) < MAX_RESOURCES:
            kept[name] = tighter(amount, kept.get(name, amount))
        else:
            self.not_counted.add("more-limits")

    def build(self, name: str) -> ReportedNamespace:
        fields: dict[str, Any] = {
            target: {
                resource: _format_amount(resource, amount) for resource, amount in kept.items()
            }
            for target, kept in self.amounts.items()
        }
        return ReportedNamespace(name=name, not_counted=tuple(sorted(self.not_counted)), **fields)


def _quota_left(hard: object, used: object) -> int:
    return max(0, floor_milli(hard) - ceil_milli(used))


def _format_amount(name: str, amount: int) -> str | int:
    """Formats an amount in the unit of the resource that a quota's name contains."""
    return format_quantity(name.removeprefix("requests.").removeprefix("limits."), amount)
