"""The containers of a pod one by one, for what a namespace's LimitRange says of each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from scheduler.model.kinds.fields import Part
from scheduler.model.quantities import requests_of

Amounts = dict[str, int]
"""Millicores for cpu, whole units for all else."""


class Container(Part, frozen=True, kw_only=True):
    """One container: what it asks, and what it is limited to."""

    name: str = ""
    is_init: bool = False
    """It ends before the others start; sidecars, which go on running, do not."""
    requests: dict[str, int] = msgspec.field(default_factory=dict)
    limits: dict[str, int] = msgspec.field(default_factory=dict)

    def with_defaults(self, limits: Mapping[str, int], requests: Mapping[str, int]) -> "Container":
        """As the LimitRanger of the API server completes it: what is named stays."""
        return msgspec.structs.replace(
            self,
            requests={**requests, **self.requests},
            limits={**limits, **self.limits},
        )


def containers_of(spec: Mapping[str, Any]) -> tuple[Container, ...]:
    """Reads the containers of a pod, those that start first at the front.

    Raises:
        NotAQuantity: a request or a limit cannot be read.
    """
    found = []
    for field in ("initContainers", "containers"):
        for each in _mappings(spec.get(field)):
            resources = _mapping(each.get("resources"))
            limits = _mapping(resources.get("limits"))
            found.append(
                Container(
                    name=str(each.get("name", "")),
                    is_init=field == "initContainers" and each.get("restartPolicy") != "Always",
                    requests=_amounts_with_zeros({**limits, **_mapping(resources.get("requests"))}),
                    limits=_amounts_with_zeros(limits),
                )
            )
    return tuple(found)


def pod_amounts(containers: Sequence[Container], amounts_field: str) -> Amounts:
    """What a pod's containers ask in all: the larger of running and starting (KEP-753).

    Args:
        containers: in the order in which they start.
        amounts_field: `requests` or `limits`.
    """
    running: Amounts = {}
    starting: Amounts = {}
    for each in containers:
        amounts: Amounts = getattr(each, amounts_field)
        beside = _sum_amounts(running, amounts)
        starting = {
            name: max(starting.get(name, 0), beside.get(name, 0)) for name in {*starting, *beside}
        }
        running = running if each.is_init else beside
    return dict(sorted(starting.items()))


def _amounts_with_zeros(written: Mapping[str, Any]) -> Amounts:
    """A named 0 is kept here: it is not the same as nothing."""
    zeros = dict.fromkeys(sorted(written), 0)
    return zeros | requests_of(written)


def _sum_amounts(one: Amounts, other: Amounts) -> Amounts:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _mappings(raw: object) -> Sequence[Mapping[str, Any]]:
    return (
        [each for each in raw if isinstance(each, Mapping)] if isinstance(raw, list | tuple) else []
    )
